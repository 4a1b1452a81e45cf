"""A simulated person who annotates slices until the mask is good: which slices, and how much is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.guidance import GuidanceSettings, expected_outlines, from_proxy, suggest
from InteractiveSegLib.propagate.proxy_mask import ProxyMask

STRATEGIES = ("guided", "fixed interval", "halved gaps", "random")
_FIRST = 3


@dataclass(frozen=True)
class Stage:
    """Progress of annotation.

    effort : boundary pixels drawn, as a fraction of those on all slices
    dice : of the whole volume, mean over the objects
    """

    slices: int
    effort: float
    dice: float


def boundary_pixels(labels_kji: NDArray[np.integer]) -> NDArray[np.int64]:
    """(K,) pixels on the inner outlines of all labels, each label separately, slice by slice."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    counts = np.zeros(len(labels_kji), np.int64)
    for label in np.unique(labels_kji[labels_kji > 0]):
        mask = labels_kji == label
        counts += (mask & ~ndimage.binary_erosion(mask, cross)).sum(axis=(1, 2))
    return counts


def stages(
    case: Case,
    strategy: str,
    propagated: Callable[[Sequence[AnnotatedSlice]], ProxyMask],
    goal: float,
    seed: int = 0,
) -> Iterator[Stage]:
    """Annotate k slices of the object with the truth until a Dice is reached.

    All strategies know on which slices the object begins and ends. "guided" starts with these two and the middle one
    and continues with the suggested slice; "halved gaps" starts with the same and continues with the middle of the
    widest gap; "fixed interval" spaces the slices evenly, from scratch for every number of them; "random" draws them.
    From ten slices on, every round adds 10 %.
    """
    truth = case.truth
    held = np.flatnonzero(truth.any(axis=(1, 2)))
    outline = boundary_pixels(truth)
    order = np.random.default_rng(seed).permutation(held).tolist()
    count = min(_FIRST, len(held))
    chosen = _even(held, count)
    while True:
        if strategy == "fixed interval":
            chosen = _even(held, count)
        elif strategy == "random":
            chosen = sorted(order[:count])
        proxy = propagated([AnnotatedSlice(0, index, truth[index]) for index in chosen])
        labels = proxy.labelmap()
        agreement = float(np.mean([dice(labels == number, truth == number) for number in case.objects]))
        yield Stage(count, float(outline[chosen].sum() / outline.sum()), agreement)
        if agreement >= goal or count >= len(held):
            return
        more = min(max(1, count // 10), len(held) - count)
        count += more
        if strategy == "guided":
            chosen = sorted({*chosen, *_suggested(proxy, held.tolist(), chosen, more)})
        elif strategy == "halved gaps":
            chosen = _halved(held.tolist(), chosen, more)


def _even(held: NDArray[np.integer], count: int) -> list[int]:
    return sorted({int(held[place]) for place in np.linspace(0, len(held) - 1, count).round().astype(int)})


def _halved(held: Sequence[int], chosen: Sequence[int], count: int) -> list[int]:
    """A copy with this many more slices, each in the middle of the widest gap."""
    places = sorted(held.index(index) for index in chosen)
    for _ in range(count):
        lower, upper = max(pairwise(places), key=lambda gap: gap[1] - gap[0])
        places = sorted([*places, (lower + upper) // 2])
    return [held[place] for place in places]


def _suggested(proxy: ProxyMask, held: Sequence[int], chosen: Sequence[int], count: int) -> list[int]:
    """The best slices of the object; the first remaining ones if nothing is expected to change."""
    outside = {(0, index) for index in range(proxy.geometry.shape_kji[0])} - {(0, index) for index in held}
    voxels = float(proxy.probabilities.sum(dtype=np.float64))
    settings = GuidanceSettings(count, axes=(0,))
    advice = suggest(
        [from_proxy(proxy)], proxy.geometry, {0: chosen}, voxels, settings, outside, expected_outlines(proxy)
    )
    best = [each.index for each in advice.suggestions]
    left = [index for index in held if index not in chosen and index not in best]
    return [*best, *left[: count - len(best)]]
