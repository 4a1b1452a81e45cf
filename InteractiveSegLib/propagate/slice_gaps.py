"""The gaps between annotated slices, and how far an object continues beyond the last one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Gap:
    """Slices that get their labels from the annotated slices next to them.

    lower, upper : indices of those; None beyond the last one
    ends : label -> slices beyond the last annotated one at which it is expected to end; empty between two
    length : slices of the axis
    """

    lower: int | None
    upper: int | None
    ends: Mapping[int, float]
    length: int

    @property
    def slices(self) -> range:
        """To be filled."""
        reach = max(map(math.ceil, self.ends.values()), default=0)
        if self.lower is None:
            return range(max(0, self.upper - reach), self.upper)
        if self.upper is None:
            return range(self.lower + 1, min(self.length, self.lower + 1 + reach))
        return range(self.lower + 1, self.upper)

    @property
    def pairs(self) -> range:
        """Lower slices of the neighbours to be registered."""
        filled = self.slices
        return range(filled.start - (self.lower is not None), filled.stop - (self.upper is None))


def gaps(
    annotated: Mapping[int, NDArray[np.integer]], labels: Sequence[int], length: int, spacing_mm: Sequence[float]
) -> list[Gap]:
    """Gaps along an axis, in their order.

    Between two empty slices there is nothing to fill. Beyond the first and the last one, a label continues if they show
    it (see ``expected_end``).

    Parameters
    ----------
    annotated : index -> labels (H, W)
    spacing_mm : along the axis, rows, columns
    """
    indices = sorted(annotated)
    shown = {index: [label for label in labels if (annotated[index] == label).any()] for index in indices}
    found = []
    for last, before, lower, upper in (
        (indices[0], indices[1:2], None, indices[0]),
        (indices[-1], indices[-2:-1], indices[-1], None),
    ):
        ends = {label: expected_end(annotated, last, before, label, spacing_mm) for label in shown[last]}
        found.append(Gap(lower, upper, ends, length))
    between = [Gap(lower, upper, {}, length) for lower, upper in pairwise(indices) if shown[lower] or shown[upper]]
    return [gap for gap in (found[0], *between, found[1]) if len(gap.slices)]


def expected_end(
    annotated: Mapping[int, NDArray[np.integer]],
    last: int,
    before: Sequence[int],
    label: int,
    spacing_mm: Sequence[float],
) -> float:
    """Slices beyond the last annotated one at which a label is expected to end.

    Its area is assumed to decrease as it did from the previous annotated slice; it continues no farther than its own
    radius there (that of a circle of the same area, as on a sphere cut through the middle), nor than the last gap.
    """
    step_mm, *pixel_mm = spacing_mm
    area = np.count_nonzero(annotated[last] == label)
    ends = [math.sqrt(area * math.prod(pixel_mm) / math.pi) / step_mm]
    for index in before:
        distance = abs(index - last)
        ends.append(distance)
        previous = np.count_nonzero(annotated[index] == label)
        if previous > area:
            ends.append(distance * area / (previous - area))
    return min(ends)
