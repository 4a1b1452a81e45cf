"""Figures of matplotlib, which need not be installed, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from InteractiveSegLib.errors import MissingPackageError
from InteractiveSegLib.system.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(size: tuple[float, float], purpose: str, background: str = "white") -> Figure:
    """An empty figure of this size, in inches, for instance for "the plots of the benchmark".

    Raises
    ------
    MissingPackageError : matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(purpose, "matplotlib") from error
    return Figure(figsize=size, layout="constrained", facecolor=background)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG; a figure that cannot be written leaves the file as it was.

    Raises
    ------
    OutputError : the file cannot be written.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
