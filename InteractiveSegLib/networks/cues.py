"""Prompts as the network sees them: channels, in addition to the image, with the geodesic distance to each mark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geodesic import UNREACHED_MM, GeodesicSettings, geodesic_distances

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

    reach : distance over which a mark's cue falls by 1/e, in a straight line
    edge_reach : the same along the image
    contrast : detour equivalent to crossing an edge over the whole intensity range
    least_blur, most_blur : bounds of the standard deviation of the smoothed intensity histograms, in parts of the range
    floor : density of intensities that nobody marked
    prior : pseudo-count of the intensity histograms inside and outside the box; the latter is added to the histogram of
        the voxels marked background
    bound : maximum log-odds from an intensity
    distance_share : weight of a unit of distance in the classical answer
    intensity_share : weight of the intensities in the classical answer
    rest_of_box : weight of the intensities of a box against those of what was found in it, which may be nothing
    box_depth, box_reach : largest distance of a voxel in the box from its object while the object is unmarked, and once
        it is marked
    surest : bound on the classical answer, in log-odds
    """

    reach: float = 10.0
    edge_reach: float = 20.0
    contrast: float = 70.0
    least_blur: float = 0.015
    most_blur: float = 0.1
    floor: float = 1e-4
    prior: float = 50.0
    bound: float = 3.0
    distance_share: float = 0.2
    intensity_share: float = 0.5
    rest_of_box: float = 0.01
    box_depth: float = 10.0
    box_reach: float = 20.0
    surest: float = 10.0


@dataclass(frozen=True, eq=False)
class ShownPrompts:
    """The prompts of an object as networks see them: (K, J, I) tensors, or batches of them (B, K, J, I).

    box : bool, inside the drawn box; all of an image where none was drawn
    foreground, background : bool, scribbles
    start : float in [0, 1], a mask to start from; None if there is none
    found : float in [0, 1], what an earlier look found in the box: its intensities replace those of the whole box. None
        if it is the first look
    other_objects : bool each, scribbles on other objects; they are background, each with its own statistics
    """

    box: Tensor
    foreground: Tensor
    background: Tensor
    start: Tensor | None = None
    other_objects: Sequence[Tensor] = ()
    found: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> ShownPrompts:
        """The same with every tensor changed in the same way."""
        return ShownPrompts(
            change(self.box),
            change(self.foreground),
            change(self.background),
            None if self.start is None else change(self.start),
            [change(marks) for marks in self.other_objects],
            None if self.found is None else change(self.found),
        )


def encode(
    images: Tensor, spacing_mm: Sequence[float], shown: ShownPrompts, settings: CueSettings = CueSettings()
) -> Tensor:
    """The channels named in ``CHANNELS``.

    Voxels outside the box count as marked background. The classical answer is the posterior of the object against every
    other object and the background, each given by the geodesic distance to its marks and their intensities. An unmarked
    object is taken to be where its box is, with the intensities of the box. The answer is 0 if there is neither a mark
    of the object nor a box, or if there is nothing but the object.

    Parameters
    ----------
    images : (B, K, J, I) float in [0, 1]
    spacing_mm : voxel size along k, j, i
    shown : batches

    Returns
    -------
    (B, C, K, J, I) float32

    Raises
    ------
    InputError : the shapes differ, or an image is not finite.
    """
    boxes, foreground, background, start, others = (
        shown.box,
        shown.foreground,
        shown.background,
        shown.start,
        shown.other_objects,
    )
    given = [boxes, foreground, background, *others, *(each for each in (start, shown.found) if each is not None)]
    if images.ndim != 4 or any(other.shape != images.shape for other in given) or len(spacing_mm) != 3:
        shapes = ", ".join(str(tuple(other.shape)) for other in (images, *given))
        raise InputError(f"images, boxes, marks {shapes} and spacing {tuple(spacing_mm)} do not match")
    if not torch.isfinite(images).all():
        raise InputError("an image holds NaN or infinite voxels; distances along it are undefined")
    images = images.float()
    unit = min((mm for mm, n in zip(spacing_mm, images.shape[1:], strict=True) if n > 1), default=min(spacing_mm))
    relative = [mm / unit for mm in spacing_mm]
    outside = ~boxes
    against = background | outside
    drawn = boxes & _any(outside)
    kinds = torch.stack([foreground, against, *others])
    edges = _geodesic(images, kinds, relative, settings.contrast)
    for other in others:
        against = against | other
    plain = _straight(torch.stack([foreground, against]), relative)
    densities = _Densities(images, settings)
    inner = drawn if shown.found is None else shown.found + settings.rest_of_box * drawn
    boxed = [densities.counts(mask) for mask in (inner, outside)]
    marked = [densities.counts(mask) for mask in (foreground, against)]
    held = [counts + settings.prior * _unit(prior) for counts, prior in zip(marked, boxed, strict=True)]
    has_marks = _any(foreground)
    own = torch.where(has_marks[:, 0, 0], marked[0], held[0])
    rest = densities.counts(background) + settings.prior * _unit(boxed[1])
    log_densities = torch.stack([densities.log(counts) for counts in (own, rest, *map(densities.counts, others))])
    farthest = torch.where(has_marks, settings.box_reach, settings.box_depth)
    away = torch.stack([torch.where(drawn, edges[0].minimum(farthest), edges[0]), *edges[1:]])
    known = torch.stack([has_marks | _any(drawn), *map(_any, kinds[1:])])
    channels = [
        images,
        drawn.float(),
        torch.zeros_like(images) if start is None else start.float(),
        *(-torch.stack([edges[0], edges[1:].amin(dim=0)]) / settings.edge_reach).exp(),
        *(-plain / settings.reach).exp(),
        densities.odds(*boxed) / settings.bound,
        densities.odds(*held) / settings.bound,
        _posterior_odds(away, log_densities, known, settings),
    ]
    return torch.stack(channels, dim=1)


