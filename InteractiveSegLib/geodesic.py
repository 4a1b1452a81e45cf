"""Distance along the image: far in millimetres, or far across an edge."""

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

    contrast_mm : detour in mm that is as far as crossing an edge over the whole intensity range [0, 1];
        0 gives the chamfer distance
    sweeps : rounds of raster scans at most; scanning ends earlier when nothing changes
    tolerance_mm : a change below this is none
    """

    contrast_mm: float = 20.0
    sweeps: int = 4
    tolerance_mm: float = 0.01


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
    InputError : the shapes of image, seeds and spacing do not go together, or the image is not finite.
    """
    if image.ndim not in (2, 3) or seeds.shape[1:] != image.shape or len(spacing_mm) != image.ndim:
        raise InputError(
            f"image {tuple(image.shape)}, seeds {tuple(seeds.shape)} and spacing {tuple(spacing_mm)} do not go together"
        )
    if not torch.isfinite(image).all():
        raise InputError("the image holds NaN or infinite voxels; distances along it are undefined")
    if image.ndim == 2:
        return geodesic_distance(image[None], seeds[:, None], (1.0, *spacing_mm), settings)[:, 0]
    image = image.float()
    distance = torch.where(seeds, 0.0, UNREACHED_MM).to(image.device)
    for _ in range(settings.sweeps):
        before = distance
        for axis in (axis for axis in range(3) if image.shape[axis] > 1):
            distance = _scanned(distance, image, axis, spacing_mm, settings.contrast_mm)
            there, back = distance.flip(axis + 1), image.flip(axis)
            distance = _scanned(there, back, axis, spacing_mm, settings.contrast_mm).flip(axis + 1)
        if (before - distance).amax() < settings.tolerance_mm:
            break
    return distance


def _scanned(distance: Tensor, image: Tensor, axis: int, spacing_mm: Sequence[float], contrast_mm: float) -> Tensor:
    """Pass the planes along ``axis`` once, first to last; returns the lowered distances (N, K, J, I)."""
    planes = distance.movedim(axis + 1, 0).contiguous()
    slices = image.movedim(axis, 0).contiguous()
    step_mm = spacing_mm[axis]
    row_mm, column_mm = (mm for other, mm in enumerate(spacing_mm) if other != axis)
    length_sq = [step_mm**2 + (a * row_mm) ** 2 + (b * column_mm) ** 2 for a, b in product((-1, 0, 1), repeat=2)]
    cost = (contrast_mm * (slices[1:] - _neighbours(slices[:-1], 0.0))).square_()
    cost.add_(torch.tensor(length_sq, device=image.device).reshape(3, 3, 1, 1, 1)).sqrt_()
    for index in range(1, planes.shape[0]):
        candidates = _neighbours(planes[index - 1], UNREACHED_MM) + cost[:, :, index - 1, None]
        torch.minimum(planes[index], candidates.amin(dim=(0, 1)), out=planes[index])
    return planes.movedim(0, axis + 1)


def _neighbours(planes: Tensor, outside: float) -> Tensor:
    """(N, P, Q) to a view (3, 3, N, P, Q) of the nine neighbours of every pixel, ``outside`` beyond the border."""
    padded = torch.nn.functional.pad(planes, (1, 1, 1, 1), value=outside)
    count, rows, columns = padded.shape
    return padded.as_strided((3, 3, count, rows - 2, columns - 2), (columns, 1, rows * columns, columns, 1))
