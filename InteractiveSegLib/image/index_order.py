"""The order of indices in messages."""

from collections.abc import Sequence


def in_ijk(values_kji: Sequence[int]) -> tuple[int, ...]:
    """An index or a shape (k, j, i) in the order i, j, k, which options and messages have."""
    return tuple(values_kji)[::-1]
