"""What a step leaves behind: a mask an object, with what it takes to settle where objects overlap."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.image.working_grid import WorkingGrid
from InteractiveSegLib.prompts.prompts import Prompts


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object of a round.

    grid : where it was worked on
    probability : (K, J, I) float32 on the working grid
    bits : packed mask of the crop at the image's resolution
    """

    grid: WorkingGrid
    probability: NDArray[np.float32]
    bits: NDArray[np.uint8]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(K, J, I) bool, the shape of ``grid.crop``."""
        shape = self.grid.crop.shape_kji
        return np.unpackbits(self.bits, count=self.grid.crop.size).reshape(shape).astype(bool)


@dataclass(frozen=True, eq=False)
class Round:
    """What a person sees after a step, and what they had drawn by then. The first round of a session is empty.

    prompts : that led to it
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
    """Give voxels that several objects claim to the most probable of them; a scribble decides where there is one."""
    labels = sorted(objects)
    masks = {label: objects[label].mask for label in labels}
    if len(labels) > 1:
        likelihoods = {label: _likelihood(objects[label], prompts, label) for label in labels}
        for index, first in enumerate(labels):
            for second in labels[index + 1 :]:
                _settle(objects, masks, likelihoods, first, second)
    return {
        label: ObjectMask(objects[label].grid, objects[label].probability, np.packbits(masks[label]))
        for label in labels
    }


def _likelihood(found: ObjectMask, prompts: Prompts, label: int) -> NDArray[np.float32]:
    likelihood = found.grid.interpolated(torch.from_numpy(found.probability)).numpy().copy()
    foreground, _ = prompts.scribbles.for_label(label)
    marks = foreground[found.grid.crop.contains(foreground)] - found.grid.crop.start_kji
    likelihood[tuple(marks.T)] = 2.0
    return likelihood


def _settle(
    objects: Mapping[int, ObjectMask],
    masks: Mapping[int, NDArray[np.bool_]],
    likelihoods: Mapping[int, NDArray[np.float32]],
    first: int,
    second: int,
) -> None:
    a, b = objects[first].grid.crop, objects[second].grid.crop
    start = np.maximum(a.start_kji, b.start_kji)
    stop = np.minimum(a.stop_kji, b.stop_kji)
    if (stop <= start).any():
        return
    in_a, in_b = (
        tuple(
            slice(int(lo - origin), int(hi - origin)) for lo, hi, origin in zip(start, stop, box.start_kji, strict=True)
        )
        for box in (a, b)
    )
    both = masks[first][in_a] & masks[second][in_b]
    first_wins = likelihoods[first][in_a] >= likelihoods[second][in_b]
    masks[first][in_a] &= ~both | first_wins
    masks[second][in_b] &= ~both | ~first_wins
