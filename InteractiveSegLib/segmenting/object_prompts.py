"""The prompts of one object as networks see them: its box, its marks and those of the others, on its working grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.networks.cues import ShownPrompts
from InteractiveSegLib.networks.predict import slice_axis
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.object_crop import shown_box
from InteractiveSegLib.segmenting.start_core import with_core
from InteractiveSegLib.segmenting.start_keeping import surroundings

_CLICK = 3  # most voxels, each touching another, of a click
_MARKED_FOR_START = 0.3  # fraction of slices marked from which the answer to the box is shown at full strength
_MOST_OTHERS = 12  # treated separately, as each takes a pass over the image: with all 254 the time would be quadratic


@dataclass(frozen=True, eq=False)
class ObjectPrompts:
    """The prompts of one object, (K, J, I) tensors on its working grid. Outside its box there is no object.

    box : in voxels of the image; contains the object
    box_drawn : it was drawn by the user, rather than derived from the other prompts
    has_scribbles : voxels of the image are marked in the crop; on a coarser grid the marks of a voxel may cancel out
    foreground, background : bool, scribbles on the object and on all else; no voxel has both. The core of a mask to
        start from and its surroundings count as scribbled (``with_core``, ``surroundings``)
    plain_background : bool, the part of the background that marks no other object
    other_objects : bool, the parts that mark another object each
    start : float in [0, 1], a mask to start from; None if there is none
    shows_spots : networks are shown clicks together with their neighbours, if the marks are mostly clicks
    """

    grid: WorkingGrid
    box: BoundingBox
    box_drawn: bool
    has_scribbles: bool
    foreground: Tensor
    background: Tensor
    plain_background: Tensor
    other_objects: tuple[Tensor, ...]
    start: Tensor | None = None
    shows_spots: bool = False

    @classmethod
    def of(
        cls,
        prompts: Prompts,
        label: int,
        box: BoundingBox,
        grid: WorkingGrid,
        device: torch.device,
        *,
        sees_start: bool = True,
    ) -> ObjectPrompts:
        """The prompts of one label. A working voxel with both kinds of marks gets none: full resolution decides it.

        Parameters
        ----------
        box : contains the object, within the image
        grid : round that box
        sees_start : False leaves the mask to start from out
        """
        sizes = zip(grid.spacing_kji_mm, grid.shape_kji, grid.crop.shape_kji, strict=True)
        spacing = tuple(mm * working / voxels for mm, working, voxels in sizes)
        start = None
        if sees_start and label in prompts.start_masks:
            prompts = with_core(prompts, label, spacing)
            start = _on_grid(prompts.start_masks[label], box, grid).to(device)
        foreground_kji, background_kji = (
            marks[grid.crop.contains(marks)] for marks in prompts.scribbles.for_label(label)
        )
        foreground, background = _marked(grid, foreground_kji, device), _marked(grid, background_kji, device)
        shared = foreground & background
        foreground, background = foreground & ~shared, background & ~shared
        kinds = other_objects(prompts.scribbles, label, box, grid.crop, spacing)
        others = tuple(_marked(grid, marks, device) & background for marks in kinds)
        if start is not None and (foreground.any() or background.any()):
            background = background | surroundings(start, foreground, grid.spacing_kji_mm)
        plain_background = background.clone()
        for other in others:
            plain_background &= ~other
        return cls(
            grid,
            box,
            label in prompts.boxes,
            bool(len(foreground_kji) + len(background_kji)),
            foreground,
            background,
            plain_background,
            others,
            start,
        )

    @cached_property
    def is_scribbled(self) -> bool:
        """Whether marks are left on the working grid."""
        return bool(self.foreground.any() or self.background.any())

    @cached_property
    def inside(self) -> Tensor:
        """(K, J, I) bool, the voxels of the box."""
        return self.grid.inside(self.box).to(self.foreground.device)

    @cached_property
    def are_clicks(self) -> bool:
        """Whether at least half of the marked voxels belong to clicks; among strokes, clicks are but small strokes."""
        marked, clicked = (sum(int(mask.sum()) for mask in masks) for masks in (self._kinds, self._clicks))
        return clicked > 0 and clicked >= marked / 2

    def with_spots(self) -> ObjectPrompts:
        """The same, but networks see clicks as spots, with their unmarked neighbours, if ``are_clicks``."""
        return replace(self, shows_spots=True)

    @property
    def _kinds(self) -> tuple[Tensor, ...]:
        return self.foreground, self.plain_background, *self.other_objects

    @cached_property
    def _clicks(self) -> tuple[Tensor, ...]:
        return tuple(map(_clicks, self._kinds))

    @cached_property
    def marked_part(self) -> float:
        """Fraction of the box's slices in which the object is marked, 0 to 1; slices along ``slice_axis``."""
        axis = slice_axis(self.inside.shape, self.grid.spacing_kji_mm)
        marked, within = (
            int(mask.movedim(axis, 0).flatten(1).any(dim=1).sum())
            for mask in (self.foreground & self.inside, self.inside)
        )
        return marked / within

    def shown(self, found: Tensor | None = None) -> ShownPrompts:
        """The prompts as networks see them.

        Parameters
        ----------
        found : (K, J, I) in [0, 1], what was found in the drawn box alone. Its intensities replace those of the box,
            and it is the mask to start from, the weaker the fewer slices are marked: a network that is shown a clear
            mask changes little of it for one or two short strokes
        """
        box = torch.ones_like(self.inside)
        if self.box_drawn and self.is_scribbled:  # scribbles say what is not the object
            box = self.inside
        elif self.box_drawn:
            box = shown_box(self.grid, self.box).to(self.inside.device)
        foreground, background, *others = self._spots() if self.shows_spots and self.are_clicks else self._kinds
        start = self.start if found is None else min(1.0, self.marked_part / _MARKED_FOR_START) * found
        return ShownPrompts(box, foreground, background, start, tuple(others), found)

    def _spots(self) -> list[Tensor]:
        """The marks of each kind, with the neighbours of clicks. A neighbour of two kinds belongs to neither."""
        beside = torch.stack(list(map(_neighbours, self._clicks)))
        free = ~(self.foreground | self.background) & (beside.sum(dim=0) == 1)
        return [marks | near & free for marks, near in zip(self._kinds, beside, strict=True)]


