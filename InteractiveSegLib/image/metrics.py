"""Agreement of a mask with the truth: overlap, surfaces, and the calibration of probabilities."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox

if TYPE_CHECKING:
    from torch import Tensor

_GRID_ERROR_MM = 1e-4  # NIfTI headers are float32: a spacing of 1 mm is read as 0.9999999 or 1.0000001


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """``2 |A and B| / (|A| + |B|)``; nan where both are empty, so that an absent object is not scored.

    Raises
    ------
    InputError : the shapes differ.
    """
    mask, truth = _masks(mask, truth)
    total = np.count_nonzero(mask) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(mask & truth) / total if total else math.nan


def surface_dice(
    mask: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing_kji_mm: Sequence[float],
    tolerance_mm: float = 2.0,
) -> float:
    """Normalised surface Dice: the fraction of both surfaces that lies within the tolerance of the other surface.

    Surface voxels are those of a mask with a face neighbour outside it, or at the border of the array; each counts
    as one. In an array with one slice these are the voxels of the outline. A distance that exceeds the tolerance by
    less than 1e-4 mm is within it, since spacings in headers are rounded.

    Parameters
    ----------
    mask, truth : (K, J, I)
    spacing_kji_mm : (3,)
    tolerance_mm : 0 or more

    Returns
    -------
    0 to 1; nan where both masks are empty, 0 where one is.

    Raises
    ------
    InputError : the shapes differ or are not 3D, a spacing is not positive, or the tolerance is negative.
    """
    mask, truth = _masks(mask, truth)
    spacing = _spacing(mask, spacing_kji_mm)
    if not 0 <= tolerance_mm < math.inf:
        raise InputError(f"tolerance_mm must be 0 or more, not {tolerance_mm}")
    if not (mask.any() and truth.any()):
        return 0.0 if mask.any() or truth.any() else math.nan
    from monai.metrics import compute_surface_dice

    found, wanted, spacing = _around_both(mask, truth, spacing)
    thresholds = [tolerance_mm + _GRID_ERROR_MM]
    with _without_monais_deprecation():
        return compute_surface_dice(found, wanted, thresholds, include_background=True, spacing=spacing).item()


def hd95_mm(mask: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_kji_mm: Sequence[float]) -> float:
    """95th percentile of the distances from one surface to the other, the larger of both directions.

    Surfaces as in ``surface_dice``.

    Parameters
    ----------
    mask, truth : (K, J, I)
    spacing_kji_mm : (3,)

    Returns
    -------
    mm; nan where both masks are empty. If one is, no distance is defined, and the diagonal of the array's extent
    (voxels times spacing; in the plane for one slice), which no distance exceeds, is used instead.

    Raises
    ------
    InputError : the shapes differ or are not 3D, or a spacing is not positive.
    """
    mask, truth = _masks(mask, truth)
    spacing = _spacing(mask, spacing_kji_mm)
    if not (mask.any() and truth.any()):
        return _diagonal_mm(mask.shape, spacing) if mask.any() or truth.any() else math.nan
    from monai.metrics import compute_hausdorff_distance

    found, wanted, spacing = _around_both(mask, truth, spacing)
    with _without_monais_deprecation():
        distance = compute_hausdorff_distance(found, wanted, include_background=True, percentile=95, spacing=spacing)
    return distance.item()


def calibration_error(probability: NDArray[np.floating], truth: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error of the probability of foreground.

    Voxels are sorted into ``bins`` bins of equal width over the probabilities 0 to 1 (the last one includes 1). The
    error is the mean over voxels of the distance, in their bin, between mean probability and share of foreground:
    ``sum_b n_b / N |mean p in b - mean truth in b|``. It depends on the region: first crop both to the segmented box,
    or the distant background, which is easy, hides the rest.

    Returns
    -------
    0 (a voxel of probability p is foreground in p of all cases) to 1; nan for arrays without voxels.

    Raises
    ------
    InputError : the shapes differ, a probability is not within 0 to 1, or there is not at least one bin.
    """
    probability = np.asarray(probability, dtype=np.float64)
    probability, truth = probability.ravel(), _same_shape(probability, truth).ravel()
    if bins < 1:
        raise InputError(f"bins must be 1 or more, not {bins}")
    wrong = probability[~((probability >= 0) & (probability <= 1))]
    if wrong.size:
        raise InputError(f"probabilities must lie within 0 to 1, not {wrong[0]}")
    if not probability.size:
        return math.nan
    bin_of = np.minimum((probability * bins).astype(np.intp), bins - 1)
    surplus = np.bincount(bin_of, probability, bins) - np.bincount(bin_of, truth, bins)
    return float(np.abs(surplus).sum() / probability.size)


def _same_shape(array: NDArray, truth: NDArray) -> NDArray[np.bool_]:
    """The truth as bool. InputError if it is not of the array's shape."""
    if np.shape(array) != np.shape(truth):
        raise InputError(f"the truth has the shape {np.shape(truth)}, but what is scored {np.shape(array)}")
    return np.asarray(truth).astype(bool, copy=False)


def _masks(mask: NDArray, truth: NDArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    truth = _same_shape(mask, truth)
    return np.asarray(mask).astype(bool, copy=False), truth


def _spacing(mask: NDArray, spacing_kji_mm: Sequence[float]) -> tuple[float, ...]:
    spacing = tuple(float(mm) for mm in spacing_kji_mm)
    if mask.ndim != 3:
        raise InputError(f"surfaces need (K, J, I) masks, not the shape {mask.shape}")
    if len(spacing) != 3 or not all(0 < mm < math.inf for mm in spacing):
        raise InputError(f"spacing_kji_mm must be three positive numbers, not {spacing}")
    return spacing


def _around_both(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: tuple[float, ...]
) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """What MONAI's surfaces need: (1, 1, ...) tensors of the box around both masks, and the spacing of their axes.

    Beyond the box there is background only, and MONAI surrounds an array with background: the surfaces in the box are
    those in the image. The first axis with one voxel is dropped: in 3D, every voxel of a slice would be surface.
    """
    import torch

    flat = _flat_axis(mask.shape)
    box = BoundingBox.of_mask(mask | truth).slices
    pair = []
    for array in (mask[box], truth[box]):
        array = np.ascontiguousarray(array if flat is None else array.squeeze(flat))
        pair.append(torch.from_numpy(array)[None, None])
    return *pair, tuple(mm for axis, mm in enumerate(spacing) if axis != flat)


@contextmanager
def _without_monais_deprecation() -> Iterator[None]:
    """MONAI 1.5 and 1.6 call their own function with an argument for which they issue a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
        yield


def _flat_axis(shape: tuple[int, ...]) -> int | None:
    return shape.index(1) if 1 in shape else None


def _diagonal_mm(shape: tuple[int, ...], spacing: tuple[float, ...]) -> float:
    flat = _flat_axis(shape)
    return math.hypot(*(n * mm for axis, (n, mm) in enumerate(zip(shape, spacing, strict=True)) if axis != flat))
