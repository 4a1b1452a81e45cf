"""Pictures of a mask on its image, in three planes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.system.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MASK, _TRUTH, _BOX = "#ffb000", "#35d07f", "#4da3ff"
_FOREGROUND_SCRIBBLE, _BACKGROUND_SCRIBBLE = "#ff3b3b", "#b48cff"
_PLANES = (("axial", 0), ("coronal", 1), ("sagittal", 2))


def save_overlay(
    path: Path,
    volume: Volume,
    mask: NDArray[np.bool_],
    prompts: Prompts,
    at_kji: Sequence[int],
    truth: NDArray[np.bool_] | None = None,
    title: str = "",
) -> None:
    """Write a PNG with one slice across each array axis through ``at_kji``: box, scribbles, mask and truth as outlines.

    The planes are named as for an image stored in axial slices; a single slice has no other plane to show.
    Scribbles are shown only in their own slices.

    Raises
    ------
    MissingPackageError : matplotlib is not installed.
    OutputError : the file cannot be written.
    """
    window = _window(volume, next(iter(prompts.boxes.values()), BoundingBox.whole(volume.geometry.shape_kji)))
    single = [plane for plane in _PLANES if volume.geometry.shape_kji[plane[1]] == 1][:1]
    planes = single or _PLANES
    figure = new_figure((4 * max(len(planes), 2), 4.6), "drawing overlays", background="black")
    for axes, (name, axis) in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes, strict=True):
        _draw_plane(axes, volume, mask, prompts, int(at_kji[axis]), axis, truth, window)
        axes.set_title(f"{name}, slice {int(at_kji[axis])}", color="white", fontsize=10)
    legend = f"{title}\nmask orange, truth green, box blue, scribbles red and violet" if title else ""
    figure.suptitle(legend, color="white", fontsize=11)
    save_figure(figure, path)


def _draw_plane(
    axes: Axes,
    volume: Volume,
    mask: NDArray[np.bool_],
    prompts: Prompts,
    index: int,
    axis: int,
    truth: NDArray[np.bool_] | None,
    window: tuple[float, float],
) -> None:
    rows, columns = (other for other in range(3) if other != axis)
    spacing = volume.geometry.spacing_kji_mm
    axes.imshow(
        volume.array_kji.take(index, axis=axis),
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        origin="lower",
        aspect=spacing[rows] / spacing[columns],
    )
    for outline, colour in ((truth, _TRUTH), (mask, _MASK)):
        plane = None if outline is None else outline.take(index, axis=axis)
        if plane is not None and plane.any() and min(plane.shape) > 1:
            axes.contour(plane, levels=[0.5], colors=colour, linewidths=1.1)
    scribbles = prompts.scribbles
    here = scribbles.indices_kji[:, axis] == index
    for is_background, colour in ((False, _FOREGROUND_SCRIBBLE), (True, _BACKGROUND_SCRIBBLE)):
        points = scribbles.indices_kji[here & ((scribbles.labels == BACKGROUND) == is_background)]
        axes.plot(points[:, columns], points[:, rows], "s", color=colour, markersize=1.8)
    for box in prompts.boxes.values():
        if box.start_kji[axis] <= index < box.stop_kji[axis]:
            low = (box.start_kji[columns] - 0.5, box.start_kji[rows] - 0.5)
            size = (box.shape_kji[columns], box.shape_kji[rows])
            axes.add_patch(_rectangle(low, size))
    axes.set_axis_off()


def _rectangle(low: tuple[float, float], size: tuple[int, int]) -> object:
    from matplotlib.patches import Rectangle

    return Rectangle(low, *size, fill=False, edgecolor=_BOX, linewidth=1.1)


def _window(volume: Volume, box: BoundingBox) -> tuple[float, float]:
    """Intensity range in and around the box."""
    near = box.expanded(box.shape_kji).intersected(volume.geometry.shape_kji)
    values = volume.array_kji[near.slices]
    values = values[np.isfinite(values)]
    return tuple(np.percentile(values, (0.5, 99.5))) if values.size else (0.0, 1.0)
