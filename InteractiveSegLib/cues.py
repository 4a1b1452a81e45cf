"""Prompts as the network sees them: channels beside the image that say how near, along the image, each mark is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.geodesic import UNREACHED_MM, GeodesicSettings, geodesic_distances

CHANNELS = (
    "image",
    "box",
    "start mask",
    "geodesic foreground",
    "geodesic background",
    "distance foreground",
    "distance background",
    "intensities of the box",
    "intensities",
    "classical answer",
)
_BINS = 64


@dataclass(frozen=True)
class CueSettings:
    """Lengths in units of the finest spacing, so that small and large objects are treated alike.

    reach : a mark's cue falls by 1/e over this distance
    contrast : detour that is as far as crossing an edge over the whole intensity range
    blur : standard deviation of the smoothed intensity histograms, in parts of the range
    floor : density of intensities that nobody marked
    prior : the intensities within and without the box count as this many marks
    bound : log-odds beyond which an intensity says no more
    sharpness : of the geodesic part of the classical answer; its log-odds lie between minus and plus this
    intensity_share : of the intensities in the classical answer
    """

    reach: float = 10.0
    contrast: float = 20.0
    blur: float = 0.04
    floor: float = 0.1
    prior: float = 50.0
    bound: float = 3.0
    sharpness: float = 8.0
    intensity_share: float = 0.5


def encode(
    images: Tensor,
    spacing_mm: Sequence[float],
    boxes: Tensor,
    foreground: Tensor,
    background: Tensor,
    start: Tensor | None = None,
    settings: CueSettings = CueSettings(),
) -> Tensor:
    """The channels named in ``CHANNELS``.

    Voxels outside the box count as marked background. The classical answer weighs the geodesic distances to both kinds
    of marks and their intensities; it is 0 where one of the two is missing.

    Parameters
    ----------
    images : (B, K, J, I) float in [0, 1]
    spacing_mm : voxel size along k, j, i
    boxes : (B, K, J, I) bool, inside the drawn box; all of an image where none was drawn
    foreground, background : (B, K, J, I) bool, scribbles
    start : (B, K, J, I) float in [0, 1], a mask to start from; 0 where there is none

    Returns
    -------
    (B, C, K, J, I) float32

    Raises
    ------
    InputError : the shapes differ, or an image is not finite.
    """
    given = [boxes, foreground, background, *([] if start is None else [start])]
    if images.ndim != 4 or any(other.shape != images.shape for other in given) or len(spacing_mm) != 3:
        shapes = ", ".join(str(tuple(other.shape)) for other in (images, *given))
        raise InputError(f"images, boxes, marks {shapes} and spacing {tuple(spacing_mm)} do not go together")
    if not torch.isfinite(images).all():
        raise InputError("an image holds NaN or infinite voxels; distances along it are undefined")
    images = images.float()
    unit = min((mm for mm, n in zip(spacing_mm, images.shape[1:], strict=True) if n > 1), default=min(spacing_mm))
    relative = [mm / unit for mm in spacing_mm]
    outside = ~boxes
    against = background | outside
    seeds = torch.stack([foreground, against])
    edges = _geodesic(images, seeds, relative, settings.contrast)
    plain = _straight(seeds, relative)
    has_foreground = _any(foreground)
    drawn = boxes & _any(outside)
    box_odds, odds = _intensity_odds(images, (drawn, outside), (foreground, background), settings)
    share = (edges[1] - edges[0]) / (edges[0] + edges[1]).clamp(min=1e-3)
    classical = settings.sharpness * share + settings.intensity_share * odds
    classical = classical * (has_foreground & _any(against))
    channels = [
        images,
        drawn.float(),
        torch.zeros_like(images) if start is None else start.float(),
        *(-edges / settings.reach).exp(),
        *(-plain / settings.reach).exp(),
        box_odds / settings.bound,
        odds / settings.bound,
        classical,
    ]
    return torch.stack(channels, dim=1)


def _any(mask: Tensor) -> Tensor:
    return mask.flatten(1).any(dim=1)[:, None, None, None]


def _geodesic(images: Tensor, seeds: Tensor, spacing: Sequence[float], contrast: float) -> Tensor:
    """(2, B, K, J, I) distance along the image to both kinds of marks, in units of the finest spacing."""
    return geodesic_distances(images, seeds, spacing, GeodesicSettings(contrast, sweeps=2, tolerance_mm=0.1))


def _straight(seeds: Tensor, spacing: Sequence[float]) -> Tensor:
    """The same, as the crow flies."""
    distances = np.empty(seeds.shape, np.float32)
    for index in np.ndindex(*seeds.shape[:2]):
        marks = seeds[index].cpu().numpy()
        distances[index] = ndimage.distance_transform_edt(~marks, spacing) if marks.any() else UNREACHED_MM
    return torch.from_numpy(distances).to(seeds.device)


def _intensity_odds(
    images: Tensor, priors: tuple[Tensor, Tensor], marks: tuple[Tensor, Tensor], settings: CueSettings
) -> tuple[Tensor, Tensor]:
    """Log-odds of each voxel's intensity among those of the object against those of the background, bounded.

    The densities are histograms smoothed by a Gaussian: those within and without the box alone, and those of the marks,
    with the box as a prior. Zero where nothing is known of one side.
    """
    bins = (images.flatten(1) * (_BINS - 1)).round().long().clamp(0, _BINS - 1)
    offset = torch.arange(_BINS, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * ((offset[:, None] - offset[None]) / (settings.blur * _BINS)).square())
    kernel = kernel / kernel.sum(dim=1, keepdim=True)

    def histogram(mask: Tensor) -> Tensor:
        counts = torch.zeros(len(images), _BINS, device=images.device)
        return counts.scatter_add_(1, bins, mask.flatten(1).float())

    def odds(inner: Tensor, outer: Tensor) -> Tensor:
        known = ((inner.sum(dim=1) > 0) & (outer.sum(dim=1) > 0))[:, None]
        densities = [_BINS * _unit(counts) @ kernel + settings.floor for counts in (inner, outer)]
        ratio = (densities[0] / densities[1]).log().clamp(-settings.bound, settings.bound) * known
        return ratio.gather(1, bins).reshape(images.shape)

    boxed = [histogram(mask) for mask in priors]
    marked = [histogram(mask) + settings.prior * _unit(prior) for mask, prior in zip(marks, boxed, strict=True)]
    return odds(*boxed), odds(*marked)


def _unit(counts: Tensor) -> Tensor:
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1e-6)
