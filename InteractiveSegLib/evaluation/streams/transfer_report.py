"""What a small labelled set is worth to a large unlabelled one, as tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from InteractiveSegLib.evaluation.statistics import mean_interval, paired_p
from InteractiveSegLib.evaluation.streams.transfer_study import FLEXIBLE, LENIENT_MM, MAIN, CaseCost, Studied, Tested
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.evaluation.users.correcting_person import EffortModel
from InteractiveSegLib.system.figures import new_figure, save_figure

_AT_MOST_BELOW, _GAIN, _TIME = 0.02, 0.15, 0.20
_LEVEL = 0.05


@dataclass(frozen=True)
class Transferred:
    """All that was run of a task.

    labels : number -> name
    studies : of all ways and seeds
    full : seed -> tested, trained with the full truth
    nothing : seed, number of batches -> tested, trained from nothing
    """

    task: str
    labels: Mapping[int, str]
    studies: Sequence[Studied]
    full: Mapping[int, Tested] = field(default_factory=dict)
    nothing: Mapping[tuple[int, int], Tested] = field(default_factory=dict)

    def of(self, way: str) -> list[Studied]:
        return [study for study in self.studies if study.way == way]


def mean_of(tested: Tested, label: int | None = None) -> float:
    """Mean over cases of the Dice of a label, or of the mean over labels."""
    return float(np.nanmean(list(by_case(tested, label).values())))


def by_case(tested: Tested, label: int | None = None) -> dict[str, float]:
    """Case -> Dice of a label, or the mean over labels."""
    return {
        case: float(np.nanmean(list(dices.values()))) if label is None else dices.get(label, float("nan"))
        for case, dices in tested.items()
    }


def time_ratio(costs: Sequence[CaseCost], lenient: bool = False) -> float:
    """Time at work, of drawing the same cases by hand.

    lenient : as if all errors up to ``LENIENT_MM`` were let stand
    """
    return sum(cost.lenient_s if lenient else cost.seconds for cost in costs) / sum(cost.hand_s for cost in costs)


def requirements_table(found: Transferred) -> str:
    """The lines that the method is held to, each with what was measured, as the mean over seeds."""
    main = found.of(MAIN.name)
    last = _mean(mean_of(study.tested[-1]) for study in main)
    first = _mean(mean_of(study.tested[0]) for study in main)
    rows = [["igniter on the target, Dice", "reported", f"{first:.3f}", ""]]
    if found.full:
        full = _mean(mean_of(found.full[seed]) for seed in found.full)
        line = f"after the last batch ({main[0].cases[-1]} cases), Dice"
        must = f"full truth ({full:.3f}) - {_AT_MOST_BELOW}"
        rows.append([line, must, f"{last:.3f}", _met(last >= full - _AT_MOST_BELOW)])
    rows.append(["gain over the igniter", f"+{_GAIN}", f"{last - first:+.3f}", _met(last - first >= _GAIN)])
    ratio = _mean(time_ratio(study.costs) for study in main)
    rows.append(["time a case, of drawing it by hand", f"{_TIME:.2f}", f"{ratio:.2f}", _met(ratio <= _TIME)])
    lenient = _mean(time_ratio(study.costs, lenient=True) for study in main)
    rows.append([f"the same, errors up to {LENIENT_MM:g} mm let stand", "reported", f"{lenient:.2f}", ""])
    for batches in sorted({batches for _, batches in found.nothing}):
        rows.append(_against_nothing(found, main, batches))
    if flexible := found.of(FLEXIBLE.name):
        rows.append(_flexible(flexible, main))
    return markdown_table(["line", "target", "measured", "met"], rows)


def _against_nothing(found: Transferred, main: Sequence[Studied], batches: int) -> list[str]:
    pairs: list[tuple[float, float]] = []
    for study in main:
        if (nothing := found.nothing.get((study.seed, batches))) is not None:
            ours, theirs = by_case(study.tested[batches]), by_case(nothing)
            pairs += [(ours[case], theirs[case]) for case in ours if case in theirs]
    ours, theirs = (float(np.nanmean(values)) for values in zip(*pairs, strict=True))
    p = paired_p(*zip(*pairs, strict=True))
    return [
        f"after {main[0].cases[batches]} cases, sustainer and training from nothing",
        f"above, p < {_LEVEL}",
        f"{ours:.3f} and {theirs:.3f}, p {p:.2g}",
        _met(ours > theirs and p < _LEVEL),
    ]


def _flexible(flexible: Sequence[Studied], main: Sequence[Studied]) -> list[str]:
    """A third of the slices verified, against all of them, at the time at which the former ended."""
    ours, theirs = [], []
    for study in flexible:
        whole = next((each for each in main if each.seed == study.seed), None)
        if whole is not None:
            spent, dices = along_time(study)[-1], along_time(whole)
            ours.append(spent[1])
            theirs.append(float(np.interp(spent[0], *zip(*dices, strict=True))))
    one, other = _mean(ours), _mean(theirs)
    line = "a third of the slices verified and all of them, at equal time"
    return [line, "not below", f"{one:.3f} and {other:.3f}", _met(one >= other)]


def along_time(study: Studied) -> list[tuple[float, float]]:
    """Minutes at work before each test, and its mean Dice."""
    seconds = [sum(cost.seconds for cost in study.costs if cost.batch < number) for number in range(len(study.tested))]
    return [(spent / 60, mean_of(tested)) for spent, tested in zip(seconds, study.tested, strict=True)]


def curves_table(found: Transferred) -> str:
    """Test Dice of every way after each batch, and what the work took."""
    cases = found.of(MAIN.name)[0].cases
    rows = []
    for way in dict.fromkeys(study.way for study in found.studies):
        studies = found.of(way)
        dices = [_mean(mean_of(study.tested[number]) for study in studies) for number in range(len(cases))]
        ratios = f"{_mean(time_ratio(study.costs) for study in studies):.2f}"
        rows.append([way, str(len(studies)), *(f"{value:.3f}" for value in dices), ratios])
    for batches in sorted({batches for _, batches in found.nothing}):
        tests = [tested for (_, number), tested in found.nothing.items() if number == batches]
        cells = ["" for _ in cases]
        cells[batches] = f"{_mean(map(mean_of, tests)):.3f}"
        rows.append([f"from nothing, the same {cases[batches]} masks", str(len(tests)), *cells, ""])
    if found.full:
        value = f"{_mean(map(mean_of, found.full.values())):.3f}"
        cells = [*[""] * (len(cases) - 1), value]
        rows.append(["from nothing, full truth of all cases", str(len(found.full)), *cells, "1.00"])
    header = ["Dice on the test cases after", "seeds", *(f"{count} cases" for count in cases), "time, of by hand"]
    return markdown_table(header, rows)


def organs_table(found: Transferred) -> str:
    """Of the main way: the igniter, after the last batch, and the full truth, organ by organ."""
    main = found.of(MAIN.name)
    lines = {"igniter": [study.tested[0] for study in main]}
    lines["after the last batch"] = [study.tested[-1] for study in main]
    if found.full:
        lines["full truth"] = list(found.full.values())
    rows = []
    for name, tests in lines.items():
        merged = [value for tested in tests for value in by_case(tested).values()]
        mean, low, high = mean_interval(merged)
        organs = [f"{_mean(mean_of(tested, label) for tested in tests):.3f}" for label in found.labels]
        rows.append([name, f"{mean:.3f}", f"{low:.3f}-{high:.3f}", *organs])
    return markdown_table(["", "Dice", "95 % interval", *found.labels.values()], rows)


def batches_table(found: Transferred) -> str:
    """Of the main way: what the cases of a batch cost, and how much of them was changed."""
    main = found.of(MAIN.name)
    rows = []
    for batch in sorted({cost.batch for study in main for cost in study.costs}):
        costs = [cost for study in main for cost in study.costs if cost.batch == batch]
        changed = float(np.median([cost.changed / max(cost.organs, 1) for cost in costs]))
        rows.append(
            [
                str(batch + 1),
                str(len(costs)),
                f"{np.mean([cost.start for cost in costs]):.3f}",
                f"{np.median([cost.seconds for cost in costs]):.0f}",
                f"{np.median([cost.hand_s for cost in costs]):.0f}",
                f"{time_ratio(costs):.2f}",
                f"{100 * changed:.1f} %",
            ]
        )
    header = ["batch", "cases", "Dice of starting masks", "median s", "by hand s", "ratio", "voxels changed"]
    return markdown_table(header, rows)


def effort_table(model: EffortModel) -> str:
    """The stated model of a person's time."""
    rows = [
        ["drawing", f"{model.drawing_mm_per_s:g} mm/s"],
        ["a click, or putting the pen down", f"{model.click_s:g} s"],
        ["looking at a slice", f"{model.look_s:g} s"],
        ["errors that are let stand", f"where they are not thicker than {model.tolerance_mm:g} mm"],
    ]
    return markdown_table(["what a simulated person does", "taken as"], rows)


