"""How the case that was accepted last and those before it share the updates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.errors import InputError


@dataclass(frozen=True)
class Mixture:
    """Part of the batches that come from the latest case, while there are others.

    latest : 0 to 1; every earlier case has the same share of the rest
    """

    latest: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.latest <= 1:
            raise InputError(f"the latest case's share must lie between 0 and 1, not {self.latest}")

    def draw(self, cases: int, rng: np.random.Generator) -> int:
        """Index of a case; 0 is the latest."""
        if cases == 1 or rng.random() < self.latest:
            return 0
        return int(rng.integers(1, cases))
