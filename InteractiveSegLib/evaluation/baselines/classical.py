"""Classical methods on the scribbles or the box of a user. Learnt methods have to beat these."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geodesic import GeodesicSettings, geodesic_distance
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.intensity import crop_intensities
from InteractiveSegLib.image.working_grid import GridSettings, WorkingGrid, working_grid
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.segmenting.refine import EnergySettings, edge_weights

# One set of constants for all data, tuned on the ACDC volumes of every fourth patient. Lengths are in voxels of the
# finest axis, so that an electron micrograph and a CT are treated alike.
_CONTRAST_VOXELS = 70.0  # detour equivalent to crossing the whole intensity range
_DISTANCE_SCALE = 10.0  # distance in voxels over which the influence of a scribble falls by 1/e
_DISTANCE_WEIGHT, _MIXTURE_WEIGHT = 2.0, 0.5
_SCRIBBLE_COMPONENTS = 3
_POTTS = EnergySettings(smoothness_mm=2.0, sigma=0.2, gap=0.01, iterations=150)  # used with spacings in voxels
_WALK_BETA = 1000.0
_WALK_VOXELS = 250_000  # maximum solved at once; a million take minutes
_MIXTURE_VOXELS = 1_500_000  # likewise; two labels of eight million take half an hour
_Solver = Callable[[NDArray[np.float32], NDArray[np.uint8], NDArray], NDArray[np.uint8]]
THICK = 3.0  # slices this many times thicker than the pixel width are treated one by one

_SAMPLE = 20_000  # voxels a mixture is fitted to
_LEAST_VARIANCE = 1e-4  # of a component of a mixture, for intensities in [0, 1]
_TABLE = np.linspace(0, 1, 1024)
_LEAST_LOG_DENSITY = -12.0
_CERTAIN = 50.0  # cost of contradicting a scribble
_CHECK_EVERY = 10


def scribbled_intensities(
    image_kji: NDArray, seeds_kji: NDArray[np.uint8], spacing_kji_mm: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The crop (K, J, I) in [0, 1], NaN set to the darkest value, and the seed values that occur, ascending.

    Raises
    ------
    InputError : fewer than two values are marked, the shapes differ, or no voxel is finite.
    """
    image = checked_intensities(image_kji, seeds_kji, spacing_kji_mm)
    values = np.unique(seeds_kji[seeds_kji > 0])
    if len(values) < 2:
        raise InputError(f"scribbles of at least two labels, one of them the background, are needed, not {values}")
    return image, values


def nearest_scribble(
    image_kji: NDArray[np.floating], seeds_kji: NDArray[np.uint8], spacing_kji_mm: Sequence[float]
) -> NDArray[np.uint8]:
    """Label of the nearest scribble by geodesic distance (Criminisi et al., GeoS, ECCV 2008), in 3D.

    Arguments, result and InputError as for ``grow_from_seeds``.
    """
    image, values = scribbled_intensities(image_kji, seeds_kji, spacing_kji_mm)
    nearest = _distances(image, seeds_kji, values, spacing_kji_mm).argmin(dim=0)
    return _labelmap(nearest, values)


def geodesic_mixtures(
    image_kji: NDArray[np.floating], seeds_kji: NDArray[np.uint8], spacing_kji_mm: Sequence[float]
) -> NDArray[np.uint8]:
    """Geodesic distance and Gaussian mixtures of the scribbled intensities, smoothed by a Potts energy.

    A voxel's cost of a label is ``2 (-log softmax(-distance)) + 0.5 (-log posterior of the mixtures)``, the cost of a
    border decreases with the contrast, and all labels are found together. A volume of more than 1,500,000 voxels is
    solved on a coarser grid, as for the random walker.

    Arguments, result and InputError as for ``grow_from_seeds``.

    Raises
    ------
    MissingPackageError : scikit-learn is not installed.
    """
    image, _ = scribbled_intensities(image_kji, seeds_kji, spacing_kji_mm)
    result = _coarser(_mixed, image, seeds_kji, np.array(in_voxels(spacing_kji_mm)), _MIXTURE_VOXELS)
    return np.where(seeds_kji > 0, seeds_kji, result) % BACKGROUND


