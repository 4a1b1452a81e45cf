"""The result of a step: one mask per object, with what is needed to resolve overlaps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.claim import claim

_SUREST = 1e-6  # probabilities are kept this far from 0 and 1


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object of a round.

    grid : on which it was computed
    probability : (K, J, I) float32 on the working grid
    bits : packed mask of the crop at the image's resolution
    region : in which it was searched for, if no prompt shows how large it is; otherwise None
    drawn : its box within the image, if one was drawn; otherwise None
    """

    grid: WorkingGrid
    probability: NDArray[np.float32]
    bits: NDArray[np.uint8]
    region: BoundingBox | None = None
    drawn: BoundingBox | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(K, J, I) bool, the shape of ``grid.crop``."""
        shape = self.grid.crop.shape_kji
        return np.unpackbits(self.bits, count=self.grid.crop.size).reshape(shape).astype(bool)


@dataclass(frozen=True, eq=False)
class Round:
    """What the user sees after a step, and the prompts at that time. The first round of a session is empty.

    prompts : from which it was computed
    objects : label -> mask
    adapted : block 6 was fitted to the image
    notes : sentences on what was converted, intersected or ignored
    seconds : the step took
    """

    prompts: Prompts
    objects: Mapping[int, ObjectMask] = field(default_factory=dict)
    adapted: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def without_overlaps(objects: Mapping[int, ObjectMask], prompts: Prompts) -> dict[int, ObjectMask]:
    """Give voxels of several objects to the one with the largest ``claim``; a scribble takes precedence.

    An object without a drawn box might be anywhere in the part of the image that these objects were searched for in. If
    several claims are equal, the object with the lowest label gets the voxel.
    """
    kept = {label: objects[label] for label in sorted(objects)}
    near = {label: found for label, found in kept.items() if _overlap_others(found.grid.crop, kept)}
    if not near:
        return kept
    whole = reduce(BoundingBox.union, (found.grid.crop for found in near.values()))
    count = np.zeros(whole.shape_kji, np.uint8)  # labels end at 254
    for found in near.values():
        count[found.grid.crop.counted_from(whole).slices] += found.mask
    planes = (np.flatnonzero(plane > 1) + k * plane.size for k, plane in enumerate(count))  # for large images
    contested = np.concatenate([*planes])
    best, winner = np.full(contested.size, -np.inf, np.float32), np.zeros(contested.size, np.uint8)
    claimed = {}
    for label, found in near.items():
        within = found.grid.crop.counted_from(whole).slices
        voxels = np.nonzero((count[within] > 1) & found.mask)
        if not len(voxels[0]):
            continue
        in_whole = [index + part.start for index, part in zip(voxels, within, strict=True)]
        places = np.searchsorted(contested, np.ravel_multi_index(in_whole, whole.shape_kji))
        claims = _claims(found, found.drawn or whole, prompts, label)[voxels]
        better = claims > best[places]
        best[places[better]], winner[places[better]] = claims[better], label
        claimed[label] = voxels, places
    for label, (voxels, places) in claimed.items():
        found, mask = kept[label], kept[label].mask
        mask[voxels] = winner[places] == label
        kept[label] = replace(found, bits=np.packbits(mask))
    return kept


def _overlap_others(crop: BoundingBox, objects: Mapping[int, ObjectMask]) -> bool:
    return sum(crop.overlaps(found.grid.crop) for found in objects.values()) > 1


def _claims(found: ObjectMask, box: BoundingBox, prompts: Prompts, label: int) -> NDArray[np.float32]:
    probability = found.grid.interpolated(torch.from_numpy(found.probability))
    claims = claim(probability.logit(_SUREST), box).numpy()
    foreground, _ = prompts.scribbles.for_label(label)
    marks = foreground[found.grid.crop.contains(foreground)] - found.grid.crop.start_kji
    claims[tuple(marks.T)] = np.inf
    return claims
