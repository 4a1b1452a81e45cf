"""Means with confidence intervals, and tests for differences between methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_RESAMPLES = 2000


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and its bootstrap interval (percentiles of resampled means, seeded); nan are left out.

    Returns
    -------
    mean, lower and upper bound; three nan if there is no value, no spread if there is only one
    """
    kept = np.asarray([value for value in values if not np.isnan(value)], float)
    if not len(kept):
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(0).integers(0, len(kept), (_RESAMPLES, len(kept)))
    low, high = np.percentile(kept[drawn].mean(axis=1), (50 * (1 - level), 50 * (1 + level)))
    return float(kept.mean()), float(low), float(high)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test of paired values; 1 where all pairs are equal, nan without pairs."""
    from scipy.stats import wilcoxon

    differences = np.asarray(first, float) - np.asarray(second, float)
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return float("nan")
    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def trend(values: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau of a series against its order, and the one-sided p of a decrease (the Mann-Kendall test).

    Returns
    -------
    tau from -1 (falls throughout) to 1, p; nan twice for fewer than three values or a constant series
    """
    from scipy.stats import kendalltau

    if len(values) < 3 or np.ptp(values) == 0:
        return float("nan"), float("nan")
    found = kendalltau(np.arange(len(values)), values, alternative="less")
    return float(found.statistic), float(found.pvalue)
