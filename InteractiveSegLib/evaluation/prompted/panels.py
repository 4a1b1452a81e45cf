"""The panels that are compared: users with one kind of first prompt, after a round; and the means of their scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings
from InteractiveSegLib.evaluation.prompted.methods import BASELINES
from InteractiveSegLib.evaluation.prompted.trial import BOX, HUMAN, LOOSE_BOX, MASK, NONE, SLICE_BOX, Score

CaseKey = tuple[str, str, int]


DRAWN_FIRST = {BOX: "box", SLICE_BOX: "box on one slice", LOOSE_BOX: "loose box", NONE: "no box", MASK: "mask"}


@dataclass(frozen=True)
class Panel:
    """Scores that are compared: one user after one round, who began with one kind of prompt."""

    user: str
    round: int
    prompted: str = BOX

    @property
    def title(self) -> str:
        if self.user == HUMAN:
            return "Scribbles of people, without a box"
        drawn = DRAWN_FIRST[self.prompted]
        if self.round == 0:
            return f"The {drawn} alone"
        plural = "s" * (self.round > 1)
        if self.prompted == NONE:
            return f"No box, {self.round} interaction{plural} (user: {self.user})"
        return f"{drawn.capitalize()} and {self.round} round{plural} of scribbles (user: {self.user})"

    @property
    def name(self) -> str:
        """A name for files."""
        return self.user if self.prompted == BOX or self.user == HUMAN else f"{self.prompted}_{self.user}"

    @property
    def who(self) -> str:
        """The user, and the first prompt unless it was a box as usual."""
        drawn_first = self.prompted != BOX and self.user != HUMAN
        return f"{self.user}, {DRAWN_FIRST[self.prompted]}" if drawn_first else self.user

    @property
    def place(self) -> str:
        """Name of its table in a page."""
        return HUMAN if self.user == HUMAN else f"{self.prompted} {self.user} {self.round}"

    def chosen(self, scores: Sequence[Score]) -> list[Score]:
        return [s for s in scores if s.round == self.round and of_session(s, self.user, self.prompted)]


def of_session(score: Score, user: str, prompted: str) -> bool:
    """Whether a score is of this user, who began with this prompt."""
    return score.user == user and (user == HUMAN or score.prompted == prompted)


def panels(settings: BenchmarkSettings) -> Iterator[Panel]:
    """The panels in the tables: each box alone once, then every user after the last round that every user makes."""
    robots = [user for user in settings.users if user != HUMAN]
    if robots:
        yield from (Panel(robots[0], 0, prompted) for prompted in settings.prompts if prompted != NONE)
    for user, prompted in settings.sessions:
        if user == HUMAN:
            yield Panel(user, 0, prompted)
        elif settings.trial.rounds:
            yield Panel(user, settings.trial.rounds, prompted)


def reference(methods: Sequence[str]) -> str:
    """The method with which others are compared: the first network, or the first method if there is none."""
    return next((method for method in methods if method not in BASELINES), methods[0])


def case_means(scores: Sequence[Score], measure: str) -> dict[str, dict[CaseKey, float]]:
    """method -> (dataset, case, person) -> mean of a measure over the objects; nan are left out."""
    values: dict[str, dict[CaseKey, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        values[score.method][score.dataset, score.case, score.person].append(getattr(score, measure))
    return {method: {key: mean_of(found) for key, found in of_case.items()} for method, of_case in values.items()}


def dataset_means(scores: Sequence[Score], measure: str) -> dict[str, float]:
    """method -> mean over the datasets of the mean of a measure over the cases; nan are left out."""
    means = {}
    for method, of_case in case_means(scores, measure).items():
        by_dataset: dict[str, list[float]] = defaultdict(list)
        for (dataset, _, _), value in of_case.items():
            by_dataset[dataset].append(value)
        means[method] = mean_of([mean_of(values) for values in by_dataset.values()])
    return means


def mean_of(values: Sequence[float]) -> float:
    """Mean without nan; nan if nothing is left."""
    kept = [value for value in values if not np.isnan(value)]
    return float(np.mean(kept)) if kept else float("nan")