def _any(mask: Tensor) -> Tensor:
    return mask.flatten(1).any(dim=1)[:, None, None, None]


def _geodesic(images: Tensor, marks: Tensor, spacing: Sequence[float], contrast: float) -> Tensor:
    """(N, B, K, J, I) distance along the image to each kind of marks, in units of the finest spacing.

    Steps across thick slices are longer than in mm, by the root of the anisotropy: borders move sideways from one slice
    to the next, so that a path straight across is less reliable.
    """
    lengths = [step * math.sqrt(step) for step in spacing]
    return geodesic_distances(images, marks, lengths, GeodesicSettings(contrast, sweeps=2, tolerance_mm=0.1))


def _posterior_odds(away: Tensor, log_densities: Tensor, known: Tensor, settings: CueSettings) -> Tensor:
    """Log-odds (B, K, J, I) of the first of N kinds of voxels, bounded; 0 unless it and another are known."""
    scores = settings.intensity_share * log_densities - settings.distance_share * away
    scores = scores.masked_fill(~known, -UNREACHED_MM)
    odds = scores[0] - scores[1:].logsumexp(dim=0)
    return odds.clamp(-settings.surest, settings.surest) * (known[0] & known[1:].any(dim=0))


def _straight(seeds: Tensor, spacing: Sequence[float]) -> Tensor:
    """Straight distance (N, B, K, J, I) to each kind of marks, in units of the finest spacing."""
    distances = np.empty(seeds.shape, np.float32)
    for index in np.ndindex(*seeds.shape[:2]):
        marks = seeds[index].cpu().numpy()
        distances[index] = ndimage.distance_transform_edt(~marks, spacing) if marks.any() else UNREACHED_MM
    return torch.from_numpy(distances).to(seeds.device)


class _Densities:
    """Densities of intensities: histograms, smoothed less the more voxels they count (Silverman 1986).

    images : (B, K, J, I) float in [0, 1]
    """

    def __init__(self, images: Tensor, settings: CueSettings) -> None:
        self._shape, self._settings = images.shape, settings
        self._bins = (images.flatten(1) * (_BINS - 1)).round().long().clamp(0, _BINS - 1)
        self._levels = torch.linspace(0, 1, _BINS, device=images.device)

    def counts(self, mask: Tensor) -> Tensor:
        """(B, bins) voxels of a mask (B, K, J, I), or their sum of weights."""
        counts = torch.zeros(len(mask), _BINS, device=mask.device)
        return counts.scatter_add_(1, self._bins, mask.flatten(1).float())

    def log(self, counts: Tensor) -> Tensor:
        """Logarithm (B, K, J, I) of the density of every voxel's intensity; for an empty histogram, that of the
        floor.
        """
        return self._table(counts).log().gather(1, self._bins).reshape(self._shape)

    def odds(self, inner: Tensor, outer: Tensor) -> Tensor:
        """Log-odds (B, K, J, I) of every voxel's intensity, bounded; 0 where nothing is known of one side."""
        known = ((inner.sum(dim=1) > 0) & (outer.sum(dim=1) > 0))[:, None]
        ratio = (self._table(inner) / self._table(outer)).log()
        ratio = ratio.clamp(-self._settings.bound, self._settings.bound) * known
        return ratio.gather(1, self._bins).reshape(self._shape)

    def _table(self, counts: Tensor) -> Tensor:
        """(B, bins) density of each level."""
        parts = _unit(counts)
        mean = (parts * self._levels).sum(dim=1, keepdim=True)
        deviation = (parts * (self._levels - mean).square()).sum(dim=1).sqrt()
        blur = 0.9 * deviation * counts.sum(dim=1).clamp(min=1).pow(-0.2)
        blur = blur.clamp(self._settings.least_blur, self._settings.most_blur)
        steps = (self._levels[:, None] - self._levels) / blur[:, None, None]
        kernel = (-0.5 * steps.square()).exp()
        kernel = kernel / kernel.sum(dim=2, keepdim=True)
        return _BINS * (parts[:, :, None] * kernel).sum(dim=1) + self._settings.floor


def _unit(counts: Tensor) -> Tensor:
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1e-6)
