"""Figures need matplotlib, which is not installed everywhere."""

import sys

import pytest

from InteractiveSegLib.errors import MissingPackageError, OutputError
from InteractiveSegLib.system.figures import new_figure, save_figure


def test_a_figure_is_a_png(tmp_path):
    figure = new_figure((2, 1), "the plots of the benchmark")
    figure.subplots().plot([0, 1])
    save_figure(figure, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OutputError):
        save_figure(figure, tmp_path / "no folder" / "plot.png")


def test_without_matplotlib_it_says_what_needs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match="the plots of the benchmark"):
        new_figure((2, 1), "the plots of the benchmark")
