"""The tables of a benchmark, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Outcome
from InteractiveSegLib.evaluation.prompted.methods import BASELINES
from InteractiveSegLib.evaluation.prompted.trial import HUMAN, Score
from InteractiveSegLib.evaluation.statistics import mean_interval, paired_p
from InteractiveSegLib.evaluation.tables import markdown_table

MEASURES = {
    "Dice": "dice",
    "NSD 2 mm": "surface_dice",
    "HD95 mm": "hd95_mm",
    "ECE": "calibration_error",
    "seconds": "seconds",
    "peak MB": "peak_mb",
}
GOALS = (0.85, 0.90)

CaseKey = tuple[str, str, int]


@dataclass(frozen=True)
class Panel:
    """Scores that are compared: one user after one round."""

    user: str
    round: int

    @property
    def title(self) -> str:
        if self.user == HUMAN:
            return "Scribbles of people, without a box"
        if self.round == 0:
            return "The box alone"
        return f"Box and {self.round} round{'s' * (self.round > 1)} of scribbles (user: {self.user})"


def panels(settings: BenchmarkSettings) -> Iterator[Panel]:
    """What is tabulated: the box alone once, then every user after the last round that all of them made."""
    robots = [user for user in settings.users if user != HUMAN]
    if robots:
        yield Panel(robots[0], 0)
    for user in settings.users:
        if user == HUMAN:
            yield Panel(user, 0)
        elif settings.trial.rounds:
            yield Panel(user, settings.trial.rounds)


def reference(methods: Sequence[str]) -> str:
    """The method others are compared with: the first network, or the first method where there is none."""
    return next((method for method in methods if method not in BASELINES), methods[0])


def report(outcome: Outcome, settings: BenchmarkSettings) -> str:
    """All tables, and the sentences on cases that failed."""
    parts = [f"Every mean is over cases, of the mean over the objects of a case; split: {settings.split}."]
    for panel in panels(settings):
        scores = [s for s in outcome.scores if s.user == panel.user and s.round == panel.round]
        if scores:
            title = f"### {panel.title}"
            parts += [title, _by_dataset(scores, settings.methods), _by_measure(scores, settings.methods)]
    if settings.trial.cap > settings.trial.rounds:
        parts += [f"### Rounds to a Dice of {GOALS[0]:.2f} and {GOALS[1]:.2f}", _efforts(outcome.scores, settings)]
    parts += ["### Objects", _by_object(outcome.scores, settings), "### Seconds by stage", _stages(outcome.scores)]
    if outcome.notes:
        parts += ["### Notes", "\n".join(f"- {note}" for note in outcome.notes)]
    return "\n\n".join(parts) + "\n"


def case_means(scores: Sequence[Score], measure: str) -> dict[str, dict[CaseKey, float]]:
    """method -> (dataset, case, person) -> mean of a measure over the objects; nan are left out."""
    values: dict[str, dict[CaseKey, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        values[score.method][score.dataset, score.case, score.person].append(getattr(score, measure))
    return {method: {key: _mean(found) for key, found in of_case.items()} for method, of_case in values.items()}


def dataset_means(scores: Sequence[Score], measure: str) -> dict[str, float]:
    """method -> mean over the datasets of the mean of a measure over the cases; nan are left out."""
    means = {}
    for method, of_case in case_means(scores, measure).items():
        by_dataset: dict[str, list[float]] = defaultdict(list)
        for (dataset, _, _), value in of_case.items():
            by_dataset[dataset].append(value)
        means[method] = _mean([_mean(values) for values in by_dataset.values()])
    return means


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")


def _by_dataset(scores: Sequence[Score], methods: Sequence[str]) -> str:
    """Dice with its 95 % interval a dataset and method; then means over datasets and paired tests over all cases."""
    means = case_means(scores, "dice")
    names = list(dict.fromkeys(score.dataset for score in scores))
    rows = []
    table: dict[str, list[float]] = {method: [] for method in methods}
    for name in names:
        row = [name, str(len({(s.case, s.person) for s in scores if s.dataset == name}))]
        for method in methods:
            mean, low, high = mean_interval([v for key, v in means.get(method, {}).items() if key[0] == name])
            table[method].append(mean)
            row.append(f"{mean:.3f} ({low:.2f}-{high:.2f})")
        rows.append(row)
    rows.append(["mean over datasets", "", *(f"{_mean(table[method]):.3f}" for method in methods)])
    first = reference(methods)
    tests = []
    for method in methods:
        shared = [key for key in means.get(first, {}) if key in means.get(method, {})]
        p = paired_p([means[first][key] for key in shared], [means[method][key] for key in shared])
        tests.append("" if method == first else f"{p:.2g}")
    rows.append([f"p against {first}", "", *tests])
    return markdown_table(("Dice (95 % interval)", "cases", *methods), rows)


def _by_measure(scores: Sequence[Score], methods: Sequence[str]) -> str:
    rows = []
    for title, measure in MEASURES.items():
        means = dataset_means(scores, measure)
        digits = 0 if measure == "peak_mb" else 3
        cells = (means.get(method, float("nan")) for method in methods)
        rows.append([title, *("" if np.isnan(mean) else f"{mean:.{digits}f}" for mean in cells)])
    return markdown_table(("mean over datasets", *methods), rows)


def _efforts(scores: Sequence[Score], settings: BenchmarkSettings) -> str:
    """Rounds, strokes and mm of scribbles to a goal; who does not get there counts with the cap."""
    rows = []
    for user in (user for user in settings.users if user != HUMAN):
        for goal in GOALS:
            for method in settings.methods:
                cases: dict[CaseKey, dict[int, list[Score]]] = defaultdict(lambda: defaultdict(list))
                for score in scores:
                    if score.user == user and score.method == method:
                        cases[score.dataset, score.case, score.person][score.round].append(score)
                needed, lengths, failed = [], [], 0
                for rounds in cases.values():
                    good = [n for n, found in sorted(rounds.items()) if all(s.dice >= goal for s in found)]
                    failed += not good
                    needed.append(good[0] if good else settings.trial.cap)
                    lengths.append(rounds[good[0] if good else max(rounds)][0].length_mm)
                if cases:
                    rate = f"{100 * failed / len(cases):.0f} %"
                    mean, low, high = mean_interval(needed)
                    interval = f"{mean:.1f} ({low:.1f}-{high:.1f})"
                    rows.append((user, f"{goal:.2f}", method, interval, rate, f"{np.mean(lengths):.0f}"))
    header = ("user", "Dice", "method", f"rounds (cap {settings.trial.cap})", "failed", "mm drawn")
    return markdown_table(header, rows)


def _by_object(scores: Sequence[Score], settings: BenchmarkSettings) -> str:
    """Dice of every object at the last tabulated round of each user."""
    rows = []
    for panel in panels(settings):
        chosen = [s for s in scores if s.user == panel.user and s.round == panel.round]
        for dataset, name in dict.fromkeys((s.dataset, s.object) for s in chosen):
            cells = [
                _mean([s.dice for s in chosen if (s.dataset, s.object, s.method) == (dataset, name, method)])
                for method in settings.methods
            ]
            rows.append((panel.user, str(panel.round), dataset, name, *(f"{cell:.3f}" for cell in cells)))
    return markdown_table(("user", "round", "dataset", "object (Dice)", *settings.methods), rows)


def _stages(scores: Sequence[Score]) -> str:
    """Mean seconds a round, by what was being done."""
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    rounds: dict[str, set[tuple[str, str, str, int, int]]] = defaultdict(set)
    for score in scores:
        key = (score.dataset, score.case, score.user, score.person, score.round)
        if key in rounds[score.method]:
            continue
        rounds[score.method].add(key)
        for entry in filter(None, score.stages.split(";")):
            name, _, value = entry.rpartition("=")
            seconds[score.method][name] += float(value)
    rows = [
        (method, name, f"{total / len(rounds[method]):.3f}")
        for method, stages in seconds.items()
        for name, total in stages.items()
    ]
    return markdown_table(("method", "stage", "seconds a round"), rows)
