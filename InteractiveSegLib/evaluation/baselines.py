"""What every Slicer user already has, run on the same scribbles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError, MissingPackageError


def grow_from_seeds(array_kji: NDArray, seeds_kji: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """3D Slicer's Grow from seeds (``vtkImageGrowCutSegment``, fast GrowCut of Zhu et al. 2014).

    Parameters
    ----------
    array_kji : (K, J, I) intensities
    seeds_kji : (K, J, I), 0 not marked, other values labels; at least two of them

    Returns
    -------
    (K, J, I) label of every voxel

    Raises
    ------
    InputError : fewer than two labels are marked.
    MissingPackageError : slicer-core is not installed, or its graphics libraries are missing.
    """
    if len(np.unique(seeds_kji[seeds_kji > 0])) < 2:
        raise InputError("Grow from seeds needs scribbles of at least two labels, the background being one")
    try:
        import slicer
        from vtk.util.numpy_support import vtk_to_numpy
    except ImportError as error:
        raise MissingPackageError("comparing with Grow from seeds", "slicer-core") from error
    grow = slicer.vtkImageGrowCutSegment()
    grow.SetIntensityVolume(_vtk_image(array_kji.astype(np.float32)))
    grow.SetSeedLabelVolume(_vtk_image(seeds_kji))
    grow.Update()
    return vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars()).reshape(array_kji.shape)


def _vtk_image(array_kji: NDArray) -> Any:
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*array_kji.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array_kji).ravel(), deep=True))
    return image
