"""The origin of each voxel of a mask."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError


class Origin(IntEnum):
    """Values of an array of origins; 0 is background that nobody decided on."""

    NOBODY = 0
    PERSON = 1
    PROPAGATED = 2
    MODEL = 3


def traced(
    labels: NDArray[np.integer],
    person: NDArray[np.bool_],
    propagated: NDArray[np.integer] | None = None,
    model: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    """Origin of every voxel of a final labelmap (K, J, I).

    Parameters
    ----------
    person : (K, J, I) bool, where a person drew or decided, also against an object
    propagated : (K, J, I) labels propagated from annotated slices; None if there are none
    model : (K, J, I) labels last predicted by the network

    Returns
    -------
    (K, J, I) uint8 of ``Origin``: the person where one decided; otherwise propagated or the model, if it has the
    voxel's final label. All other labelled voxels are the person's: they were painted by hand.

    Raises
    ------
    InputError : the shapes differ.
    """
    for name, array in (("person", person), ("propagated", propagated), ("model", model)):
        if array is not None and array.shape != labels.shape:
            raise InputError(f"{name} has the shape {array.shape}, not {labels.shape} like the labels")
    found = np.where(labels > 0, Origin.PERSON, Origin.NOBODY).astype(np.uint8)
    for proposed, origin in ((model, Origin.MODEL), (propagated, Origin.PROPAGATED)):
        if proposed is not None:
            found[(labels > 0) & (proposed == labels)] = origin
    found[person] = Origin.PERSON
    return found
