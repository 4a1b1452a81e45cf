"""A whole image as a lesson of the automatic network: along the patient's axes, at the network's voxel size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.intensity import crop_intensities

_RAS = 3


@dataclass(frozen=True, eq=False)
class ImageLesson:
    """Axes are those of the image closest to S, A and R of the patient, or slices and the two others.

    image : (S, P, Q) float32 in [0, 1]
    labels : of the targets
    targets : (L, S, P, Q) float32; the rest is background
    weight : (S, P, Q) float32
    dark : (1 + L', S, P, Q) float16, a network's logits for ``dark_labels`` when the image was new, or None
    known : (L, S, P, Q) bool, where the targets are known; None if they are known everywhere. Elsewhere they are 0
    spacing_mm, slices_first : those of the network that the image is for
    """

    image: NDArray[np.float32]
    labels: tuple[int, ...]
    targets: NDArray[np.float32]
    weight: NDArray[np.float32]
    dark: NDArray[np.float16] | None = None
    known: NDArray[np.bool_] | None = None
    dark_labels: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    slices_first: bool = False

    def arrays(self) -> dict[str, NDArray]:
        """Arrays for ``numpy.savez``; inverse of ``from_arrays``."""
        kept = {name: getattr(self, name).astype(np.float16) for name in ("image", "targets", "weight")}
        more = {"dark": self.dark, "known": self.known}
        return {
            **kept,
            "labels": np.array(self.labels, int),
            "dark_labels": np.array(self.dark_labels, int),
            "spacing_mm": np.array(self.spacing_mm, float),
            "slices_first": np.array(self.slices_first),
            **{name: array for name, array in more.items() if array is not None},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> ImageLesson:
        """Inverse of ``arrays``. InputError if one of the arrays that every lesson has is missing."""
        if missing := {"image", "labels", "targets", "weight"} - set(arrays):
            raise InputError(f"a stored image has no {', '.join(sorted(missing))}")
        image, targets, weight = (arrays[name].astype(np.float32) for name in ("image", "targets", "weight"))
        labels, dark_labels, spacing = (
            tuple(arrays[name].tolist()) if name in arrays else () for name in ("labels", "dark_labels", "spacing_mm")
        )
        dark, known, slices_first = (arrays.get(name) for name in ("dark", "known", "slices_first"))
        return cls(image, labels, targets, weight, dark, known, dark_labels, spacing, bool(slices_first))

    def with_dark(self, logits: Tensor, labels: Sequence[int]) -> ImageLesson:
        """A copy with a network's logits (1 + L', S, P, Q) for these labels."""
        return replace(self, dark=logits.numpy().astype(np.float16), dark_labels=tuple(labels))


@dataclass(frozen=True)
class PatientAxes:
    """How to reorder an array (K, J, I) so that its axes are as close to S, A and R as possible, and back.

    order : axes of the array that become the first, second and third
    flipped : those of them that are reversed
    """

    order: tuple[int, int, int]
    flipped: tuple[int, ...]

    @classmethod
    def of(cls, geometry: Geometry) -> PatientAxes:
        along = _along(geometry)
        order: list[int] = []
        for row in along:
            order.append(max((axis for axis in range(_RAS) if axis not in order), key=lambda axis: abs(row[axis])))
        flipped = tuple(place for place, axis in enumerate(order) if along[place, axis] < 0)
        return cls(tuple(order), flipped)  # type: ignore[arg-type]

    @classmethod
    def slices_first(cls, geometry: Geometry) -> PatientAxes:
        """The axis of the slices comes first, in any direction, then the others in the patient's order.

        It is the axis with a single voxel, or else the one with the largest spacing.

        For images whose slices have different directions, such as short-axis views of the heart.
        """
        axes, along = cls.of(geometry), _along(geometry)
        single = np.array(geometry.shape_kji) == 1
        first = int(np.argmax(np.where(single, np.inf, geometry.spacing_kji_mm)))
        places = [axes.order.index(first), *(place for place in range(_RAS) if axes.order[place] != first)]
        order = tuple(axes.order[place] for place in places)
        flipped = tuple(new for new, place in enumerate(places) if along[place, axes.order[place]] < 0)
        return cls(order, flipped)  # type: ignore[arg-type]

    def turned(self, array: NDArray) -> NDArray:
        """An array with its last three axes in the patient's order."""
        lead = array.ndim - _RAS
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.ascontiguousarray(np.flip(moved, [lead + axis for axis in self.flipped]))

    def turned_back(self, array: NDArray) -> NDArray:
        """The inverse of ``turned``."""
        lead = array.ndim - _RAS
        moved = np.flip(array, [lead + axis for axis in self.flipped])
        return np.ascontiguousarray(moved.transpose(*range(lead), *(lead + int(a) for a in np.argsort(self.order))))

    def spacing_mm(self, geometry: Geometry) -> tuple[float, float, float]:
        return tuple(geometry.spacing_kji_mm[axis] for axis in self.order)


def _along(geometry: Geometry) -> NDArray[np.float64]:
    """(3, 3) cosines: rows are S, A and R of the patient, columns the axes k, j and i of the image."""
    directions = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    return directions[::-1, ::-1]


def seen(volume: Volume, axes: PatientAxes, spacing_mm: tuple[float, float, float]) -> Tensor:
    """The image (S, P, Q) in [0, 1] as the network sees it."""
    intensities, _ = crop_intensities(volume, BoundingBox.whole(volume.geometry.shape_kji))
    return resampled(torch.from_numpy(axes.turned(intensities)), axes.spacing_mm(volume.geometry), spacing_mm)


def on_image_grid(values: Tensor, axes: PatientAxes, geometry: Geometry) -> NDArray[np.float32]:
    """What a network returns of an image (C, S, P, Q), on the image's own grid (C, K, J, I)."""
    shape = tuple(geometry.shape_kji[axis] for axis in axes.order)
    return axes.turned_back(resized(values, shape).numpy())


def resampled(values: Tensor, own_mm: tuple[float, ...], wanted_mm: tuple[float, ...]) -> Tensor:
    """(S, P, Q) or (C, S, P, Q) at another voxel size: averaged along axes that get coarser, otherwise interpolated."""
    size = tuple(max(1, round(n * own / mm)) for n, own, mm in zip(values.shape[-3:], own_mm, wanted_mm, strict=True))
    return resized(values, size)


def resized(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """(S, P, Q) or (C, S, P, Q) resized to a number of voxels."""
    if tuple(values.shape[-3:]) == tuple(size):
        return values
    stack = values[None] if values.ndim == 4 else values[None, None]
    smaller = tuple(min(n, m) for n, m in zip(stack.shape[2:], size, strict=True))
    stack = torch.nn.functional.adaptive_avg_pool3d(stack, smaller)
    stack = torch.nn.functional.interpolate(stack, size, mode="trilinear")
    return stack[0] if values.ndim == 4 else stack[0, 0]
