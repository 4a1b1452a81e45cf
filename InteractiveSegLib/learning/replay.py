"""Which earlier cases are kept for replay: every case of the stream with the same chance (reservoir sampling)."""

from __future__ import annotations

import numpy as np

from InteractiveSegLib.errors import InputError


def reservoir(count: int, capacity: int, seed: int) -> list[int]:
    """Numbers of the kept ones among the first ``count`` of a stream (Vitter's algorithm R), ascending.

    The draw at every arrival depends on the seed and its number alone, so nothing but the stream's length needs to be
    remembered.

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