def random_walker(
    image_kji: NDArray[np.floating], seeds_kji: NDArray[np.uint8], spacing_kji_mm: Sequence[float]
) -> NDArray[np.uint8]:
    """Label whose scribble a random walk most probably reaches first (Grady, PAMI 2006).

    Thick slices with scribbles of two labels are solved one by one; otherwise they are solved in 3D.
    A volume or slice of more than 250,000 voxels is solved on a coarser grid, on averaged intensities, and its labels
    are resampled by nearest neighbour. If labels share a coarse voxel, objects win over background; every label keeps
    at least one, and the scribbles themselves always keep their labels.

    Arguments, result and InputError as for ``grow_from_seeds``.

    Raises
    ------
    MissingPackageError : scikit-image is not installed.
    """
    image, _ = scribbled_intensities(image_kji, seeds_kji, spacing_kji_mm)
    voxels = np.array(in_voxels(spacing_kji_mm))
    thick = int(voxels.argmax())
    slices, marks = np.moveaxis(image, thick, 0), np.moveaxis(seeds_kji, thick, 0)
    alone = [
        voxels[thick] >= THICK * np.delete(voxels, thick).max() and len(np.unique(mark[mark > 0])) > 1 for mark in marks
    ]
    result = np.empty(marks.shape, np.uint8)
    if not all(alone):
        result[:] = np.moveaxis(_coarser(_solved, image, seeds_kji, voxels, _WALK_VOXELS), thick, 0)
    for index in np.flatnonzero(alone):
        result[index] = _coarser(_solved, slices[index], marks[index], np.delete(voxels, thick), _WALK_VOXELS)
    result[result == BACKGROUND] = 0
    return np.ascontiguousarray(np.moveaxis(result, 0, thick))


def checked_intensities(image_kji: NDArray, seeds_kji: NDArray, spacing_kji_mm: Sequence[float]) -> NDArray[np.float32]:
    """The crop (K, J, I) in [0, 1], NaN as the darkest value.

    Raises
    ------
    InputError : the shapes differ, or no voxel is finite.
    """
    if image_kji.ndim != 3 or seeds_kji.shape != image_kji.shape or len(spacing_kji_mm) != 3:
        raise InputError(
            f"image {image_kji.shape}, seeds {seeds_kji.shape} and spacing {tuple(spacing_kji_mm)} do not match"
        )
    volume = Volume(image_kji, crop_geometry(image_kji.shape, spacing_kji_mm))
    return crop_intensities(volume, BoundingBox.whole(image_kji.shape))[0]


def crop_geometry(shape_kji: tuple[int, ...], spacing_kji_mm: Sequence[float]) -> Geometry:
    """Geometry of a crop whose position does not matter."""
    return Geometry(shape_kji, np.diag([*spacing_kji_mm[::-1], 1.0]))


def in_voxels(spacing_mm: Sequence[float]) -> tuple[float, ...]:
    """Spacings in voxels of the finest axis."""
    return tuple(mm / min(spacing_mm) for mm in spacing_mm)


def log_density(
    image: NDArray[np.float32], mask: NDArray[np.bool_], components: int, rng: np.random.Generator, feature: str
) -> NDArray[np.float32]:
    """Logarithm of the density of a Gaussian mixture fitted to the voxels of a mask, at every voxel."""
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise MissingPackageError(feature, "scikit-learn") from error
    sample = image[mask]
    if len(sample) > _SAMPLE:
        sample = rng.choice(sample, _SAMPLE, replace=False)
    count = min(components, len(np.unique(sample)))
    mixture = GaussianMixture(count, reg_covar=_LEAST_VARIANCE, init_params="k-means++", random_state=0)
    mixture.fit(np.resize(sample, (max(len(sample), 2), 1)).astype(np.float64))
    table = mixture.score_samples(_TABLE[:, None])  # for many more voxels than the table has entries
    return np.interp(image, _TABLE, table).astype(np.float32)


