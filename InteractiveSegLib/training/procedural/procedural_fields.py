"""Smooth random fields, and separable operations on the axes of an array: interpolation, blur, slices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float32]


def along_axes(array: Array, matrices: Sequence[Array]) -> Array:
    """Multiply each axis of ``array`` by its own (new, old) matrix: separable resampling, blurring, interpolation.

    One thread of torch: numpy's threads cost ten times the work on arrays this small where several processes draw.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        values = torch.from_numpy(np.ascontiguousarray(array))
        for axis, matrix in enumerate(matrices):
            weights = torch.from_numpy(np.ascontiguousarray(matrix))
            if axis == values.ndim - 1:
                values = values @ weights.T
            else:
                head, tail = values.shape[:axis], values.shape[axis + 1 :]
                values = (weights @ values.reshape(*head, values.shape[axis], -1)).reshape(*head, len(weights), *tail)
    finally:
        torch.set_num_threads(threads)
    return values.numpy()


@lru_cache(maxsize=4096)
def _spline(voxels: int, cells: int) -> Array:
    """(voxels, cells + 3) cubic B-spline values, scaled so that white coefficients give a field of unit variance."""
    position = (np.arange(voxels) + 0.5) * cells / voxels
    distance = np.abs(position[:, None] - (np.arange(cells + 3) - 1))
    inner = 2 / 3 - distance**2 + distance**3 / 2
    weights = np.where(distance < 1, inner, np.clip(2 - distance, 0, None) ** 3 / 6)
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)


def smooth_noise(shape: Sequence[int], cells: float | Sequence[float], rng: np.random.Generator) -> Array:
    """Gaussian field of unit variance that varies over about ``cells`` bumps along each axis."""
    counts = np.broadcast_to(np.asarray(cells, dtype=float), len(shape))
    counts = [int(np.clip(round(c), 1, n)) for c, n in zip(counts, shape, strict=True)]
    noise = rng.standard_normal([c + 3 for c in counts], dtype=np.float32)
    return along_axes(noise, [_spline(n, c) for n, c in zip(shape, counts, strict=True)])


def blur_matrix(voxels: int, sigma: float) -> Array:
    """(voxels, voxels) Gaussian blur of one axis, normalised at its ends."""
    if sigma < 0.2:
        return np.eye(voxels, dtype=np.float32)
    weights = np.exp(-0.5 * (np.arange(voxels) / sigma) ** 2).astype(np.float32)[_distances(voxels)]
    return weights / weights.sum(1, keepdims=True)


@lru_cache(maxsize=512)
def _distances(voxels: int) -> NDArray[np.intp]:
    """(voxels, voxels) distances between the voxels of an axis."""
    return np.abs(np.subtract.outer(np.arange(voxels), np.arange(voxels)))


def resampling_matrix(voxels: int, start: float, stop: float, samples: int, smoothing: float = 1.0) -> Array:
    """(samples, voxels) linear interpolation of [start, stop) of an axis; the border voxel is repeated beyond it.

    When it samples more coarsely than the voxels, the kernel widens by ``smoothing`` times that factor.
    """
    step = (stop - start) / samples
    position = np.clip(start + (np.arange(samples) + 0.5) * step - 0.5, 0, voxels - 1)
    weights = np.clip(1 - np.abs(np.subtract.outer(position, np.arange(voxels))) / max(1.0, step * smoothing), 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def thick_slices(voxels: int, thickness: int, nearest: bool) -> tuple[Array, NDArray[np.int16]]:
    """(voxels, voxels) operator that averages slabs and interpolates back, and the slice each voxel's label is from."""
    slabs = np.arange(voxels) // thickness
    count = int(slabs[-1]) + 1
    pool = (slabs[None] == np.arange(count)[:, None]).astype(np.float32)
    pool /= pool.sum(1, keepdims=True)
    if nearest:
        return pool[slabs], np.minimum(slabs * thickness + thickness // 2, voxels - 1)
    return resampling_matrix(count, 0, voxels / thickness, voxels) @ pool, np.arange(voxels)
