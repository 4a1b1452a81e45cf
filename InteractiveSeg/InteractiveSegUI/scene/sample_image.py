"""The image that comes with the extension: in the module Sample Data, and at hand while the scene is empty.

Slicer imports this file at its start, so it leans on nothing else of the two packages before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

SHA256 = "b3ba518c2df654816fb74c33e35bf33277da0ad6cda9517209f173bce4bf2a3e"
"""Of the image's file; the module Sample Data replaces a copy of another one in its cache by it."""

_NAME = "ICBM152Brain"
_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "SampleData"


def sample_source(folder: Path = _FOLDER) -> dict[str, Any]:
    """What the module Sample Data has to know; the file lies on this computer, so nothing is downloaded."""
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
    """Have the module Sample Data offer the image."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(**sample_source())


def load_sample(folder: Path = _FOLDER) -> slicer.vtkMRMLScalarVolumeNode:
    """Load the image, which Slicer then shows.

    Raises
    ------
    InputError : the extension lacks the file, or it cannot be read.
    """
    from InteractiveSegLib.errors import InputError

    path = folder / f"{_NAME}.nrrd"
    try:
        node = slicer.util.loadVolume(str(path), {"name": _NAME, "singleFile": True})
    except RuntimeError as error:
        raise InputError(f"the sample image {path} cannot be loaded: install the extension again") from error
    storage = node.GetStorageNode()
    if storage is not None:  # otherwise saving the scene would write over the extension's own file
        node.SetAndObserveStorageNodeID(None)
        slicer.mrmlScene.RemoveNode(storage)
    return node
