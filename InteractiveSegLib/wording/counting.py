"""Counts as English says them."""

from __future__ import annotations


def counted(count: int, one: str, many: str) -> str:
    """Such as "1 case waits" and "2 cases wait", of "case waits" and "cases wait"."""
    return f"{count} {one if count == 1 else many}"
