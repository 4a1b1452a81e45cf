"""The slices along one axis: their intensities in a crop, and what is annotated on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.intensity import crop_intensities
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.propagate.shape_interpolation import signed_distance_mm
from InteractiveSegLib.propagate.slice_gaps import Gap
from InteractiveSegLib.propagate.working_plane import WorkingPlane
from InteractiveSegLib.wording.counting import counted

_LATTICE = 0.2  # of the labels' extent


@dataclass(frozen=True, eq=False)
class AxisStack:
    """One axis of the image, with what is annotated on it.

    images : index -> (h, w) intensities in [0, 1] on the working grid, of all slices in a gap and those beside it
    annotated : index -> (H, W) labels in the crop
    labels : in the order of the channels
    """

    axis: int
    plane: WorkingPlane
    images: Mapping[int, NDArray[np.float32]]
    annotated: Mapping[int, NDArray[np.integer]]
    labels: tuple[int, ...]

    def distances_mm(self, index: int) -> NDArray[np.float32]:
        """(C, h, w) signed distances of an annotated slice on the working grid."""
        drawn = self.annotated[index]
        masks = [drawn == label for label in self.labels]
        if len(masks) > 1:
            masks.append(np.isin(drawn, self.labels))
        return self.plane.averaged(np.stack([signed_distance_mm(mask, self.plane.spacing_mm) for mask in masks]))


def axis_first(of_axes: Sequence, axis: int) -> tuple:
    """Values of the axes k, j, i with those of one axis before the others."""
    return (of_axes[axis], *(value for other, value in enumerate(of_axes) if other != axis))


def plane_round(
    drawn: Iterable[NDArray[np.integer]],
    spacing_mm: tuple[float, float],
    margin: float,
    least_margin_pixels: int,
    largest_side: int,
) -> WorkingPlane:
    """The crop that holds all labels and a margin.

    Its borders lie on a coarse lattice, so that most additional slices do not change it.
    """
    any_label = np.logical_or.reduce([labels > 0 for labels in drawn])
    spans = []
    for other, mm in zip((1, 0), spacing_mm, strict=True):
        length = any_label.shape[1 - other]
        hits = np.flatnonzero(any_label.any(axis=other))
        start, stop = (int(hits[0]), int(hits[-1]) + 1) if hits.size else (0, length)
        around = max(margin * (stop - start), least_margin_pixels * min(spacing_mm) / mm)
        step = 2 ** max(0, math.floor(math.log2((stop - start) * _LATTICE)))
        low, high = math.floor((start - around) / step) * step, math.ceil((stop + around) / step) * step
        spans.append((max(0, low), min(length, high)))
    return WorkingPlane(*spans, spacing_mm, largest_side)


def image_steps(
    volume: Volume, axis: int, plane: WorkingPlane, to_fill: Sequence[Gap], window: tuple[float, float] | None
) -> Steps[tuple[dict[int, NDArray[np.float32]], list[str]]]:
    """Intensities of all slices that are registered, on the working grid, and notes on them.

    Without a window the percentiles are those of the crop in all slices of the image.
    """
    wanted = sorted({index for gap in to_fill for lower in gap.pairs for index in (lower, lower + 1)})
    text = "reading slices"
    yield Progress(0, len(wanted), text)
    if not wanted:
        return {}, []
    box = plane.box(axis, (0, volume.geometry.shape_kji[axis]))
    if window is None:
        crop, missing = crop_intensities(volume, box)
    else:
        crop, missing = volume.array_kji[box.slices], 0
    along = np.moveaxis(crop, axis, 0)
    images = {}
    for index in wanted:
        yield Progress(len(images), len(wanted), text)
        image = along[index]
        if window is not None:
            missing += image.size - int(np.count_nonzero(np.isfinite(image)))
            image = windowed(image, window)
        images[index] = plane.averaged(image)
    said = counted(missing, "voxel is NaN or infinite and is treated", "voxels are NaN or infinite and are treated")
    notes = [f"{said} as dark"] if missing else []
    if window is not None and not any(np.ptp(image) for image in images.values()):
        notes.append(f"nothing is visible in the window {window[0]:g} to {window[1]:g}: the image may not be a CT")
    return images, notes


def windowed(image: NDArray, window: tuple[float, float]) -> NDArray[np.float32]:
    """0 to 1 within the window, clipped outside; values that are not finite become 0."""
    low, high = window
    scaled = (np.where(np.isfinite(image), image, low).astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


@dataclass(eq=False)
class AxisLabels:
    """The result of one axis for its slices, in the crop of ``plane``. Slices without a result are missing.

    levels : index -> (C, h, w) float16 on the working grid, -1 (not this label) to 1; the labels in their order, and
        after them, if there are several, their union
    apart : index -> (h, w) float16, half the difference between the two sides, 0 to 1
    quality : index -> 0 to 1, of the registrations between it and the annotated slices
    notes : on what could not be registered
    """

    axis: int
    plane: WorkingPlane
    levels: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    apart: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    quality: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
