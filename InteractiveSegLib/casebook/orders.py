"""The orders in which cases can be worked on."""

from __future__ import annotations

from InteractiveSegLib.errors import InputError

ORDERS = ("fixed", "random", "uncertain", "diverse")


def require_order(order: str) -> None:
    """InputError if there is no such order."""
    if order not in ORDERS:
        raise InputError(f"the order must be one of {', '.join(ORDERS)}, not {order!r}")
