"""Lines like those a person draws on one slice: along the middle of a region, with a round brush.

Positions in a slice are (N, 2) float64 in mm, rows and columns, counted from the centre of pixel (0, 0).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra

from InteractiveSegLib.errors import MissingPackageError

Line = NDArray[np.float64]

_NEAR_BORDER = 0.25  # a straight line through a round region ends at this fraction of the largest depth
_NEXT_PIXELS = ((0, 1), (1, -1), (1, 0), (1, 1))


def depth_mm(
    region: NDArray[np.bool_], spacing_mm: NDArray[np.float64], ends: NDArray[np.bool_] | bool = True
) -> NDArray[np.float64]:
    """Distance to the nearest voxel outside a region, mm.

    ends : for each axis, whether everything beyond the array is outside; False across an image of a single slice
    """
    padding = np.broadcast_to(ends, region.ndim).astype(int)
    depth = ndimage.distance_transform_edt(np.pad(region, np.stack([padding, padding], axis=1)), spacing_mm)
    return depth[tuple(slice(pad, pad + length) for pad, length in zip(padding, region.shape, strict=True))]


def middle_of_deepest(depth: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the largest depth; of several, the one nearest to their mean, and the first of those."""
    ties = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    return ties[((ties - ties.mean(axis=0)) ** 2).sum(axis=1).round(6).argmin()]


def centreline(region: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> Line:
    """One line through the middle of a region: the longest path through its skeleton, smoothed.

    A ring gives a C. A round region, whose skeleton is little more than a point, gives a straight line through its
    deepest point along its longest direction.

    Parameters
    ----------
    region : (R, C) bool, one connected piece
    spacing_mm : (2,) side of a pixel along rows' and columns' index

    Returns
    -------
    (N, 2) mm, at most half a pixel's finer side apart; a single point for a region of one pixel.

    Raises
    ------
    MissingPackageError : scikit-image is not installed.
    """
    try:
        from skimage.morphology import skeletonize
    except ImportError as missing:
        raise MissingPackageError("the robot that scribbles", "scikit-image") from missing
    depth = depth_mm(region, spacing_mm)
    pixels = np.argwhere(skeletonize(region))
    line = _longest_way(pixels, spacing_mm) if len(pixels) else middle_of_deepest(depth)[None] * spacing_mm
    if length_mm(line) < 2 * depth.max():
        straight = _through_the_deepest(region, depth, spacing_mm)
        line = straight if length_mm(straight) > length_mm(line) else line
    return _smoothed(resampled(line, spacing_mm.min() / 2))


def arc_round(
    region: NDArray[np.bool_],
    allowed: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64],
    distance_mm: float,
    rng: np.random.Generator,
) -> Line:
    """An arc outside a region, at a constant distance from it: at most half way round, from a random point.

    Parameters
    ----------
    region : (R, C) bool, one connected piece; what it encloses belongs to it
    allowed : (R, C) bool, pixels that the arc may pass through; it never leaves the array
    spacing_mm : (2,) side of a pixel along rows' and columns' index

    Returns
    -------
    (N, 2) mm; the longest piece on allowed pixels, if none is as long as half way round; empty if there is none

    Raises
    ------
    MissingPackageError : scikit-image is not installed.
    """
    try:
        from skimage.measure import find_contours
    except ImportError as missing:
        raise MissingPackageError("the robot that scribbles", "scikit-image") from missing
    pad = np.ceil(distance_mm / spacing_mm).astype(int) + 2
    filled = ndimage.binary_fill_holes(np.pad(region, np.stack([pad, pad], axis=1)))
    outside_mm = ndimage.distance_transform_edt(~filled, spacing_mm)
    lines = [(contour - pad) * spacing_mm for contour in find_contours(outside_mm, distance_mm)]
    line = resampled(max(lines, key=length_mm), spacing_mm.min() / 2)[:-1]  # it ends where it begins
    line = np.roll(line, -int(rng.integers(len(line))), axis=0)
    pixels = np.rint(line / spacing_mm).astype(int)
    free = ((pixels >= 0) & (pixels < region.shape)).all(axis=1)
    free[free] = allowed[tuple(pixels[free].T)]
    half = (len(line) + 1) // 2
    pieces, _ = ndimage.label(np.tile(free, 2))  # twice around, so that no piece is cut at the start
    lengths = np.minimum(np.bincount(pieces)[1:], half)
    if not lengths.size:
        return np.empty((0, 2))
    start = int(np.argmax(pieces == 1 + lengths.argmax()))
    return np.tile(line, (2, 1))[start : start + int(lengths.max())]


