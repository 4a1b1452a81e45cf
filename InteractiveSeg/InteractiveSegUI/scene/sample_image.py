"""The image included in the extension: in the Sample Data module, and offered while the scene is empty.

Slicer imports this file when it starts, so it imports nothing else from the two packages until it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

SHA256 = "b3ba518c2df654816fb74c33e35bf33277da0ad6cda9517209f173bce4bf2a3e"
"""Checksum of the image's file, by which the Sample Data module replaces an outdated copy in its cache."""

_NAME = "ICBM152Brain"
_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "SampleData"


def sample_source(folder: Path = _FOLDER) -> dict[str, Any]:
    """Arguments for the Sample Data module; the file is on this computer, so nothing is downloaded."""
    return {
        "category": "InteractiveSeg",
        "sampleName": _NAME,
        "uris": (folder / f"{_NAME}.nrrd").as_uri(),
        "fileNames": f"{_NAME}.nrrd",
        "checksums": f"SHA256:{SHA256}",
        "nodeNames": _NAME,
        "thumbnailFileName": str(folder / f"{_NAME}.png"),
    }


def register_sample() -> None:
    """Register the image with the Sample Data module."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(**sample_source())


def load_sample(folder: Path = _FOLDER) -> slicer.vtkMRMLScalarVolumeNode:
    """Load the image, which Slicer then shows.

    Raises
    ------
    InputError : the file is missing from the extension or cannot be read.
    """
    from InteractiveSegLib.errors import InputError

    path = folder / f"{_NAME}.nrrd"
    try:
        node = slicer.util.loadVolume(str(path), {"name": _NAME, "singleFile": True})
    except RuntimeError as error:
        raise InputError(f"the sample image {path} cannot be loaded: reinstall the extension") from error
    storage = node.GetStorageNode()
    if storage is not None:  # otherwise saving the scene would overwrite the extension's own file
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)
    return node
