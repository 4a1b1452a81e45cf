"""Spatial self-attention that is put on a layer of a network from outside (Tian et al., arXiv 2312.06614)."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from InteractiveSegLib.errors import InputError, is_out_of_memory

MOST_CELLS = 1024
_LEAST_CELLS = 16
_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_POOL = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_SMOOTH = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, eq=False)
class Attended:
    """Attention and similarity between the cells of a layer.

    attention : (B, N, N), symmetric: the mean of what cell i gives to cell j and j to i; its mean is 1 / N
    similarity : (B, N, N) in [0, 1]
    cells : of the grid, whose flattened order is that of N
    """

    attention: Tensor
    similarity: Tensor
    cells: tuple[int, ...]


class SpatialAttention(nn.Module):
    """A transformer block of one head: layer norm before self-attention and before a mix-FFN, each added to its input.

    The attention is ``softmax(Q K^T / sqrt(C))``, made symmetric; the similarity of two cells is
    ``sigmoid(gain * N * attention + shift)``, so that both numbers mean the same whatever the number of cells.

    Parameters
    ----------
    channels : C of the layer
    dimensions : 2 or 3
    most_cells : of the grid on which cells attend to each other; larger layers are averaged over larger cells, and the
        answer is interpolated

    Attributes
    ----------
    latest : of the last call in training; None before and in eval mode
    notes : sentences on what was pooled further because memory ran out
    """

    def __init__(self, channels: int, dimensions: int, most_cells: int = MOST_CELLS) -> None:
        super().__init__()
        if dimensions not in _CONV:
            raise InputError(f"attention works on layers of 2 or 3 dimensions, not {dimensions}")
        if most_cells < 1:
            raise InputError(f"most_cells {most_cells} must be at least 1")
        self.dimensions, self.most_cells = dimensions, most_cells
        self.norm, self.norm_of_mixing = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        wide = 2 * channels
        self.widen, self.narrow = nn.Linear(channels, wide), nn.Linear(wide, channels)
        self.mix = _CONV[dimensions](wide, wide, 3, padding=1, groups=wide)
        self.gain, self.shift = nn.Parameter(torch.ones(())), nn.Parameter(-torch.ones(()))
        self.latest: Attended | None = None
        self.notes: list[str] = []

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, ...), of the same shape."""
        while True:
            try:
                return self._attended(features)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.most_cells <= _LEAST_CELLS:
                    raise
            sides = tuple(features.shape[2:])
            fewer = math.prod(self._cells(sides)) // 4
            self.most_cells = max(_LEAST_CELLS, fewer)
            self.notes.append(
                f"there was not enough memory for attention on the layer of {' x '.join(map(str, sides))}: it attends "
                f"to {self.most_cells} cells at most from here on"
            )

    def replaced(self, layer: nn.Module, given: Any, features: Tensor) -> Tensor:
        """As a forward hook: its answer takes the place of the layer's."""
        return self(features)

    def _attended(self, features: Tensor) -> Tensor:
        sides = tuple(features.shape[2:])
        cells = self._cells(sides)
        pooled = features if cells == sides else _POOL[self.dimensions](features, cells)
        rows = self.norm(pooled.flatten(2).transpose(1, 2))
        scores = self.query(rows) @ self.key(rows).transpose(1, 2) / math.sqrt(rows.shape[2])
        given = scores.float().softmax(dim=2)
        found = _grid(self.out(given @ self.value(rows)), cells)
        if cells != sides:
            found = F.interpolate(found, sides, mode=_SMOOTH[self.dimensions])
        features = features + found
        wide = self.widen(self.norm_of_mixing(features.flatten(2).transpose(1, 2)))
        wide = F.gelu(self.mix(_grid(wide, sides))).flatten(2).transpose(1, 2)
        features = features + _grid(self.narrow(wide), sides)
        self.latest = None
        if self.training:
            attention = (given + given.transpose(1, 2)) / 2
            similarity = (self.gain * attention.shape[1] * attention + self.shift).sigmoid()
            self.latest = Attended(attention, similarity, cells)
        return features

    def _cells(self, sides: Sequence[int]) -> tuple[int, ...]:
        """The layer's own grid, or a coarser one of the same proportions that has few enough cells."""
        cells = tuple(int(side) for side in sides)
        while math.prod(cells) > self.most_cells:
            axes = sum(n > 1 for n in cells)
            factor = (self.most_cells / math.prod(cells)) ** (1 / axes)
            cells = tuple(max(1, math.floor(n * factor + 1e-6)) for n in cells)
        return cells

    def __deepcopy__(self, memo: dict[int, Any]) -> SpatialAttention:
        """Without the latest answer, whose tensors belong to a graph."""
        latest, self.latest = self.latest, None
        try:
            copied = self.__class__.__new__(self.__class__)
            memo[id(self)] = copied
            copied.__dict__ = copy.deepcopy(self.__dict__, memo)
            return copied
        finally:
            self.latest = latest


class AttentiveNetwork(nn.Module):
    """A network with attention on one of its layers; its code stays as it is.

    Parameters
    ----------
    backbone, layer, example, most_cells : as for ``attached``
    """

    def __init__(self, backbone: nn.Module, layer: str, example: Tensor, most_cells: int = MOST_CELLS) -> None:
        super().__init__()
        self.backbone = backbone
        self.attention = attached(backbone, layer, example, most_cells)

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(image)


def attached(backbone: nn.Module, layer: str, example: Tensor, most_cells: int = MOST_CELLS) -> SpatialAttention:
    """Put attention on a layer.

    The caller must keep the returned module and register it: it is not a submodule of the backbone.

    Parameters
    ----------
    backbone : fully convolutional
    layer : its name, as in ``named_modules``
    example : an input, to see what the layer returns

    Raises
    ------
    InputError : there is no such layer, or what it returns is not (B, C, ...) of an image or a volume.
    """
    place = layer_named(backbone, layer)
    shape = _shape_of(backbone, place, layer, example)
    attention = SpatialAttention(shape[1], len(shape) - 2, most_cells)
    place.register_forward_hook(attention.replaced)
    return attention


def layer_named(network: nn.Module, name: str) -> nn.Module:
    """A layer of a network. InputError where there is none of this name, with those that look like it."""
    layers = dict(network.named_modules())
    layers.pop("", None)
    if name not in layers:
        near = difflib.get_close_matches(name, layers, n=5, cutoff=0.3) or sorted(layers)[:5]
        raise InputError(
            f"{type(network).__name__} has no layer {name!r} to put attention on; names like it are {', '.join(near)}"
        )
    return layers[name]


def _shape_of(backbone: nn.Module, place: nn.Module, name: str, example: Tensor) -> tuple[int, ...]:
    seen: list[Any] = []
    handle = place.register_forward_hook(lambda layer, given, features: seen.append(features))
    training = backbone.training
    try:
        with torch.no_grad():
            backbone.eval()(example)
    finally:
        handle.remove()
        backbone.train(training)
    if not seen or not isinstance(seen[0], Tensor) or seen[0].ndim not in (4, 5):
        found = f"a {type(seen[0]).__name__}" if seen else "nothing"
        found = f"a tensor of {seen[0].ndim} dimensions" if seen and isinstance(seen[0], Tensor) else found
        raise InputError(f"the layer {name!r} returns {found}; attention needs features (B, C, ...) of a grid")
    return tuple(seen[0].shape)


def _grid(rows: Tensor, cells: Sequence[int]) -> Tensor:
    """(B, N, C) as (B, C, ...)."""
    return rows.transpose(1, 2).reshape(rows.shape[0], rows.shape[2], *cells)
