"""The two tasks on slices, as values that are sent to a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.propagate.displacement import carried
from InteractiveSegLib.propagate.label_fusion import FusionSettings, Side, fuse
from InteractiveSegLib.propagate.registration import PairRegistration, RegistrationSettings, register


class SliceTask(Protocol):
    """Anything that can be pickled and run on its own."""

    def run(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class RegisterPair:
    """Register two neighbouring slices. ``lower``, ``upper``: (H, W) in [0, 1]."""

    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    spacing_mm: tuple[float, float]
    settings: RegistrationSettings

    def run(self) -> PairRegistration:
        return register(self.lower, self.upper, self.spacing_mm, self.settings)


@dataclass(frozen=True, eq=False)
class Origin:
    """An annotated slice with its position and the field to it.

    image : (H, W), or None at an assumed end of the object, where there is no slice
    distances_mm : (C, H, W) signed distance to each label's border, positive inside
    field : (2, H, W) pixels, from the slice in question to this one; None if there is no slice
    weights : (C,)
    """

    image: NDArray[np.float32] | None
    distances_mm: NDArray[np.float32]
    field: NDArray[np.float32] | None
    weights: NDArray[np.float32]

    def seen(self) -> Side:
        """From the slice in question."""
        if self.image is None or self.field is None:
            return Side(None, self.distances_mm, self.weights)
        both = carried(np.concatenate([self.image[None], self.distances_mm]), self.field)
        return Side(both[0], both[1:], self.weights)


@dataclass(frozen=True, eq=False)
class FuseSlice:
    """Find the labels of a slice between two annotated ones."""

    image: NDArray[np.float32]
    origins: tuple[Origin, Origin]
    spacing_mm: tuple[float, float]
    settings: FusionSettings

    def run(self) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Levels and disagreement, as for ``fuse``."""
        levels, apart = fuse(self.image, [origin.seen() for origin in self.origins], self.spacing_mm, self.settings)
        return levels.astype(np.float16), apart.astype(np.float16)
