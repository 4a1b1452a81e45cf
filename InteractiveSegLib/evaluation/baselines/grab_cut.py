"""GrabCut in 3D: an object from a box alone, or from a box and scribbles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.baselines.classical import (
    THICK,
    checked_intensities,
    crop_geometry,
    in_voxels,
    log_density,
)
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.working_grid import GridSettings, working_grid
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.segmenting.refine import EnergySettings, minimise_energy_steps

_CUT_ROUNDS = 3
_CUT_COMPONENTS = 5
_CUT_SMOOTHNESS = 8.0
_CUT_VOXELS = 1_500_000


def grab_cut(
    image_kji: NDArray[np.floating],
    box_kji: tuple[slice, slice, slice],
    seeds_kji: NDArray[np.uint8],
    spacing_kji_mm: Sequence[float],
) -> NDArray[np.bool_]:
    """GrabCut in 3D (Rother et al. 2004): alternating Gaussian mixtures of object and background and a maximal flow.

    If a round would leave no object, the result is that of the previous round. Crops of more than 1.5 million voxels
    are processed on a coarser grid.

    Parameters
    ----------
    image_kji : (K, J, I) intensities of a crop that is larger than the box
    box_kji : the user's box in the crop
    seeds_kji : (K, J, I), 0 not marked, 255 background, another value the object; may be all 0
    spacing_kji_mm : of the voxels

    Returns
    -------
    (K, J, I) bool, False outside the box except on the object's scribbles

    Raises
    ------
    InputError : the box is empty, reaches outside the crop or fills it, the seeds hold several objects, the shapes
        differ, or no voxel is finite.
    MissingPackageError : scikit-learn is not installed.
    """
    image = torch.from_numpy(checked_intensities(image_kji, seeds_kji, spacing_kji_mm))
    box = _box(box_kji, image_kji.shape)
    objects = np.unique(seeds_kji[(seeds_kji > 0) & (seeds_kji != BACKGROUND)])
    if len(objects) > 1:
        raise InputError(f"GrabCut segments one object, but the seeds hold {objects}")
    whole = BoundingBox.whole(image_kji.shape)
    grid = working_grid(
        whole, crop_geometry(image_kji.shape, spacing_kji_mm), GridSettings(_CUT_VOXELS, margin_voxels=0)
    )
    foreground, background = np.zeros((2, *grid.shape_kji), bool)
    foreground[grid.working_indices(np.argwhere(np.isin(seeds_kji, objects)))] = True
    background[grid.working_indices(np.argwhere(seeds_kji == BACKGROUND))] = True
    background &= ~foreground
    inside = np.zeros(grid.shape_kji, bool)
    ratios = [count / full for count, full in zip(grid.shape_kji, image_kji.shape, strict=True)]
    starts = [min(round(s * r), n - 1) for s, r, n in zip(box.start_kji, ratios, grid.shape_kji, strict=True)]
    stops = [max(round(s * r), a + 1) for s, r, a in zip(box.stop_kji, ratios, starts, strict=True)]
    inside[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))] = True
    mask = _cut(grid.averaged(image), inside, foreground, background, in_voxels(grid.spacing_kji_mm))
    result = np.zeros(image_kji.shape, bool)
    result[box.slices] = (grid.interpolated(torch.from_numpy(mask).float()) > 0.5).numpy()[box.slices]
    result[seeds_kji > 0] = seeds_kji[seeds_kji > 0] != BACKGROUND
    return result


def _box(box_kji: tuple[slice, slice, slice], shape_kji: tuple[int, ...]) -> BoundingBox:
    box = BoundingBox(
        tuple(s.start or 0 for s in box_kji),
        tuple(n if s.stop is None else s.stop for s, n in zip(box_kji, shape_kji, strict=True)),
    )
    if min(box.start_kji) < 0 or any(stop > n for stop, n in zip(box.stop_kji, shape_kji, strict=True)):
        raise InputError(f"box from {box.start_kji} to {box.stop_kji} reaches outside the crop of {shape_kji}")
    if box.shape_kji == shape_kji:
        raise InputError(f"the box fills the crop of {shape_kji}; GrabCut needs voxels outside it")
    return box


def _cut(
    image: Tensor, inside: NDArray[np.bool_], foreground: NDArray, background: NDArray, spacing: Sequence[float]
) -> NDArray[np.bool_]:
    rng = np.random.default_rng(0)
    intensities = image.numpy()
    out = torch.from_numpy((background | ~inside) & ~foreground)
    changes = torch.cat([image.diff(dim=axis).flatten() for axis in range(3) if spacing[axis] < THICK])
    sigma = max(float(changes.square().mean().sqrt()), 1e-3) if len(changes) else 1.0
    settings = EnergySettings(smoothness_mm=_CUT_SMOOTHNESS, sigma=sigma)
    mask = (inside & ~background) | foreground
    if mask.all():
        raise InputError("the crop holds too few voxels outside the box for GrabCut to tell the background from it")
    for _ in range(_CUT_ROUNDS):
        if not mask.any():  # all of the box is marked as background
            break
        odds = log_density(intensities, mask, _CUT_COMPONENTS, rng, "GrabCut")
        odds -= log_density(intensities, ~mask, _CUT_COMPONENTS, rng, "GrabCut")
        probability = torch.from_numpy(odds).sigmoid_()
        before = mask
        steps = minimise_energy_steps(probability, image, spacing, torch.from_numpy(foreground), out, settings)
        mask = finish(steps).numpy()
        if not mask.any() or (mask == before).all():
            return before
    return mask
