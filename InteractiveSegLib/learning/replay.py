"""Which earlier cases are kept for replay, all with equal probability, and how often each is replayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from InteractiveSegLib.errors import InputError


def reservoir(count: int, capacity: int, seed: int) -> list[int]:
    """Indices of the items kept among the first ``count`` of a stream (Vitter's algorithm R), ascending.

    Each draw depends only on the seed and the item's index, so that no state other than the stream's length is needed.

    Raises
    ------
    InputError : a capacity below 1.
    """
    if capacity < 1:
        raise InputError(f"the capacity {capacity} must be at least 1")
    kept = list(range(min(count, capacity)))
    for number in range(capacity, count):
        place = int(np.random.default_rng([seed, number, 80]).integers(number + 1))
        if place < capacity:
            kept[place] = number
    return sorted(kept)


@dataclass(frozen=True)
class Mixture:
    """Share of the batches from the latest cases, if there are others.

    latest : 0 to 1; every earlier case has an equal share of the rest
    new : number of latest cases; each has an equal share of theirs
    """

    latest: float = 0.5
    new: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.latest <= 1:
            raise InputError(f"the latest case's share must be between 0 and 1, not {self.latest}")
        if self.new < 1:
            raise InputError(f"the number of latest cases, {self.new}, must be at least 1")

    def draw(self, cases: int, rng: np.random.Generator) -> int:
        """Index of a case; the latest ones come first."""
        if cases <= self.new or rng.random() < self.latest:
            return 0 if self.new == 1 else int(rng.integers(min(self.new, cases)))
        return int(rng.integers(self.new, cases))
