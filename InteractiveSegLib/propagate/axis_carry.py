"""Labels of annotated slices carried along one axis, from neighbour to neighbour."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.notes.notes import Note, Slices
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.propagate.axis_stack import AxisLabels, AxisStack
from InteractiveSegLib.propagate.displacement import composed
from InteractiveSegLib.propagate.label_fusion import FusionSettings
from InteractiveSegLib.propagate.registration import PairRegistration, RegistrationSettings
from InteractiveSegLib.propagate.registration_cache import RegistrationCache
from InteractiveSegLib.propagate.shape_interpolation import NOWHERE_MM, with_ends
from InteractiveSegLib.propagate.slice_gaps import Gap
from InteractiveSegLib.propagate.slice_pool import Broken, SlicePool
from InteractiveSegLib.propagate.slice_tasks import FuseSlice, Origin, RegisterPair


def missing_pairs(axis: int, gaps: Sequence[Gap], cache: RegistrationCache) -> list[int]:
    """Lower slices of the pairs in the gaps that are not registered yet."""
    wanted = sorted({lower for gap in gaps for lower in gap.pairs})
    return [lower for lower in wanted if (axis, lower) not in cache.pairs]


def register_steps(
    stack: AxisStack, gaps: Sequence[Gap], settings: RegistrationSettings, cache: RegistrationCache, pool: SlicePool
) -> Steps[None]:
    """Register all pairs in the gaps that the cache does not hold yet."""
    missing = missing_pairs(stack.axis, gaps, cache)
    spacing = stack.plane.working_spacing_mm
    tasks = {lower: RegisterPair(stack.images[lower], stack.images[lower + 1], spacing, settings) for lower in missing}
    text = "registering neighbouring slices"
    done = 0
    yield Progress(done, len(tasks), text)
    for answer in pool.results(tasks):
        if answer is not None:
            lower, found = answer
            if isinstance(found, Broken):
                found = PairRegistration.failed(stack.images[lower].shape, found.reason)
            cache.keep({(stack.axis, lower): found})
            done += 1
        yield Progress(done, len(tasks), text)


def carry_steps(
    stack: AxisStack,
    gaps: Sequence[Gap],
    pairs: Mapping[int, PairRegistration],
    settings: FusionSettings,
    pool: SlicePool,
    cache: RegistrationCache,
) -> Steps[AxisLabels]:
    """Fill the gaps that the cache does not hold filled.

    From each annotated slice the fields of the pairs are composed, so that its labels are interpolated only once. For a
    failed pair, no motion is assumed. If all pairs of a gap failed, only the shapes are blended.

    Parameters
    ----------
    pairs : lower slice -> registration; empty for interpolation by shape
    """
    known = cache.filled.get(stack.axis, {})
    asked = {_key(stack, gap, bool(pairs), settings): gap for gap in gaps}
    filled = {key: known.get(key, AxisLabels(stack.axis, stack.plane)) for key in asked}
    tasks: dict[tuple[Hashable, int], FuseSlice] = {}
    for key, gap in asked.items():
        if key in known:
            continue
        fits = [pairs[lower] for lower in gap.pairs if lower in pairs]
        by_image = any(not fit.failure for fit in fits)
        lower, upper, shares = _both_sides(stack, gap)
        for index, origins in _origins(stack, gap, lower, upper, shares, pairs if by_image else {}):
            if by_image:
                tasks[key, index] = FuseSlice(stack.images[index], origins, stack.plane.working_spacing_mm, settings)
                filled[key].quality[index] = _quality(gap, index, pairs)
            else:
                _fill_by_shape(filled[key], index, origins, stack, settings)
        if fits:
            filled[key].notes += _failures(stack.axis, gap, pairs, by_image)
        yield Progress(0, len(tasks), "following the registrations")
    done = 0
    for answer in pool.results(tasks):
        if answer is not None:
            (key, index), found = answer
            if isinstance(found, Broken):
                where = Slices.at((stack.axis, index))
                filled[key].notes.append(Note(where, f": {found.reason}; shape-based interpolation is used there"))
                _fill_by_shape(filled[key], index, tasks[key, index].origins, stack, settings)
            else:
                filled[key].levels[index], filled[key].apart[index] = found[0], found[1].max(axis=0)
            done += 1
        yield Progress(done, len(tasks), "finding labels")
    cache.filled[stack.axis] = filled
    result = AxisLabels(stack.axis, stack.plane)
    for part in filled.values():
        result.levels.update(part.levels)
        result.apart.update(part.apart)
        result.quality.update(part.quality)
        result.notes += part.notes
    return result


def _key(stack: AxisStack, gap: Gap, by_image: bool, settings: FusionSettings) -> Hashable:
    """Everything that the labels of a gap depend on, except the images and the crop."""
    sides = [stack.annotated[index] for index in (gap.lower, gap.upper) if index is not None]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(side, np.int64).tobytes() for side in sides)).digest()
    return gap.lower, gap.upper, tuple(sorted(gap.ends.items())), digest, stack.labels, by_image, settings


def _both_sides(
    stack: AxisStack, gap: Gap
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64] | None]:
    """Signed distances below and above a gap; and, beyond the last annotated slice, how far each channel's end is.

    The end lies where both sides are equal: the side without a slice is taken to be twice as far away.
    """
    if gap.lower is not None and gap.upper is not None:
        lower, upper = with_ends(stack.distances_mm(gap.lower), stack.distances_mm(gap.upper))
        return lower, upper, None
    known = stack.distances_mm(gap.upper if gap.lower is None else gap.lower)
    nothing = np.full_like(known, -NOWHERE_MM)
    ends = [gap.ends.get(label, 0.0) for label in stack.labels]
    if len(ends) > 1:
        ends.append(max(ends))
    lower, upper = with_ends(*((nothing, known) if gap.lower is None else (known, nothing)))
    return lower, upper, 2 * np.array(ends)


def _origins(
    stack: AxisStack,
    gap: Gap,
    lower_mm: NDArray[np.float32],
    upper_mm: NDArray[np.float32],
    far: NDArray[np.float64] | None,
    pairs: Mapping[int, PairRegistration],
) -> list[tuple[int, tuple[Origin, Origin]]]:
    """For each slice of a gap, both sides with the fields to them and their weights."""
    still = np.zeros((2, *lower_mm.shape[1:]), np.float32)
    down, up = dict.fromkeys(gap.slices, still), dict.fromkeys(gap.slices, still)
    if pairs and gap.lower is not None:
        way = still
        for index in gap.slices:
            way = down[index] = composed(pairs[index - 1].to_lower, way)
    if pairs and gap.upper is not None:
        way = still
        for index in reversed(gap.slices):
            way = up[index] = composed(pairs[index].to_upper, way)
    found = []
    for index in gap.slices:
        if far is None:
            upper_share = np.full(len(lower_mm), (index - gap.lower) / (gap.upper - gap.lower), np.float32)
        else:
            distance = gap.upper - index if gap.lower is None else index - gap.lower
            gone = np.minimum(1, distance / np.maximum(far, 1e-6)).astype(np.float32)
            upper_share = 1 - gone if gap.lower is None else gone
        below = Origin(stack.images.get(gap.lower), lower_mm, down[index], 1 - upper_share)
        above = Origin(stack.images.get(gap.upper), upper_mm, up[index], upper_share)
        found.append((index, (below, above)))
    return found


def _fill_by_shape(
    into: AxisLabels, index: int, origins: tuple[Origin, Origin], stack: AxisStack, settings: FusionSettings
) -> None:
    """Blend of the signed distances in place, and the largest disagreement over the channels."""
    ramp_mm = settings.ramp * min(stack.plane.working_spacing_mm)
    blended = sum(origin.weights[:, None, None] * origin.distances_mm for origin in origins)
    lower, upper = (np.tanh(origin.distances_mm / ramp_mm) for origin in origins)
    into.levels[index] = np.tanh(blended / ramp_mm).astype(np.float16)
    into.apart[index] = (np.abs(lower - upper) / 2).max(axis=0).astype(np.float16)
    into.quality[index] = 0.0


def _quality(gap: Gap, index: int, pairs: Mapping[int, PairRegistration]) -> float:
    """Mean quality of the pairs on the way to both sides; the nearer side has more weight."""
    below = [
        pairs[lower].quality for lower in range(index - 1, (gap.lower if gap.lower is not None else index) - 1, -1)
    ]
    above = [pairs[lower].quality for lower in range(index, gap.upper if gap.upper is not None else index)]
    if not below or not above:
        return float(np.mean(below or above))
    share = len(below) / (len(below) + len(above))
    return float((1 - share) * np.mean(below) + share * np.mean(above))


def _failures(axis: int, gap: Gap, pairs: Mapping[int, PairRegistration], by_image: bool) -> list[str]:
    """A sentence for each run of neighbours with the same failure."""
    notes = []
    for failure, run in groupby(gap.pairs, key=lambda lower: pairs[lower].failure.split(" (")[0]):
        lowers = list(run)
        if failure:
            where = Slices(axis, lowers[0], lowers[-1] + 1)
            blended = "no motion is assumed there, and shapes are blended"
            how = blended if by_image else "shape-based interpolation is used"
            notes.append(Note(where, f": {pairs[lowers[0]].failure}; {how}"))
    return notes
