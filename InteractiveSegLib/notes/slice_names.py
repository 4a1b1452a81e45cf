"""Names of slices: by index, as in files, or by position in the patient, as in 3D Slicer."""

from __future__ import annotations

import itertools
import math
from typing import Protocol

import numpy as np

from InteractiveSegLib.image.geometry import Geometry, kji_to_ras

Place = tuple[int, int]
"""Axis, 0, 1, 2 for k, j, i, and index along it."""

AXIS_NAMES = "kji"
_PLANES = ("sagittal", "coronal", "axial")  # across R, A, S
_LETTERS = (("R", "L"), ("A", "P"), ("S", "I"))
_OBLIQUE_DEGREES = 1.0  # a plane tilted by less is off by less than 2 mm at 100 mm from its middle
_MOST_DECIMALS = 6


class SliceNames(Protocol):
    """The reader's names for slices."""

    def one(self, place: Place) -> str: ...

    def run(self, axis: int, first: int, last: int) -> str:
        """For neighbours, both ends included."""
        ...


class ByIndex:
    """Such as "k slice 12"."""

    def one(self, place: Place) -> str:
        return f"{AXIS_NAMES[place[0]]} slice {place[1]}"

    def run(self, axis: int, first: int, last: int) -> str:
        return f"{AXIS_NAMES[axis]} slices {first} to {last}"


class InPatient:
    """Such as "axial, S 50 mm": the plane, and how far the middle of the slice lies from the origin across it.

    A plane that is more than 1 degree off the patient's is called oblique, such as "axial (oblique), S 50 mm". Each
    voxel axis has a plane of its own: together, the three are closest to the slices' normals. There are as many
    decimals as needed to distinguish neighbours, at least one; trailing zeros are omitted.

    Parameters
    ----------
    geometry : of the image, in the patient
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        axes = geometry.ijk_to_ras[:3, 2::-1]  # of k, j, i
        normals = np.linalg.inv(axes)
        cosines = np.abs(normals) / np.linalg.norm(normals, axis=1, keepdims=True)
        orders = itertools.permutations(range(3))
        self._across = max(orders, key=lambda order: sum(cosines[axis, order[axis]] for axis in range(3)))
        self._oblique = [
            math.degrees(math.acos(min(1.0, cosines[axis, self._across[axis]]))) > _OBLIQUE_DEGREES for axis in range(3)
        ]
        self._steps_mm = [abs(float(axes[self._across[axis], axis])) for axis in range(3)]

    def one(self, place: Place) -> str:
        return f"{self.plane(place[0])}, {self.position(place)}"

    def run(self, axis: int, first: int, last: int) -> str:
        return f"{self.plane(axis)}, {self.position((axis, first))} to {self.position((axis, last))}"

    def plane(self, axis: int) -> str:
        """Such as "axial" or "axial (oblique)"."""
        return _PLANES[self._across[axis]] + (" (oblique)" if self._oblique[axis] else "")

    def position(self, place: Place) -> str:
        """Such as "S 50 mm"."""
        axis, index = place
        middle = (np.array(self._geometry.shape_kji) - 1) / 2
        middle[axis] = index
        at_mm = float(kji_to_ras(middle[None], self._geometry)[0, self._across[axis]])
        step_mm = max(self._steps_mm[axis], 10.0**-_MOST_DECIMALS)
        decimals = min(max(1, math.floor(-math.log10(step_mm)) + 1), _MOST_DECIMALS)
        text = f"{at_mm:.{decimals}f}".rstrip("0").rstrip(".")
        positive, negative = _LETTERS[self._across[axis]]
        letter = negative if text.startswith("-") and text != "-0" else positive
        return f"{letter} {text.removeprefix('-')} mm"


class InBoth:
    """Such as "k slice 12, axial, S 50 mm".

    Parameters
    ----------
    geometry : of the image, in the patient
    """

    def __init__(self, geometry: Geometry) -> None:
        self._by_index, self._in_patient = ByIndex(), InPatient(geometry)

    def one(self, place: Place) -> str:
        return f"{self._by_index.one(place)}, {self._in_patient.one(place)}"

    def run(self, axis: int, first: int, last: int) -> str:
        return f"{self._by_index.run(axis, first, last)}, {self._in_patient.run(axis, first, last)}"
