"""The region in which an object is looked for that few marks and no box show: several are tried, coarsely.

Too small a region cuts the object off, and too large a one holds others like it. A region fits where the network is
sure of its voxels and the mask does not touch the region's faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import GridSettings
from InteractiveSegLib.networks.network import Network
from InteractiveSegLib.networks.predict import slice_axis
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.bifseg import ObjectLabels
from InteractiveSegLib.segmenting.network_fusion import answering, fused_steps
from InteractiveSegLib.segmenting.object_crop import encoded_steps, object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.settings import BifsegSettings, RegionSettings

_SURE_OF_SIZE = 5  # regions that are always tried
_STROKE = 3  # voxels on a slice that are more than a click
_MARKED_SLICES, _MARKED_PART = 3, 0.5  # from which marks show how far an object reaches


def shows_extent(prompts: Prompts, label: int, geometry: Geometry) -> bool:
    """Whether what was drawn shows how large an object is: a box, a lasso, a mask to start from; or strokes on at least
    half of the slices from the first marked one to the last, and on three of them; on a single slice a stroke on the
    object and marks of what it is not.
    """
    if any(label in drawn for drawn in (prompts.boxes, prompts.lasso_boxes, prompts.start_masks)):
        return True
    foreground, background = prompts.scribbles.for_label(label)
    if 1 in geometry.shape_kji:
        return len(foreground) >= _STROKE and len(background) > 0
    axis = slice_axis(geometry.shape_kji, geometry.spacing_kji_mm)
    slices, counts = np.unique(foreground[:, axis], return_counts=True)
    strokes = slices[counts >= _STROKE]
    enough = min(_MARKED_SLICES, geometry.shape_kji[axis])
    return len(strokes) >= max(enough, _MARKED_PART * (int(slices[-1] - slices[0]) + 1))


def regions(prompts: Prompts, label: int, geometry: Geometry, settings: RegionSettings) -> tuple[BoundingBox, ...]:
    """Boxes round the marks of an object, each larger than the one before, within the image; at least one."""
    foreground, _ = prompts.scribbles.for_label(label)
    low, high = foreground.min(axis=0), foreground.max(axis=0) + 1
    marks = BoundingBox(tuple(low.tolist()), tuple(high.tolist()))
    spacing = geometry.spacing_kji_mm
    view_mm = max(n * mm for n, mm in zip(geometry.shape_kji, spacing, strict=True))
    scale = min(1.0, view_mm / settings.least_view_mm)
    found: list[BoundingBox] = []
    for reach in settings.reaches_mm:
        margin = tuple(max(1, round(scale * reach / mm)) for mm in spacing)
        box = marks.expanded(margin).intersected(geometry.shape_kji)
        if found and (box == found[-1] or box.size > settings.most_voxels):
            break
        found.append(box)
    return tuple(found)


def coarse_grid(settings: BifsegSettings) -> GridSettings:
    """On which regions are compared. It is at least as coarse as that of a round, so its margin is at least as wide."""
    return replace(settings.grid, max_voxels=min(settings.region.grid_voxels, settings.grid.max_voxels))


def region_steps(
    volume: Volume,
    prompts: Prompts,
    label: int,
    network: Network,
    settings: BifsegSettings,
    *,
    seed: int,
    device: torch.device,
) -> Steps[BoundingBox]:
    """The region that fits best; the same prompts give the same one.

    Parameters
    ----------
    label : of an object with scribbles of its own, and without a box
    """
    region, coarse = settings.region, replace(settings, grid=coarse_grid(settings))
    best: tuple[float, BoundingBox] | None = None
    for number, box in enumerate(regions(prompts, label, volume.geometry, region)):
        crop = object_crop(volume, box, coarse.grid, device)
        own = ObjectPrompts.of(prompts, label, box, crop.grid, device)
        crop = yield from encoded_steps(crop, answering(network, scribbled=True, adapt=False), None, coarse.cues)
        found = yield from fused_steps(crop, own, network, coarse, adapt=False, seed=seed)
        touched = touching_part(found, own, volume.geometry)
        sure = (2 * found.probability[own.inside] - 1).abs().mean().item()
        fit = sure - region.touching_weight * touched + region.growth * number
        if best is None or fit > best[0]:
            best = fit, box
        if number + 1 >= _SURE_OF_SIZE and touched < region.touching:
            break
    return best[1]


def region_note(label: int, region: BoundingBox, geometry: Geometry, *, left_untuned: bool) -> Note:
    """Where an object was looked for, and whether fine-tuning, which was asked for, was left out."""
    k, j, i = (n * mm for n, mm in zip(region.shape_kji, geometry.spacing_kji_mm, strict=True))
    where = f" was looked for in {i:.3g} x {j:.3g} x {k:.3g} mm round its marks"
    untuned = ", without fine-tuning: so few marks teach the network less than it knows" if left_untuned else ""
    return Note(Labelled(label), where, untuned)


def touching_part(found: ObjectLabels, own: ObjectPrompts, geometry: Geometry) -> float:
    """Part of the region's faces that the object touches, 0 to 1; faces at the border of the image do not count."""
    touched, faces = 0, 0
    for axis, side in _open_faces(own.box, geometry):
        place = torch.nonzero(own.inside.movedim(axis, 0).flatten(1).any(dim=1)).flatten()[0 if side == 0 else -1]
        inside = own.inside.select(axis, place)
        faces += int(inside.sum())
        touched += int((found.labels.select(axis, place) & inside).sum())
    return touched / faces if faces else 0.0


def _open_faces(box: BoundingBox, geometry: Geometry) -> Iterator[tuple[int, int]]:
    """Axis, and 0 for its first or 1 for its last face, of the faces beyond which the image goes on."""
    for axis in range(3):
        if box.start_kji[axis] > 0:
            yield axis, 0
        if box.stop_kji[axis] < geometry.shape_kji[axis]:
            yield axis, 1
