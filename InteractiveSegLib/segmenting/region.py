"""The region in which to search for an object with few marks and no box: several are tried on a coarse grid.

Too small a region cuts the object off, and too large a region contains similar objects. A region fits where the network
is sure of its voxels and the mask does not touch the region's faces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import WorkingGrid, working_grid
from InteractiveSegLib.networks.network import Network
from InteractiveSegLib.networks.predict import slice_axis
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.bifseg import ObjectLabels
from InteractiveSegLib.segmenting.claim import log_odds
from InteractiveSegLib.segmenting.network_fusion import answering, fused_steps
from InteractiveSegLib.segmenting.object_crop import encoded_steps, object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.settings import BifsegSettings, RegionSettings

_SURE_OF_SIZE = 5  # regions that are always tried
_STROKE = 3  # voxels on a slice that count as more than a click
_MARKED_SLICES, _MARKED_PART = 3, 0.5  # least slices, and fraction of those from the first marked one to the last
_THICK = 3.0  # length of a voxel relative to its width from which the coarse answer helps across slices
_CUT_OFF = 0.05  # fraction of its faces that the object touches from which a region is too small
_BEYOND = -3.0  # log-odds of the object beyond the next smaller region
_MARKED_OF_FOUND = 0.75  # fraction of the slices of the object found from which marks show its extent


def needs_region(prompts: Prompts, label: int) -> bool:
    """Whether only scribbles show how large an object is: it has no box, lasso or mask to start from."""
    return not any(label in drawn for drawn in (prompts.boxes, prompts.lasso_boxes, prompts.start_masks))


def is_untuned(prompts: Prompts, label: int, *, sees_start: bool) -> bool:
    """Whether an object has a lasso, or marks that correct its start mask, but no box: fine-tuning makes it worse.

    Marks where a mask is wrong teach nothing of where it is right.
    """
    if label in prompts.boxes:
        return False
    marked = any(len(marks) for marks in prompts.scribbles.for_label(label))
    return label in prompts.lasso_boxes or (sees_start and label in prompts.start_masks and marked)


def has_strokes(prompts: Prompts, label: int, geometry: Geometry) -> bool:
    """Whether there are strokes on at least half of the slices from the first marked one to the last, and on three of
    them, and on half of these strokes on what the object is not. Fewer marks show no object's size.
    """
    foreground, background = prompts.scribbles.for_label(label)
    axis = slice_axis(geometry.shape_kji, geometry.spacing_kji_mm)
    within, around = (_slices_with_strokes(voxels[:, axis]) for voxels in (foreground, background))
    between = int(np.ptp(foreground[:, axis])) + 1
    enough = max(min(_MARKED_SLICES, geometry.shape_kji[axis]), _MARKED_PART * between)
    return len(within) >= enough and len(np.intersect1d(within, around)) >= _MARKED_PART * len(within)


def _slices_with_strokes(slices: NDArray[np.int64]) -> NDArray[np.int64]:
    numbers, voxels = np.unique(slices, return_counts=True)
    return numbers[voxels >= _STROKE]


def regions(prompts: Prompts, label: int, geometry: Geometry, settings: RegionSettings) -> tuple[BoundingBox, ...]:
    """At least one box around the marks of an object, within the image; each is larger than the one before."""
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


@dataclass(frozen=True, eq=False)
class Region:
    """The region in which an object is searched for.

    is_shown : the object's marks show how large it is
    grid, found, odds : bool and log-odds on a coarse grid, what was found there. None if its marks show how large it is
    smaller : the region that was tried before this one; None if there is none, or the object extends beyond it
    """

    box: BoundingBox
    is_shown: bool
    grid: WorkingGrid | None = None
    found: Tensor | None = None
    odds: Tensor | None = None
    smaller: Region | None = None

    def start_on(self, grid: WorkingGrid) -> Tensor | None:
        """What was found there, (K, J, I) in [0, 1] on a finer grid, whose crop lies within that of the coarse one: the
        network looks closer from there.

        None where voxels are not much longer than wide: through thin slices the network finds its way by itself, and
        the coarse answer would cost it sharpness.
        """
        if self.grid is None or self.found is None or not _is_thick(grid):
            return None
        part = grid.crop.counted_from(self.grid.crop)
        return grid.averaged(self.grid.interpolated(self.found.float())[part.slices])

    def smaller_on(self, grid: WorkingGrid) -> Tensor | None:
        """Log-odds (K, J, I) of the next smaller region on a finer grid, to be averaged with those of this one.

        A region that is too large shows the network more that resembles the object; beyond the smaller one, the object
        is unlikely. None if there is none that holds the object, or where voxels are much longer than wide.
        """
        smaller = self.smaller
        if smaller is None or smaller.grid is None or smaller.odds is None or _is_thick(grid):
            return None
        inside = grid.inside(smaller.box).to(smaller.odds.device)
        return smaller.grid.resampled(smaller.odds, grid).masked_fill(~inside, _BEYOND)


def region_steps(
    volume: Volume,
    prompts: Prompts,
    label: int,
    network: Network,
    settings: BifsegSettings,
    *,
    seed: int,
    device: torch.device,
) -> Steps[Region]:
    """The surroundings of the strokes, if they mark most slices of what is found there; otherwise the best of several
    regions. The same prompts give the same region.

    Parameters
    ----------
    label : of an object with only scribbles
    """
    region, coarse = settings.region, settings.coarse

    def looked(box: BoundingBox) -> Steps[tuple[ObjectLabels, ObjectPrompts]]:
        crop = object_crop(volume, box, coarse.grid, device)
        own = ObjectPrompts.of(prompts, label, box, crop.grid, device).with_spots()
        crop = yield from encoded_steps(crop, answering(network, scribbled=True, adapt=False))
        found = yield from fused_steps(crop, own, network, coarse, adapt=False, seed=seed)
        return found, own

    if has_strokes(prompts, label, volume.geometry):
        box, _ = object_roi(prompts, label, volume.geometry)
        found, own = yield from looked(box)
        if marked_of_found(found, own) >= _MARKED_OF_FOUND:
            return Region(box, is_shown=True)
    best: tuple[float, Region] | None = None
    latest: Region | None = None
    for number, box in enumerate(regions(prompts, label, volume.geometry, region)):
        found, own = yield from looked(box)
        touched = touching_part(found, own, volume.geometry)
        sure = (2 * found.probability[own.inside] - 1).abs().mean().item()
        fit = sure - region.touching_weight * touched + region.growth * number
        latest = Region(box, False, own.grid, found.labels, log_odds(found.probability), latest)
        if best is None or fit > best[0]:
            best = fit, latest
        latest = latest if touched < _CUT_OFF else None
        if number + 1 >= _SURE_OF_SIZE and touched < region.touching:
            break
    return best[1]


def _is_thick(grid: WorkingGrid) -> bool:
    """Whether voxels are much longer than wide."""
    return max(grid.spacing_kji_mm) >= _THICK * min(grid.spacing_kji_mm)


def looked_at(prompts: Prompts, label: int, geometry: Geometry, settings: BifsegSettings) -> tuple[BoundingBox, ...]:
    """The parts of the image that ``region_steps`` and a round in its region use."""
    roi, _ = object_roi(prompts, label, geometry)
    largest = regions(prompts, label, geometry, settings.region)[-1]  # holds the others
    return tuple(working_grid(box, geometry, settings.coarse.grid).crop for box in (roi, largest))


def marked_of_found(found: ObjectLabels, own: ObjectPrompts) -> float:
    """Fraction of the slices with found or marked voxels that are marked, 0 to 1; slices along ``slice_axis``."""
    axis = slice_axis(own.inside.shape, own.grid.spacing_kji_mm)
    marked, held = (
        mask.movedim(axis, 0).flatten(1).any(dim=1)
        for mask in (own.foreground, found.labels & own.inside | own.foreground)
    )
    return int(marked.sum()) / max(1, int(held.sum()))


def region_note(label: int, region: BoundingBox, geometry: Geometry, *, left_untuned: bool) -> Note:
    """A note on where an object was searched for, and whether requested fine-tuning was left out."""
    k, j, i = (n * mm for n, mm in zip(region.shape_kji, geometry.spacing_kji_mm, strict=True))
    where = f" was searched for within {i:.3g} x {j:.3g} x {k:.3g} mm round its marks"
    untuned = ", without fine-tuning: there are too few marks to learn from" if left_untuned else ""
    return Note(Labelled(label), where, untuned)


def touching_part(found: ObjectLabels, own: ObjectPrompts, geometry: Geometry) -> float:
    """Fraction of the region's faces that the object touches, 0 to 1; faces at the border of the image are ignored."""
    touched, faces = 0, 0
    for axis, side in _open_faces(own.box, geometry):
        place = torch.nonzero(own.inside.movedim(axis, 0).flatten(1).any(dim=1)).flatten()[0 if side == 0 else -1]
        inside = own.inside.select(axis, place)
        faces += int(inside.sum())
        touched += int((found.labels.select(axis, place) & inside).sum())
    return touched / faces if faces else 0.0


def _open_faces(box: BoundingBox, geometry: Geometry) -> Iterator[tuple[int, int]]:
    """Axis, and 0 for its first or 1 for its last face, of the faces that are not at the border of the image."""
    for axis in range(3):
        if box.start_kji[axis] > 0:
            yield axis, 0
        if box.stop_kji[axis] < geometry.shape_kji[axis]:
            yield axis, 1
