"""The network on the working grid: features once per image, probabilities whenever block 6 changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from InteractiveSegLib.networks.cues import CHANNELS, CueSettings, ShownPrompts, encode
from InteractiveSegLib.networks.network import Head, Member
from InteractiveSegLib.progress import Progress, Stage, Steps, finish

_CLASSICAL = CHANNELS.index("classical answer")
_SLICES_AT_ONCE = 8
_AS_THICK = 1 - 1e-4


def slice_axis(shape_kji: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """The axis along which slices are stacked: that of a single slice, otherwise the one with the largest spacing; the
    first among equals.

    Thicknesses count as equal if they differ by less than the rounding of files and transforms.
    """
    if 1 in shape_kji:
        return list(shape_kji).index(1)
    thickest = max(spacing_mm)
    return next(axis for axis in range(3) if spacing_mm[axis] > _AS_THICK * thickest)


@torch.no_grad()
def feature_steps(network: Member, image: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
    """Features (F, K, J, I) of an image (K, J, I) in [0, 1]; a 2D network sees it slice by slice."""
    if network.dimensions == 3:
        features = yield from network.feature_steps(image[None, None], spacing_mm)
        return features[0]
    axis = slice_axis(image.shape, spacing_mm)
    slices = image.movedim(axis, 0)[:, None]
    parts = []
    for start in range(0, slices.shape[0], _SLICES_AT_ONCE):
        yield Progress.of(Stage.NETWORK, start, slices.shape[0])
        parts.append(finish(network.feature_steps(slices[start : start + _SLICES_AT_ONCE], spacing_mm)))
    return _voxel_by_voxel(torch.cat(parts).movedim(1, 0), axis)


def _voxel_by_voxel(features: Tensor, axis: int) -> Tensor:
    """Features (F, slices, rows, columns) as (F, K, J, I), with slices along ``axis``.

    The features of a voxel are adjacent in memory, as convolutions leave them and as block 6 reads and samples them
    fastest.
    """
    return features.movedim(0, -1).movedim(0, axis).contiguous().movedim(-1, 0)


@dataclass(frozen=True, eq=False)
class PromptedFeatures:
    """Output of a network that sees prompts, for an image and the prompts on it.

    features : (F, K, J, I)
    classical : (K, J, I) log-odds, the classical answer to the same prompts
    """

    features: Tensor
    classical: Tensor

    @classmethod
    def mean(cls, several: Sequence[PromptedFeatures]) -> PromptedFeatures:
        """The mean of outputs for the same image."""
        if len(several) == 1:
            return several[0]
        features, classical = ([getattr(each, name) for each in several] for name in ("features", "classical"))
        return cls(sum(features) / len(several), sum(classical) / len(several))

    @property
    def nbytes(self) -> int:
        """Their memory; the name is that of a tensor's attribute."""
        return self.features.nbytes + self.classical.nbytes


@torch.no_grad()
def prompted_feature_steps(
    network: Member,
    image: Tensor,
    spacing_mm: Sequence[float],
    shown: ShownPrompts,
    settings: CueSettings = CueSettings(),
) -> Steps[PromptedFeatures]:
    """Features of an image (K, J, I) in [0, 1] and the prompts on it (K, J, I)."""
    yield Progress.of(Stage.DISTANCES, 0, 1)
    given = sliced_channels(image, spacing_mm, shown, settings)
    features = yield from network.feature_steps(given.channels[None], given.spacing_mm)
    return PromptedFeatures(_voxel_by_voxel(features[0], given.axis), given.channels[_CLASSICAL].movedim(0, given.axis))


@dataclass(frozen=True, eq=False)
class SlicedChannels:
    """Input of a network that sees prompts: slices along the first axis.

    channels : (C, S, P, Q), as for ``cues.encode``
    spacing_mm : along those axes
    axis : of the image, along which the slices lie
    """

    channels: Tensor
    spacing_mm: tuple[float, float, float]
    axis: int


@torch.no_grad()
def sliced_channels(
    image: Tensor, spacing_mm: Sequence[float], shown: ShownPrompts, settings: CueSettings = CueSettings()
) -> SlicedChannels:
    """Image (K, J, I) in [0, 1] and prompts on it (K, J, I), with the slices first."""
    axis = slice_axis(image.shape, spacing_mm)
    spacing = (spacing_mm[axis], *(mm for other, mm in enumerate(spacing_mm) if other != axis))

    def sliced(values: Tensor) -> Tensor:
        return values.movedim(axis, 0)[None]

    return SlicedChannels(encode(sliced(image), spacing, shown.each(sliced), settings)[0], spacing, axis)


@torch.no_grad()
def classical_answer(
    image: Tensor, spacing_mm: Sequence[float], shown: ShownPrompts, settings: CueSettings = CueSettings()
) -> Tensor:
    """Log-odds (K, J, I) of the foreground by distances and intensities alone, as in ``cues.encode``."""
    return encode(image[None], spacing_mm, shown.each(lambda marks: marks[None]), settings)[0, _CLASSICAL]


@torch.no_grad()
def foreground_probability(head: Head, features: Tensor, classical: Tensor | None = None) -> Tensor:
    """Foreground probability (K, J, I) that block 6 gives to features (F, K, J, I).

    A classical answer (K, J, I), in log-odds, is added to the network's: of two sources of information the more certain
    one wins, as MIDeepSeg (Luo et al., Medical Image Analysis 2021) fuses a network and geodesic distances.
    """
    logits = head.on_columns(features.flatten(1))[0]
    odds = (logits[1] - logits[0]).reshape(features.shape[1:])
    return torch.sigmoid(odds if classical is None else odds + classical)
