"""The tables of a benchmark, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Outcome
from InteractiveSegLib.evaluation.prompted.curves import curve_tables, curve_title
from InteractiveSegLib.evaluation.prompted.panels import (
    CaseKey,
    Panel,
    case_means,
    dataset_means,
    mean_of,
    of_session,
    panels,
    reference,
)
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


def report(outcome: Outcome, settings: BenchmarkSettings) -> str:
    """All tables, and the sentences on cases that failed."""
    parts = [f"Every mean is over cases, of the mean over the objects of a case; split: {settings.split}."]
    for panel in panels(settings):
        scores = panel.chosen(outcome.scores)
        if scores:
            methods = settings.methods_of(panel.user, panel.prompted)
            parts += [f"### {panel.title}", _by_dataset(scores, methods), _by_measure(scores, methods)]
    for user, prompted in settings.sessions:
        if user != HUMAN and (tables := curve_tables(outcome.scores, settings, user, prompted)):
            parts += [f"### {curve_title(user, prompted)}", tables]
    if settings.trial.cap > settings.trial.rounds:
        parts += [f"### Rounds to a Dice of {GOALS[0]:.2f} and {GOALS[1]:.2f}", _efforts(outcome.scores, settings)]
    parts += ["### Objects", _by_object(outcome.scores, settings), "### Seconds by stage", _stages(outcome.scores)]
    if outcome.notes:
        parts += ["### Notes", "\n".join(f"- {note}" for note in outcome.notes)]
    return "\n\n".join(parts) + "\n"


def page_names(settings: BenchmarkSettings) -> list[str]:
    """Names of the tables that ``page_tables`` makes: "none clicks" for the interactions, "box robot 3" or "human" for
    a panel, "rounds" for the effort.
    """
    return list(page_tables(Outcome((), ()), settings))


def page_tables(outcome: Outcome, settings: BenchmarkSettings) -> dict[str, str]:
    """The tables for a page by name; for panels, the Dice by dataset. One that has no scores is empty."""
    tables = {
        f"{prompted} {user}": curve_tables(outcome.scores, settings, user, prompted)
        for user, prompted in settings.sessions
        if user != HUMAN and settings.trial.rounds
    }
    for panel in panels(settings):
        scores, methods = panel.chosen(outcome.scores), settings.methods_of(panel.user, panel.prompted)
        tables[panel.place] = _by_dataset(scores, methods) if scores else ""
    if settings.trial.cap > settings.trial.rounds:
        tables["rounds"] = _efforts(outcome.scores, settings) if outcome.scores else ""
    return tables


def _by_dataset(scores: Sequence[Score], methods: Sequence[str]) -> str:
    """Dice with its 95 % interval for each dataset and method; then means over datasets and paired tests over all
    cases.
    """
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
    rows.append(["mean over datasets", "", *(f"{mean_of(table[method]):.3f}" for method in methods)])
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
    """Rounds, strokes and mm of scribbles to reach a goal; cases that do not reach it count with the cap."""
    rows = []
    for user, prompted in (session for session in settings.sessions if session[0] != HUMAN):
        for goal in GOALS:
            for method in settings.methods:
                cases: dict[CaseKey, dict[int, list[Score]]] = defaultdict(lambda: defaultdict(list))
                for score in scores:
                    if of_session(score, user, prompted) and score.method == method:
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
                    rows.append(
                        (Panel(user, 0, prompted).who, f"{goal:.2f}", method, interval, rate, f"{np.mean(lengths):.0f}")
                    )
    header = ("user", "Dice", "method", f"rounds (cap {settings.trial.cap})", "failed", "mm drawn")
    return markdown_table(header, rows)


def _by_object(scores: Sequence[Score], settings: BenchmarkSettings) -> str:
    """Dice of every object at the last tabulated round of each user."""
    rows = []
    for panel in panels(settings):
        chosen = panel.chosen(scores)
        for dataset, name in dict.fromkeys((s.dataset, s.object) for s in chosen):
            cells = [
                mean_of([s.dice for s in chosen if (s.dataset, s.object, s.method) == (dataset, name, method)])
                for method in settings.methods
            ]
            rows.append((panel.who, str(panel.round), dataset, name, *(f"{cell:.3f}" for cell in cells)))
    return markdown_table(("user", "round", "dataset", "object (Dice)", *settings.methods), rows)


def _stages(scores: Sequence[Score]) -> str:
    """Mean seconds per round, by stage."""
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    rounds: dict[str, set[tuple[str, str, str, str, int, int]]] = defaultdict(set)
    for score in scores:
        key = (score.dataset, score.case, score.user, score.prompted, score.person, score.round)
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
