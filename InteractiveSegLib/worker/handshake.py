"""The first message of both sides: their protocol and version."""

from __future__ import annotations

import os
import platform

from InteractiveSegLib import __version__
from InteractiveSegLib.records.message import Message

PROTOCOL = 2
"""Raised whenever messages change so that an older side would misunderstand them."""


def hello() -> Message:
    """The first message of each side, which every version understands."""
    return Message(
        "hello",
        {"protocol": PROTOCOL, "library": __version__, "python": platform.python_version(), "pid": os.getpid()},
    )


def disagreement(other: Message, who: str) -> str:
    """A text that says why the two sides do not work together; empty if they do.

    Parameters
    ----------
    other : the first message of the other side
    who : name of the other side in the text, such as "the worker"
    """
    if other.kind != "hello":
        return f"{who} began with the message {other.kind!r} instead of its version"
    theirs = (other.fields.get("library"), other.fields.get("protocol"))
    if theirs == (__version__, PROTOCOL):
        return ""
    return (
        f"{who} is InteractiveSeg {theirs[0]} (protocol {theirs[1]}), this side is InteractiveSeg {__version__} "
        f"(protocol {PROTOCOL}): install the same version on both sides"
    )