def _labelmap(indices: Tensor, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (values % BACKGROUND)[indices.numpy()]


def _distances(image: NDArray, seeds: NDArray, values: NDArray, spacing_mm: Sequence[float]) -> Tensor:
    """(N, K, J, I), voxels of the finest axis.

    Steps across thick slices are longer than in mm, by the root of the anisotropy: borders move sideways from one slice
    to the next, so that a path straight across is less reliable. Slices without scribbles are still reached.
    """
    lengths = [voxels * math.sqrt(voxels) for voxels in in_voxels(spacing_mm)]
    marked = torch.from_numpy(np.stack([seeds == value for value in values]))
    return geodesic_distance(torch.from_numpy(image), marked, lengths, GeodesicSettings(contrast_mm=_CONTRAST_VOXELS))


def _coarser(
    solve: _Solver, image: NDArray[np.float32], seeds: NDArray[np.uint8], voxels: NDArray, most: int
) -> NDArray[np.uint8]:
    """Seed value of every voxel of a volume or of a slice, computed on a grid of at most ``most`` voxels."""
    if image.size <= most:
        return solve(image, seeds, voxels)
    missing = 3 - image.ndim
    shape = (*[1] * missing, *image.shape)
    geometry = crop_geometry(shape, (*[voxels.max()] * missing, *voxels))
    grid = working_grid(BoundingBox.whole(shape), geometry, GridSettings(most, margin_voxels=0))
    coarse = grid.averaged(torch.from_numpy(image.reshape(shape))).numpy()
    marks = _working_seeds(seeds.reshape(shape), grid)
    own = (0,) * missing  # a slice is solved as a slice
    found = solve(coarse[own], marks[own], np.array(in_voxels(grid.spacing_kji_mm[missing:])))
    labels = torch.from_numpy(found).reshape(1, 1, *grid.shape_kji)
    nearest = torch.nn.functional.interpolate(labels, size=shape, mode="nearest-exact").numpy().reshape(image.shape)
    return np.where(seeds > 0, seeds, nearest)


def _working_seeds(seeds_kji: NDArray[np.uint8], grid: WorkingGrid) -> NDArray[np.uint8]:
    """Seeds on the working grid, objects over background. A completely covered label takes the nearest free voxel."""
    values = sorted(np.unique(seeds_kji[seeds_kji > 0]), key=lambda value: value % BACKGROUND)
    places = [grid.working_indices(np.argwhere(seeds_kji == value)) for value in values]
    marks = np.zeros(grid.shape_kji, np.uint8)
    for value, place in zip(values, places, strict=True):
        marks[place] = value
    for value, place in zip(values, places, strict=True):
        if (marks == value).any():
            continue
        elsewhere = np.ones(marks.shape, bool)
        elsewhere[place] = False
        distance = ndimage.distance_transform_edt(elsewhere, sampling=grid.spacing_kji_mm)
        counts = np.bincount(marks.ravel(), minlength=256)
        spare = (marks == 0) | (counts[marks] > 1)
        marks[np.unravel_index(np.where(spare, distance, np.inf).argmin(), marks.shape)] = value
    return marks


def _mixed(image: NDArray[np.float32], seeds: NDArray[np.uint8], voxels: NDArray) -> NDArray[np.uint8]:
    """Seed value of every voxel by geodesic distances and mixtures in a Potts energy."""
    values, spacing = np.unique(seeds[seeds > 0]), tuple(voxels.tolist())
    rng = np.random.default_rng(0)
    densities = np.stack(
        [log_density(image, seeds == value, _SCRIBBLE_COMPONENTS, rng, "geodesic mixtures") for value in values]
    )
    distances = _distances(image, seeds, values, spacing)
    cost = -_DISTANCE_WEIGHT * torch.log_softmax(-distances / _DISTANCE_SCALE, dim=0)
    cost -= _MIXTURE_WEIGHT * torch.log_softmax(torch.from_numpy(densities).clamp_(min=_LEAST_LOG_DENSITY), dim=0)
    cost -= cost.amin(dim=0)
    marked = torch.from_numpy(np.stack([seeds == value for value in values]))
    cost[:, marked.any(dim=0)] = _CERTAIN
    cost[marked] = 0
    labels = _potts(cost, edge_weights(torch.from_numpy(image), spacing, _POTTS))
    return values[labels.numpy()]


def _solved(image: NDArray[np.float32], seeds: NDArray[np.uint8], voxels: NDArray) -> NDArray[np.uint8]:
    try:
        from skimage import segmentation
    except ImportError as error:
        raise MissingPackageError("the random walker", "scikit-image") from error
    values = np.unique(seeds[seeds > 0])
    numbers = np.where(seeds > 0, np.searchsorted(values, seeds) + 1, 0)
    data = image.astype(np.float64)
    if data.std() < 1e-6:  # it divides by the deviation
        data = np.linspace(0, 1e-6, data.size).reshape(data.shape)
    # It divides changes by the spacing, which would bind distant voxels more strongly: so the inverse is passed.
    mode = "bf" if data.ndim == 2 else "cg_j"  # solving directly is faster and exact, but not feasible in 3D
    with warnings.catch_warnings():  # from rounding in flat regions without a scribble, and from having nothing to do
        warnings.simplefilter("ignore", UserWarning)
        walked = segmentation.random_walker(data, numbers, beta=_WALK_BETA, mode=mode, tol=1e-4, spacing=1 / voxels)
    return values[walked - 1]


def _potts(cost: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Minimise ``sum_i cost(y_i) + sum_ij w_ij [y_i != y_j]`` over labels, relaxed to the simplex (Zach et al. 2008).

    The relaxed problem is solved by the primal-dual algorithm of Chambolle and Pock (2011), until the energy of the
    labels is proven to be within 1 % of the minimum.

    Parameters
    ----------
    cost : (N, K, J, I) >= 0
    weights : of the neighbours along each axis, one shorter along it

    Returns
    -------
    (K, J, I) int64, 0 to N - 1
    """
    axes = [axis for axis in range(3) if cost.shape[axis + 1] > 1]
    bounds = [weights[axis] / 2 for axis in axes]  # a border counts for the labels on both sides
    duals = [torch.zeros((len(cost), *bound.shape)) for bound in bounds]
    mean = sum(bound.sum().item() for bound in bounds) / sum(bound.numel() for bound in bounds)
    ratio = min(max(mean, 0.25), 10.0)
    primal_step, dual_step = 1 / (2 * len(axes) * ratio), ratio / 2
    u = torch.zeros_like(cost).scatter_(0, cost.argmin(dim=0, keepdim=True), 1.0)
    extrapolated = u
    for done in range(1, _POTTS.iterations + 1):
        before, u = u, u - primal_step * cost
        for axis, dual, bound in zip(axes, duals, bounds, strict=True):
            dual.add_(extrapolated.diff(dim=axis + 1), alpha=dual_step)
            torch.clamp(dual, -bound, bound, out=dual)
            _add_transposed(u, dual, axis, -primal_step)
        u = _onto_simplex(u)
        extrapolated = 2 * u - before
        if done % _CHECK_EVERY == 0:
            labels, slope = u.argmax(dim=0), cost.clone()
            energy = cost.gather(0, labels[None]).sum(dtype=torch.float64)
            for axis, dual, bound in zip(axes, duals, bounds, strict=True):
                _add_transposed(slope, dual, axis, 1.0)
                energy += 2 * (bound * (labels.diff(dim=axis) != 0)).sum(dtype=torch.float64)
            if energy - slope.amin(dim=0).sum(dtype=torch.float64) <= _POTTS.gap * energy:
                break
    return u.argmax(dim=0)


def _add_transposed(values: Tensor, dual: Tensor, axis: int, factor: float) -> None:
    """Add the transpose of the difference along an axis, applied to ``dual`` and times ``factor``, in place."""
    length = values.shape[axis + 1] - 1
    values.narrow(axis + 1, 1, length).add_(dual, alpha=factor)
    values.narrow(axis + 1, 0, length).sub_(dual, alpha=factor)


def _onto_simplex(values: Tensor) -> Tensor:
    """Nearest point (N, ...) that is >= 0 with sum 1 over N (Michelot 1986)."""
    threshold = (values.sum(dim=0) - 1) / len(values)
    for _ in range(len(values) - 1):
        over = (values - threshold).clamp_(min=0)
        threshold = threshold + (over.sum(dim=0) - 1) / (over > 0).sum(dim=0)
    return (values - threshold).clamp_(min=0)
