"""Decides whether a candidate may be used: it must not be worse than the version in use on cases new to both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

Scores = Mapping[int, Mapping[int, float]]
_ENOUGH_FOR_A_TEST = 6  # fewer pairs cannot reach a p of 0.05


@dataclass(frozen=True)
class JudgeSettings:
    """When a candidate counts as worse.

    tolerance : mean loss of Dice of a label over the cases that is still accepted
    level : significance level of the one-sided signed-rank test, which is used from six cases on
    cases : maximum number used; the first that were accepted
    """

    tolerance: float = 0.01
    level: float = 0.05
    cases: int = 8

    def __post_init__(self) -> None:
        if not (self.tolerance >= 0 and 0 < self.level < 1 and self.cases >= 1):
            raise InputError(
                f"tolerance {self.tolerance} must be 0 or more, level {self.level} within 0 and 1, "
                f"cases {self.cases} 1 or more"
            )


@dataclass(frozen=True)
class Verdict:
    """``reason`` is a sentence for the user."""

    good: bool
    reason: str


def judged(
    before: Scores, after: Scores, settings: JudgeSettings | None = None, names: Mapping[int, str] | None = None
) -> Verdict:
    """Compare paired scores, label by label.

    Parameters
    ----------
    before, after : case -> label -> Dice, of the version in use and of the candidate; nan and cases or labels that only
        one has are left out
    names : label -> name in the reason; "label 3" if it has none

    Without any pair, the candidate is used, and the reason says that it was not checked.
    """
    settings = settings or JudgeSettings()
    pairs: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for case in before.keys() & after.keys():
        for label in before[case].keys() & after[case].keys():
            pair = (before[case][label], after[case][label])
            if not np.isnan(pair).any():
                pairs[label].append(pair)
    if not pairs:
        return Verdict(True, "used without a check: no validation case has been accepted yet")
    cases = len(before.keys() & after.keys())
    told = []
    for label, values in sorted(pairs.items()):
        name = (names or {}).get(label, f"label {label}")
        gains = np.diff(np.array(values), axis=1)[:, 0]
        told.append(f"{name} {np.mean([new for _, new in values]):.3f} ({gains.mean():+.3f})")
        if gains.mean() < -settings.tolerance:
            return Verdict(False, f"refused: {name} lost {-gains.mean():.3f} Dice on {_cases(len(gains))}")
        if len(gains) >= _ENOUGH_FOR_A_TEST and gains.any() and _p_of_loss(gains) < settings.level:
            return Verdict(False, f"refused: {name} lost on most of {_cases(len(gains))} (p = {_p_of_loss(gains):.3f})")
    return Verdict(True, f"not worse on {_cases(cases)}: {', '.join(told)}")


def _cases(count: int) -> str:
    return counted(count, "validation case", "validation cases")


def _p_of_loss(gains: np.ndarray) -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(gains, alternative="less").pvalue)
