"""Finished registrations and gaps, so that a new annotated slice costs only what it changes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.propagate.axis_stack import AxisLabels
from InteractiveSegLib.propagate.registration import PairRegistration, RegistrationSettings
from InteractiveSegLib.propagate.working_plane import WorkingPlane

PairKey = tuple[int, int]
"""Axis, and index of the lower of two neighbouring slices."""


@dataclass(eq=False)
class RegistrationCache:
    """Registered pairs of one image. The caller keeps it between propagations.

    Its content never changes a result: intensities and crop are functions of the image and the annotated slices.

    pairs : axis and lower slice -> how the two lie on each other, on the working grid of ``planes[axis]``
    planes : axis -> crop that they were registered in
    filled : axis -> what the labels of a gap between annotated slices depend on -> those labels
    """

    pairs: dict[PairKey, PairRegistration] = field(default_factory=dict)
    planes: dict[int, WorkingPlane] = field(default_factory=dict)
    filled: dict[int, dict[Hashable, AxisLabels]] = field(default_factory=dict)
    _belongs: tuple[Volume, RegistrationSettings] | None = field(default=None, repr=False)

    def prepare(self, volume: Volume, settings: RegistrationSettings) -> None:
        """Forget everything if the image or the settings have changed."""
        if self._belongs is not None:
            before, with_settings = self._belongs
            if before.array_kji is volume.array_kji and with_settings == settings:
                return
        self.pairs.clear()
        self.planes.clear()
        self.filled.clear()
        self._belongs = (volume, settings)

    def work_in(self, axis: int, plane: WorkingPlane) -> None:
        """Forget an axis if its crop has changed."""
        if self.planes.get(axis) != plane:
            self.planes[axis] = plane
            self.filled.pop(axis, None)
            for key in [key for key in self.pairs if key[0] == axis]:
                del self.pairs[key]

    def keep(self, found: Mapping[PairKey, PairRegistration]) -> None:
        self.pairs.update(found)
