"""Distance along the image: far in millimetres, or far across an edge."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from InteractiveSegLib.errors import InputError

UNREACHED_MM = 1e6


@dataclass(frozen=True)
class GeodesicSettings:
    """What a step costs: ``sqrt(length_mm^2 + (contrast_mm * intensity change)^2)``.

    contrast_mm : detour in mm equivalent to crossing an edge over the whole intensity range [0, 1];
        0 gives the chamfer distance
    sweeps : maximum rounds of raster scans; scanning stops earlier when nothing changes
    tolerance_mm : smaller changes are ignored
    bound_mm : scanning stops once nothing nearer than this changes; larger distances may then still be too large
    """

    contrast_mm: float = 20.0
    sweeps: int = 4
    tolerance_mm: float = 0.01
    bound_mm: float = math.inf


def geodesic_distance(
    image: Tensor, seeds: Tensor, spacing_mm: Sequence[float], settings: GeodesicSettings = GeodesicSettings()
) -> Tensor:
    """Geodesic distance to each set of seeds by raster scans (Criminisi et al., GeoS, ECCV 2008).

    Every scan passes the image plane by plane, all voxels of a plane at once, so it runs on CPU and GPU, in 2D and 3D.
    A plane is reached from the 9 (in 2D: 3) neighbours in the plane before it.

    Parameters
    ----------
    image : (*S) float, intensities in [0, 1]
    seeds : (N, *S) bool, N sets of seeds on the same grid
    spacing_mm : voxel size along each axis of ``image``

    Returns
    -------
    (N, *S) float32, mm; ``UNREACHED_MM`` everywhere for a set without seeds.

    Raises
    ------
    InputError : the shapes of image, seeds and spacing do not match, or the image is not finite.
    """
    if image.ndim not in (2, 3) or seeds.shape[1:] != image.shape or len(spacing_mm) != image.ndim:
        raise InputError(
            f"image {tuple(image.shape)}, seeds {tuple(seeds.shape)} and spacing {tuple(spacing_mm)} do not match"
        )
    if not torch.isfinite(image).all():
        raise InputError("the image holds NaN or infinite voxels; distances along it are undefined")
    if image.ndim == 2:
        image, seeds, spacing_mm = image[None], seeds[:, None], (1.0, *spacing_mm)
        return geodesic_distances(image[None], seeds[:, None], spacing_mm, settings)[:, 0, 0]
    return geodesic_distances(image[None], seeds[:, None], spacing_mm, settings)[:, 0]


def geodesic_distances(
    images: Tensor, seeds: Tensor, spacing_mm: Sequence[float], settings: GeodesicSettings
) -> Tensor:
    """As ``geodesic_distance``, for several images of one shape at once.

    Parameters
    ----------
    images : (B, K, J, I) float, finite; a 2D image has one slice
    seeds : (N, B, K, J, I) bool

    Returns
    -------
    (N, B, K, J, I) float32, mm
    """
    seeded = seeds.flatten(1).any(dim=1)
    if not seeded.all():
        distance = torch.full(seeds.shape, UNREACHED_MM, device=images.device)
        if seeded.any():
            distance[seeded] = geodesic_distances(images, seeds[seeded], spacing_mm, settings)
        return distance
    images = images.float()
    distance = torch.where(seeds, 0.0, UNREACHED_MM).to(images.device)
    for _ in range(settings.sweeps):
        before = distance
        for axis in (axis for axis in range(3) if images.shape[axis + 1] > 1):
            distance = _scanned(distance, images, axis, spacing_mm, settings.contrast_mm)
            there, back = distance.flip(axis + 2), images.flip(axis + 1)
            distance = _scanned(there, back, axis, spacing_mm, settings.contrast_mm).flip(axis + 2)
        if ((before - distance) * (distance < settings.bound_mm)).amax() < settings.tolerance_mm:
            break
    return distance


def _scanned(distance: Tensor, images: Tensor, axis: int, spacing_mm: Sequence[float], contrast_mm: float) -> Tensor:
    """Pass the planes along ``axis`` once, first to last; returns the lowered distances (N, B, K, J, I)."""
    planes = distance.movedim(axis + 2, 0).contiguous()
    slices = images.movedim(axis + 1, 0).contiguous()
    row_mm, column_mm = (mm for other, mm in enumerate(spacing_mm) if other != axis)
    rows, columns = ((-1, 0, 1) if size > 1 else (0,) for size in slices.shape[-2:])
    length_sq = [spacing_mm[axis] ** 2 + (a * row_mm) ** 2 + (b * column_mm) ** 2 for a, b in product(rows, columns)]
    cost = (contrast_mm * (slices[1:] - _neighbours(slices[:-1], 0.0))).square_()
    cost.add_(torch.tensor(length_sq, device=images.device)[:, None, None, None, None]).sqrt_()
    for index in range(1, planes.shape[0]):
        candidates = _neighbours(planes[index - 1], UNREACHED_MM) + cost[:, None, index - 1]
        torch.minimum(planes[index], candidates.amin(dim=0), out=planes[index])
    return planes.movedim(0, axis + 2)


def _neighbours(planes: Tensor, outside: float) -> Tensor:
    """(*, P, Q) to (9, *, P, Q), the neighbours of every pixel, ``outside`` beyond the border.

    A plane that is one pixel wide or high has 3 of them.
    """
    sides = [1 if size > 1 else 0 for size in planes.shape[-2:]]
    padded = torch.nn.functional.pad(planes, (sides[1], sides[1], sides[0], sides[0]), value=outside)
    stride = padded.stride()
    shape = (2 * sides[0] + 1, 2 * sides[1] + 1, *planes.shape)
    return padded.as_strided(shape, (*stride[-2:], *stride)).flatten(0, 1)
