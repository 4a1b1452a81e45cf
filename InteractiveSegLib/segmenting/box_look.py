"""What a network finds in a drawn box before anything is marked: it looks twice, on a coarse grid.

The first look knows only the box, whose intensities are those of the object and of all else in it. The second one is
shown the intensities of what the first one found instead, without the voxels that another object's box claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.networks.cues import ShownPrompts
from InteractiveSegLib.networks.network import Member, Network
from InteractiveSegLib.networks.predict import PromptedFeatures, foreground_probability, prompted_feature_steps
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.claim import claim, log_odds
from InteractiveSegLib.segmenting.object_crop import ObjectCrop, object_crop, shown_box
from InteractiveSegLib.segmenting.settings import BifsegSettings


@dataclass(frozen=True, eq=False)
class BoxLook:
    """The first look at a drawn box.

    box : in voxels of the image
    crop : on the coarse grid
    odds : (K, J, I) log-odds of the object on that grid
    """

    box: BoundingBox
    crop: ObjectCrop
    odds: Tensor


def starts_from_box(prompts: Prompts, label: int, network: Network) -> bool:
    """Whether an object has a drawn box, and scribbles on it correct the answer to this box."""
    return label in prompts.boxes and label not in prompts.start_masks and network.sees_start_masks


class BoxLooks:
    """The looks at the boxes drawn in an image, kept for the next round."""

    def __init__(self, volume: Volume, settings: BifsegSettings) -> None:
        self._volume, self._settings = volume, settings
        self._first: dict[BoundingBox, BoxLook] = {}

    def clear(self) -> None:
        """Forget them."""
        self._first.clear()

    def boxed_steps(
        self, crop: ObjectCrop, prompts: Prompts, label: int, network: Network, device: torch.device
    ) -> Steps[ObjectCrop]:
        """The crop of an object that ``starts_from_box``, with the features of the second look at the box.

        Parameters
        ----------
        prompts : of the image; the boxes of other objects that overlap that of the label are looked at, too
        network : its first member takes prompts
        """
        member = network.members[0]
        settings = self._settings if member is network else self._settings.for_member(member)
        boxes = {
            other: object_roi(prompts, other, self._volume.geometry)[0]
            for other in prompts.labels
            if starts_from_box(prompts, other, network)
        }
        drawn = set(boxes.values())
        self._first = {box: look for box, look in self._first.items() if box in drawn}
        box = boxes.pop(label)
        beside = frozenset(other for other in boxes.values() if other.overlaps(box))
        if crop.box_features is not None and crop.beside == beside:
            return crop
        for each in (box, *beside):
            if each not in self._first:
                self._first[each] = yield from _first_steps(self._volume, each, member, settings, device)
        look, others = self._first[box], [self._first[other] for other in beside]
        seen = yield from _seen_steps(look.crop, box, member, settings, _found(look, others))
        coarse, grid = look.crop.grid, crop.grid
        features = PromptedFeatures(coarse.resampled(seen.features, grid), coarse.resampled(seen.classical, grid))
        return replace(crop, box_features=features, beside=beside)


def _first_steps(
    volume: Volume, box: BoundingBox, network: Member, settings: BifsegSettings, device: torch.device
) -> Steps[BoxLook]:
    crop = object_crop(volume, box, settings.coarse.grid, device)
    seen = yield from _seen_steps(crop, box, network, settings, None)
    found = foreground_probability(network.block6, seen.features, settings.classical_share_of_box * seen.classical)
    return BoxLook(box, crop, log_odds(found))


def _found(look: BoxLook, others: Sequence[BoxLook]) -> Tensor:
    """(K, J, I) probability of the object in its box, 0 where another object is found and is the more likely."""
    grid = look.crop.grid
    found = look.odds.sigmoid() * _inside(grid, look.box, look.odds)
    for other in others:
        odds = other.crop.grid.resampled(other.odds, grid)
        there = _inside(grid, other.box, odds) & (odds > 0)
        found = found.masked_fill(there & (claim(odds, other.box) > claim(look.odds, look.box)), 0.0)
    return found


def _inside(grid: WorkingGrid, box: BoundingBox, like: Tensor) -> Tensor:
    return grid.inside(box).to(like.device)


def _seen_steps(
    crop: ObjectCrop, box: BoundingBox, network: Member, settings: BifsegSettings, found: Tensor | None
) -> Steps[PromptedFeatures]:
    inside = shown_box(crop.grid, box).to(crop.image.device)
    nothing = torch.zeros_like(inside)
    shown = replace(ShownPrompts(inside, nothing, nothing), found=found)
    return (yield from prompted_feature_steps(network, crop.image, crop.grid.spacing_kji_mm, shown, settings.cues))