def other_objects(
    scribbles: Scribbles,
    label: int,
    box: BoundingBox,
    crop: BoundingBox,
    spacing_kji_mm: tuple[float, float, float],
) -> list[NDArray[np.int32]]:
    """Marks (N, 3) of each of the other objects, in the order of their labels.

    If there are more than 12, the 11 with a mark nearest to the middle of the box are separate, and all others are
    merged into the last.

    Parameters
    ----------
    box : of the object
    crop : marks outside it are ignored
    """
    inside = crop.contains(scribbles.indices_kji) & ~np.isin(scribbles.labels, (label, BACKGROUND))
    marks, labels = scribbles.indices_kji[inside], scribbles.labels[inside]
    others = np.unique(labels)
    apart = others
    if len(others) > _MOST_OTHERS:
        middle = (np.add(box.start_kji, box.stop_kji) - 1) / 2
        away = np.full(BACKGROUND, np.inf)
        np.minimum.at(away, labels, (((marks - middle) * spacing_kji_mm) ** 2).sum(axis=1))
        apart = np.sort(np.argsort(away, kind="stable")[: _MOST_OTHERS - 1])
    kinds = [marks[labels == other] for other in apart]
    if len(apart) < len(others):
        kinds.append(marks[~np.isin(labels, apart)])
    return kinds


def _on_grid(start: PackedMask, box: BoundingBox, grid: WorkingGrid) -> Tensor:
    """The part of a mask to start from that lies in an object's box, (K, J, I) in [0, 1] on the working grid."""
    mask = np.zeros(grid.crop.shape_kji, np.float32)
    mask[box.counted_from(grid.crop).slices] = start.within(box)
    return grid.averaged(torch.from_numpy(mask))


def _marked(grid: WorkingGrid, indices_kji: NDArray[np.int32], device: torch.device) -> Tensor:
    mask = torch.zeros(grid.shape_kji, dtype=torch.bool)
    mask[grid.working_indices(indices_kji)] = True
    return mask.to(device)


def _clicks(marks: Tensor) -> Tensor:
    """The marks (K, J, I) that touch so few others that they are clicks rather than strokes."""
    parts, _ = ndimage.label(marks.cpu().numpy(), np.ones((3, 3, 3)))
    small = np.bincount(parts.ravel()) <= _CLICK
    small[0] = False
    return torch.from_numpy(small[parts]).to(marks.device)


def _neighbours(mask: Tensor) -> Tensor:
    """The voxels (K, J, I) that share a side with one of a mask."""
    found = torch.zeros_like(mask)
    for axis, count in enumerate(mask.shape):
        before, after = (slice(None, count - 1), slice(1, None))
        low, high = ((*[slice(None)] * axis, part) for part in (before, after))
        found[low] |= mask[high]
        found[high] |= mask[low]
    return found