def save_plots(found: Transferred, folder: Path) -> None:
    """``dice.png``, test Dice against time at work, and ``seconds.png``, the time of every case of the main way.

    Raises
    ------
    MissingPackageError : matplotlib is not installed.
    OutputError : a file cannot be written.
    """
    figure = new_figure((7, 4.5), "the plots of the benchmark")
    axes = figure.subplots()
    for way in dict.fromkeys(study.way for study in found.studies):
        lines = [along_time(study) for study in found.of(way)]
        minutes, dices = np.mean(np.array(lines), axis=0).T
        axes.plot(minutes, dices, "o-", markersize=4, label=way)
    if found.full:
        axes.axhline(_mean(map(mean_of, found.full.values())), linestyle="--", color="grey", label="full truth")
    axes.set(xlabel="minutes at work, simulated", ylabel="mean Dice on the test cases")
    _saved(figure, axes, folder / "dice.png")
    figure = new_figure((7, 4.5), "the plots of the benchmark")
    axes = figure.subplots()
    for study in found.of(MAIN.name):
        seconds = [cost.seconds for cost in study.costs]
        line = axes.plot(range(1, len(seconds) + 1), seconds, "o", markersize=3)[0]
        steps = [float(np.median([c.seconds for c in study.costs if c.batch == cost.batch])) for cost in study.costs]
        axes.plot(
            range(1, len(steps) + 1), steps, color=line.get_color(), label=f"seed {study.seed}, median of a batch"
        )
    axes.set(xlabel="case", ylabel="seconds, simulated", ylim=(0, None))
    _saved(figure, axes, folder / "seconds.png")


def _saved(figure: object, axes: object, path: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path)


def _mean(values: object) -> float:
    return float(np.mean(list(values)))


def _met(is_met: bool) -> str:
    return "yes" if is_met else "no"
