"""A small plot of the confidence of a propagation, slice by slice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import qt
from numpy.typing import NDArray

_HEIGHT, _WIDTH, _MARGIN = 72, 320, 14
_SURE, _UNSURE = (70, 120, 200), (253, 150, 39)
_DONE, _NEXT, _AXIS = (30, 150, 90), (200, 30, 30), (128, 128, 128)


@dataclass(frozen=True, eq=False)
class ConfidenceCurve:
    """The contents of the plot.

    values : (n,) 0 to 1, one per slice; nan where there is no value, but not everywhere
    ends : names of the first and the last slice with a value
    done : indices of slices marked as done
    proposed : index of the proposed slice, None if there is none
    """

    values: NDArray[np.float64]
    ends: tuple[str, str]
    done: Collection[int] = ()
    proposed: int | None = None


def confidence_plot(curve: ConfidenceCurve) -> qt.QPixmap:
    """One bar per slice, from the first slice with a value to the last; marked slices are green, and a red mark below
    shows the proposed one.
    """
    pixmap = qt.QPixmap(_WIDTH, _HEIGHT)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(pixmap)
    said = np.flatnonzero(~np.isnan(curve.values))
    first, last, floor = int(said[0]), int(said[-1]), _HEIGHT - _MARGIN
    edges = np.rint(np.linspace(_MARGIN, _WIDTH - 1, last - first + 2)).astype(int).tolist()
    for index in range(first, last + 1):
        left, value = edges[index - first], float(curve.values[index])
        width = max(1, edges[index - first + 1] - left)
        if value == value:  # not nan
            height, colour = round(value * (floor - 4)), _DONE if index in curve.done else _mixed(value)
            painter.fillRect(left, floor - height, width, height, _colour(colour))
        if index == curve.proposed:
            painter.fillRect(left - 1, floor + 1, width + 2, 5, _colour(_NEXT))
    painter.fillRect(_MARGIN, floor, _WIDTH - _MARGIN, 1, _colour(_AXIS))
    painter.setPen(_colour(_AXIS))
    painter.drawText(0, 12, "1")
    painter.drawText(0, floor, "0")
    painter.drawText(_MARGIN, _HEIGHT - 1, curve.ends[0])
    painter.drawText(_WIDTH - 8 * len(curve.ends[1]), _HEIGHT - 1, curve.ends[1])
    painter.end()
    return pixmap


def _mixed(value: float) -> tuple[int, ...]:
    return tuple(round(low + value * (high - low)) for low, high in zip(_UNSURE, _SURE, strict=True))


def _colour(rgb: tuple[int, ...]) -> qt.QColor:
    return qt.QColor(*rgb)
