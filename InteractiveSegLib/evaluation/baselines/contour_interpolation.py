"""3D Slicer's Fill between slices: ITK's morphological contour interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import MissingPackageError
from InteractiveSegLib.image.box import BoundingBox


@dataclass(frozen=True, eq=False)
class FillBetween:
    """A task for a process of its own, since the filter may damage the memory of the one it runs in.

    labels_kji : correct on the annotated slices
    indices : of those, along k
    """

    labels_kji: NDArray[np.uint8]
    indices: Sequence[int]

    def run(self) -> NDArray[np.uint8]:
        return fill_between_slices(self.labels_kji, self.indices)


def fill_between_slices(labels_kji: NDArray[np.uint8], indices: Sequence[int]) -> NDArray[np.uint8]:
    """Labels between annotated k slices (Zukic et al., The Insight Journal 2016). The image is not used.

    Raises
    ------
    MissingPackageError : itk-morphologicalcontourinterpolation is not installed.
    """
    try:
        import itk

        interpolate = itk.morphological_contour_interpolator
    except (ImportError, AttributeError) as error:
        raise MissingPackageError("Fill between slices", "itk-morphologicalcontourinterpolation") from error
    sparse = np.zeros_like(labels_kji)
    sparse[list(indices)] = labels_kji[list(indices)]
    if not sparse.any():
        return sparse
    box = BoundingBox.of_mask(sparse).slices
    crop = itk.image_from_array(np.ascontiguousarray(sparse[box]))
    sparse[box] = itk.array_from_image(interpolate(crop, axis=2))
    return sparse
