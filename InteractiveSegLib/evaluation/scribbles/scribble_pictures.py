"""Pictures of what networks find that scribbles taught, and of what their attention attends to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.evaluation.data.scribbled_cases import ScribbledCase
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.image_lesson import seen
from InteractiveSegLib.system.figures import new_figure, save_figure

_COLOURS = ("#ff5050", "#ffb000", "#4da3ff", "#35d07f")


def save_cases(
    cases: Sequence[ScribbledCase],
    found: Mapping[str, NDArray[np.integer]],
    scores: Sequence[Mapping[str, Any]],
    folder: Path,
) -> None:
    """Write ``cases.png``: two slices of the best, the median and the worst case; the truth is dashed."""
    means = {
        case.name: float(np.nanmean([row["dice"] for row in scores if row["case"] == case.name])) for case in cases
    }
    ranked = sorted(means, key=lambda name: -means[name])
    names = [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
    by_name = {case.name: case for case in cases}
    figure, axes = _figure(len(names), 2, (6, 9))
    for row, (word, name) in enumerate(zip(("best", "median", "worst"), names, strict=True)):
        case = by_name[name]
        filled = np.flatnonzero(case.truth.any(axis=(1, 2)))
        for column, part in enumerate((0.3, 0.7)):
            k = int(filled[round(part * (len(filled) - 1))])
            _draw(axes[row][column], case, found[name], k)
            axes[row][column].set_title(f"{word}: {name}, slice {k}, Dice {means[name]:.3f}", fontsize=7)
    save_figure(figure, folder / "cases.png")


def save_attention(network: AutomaticNetwork, case: ScribbledCase, path: Path) -> None:
    """Write what cells in the middle of every object, and one of the background, attend to in the largest slice.

    2D networks alone have a picture.
    """
    if network.dimensions != 2 or network.attention is None:
        return
    axes_of = network.axes_of(case.volume.geometry)
    image = seen(case.volume, axes_of, network.spacing_mm).movedim(network.axis, 0)
    truth = torch.from_numpy(axes_of.turned(case.truth.astype(np.float32))).movedim(network.axis, 0)
    k = int((truth > 0).flatten(1).sum(dim=1).argmax())
    middle = torch.nonzero(truth[k] > 0).float().mean(dim=0).round().int().tolist()
    starts = [
        min(max(0, m - network.window // 2), max(0, n - network.window))
        for m, n in zip(middle, truth[k].shape, strict=True)
    ]
    window = tuple(slice(start, start + network.window) for start in starts)
    part, labels = image[k][window], truth[k][window]
    if part.shape != (network.window, network.window):
        return
    network.attention.train()  # which keeps what it attends to
    with torch.no_grad():
        network(part[None, None])
    network.attention.eval()
    latest = network.attention.latest
    assert latest is not None
    rows = [(0, (2, 2)), *((label, _middle(labels == label)) for label in case.objects if (labels == label).any())]
    figure, axes = _figure(1, len(rows), (3 * len(rows), 3.2))
    for column, (label, (j, i)) in enumerate(rows):
        cell = tuple(int(p * n / network.window) for p, n in zip((j, i), latest.cells, strict=True))
        row = latest.attention[0, cell[0] * latest.cells[1] + cell[1]].reshape(latest.cells).numpy()
        axes[0][column].imshow(part.numpy(), cmap="gray", origin="lower")
        extent = (-0.5, network.window - 0.5, -0.5, network.window - 0.5)
        axes[0][column].imshow(row, cmap="inferno", alpha=0.55, origin="lower", extent=extent, interpolation="bilinear")
        axes[0][column].plot(i, j, "c+", markersize=9)
        axes[0][column].set_title(case.objects.get(label, "background"), fontsize=8)
    save_figure(figure, path)


def _middle(mask: torch.Tensor) -> tuple[int, int]:
    """The voxel of a mask nearest to its centre."""
    points = torch.nonzero(mask).float()
    j, i = points[(points - points.mean(dim=0)).square().sum(dim=1).argmin()].int().tolist()
    return j, i


def _draw(axes: Any, case: ScribbledCase, found: NDArray[np.integer], k: int) -> None:
    axes.imshow(case.volume.array_kji[k], cmap="gray", origin="lower")
    for label in case.objects:
        colour = _COLOURS[label % len(_COLOURS)]
        for labels, style in ((found, "solid"), (case.truth, "dashed")):
            if (labels[k] == label).any():
                axes.contour(labels[k] == label, levels=[0.5], colors=colour, linewidths=0.9, linestyles=style)
    points = np.argwhere(case.truth[k] > 0)
    if len(points):
        (j, i), (above, right) = points.min(axis=0) - 15, points.max(axis=0) + 15
        axes.set_xlim(i, right)
        axes.set_ylim(j, above)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    figure = new_figure(size, "the pictures of the benchmark")
    axes = figure.subplots(rows, columns, squeeze=False)
    for each in axes.ravel():
        each.set_axis_off()
    return figure, axes
