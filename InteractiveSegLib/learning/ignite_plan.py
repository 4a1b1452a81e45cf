"""Input grid and augmentation of the igniter, the same for the images of its source and of the study."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.automatic_network import THICK
from InteractiveSegLib.learning.automatic_teacher import MOST_VOXELS
from InteractiveSegLib.learning.image_lesson import PatientAxes
from InteractiveSegLib.learning.strong_augmentation import ANY_ANGLE
from InteractiveSegLib.system.files import replacing

_SLICED = 1.5  # an image whose voxels are this many times longer along one axis has slices


@dataclass(frozen=True)
class IgnitePlan:
    """Chosen when a training begins, and stored with it.

    spacing_mm, slices_first : of ``AutomaticNetwork``
    turned_degrees : of ``AugmentationSettings``
    """

    spacing_mm: tuple[float, float, float]
    slices_first: bool
    turned_degrees: float

    @classmethod
    def of(cls, targets: Sequence[Geometry], sources: Sequence[Geometry], turned_degrees: float) -> IgnitePlan:
        """The plan for these images; the voxel size is the median of the study's.

        If the slices of the images have different directions in the patient, the network sees them as slices rotated by
        any angle, since what is up in one image may be right in another.
        """
        directions = {found for each in (*targets, *sources) if (found := _slice_direction(each)) is not None}
        slices_first = len(directions) > 1 and float(np.median([_thickness(each) for each in targets])) >= THICK
        axes_of = PatientAxes.slices_first if slices_first else PatientAxes.of
        spacing = np.median([axes_of(each).spacing_mm(each) for each in targets], axis=0)
        largest_mm3 = max(each.voxel_count * float(np.prod(each.spacing_kji_mm)) for each in targets)
        coarser = max(1.0, (largest_mm3 / float(np.prod(spacing)) / MOST_VOXELS) ** (1 / 3))
        return cls(tuple((spacing * coarser).tolist()), slices_first, ANY_ANGLE if slices_first else turned_degrees)

    def save(self, path: Path) -> None:
        """OutputError if the file cannot be written."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> IgnitePlan:
        """InputError if the file is missing or damaged."""
        try:
            kept = json.loads(path.read_text("utf-8"))
            s, p, q = (float(mm) for mm in kept["spacing_mm"])
            return cls((s, p, q), bool(kept["slices_first"]), float(kept["turned_degrees"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"the plan {path} cannot be read: {error}") from error


def _thickness(geometry: Geometry) -> float:
    """Ratio of the largest spacing to the second largest."""
    spacing = sorted(geometry.spacing_kji_mm)
    return spacing[2] / spacing[1]


def _slice_direction(geometry: Geometry) -> int | None:
    """The patient's axis, 0 S, 1 A, 2 R, that is closest to the normal of the slices; None if there are no slices."""
    if _thickness(geometry) < _SLICED:
        return None
    return PatientAxes.of(geometry).order.index(int(np.argmax(geometry.spacing_kji_mm)))
