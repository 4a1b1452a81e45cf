"""An accepted mask from files of a mask and scribbles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.left_work import LeftWork
from InteractiveSegLib.casebook.provenance import Origin, traced
from InteractiveSegLib.image.image_io import read_labelmap
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles


def accepted_from_files(
    entry: CaseEntry,
    mask: Path | None,
    scribbles: Path | None = None,
    notes: list[str] | None = None,
    left: LeftWork | None = None,
) -> AcceptedMask:
    """Labelmaps on the grid of a case's image.

    Parameters
    ----------
    mask : None if the image shows no object
    scribbles : 1 to 254 for the objects, 255 for background. With scribbles, all other voxels count as the model's;
        without, all voxels that differ from those the case was opened with count as the person's
    notes : receives what was converted to fit the image
    left : what the case was opened with

    Raises
    ------
    InputError : a file is missing or unreadable, is on another grid, or contains other values.
    """
    geometry = entry.image.geometry
    labels = np.zeros(geometry.shape_kji, np.uint8) if mask is None else read_labelmap(mask, geometry, notes)
    if scribbles is None and left is None:
        return AcceptedMask(labels, traced(labels, labels > 0), absent=mask is None)
    if scribbles is None:
        origins = np.where(labels == left.labels, left.origins, Origin.PERSON).astype(np.uint8)
        return AcceptedMask(labels, origins, absent=mask is None)
    marks = read_labelmap(scribbles, geometry, notes)
    origins = traced(labels, marks > 0, model=labels)
    return AcceptedMask(labels, origins, Prompts(scribbles=Scribbles.from_labelmap(marks)), absent=mask is None)
