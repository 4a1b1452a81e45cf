"""A region of interest (a box anywhere in patient space) as a box of voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, ras_to_kji


def roi_box(
    center_ras: NDArray[np.floating], axes_ras: NDArray[np.floating], size_mm: NDArray[np.floating], geometry: Geometry
) -> tuple[BoundingBox, str]:
    """Box of voxels whose centres lie within an ROI.

    A rotated ROI is taken as its enclosing box along the voxel axes. If it is thinner than a voxel and contains no
    centre, the voxel nearest to its middle is used. The box is not clipped to the image.

    Parameters
    ----------
    center_ras : (3,) mm
    axes_ras : (3, 3), the ROI's axes as orthonormal columns
    size_mm : (3,) along those axes

    Returns
    -------
    box, note : the note says what was done to a rotated or thin ROI; otherwise it is empty.
    """
    signs = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3), axis=-1).reshape(-1, 3)
    corners_kji = ras_to_kji(center_ras + (signs * size_mm) @ axes_ras.T, geometry)
    low, high = corners_kji.min(axis=0), corners_kji.max(axis=0)
    start = np.ceil(low - 1e-6).astype(int)
    stop = np.floor(high + 1e-6).astype(int) + 1
    thin = stop <= start
    start = np.where(thin, np.rint((low + high) / 2).astype(int), start)
    notes = []
    voxel_axes = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    cosines = np.sort(np.abs(voxel_axes.T @ axes_ras), axis=0)
    if cosines[:2].max() > 1e-3:
        notes.append("The ROI is rotated against the volume; its enclosing box of voxels is used.")
    if thin.any():
        notes.append("The ROI is thinner than a voxel; the nearest voxel is used.")
    return BoundingBox(start.tolist(), np.where(thin, start + 1, stop).tolist()), " ".join(notes)
