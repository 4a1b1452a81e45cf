"""The sample image that the extension ships, made of the ICBM152 template in the package nilearn: ``make sample``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from package_files import REPOSITORY

from InteractiveSegLib.evaluation.prompted.demo import ventricles
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.image_io import write_image

FOLDER = REPOSITORY / "InteractiveSeg" / "Resources" / "SampleData"
IMAGE, THUMBNAIL = "ICBM152Brain.nrrd", "ICBM152Brain.png"
_MARGIN_VOXELS = 24  # of 1 mm: the whole template would be 1.6 MB


def sample() -> tuple[Volume, NDArray[np.bool_]]:
    """The template's T1 image round its lateral ventricles, and the ventricles (K, J, I)."""
    volume, truth = ventricles()
    box = BoundingBox.of_mask(truth).expanded((_MARGIN_VOXELS,) * 3).intersected(truth.shape)
    voxels = np.ascontiguousarray(volume.array_kji[box.slices])
    return Volume(voxels, volume.geometry.cropped(box), "ICBM152Brain"), truth[box.slices]


def thumbnail(volume: Volume, truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The axial slice with most of the ventricles, (rows, columns), as Slicer shows it: anterior above, right left."""
    return volume.array_kji[int(truth.sum(axis=(1, 2)).argmax()), ::-1, ::-1]


def write_sample(folder: Path) -> None:
    """Image and thumbnail."""
    volume, truth = sample()
    write_image(folder / IMAGE, volume.array_kji, volume.geometry)
    sitk.WriteImage(sitk.GetImageFromArray(thumbnail(volume, truth)), str(folder / THUMBNAIL))


if __name__ == "__main__":
    write_sample(FOLDER)
