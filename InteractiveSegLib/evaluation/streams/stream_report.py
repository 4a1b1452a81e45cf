"""The benefit of learning from accepted cases, as tables and plots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from InteractiveSegLib.evaluation.statistics import mean_interval, paired_p, trend
from InteractiveSegLib.evaluation.streams.automatic_stream import StreamResult
from InteractiveSegLib.evaluation.streams.effort_stream import CaseCost
from InteractiveSegLib.evaluation.streams.forgetting import Memory
from InteractiveSegLib.evaluation.streams.interactive_stream import StreamScore
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.system.figures import new_figure, save_figure

_COSTS = (  # field of CaseCost, title, digits, sign of an improvement
    ("strokes", "strokes until the mask is good", 1, -1),
    ("edited", "voxels corrected by hand after them", 0, -1),
    ("first", "Dice from the box alone", 3, 1),
)


def interactive_table(scores: Sequence[StreamScore]) -> str:
    """Mean Dice per method and number of accepted patients, its interval, and p against the first row."""
    by_case: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    by_object: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        by_case[score.method, score.after][score.case].append(score.dice)
        by_object[score.method, score.after][score.object].append(score.dice)
    names = list(dict.fromkeys(score.object for score in scores))
    keys = sorted(by_case, key=lambda key: (key[0] != "mixtures", key[0], key[1]))
    means = {key: {case: float(np.nanmean(values)) for case, values in by_case[key].items()} for key in keys}
    rows = []
    for key in keys:
        mean, low, high = mean_interval(list(means[key].values()))
        common = [case for case in means[key] if case in means[keys[0]]]
        p = paired_p([means[key][case] for case in common], [means[keys[0]][case] for case in common])
        objects = [f"{np.nanmean(by_object[key][name]):.3f}" for name in names]
        learnt = "" if key[0] == "mixtures" else f", {key[1]} patients accepted"
        compared = "" if key == keys[0] else f"{p:.3g}"
        rows.append([f"{key[0]}{learnt}", f"{mean:.3f}", f"{low:.3f}-{high:.3f}", compared, *objects])
    return markdown_table(["", "Dice", "95 % interval", "p", *names], rows)


def automatic_table(results: Sequence[StreamResult]) -> str:
    """Test Dice along the stream and offline, and the cost of annotation; one row per seed."""
    after = sorted({number for result in results for number in result.curve})
    rows = []
    for result in results:
        effort, mask = (float(np.mean([record[name] for record in result.records])) for name in ("effort", "mask"))
        curve = [f"{result.curve[each]:.3f}" if each in result.curve else "" for each in after]
        lead = f"{list(result.curve.values())[-1] - result.offline:+.3f}"
        rows.append([str(result.seed), *curve, f"{result.offline:.3f}", lead, f"{100 * effort:.1f} %", f"{mask:.3f}"])
    header = [
        "seed",
        *(f"after {each}" for each in after),
        "offline, full truth",
        "stream - offline",
        "boundary effort",
        "accepted masks",
    ]
    return markdown_table(header, rows)


def forgetting_table(found: Sequence[Memory], first: str, second: str) -> str:
    rows = [
        [each.replay, *(f"{value:.3f}" for value in each.first), f"{each.lost:+.3f}", f"{each.other:.3f}"]
        for each in found
    ]
    header = ["replay", f"{first} learnt", f"after {second}", f"{first} again", "lost", f"{second} itself"]
    return markdown_table(header, rows)


def effort_table(learning: Sequence[CaseCost], fixed: Sequence[CaseCost]) -> str:
    """Cost per case in the first and in the last third of the stream, and the test for a trend.

    The difference to the network that does not learn, on the same cases, does not depend on how hard each case is.
    """
    alike = [case for case in zip(learning, fixed, strict=False) if case[0].case == case[1].case]
    rows = []
    for name, title, digits, better in _COSTS:
        series = {
            "learning": [getattr(cost, name) for cost in learning],
            "not learning": [getattr(cost, name) for cost in fixed],
            "difference": [getattr(one, name) - getattr(other, name) for one, other in alike],
        }
        for network, values in series.items():
            if not values:
                continue
            part = max(1, len(values) // 3)
            tau, p = trend([-better * value for value in values])
            ends = [f"{np.mean(values[:part]):.{digits}f}", f"{np.mean(values[-part:]):.{digits}f}"]
            rows.append([title, network, *ends, f"{-better * tau:+.2f}", f"{p:.3g}"])
    header = ["a case", "network", "first third", "last third", "Kendall's tau", "p of improvement"]
    return markdown_table(header, rows)


def save_curve(results: Sequence[StreamResult], path: Path) -> None:
    """Test Dice against the number of streamed cases, one line per seed, with the offline Dice dashed."""
    figure, axes = _figure()
    for result in results:
        line = axes.plot(list(result.curve), list(result.curve.values()), "o-", label=f"stream, seed {result.seed}")[0]
        axes.axhline(result.offline, linestyle="--", color=line.get_color(), label=f"offline, seed {result.seed}")
    numbers = sorted({number for result in results for number in result.curve})
    axes.set(xlabel="cases", ylabel="mean Dice on test cases", xscale="log")
    axes.minorticks_off()
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.margins(y=0.1)
    _saved(figure, axes, path)


def save_effort(learning: Sequence[CaseCost], fixed: Sequence[CaseCost], path: Path) -> None:
    """Strokes per case along the stream."""
    figure, axes = _figure()
    for name, costs in (("learning", learning), ("not learning", fixed)):
        if not costs:
            continue
        strokes = np.array([cost.strokes for cost in costs], float)
        line = axes.plot(range(1, len(strokes) + 1), strokes, "o", markersize=3, alpha=0.5)[0]
        running = [strokes[max(0, end - 5) : end].mean() for end in range(1, len(strokes) + 1)]
        axes.plot(range(1, len(strokes) + 1), running, color=line.get_color(), label=f"{name}, mean of 5")
    axes.set(xlabel="case", ylabel="strokes until the mask is good", ylim=(0, None))
    _saved(figure, axes, path)


def _figure() -> tuple:
    figure = new_figure((7, 4.5), "the plots of the benchmark")
    return figure, figure.subplots()


def _saved(figure: object, axes: object, path: Path) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path)
