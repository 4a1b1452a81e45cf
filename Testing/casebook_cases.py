"""Casebooks with small images, for several tests."""

import numpy as np

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.casebook.splits import SplitSettings
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image

SHAPE_KJI = (6, 12, 17)
ALL_FOR_TRAINING = SplitSettings(0.0, 0.0)


def write_case_image(path, seed=0, shape_kji=SHAPE_KJI):
    """An image of noise whose content depends on the seed; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 200, shape_kji).astype(np.int16)
    geometry = Geometry(shape_kji, [[-0.7, 0, 0, 4.0], [0, -0.8, 0, 5.0], [0, 0, 2.5, -6.0], [0, 0, 0, 1]])
    write_image(path, array, geometry)
    return path


def casebook_of(folder, count=3, splits=ALL_FOR_TRAINING):
    """A casebook with cases called case0, case1, ..."""
    casebook = Casebook.created(folder / "book", splits)
    for number in range(count):
        path = write_case_image(folder / "images" / f"case{number}.nrrd", number)
        casebook.add(ImageReference.of(path), f"case{number}")
    return casebook


def box_mask(value=1, shape_kji=SHAPE_KJI):
    labels = np.zeros(shape_kji, np.uint8)
    labels[1:4, 3:8, 5:12] = value
    return labels


def by_hand(labels, **more):
    """A mask of which every voxel is a person's."""
    return AcceptedMask(labels, np.where(labels > 0, Origin.PERSON, 0).astype(np.uint8), **more)


def accepted(casebook, name, labels=None):
    """Work on a case and accept a mask for it."""
    return accept(casebook, casebook.begin(casebook.case(name)), by_hand(box_mask() if labels is None else labels))


def version_in_use(casebook, number=1):
    """A version of an igniter, without weights."""
    with casebook.database.writing() as rows:
        rows.execute(
            "INSERT OR IGNORE INTO version (id, learner, at, state, cases, scores, reason)"
            " VALUES (?, 'igniter', 'now', 'in use', '[]', '{}', '')",
            [number],
        )