def length_mm(line: Line) -> float:
    """Length along the line, mm; 0 for a single point."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def between(line: Line, start_mm: float, stop_mm: float, step_mm: float) -> Line:
    """The piece of a line from one distance along it to another, in points at most ``step_mm`` apart."""
    along = np.append(0.0, np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum())
    start, stop = np.clip((start_mm, stop_mm), 0.0, along[-1])
    at = np.linspace(start, stop, 1 + int(np.ceil((stop - start) / step_mm - 1e-9)))
    return np.stack([np.interp(at, along, line[:, axis]) for axis in range(2)], axis=1)


def resampled(line: Line, step_mm: float) -> Line:
    """The same line in points at most ``step_mm`` apart."""
    return between(line, 0.0, np.inf, step_mm)


def wandering(line: Line, amplitude_mm: float, wavelength_mm: float, rng: np.random.Generator) -> Line:
    """The line as drawn by an unsteady hand: displaced by smooth noise, 95 % of it within ``amplitude_mm``."""
    if len(line) < 2:
        return line + rng.normal(scale=amplitude_mm / 4, size=(1, 2))
    sigma = max(wavelength_mm / 4 * (len(line) - 1) / max(length_mm(line), 1e-9), 0.5)  # in points
    extra = int(np.ceil(4 * sigma))
    noise = ndimage.gaussian_filter1d(rng.normal(size=(len(line) + 2 * extra, 2)), sigma, axis=0)[extra:-extra]
    return line + noise * np.sqrt(2 * np.sqrt(np.pi) * sigma) * amplitude_mm / 2


def with_breaks(line: Line, every_mm: float, gap_mm: float, step_mm: float, rng: np.random.Generator) -> list[Line]:
    """The pieces of a line that remain if the brush is lifted for ``gap_mm``, on average once every ``every_mm``."""
    total = length_mm(line)
    starts = np.sort(rng.uniform(0.0, total, rng.poisson(total / every_mm)))
    bounds = [0.0, *np.stack([starts, starts + gap_mm], axis=1).ravel(), total]
    pieces = [(start, stop) for start, stop in zip(bounds[::2], bounds[1::2], strict=True) if stop - start > gap_mm]
    return [between(line, start, stop, step_mm) for start, stop in pieces] or [line]


def painted(line: Line, spacing_mm: NDArray[np.float64], thickness_mm: float) -> NDArray[np.int64]:
    """Pixels under a round brush drawn along points of a line: their centre under the disc, or on the line itself.

    Returns
    -------
    (N, 2) pixel indices, sorted, each once; some may be negative.
    """
    reach = np.ceil(thickness_mm / 2 / spacing_mm).astype(int)
    disc = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 2)
    on = np.rint(line / spacing_mm).astype(int)
    candidates = on[:, None] + disc
    near = np.linalg.norm(candidates * spacing_mm - line[:, None], axis=2) <= thickness_mm / 2 * (1 + 1e-9)
    return np.unique(np.concatenate([on, candidates[near]]), axis=0)


def _longest_way(pixels: NDArray[np.int64], spacing_mm: NDArray[np.float64]) -> Line:
    """The longest path in the tree of shortest paths from an end of a skeleton (Q, 2); the tree cuts loops open."""
    number = {pixel: index for index, pixel in enumerate(map(tuple, pixels.tolist()))}
    links = [
        (index, number[row + down, column + across])
        for (row, column), index in number.items()
        for down, across in _NEXT_PIXELS
        if (row + down, column + across) in number
    ]
    positions = pixels * spacing_mm
    if not links:
        return positions[:1]
    skeleton = _graph(np.array(links), positions)
    end = _farthest(dijkstra(skeleton, directed=False, indices=0))
    from_end, before = dijkstra(skeleton, directed=False, indices=end, return_predecessors=True)
    reached = np.flatnonzero(before >= 0)
    tree = _graph(np.stack([reached, before[reached]], axis=1), positions)
    first = _farthest(from_end)
    from_first, before = dijkstra(tree, directed=False, indices=first, return_predecessors=True)
    way = [_farthest(from_first)]
    while way[-1] != first:
        way.append(int(before[way[-1]]))
    return positions[way]


def _graph(links: NDArray[np.int64], positions: Line) -> sparse.csr_array:
    lengths = np.linalg.norm(positions[links[:, 0]] - positions[links[:, 1]], axis=1)
    return sparse.csr_array((lengths, tuple(links.T)), shape=(len(positions),) * 2)


def _farthest(distances: NDArray[np.float64]) -> int:
    return int(np.where(np.isfinite(distances), distances, -1.0).round(6).argmax())


def _through_the_deepest(
    region: NDArray[np.bool_], depth: NDArray[np.float64], spacing_mm: NDArray[np.float64]
) -> Line:
    positions = np.argwhere(region) * spacing_mm
    direction = np.linalg.eigh(np.cov(positions.T, ddof=0).reshape(2, 2))[1][:, -1]
    centre = middle_of_deepest(depth) * spacing_mm
    steps = np.arange(0.0, np.linalg.norm(np.ptp(positions, axis=0)) + spacing_mm.max(), spacing_mm.min() / 2)
    ends = []
    for sense in (-direction, direction):
        pixels = np.rint((centre + steps[:, None] * sense) / spacing_mm).astype(int)
        inside = ((pixels >= 0) & (pixels < region.shape)).all(axis=1)
        inside[inside] = depth[tuple(pixels[inside].T)] >= _NEAR_BORDER * depth.max()
        last = len(steps) if inside.all() else int(inside.argmin())
        ends.append(centre + steps[last - 1] * sense)
    return np.array(ends)


def _smoothed(line: Line) -> Line:
    """The line without the staircase of the pixel grid. Its ends and straight lines are preserved."""
    if len(line) < 3:
        return line
    sigma, extra = 3.0, 12  # points, which are half a pixel apart
    padded = np.pad(line, ((extra, extra), (0, 0)), mode="reflect", reflect_type="odd")
    return ndimage.gaussian_filter1d(padded, sigma, axis=0)[extra:-extra]
