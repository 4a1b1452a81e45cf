"""The plots of a benchmark: how masks improve by rounds and by seconds, and how much they spread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings
from InteractiveSegLib.evaluation.prompted.panels import Panel, case_means, dataset_means, of_session, panels
from InteractiveSegLib.evaluation.prompted.trial import HUMAN, Score
from InteractiveSegLib.system.figures import new_figure, save_figure


def save_plots(scores: Sequence[Score], settings: BenchmarkSettings, folder: Path) -> list[Path]:
    """Dice against rounds and against seconds for each robot user, and box plots of all panels; returns the PNG files.

    Raises
    ------
    MissingPackageError : matplotlib is not installed.
    OutputError : a file cannot be written.
    """
    written = []
    for user, prompted in (session for session in settings.sessions if session[0] != HUMAN and settings.trial.rounds):
        figure = new_figure((11, 4.2), "the plots of the benchmark")
        by_round, by_seconds = figure.subplots(1, 2, sharey=True)
        for method in settings.methods:
            own = [s for s in scores if of_session(s, user, prompted) and s.method == method]
            rounds, dice, seconds = _course(own, settings)
            if len(rounds):
                by_round.plot(rounds, dice, "o-", label=method, markersize=4)
                by_seconds.plot(np.maximum(seconds, 0.01), dice, "o-", label=method, markersize=4)
        if not by_round.lines:  # every case failed
            continue
        by_round.set(xlabel="rounds of scribbles", ylabel="mean Dice", ylim=(0, 1))
        by_round.set_xticks(range(settings.trial.rounds + 1))
        by_seconds.set(xlabel="seconds of computing, in total", xscale="log")
        by_round.legend(fontsize=8)
        for axes in (by_round, by_seconds):
            axes.grid(alpha=0.3)
        written.append(_saved(figure, folder / f"rounds_{Panel(user, 0, prompted).name}.png"))
    for panel in panels(settings):
        means = case_means(panel.chosen(scores), "dice")
        shown = [method for method in settings.methods if method in means]
        if not shown:
            continue
        figure = new_figure((1.6 + 1.1 * len(shown), 4.2), "the plots of the benchmark")
        axes = figure.subplots()
        axes.boxplot([list(means[method].values()) for method in shown], showmeans=True)
        axes.set_xticks(range(1, len(shown) + 1), shown)
        axes.set(ylabel="Dice of a case", ylim=(0, 1), title=panel.title)
        axes.tick_params(axis="x", labelrotation=30)
        axes.grid(axis="y", alpha=0.3)
        written.append(_saved(figure, folder / f"spread_{panel.name}_{panel.round}.png"))
    return written


def _course(scores: Sequence[Score], settings: BenchmarkSettings) -> tuple[list[int], list[float], list[float]]:
    """Rounds that every case has, and the means of one method as in the tables: Dice, and seconds since the start."""
    by_round: dict[int, list[Score]] = defaultdict(list)
    for score in scores:
        if score.round <= settings.trial.rounds:
            by_round[score.round].append(score)
    rounds = sorted(by_round)
    dice, seconds = (
        [mean for number in rounds for mean in dataset_means(by_round[number], measure).values()]
        for measure in ("dice", "seconds")
    )
    return rounds, dice, np.cumsum(seconds).tolist()


def _saved(figure: object, path: Path) -> Path:
    save_figure(figure, path)
    return path
