"""3D Slicer's own method, run on the same scribbles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import MissingPackageError
from InteractiveSegLib.evaluation.baselines.classical import scribbled_intensities
from InteractiveSegLib.prompts.scribbles import BACKGROUND


def grow_from_seeds(
    image_kji: NDArray[np.floating], seeds_kji: NDArray[np.uint8], spacing_kji_mm: Sequence[float]
) -> NDArray[np.uint8]:
    """3D Slicer's Grow from seeds (``vtkImageGrowCutSegment``, fast GrowCut of Zhu et al. 2014).

    The spacing is passed on, but by default the filter uses only intensities.

    Parameters
    ----------
    image_kji : (K, J, I) intensities of a crop
    seeds_kji : (K, J, I), 0 not marked, 1 to 254 objects, 255 background; at least two of them
    spacing_kji_mm : of the voxels

    Returns
    -------
    (K, J, I) label of every voxel, 0 where it is background

    Raises
    ------
    InputError : fewer than two values are marked, the shapes differ, or no voxel is finite.
    MissingPackageError : slicer-core is not installed, or its graphics libraries are missing.
    """
    image, _ = scribbled_intensities(image_kji, seeds_kji, spacing_kji_mm)
    try:
        import slicer
        from vtk.util.numpy_support import vtk_to_numpy
    except ImportError as error:
        raise MissingPackageError("comparing with Grow from seeds", "slicer-core") from error
    grow = slicer.vtkImageGrowCutSegment()
    # The filter copies the outermost voxels from those inside, and does not accept images thinner than three voxels.
    padded = np.pad(image, 1, mode="edge")
    grow.SetIntensityVolume(_vtk_image(padded, spacing_kji_mm))
    grow.SetSeedLabelVolume(_vtk_image(np.pad(seeds_kji, 1), spacing_kji_mm))
    grow.Update()
    labels = vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars()).reshape(padded.shape)[1:-1, 1:-1, 1:-1]
    return np.where(labels == BACKGROUND, 0, labels).astype(np.uint8)


def _vtk_image(array_kji: NDArray, spacing_kji_mm: Sequence[float]) -> Any:
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*array_kji.shape[::-1])
    image.SetSpacing(*spacing_kji_mm[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array_kji).ravel(), deep=True))
    return image
