"""Volumes in which an object moves and changes from slice to slice in a known way."""

import numpy as np
from scipy import ndimage

from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice

SHAPE_KJI = (13, 48, 44)


def disc(centre, radius, shape=SHAPE_KJI[1:]):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def wandering_disc(shape=SHAPE_KJI):
    """A disc that goes along a quarter of a circle and back in thickness: (K, J, I) bool."""
    turns = np.linspace(0, np.pi / 2, shape[0])
    return np.stack(
        [
            disc((20 + 8 * np.sin(turn), 14 + 12 * np.sin(turn) ** 2), 7 + 2 * np.sin(2 * turn), shape[1:])
            for turn in turns
        ]
    )


def image_of(labels, seed=0, noise=4.0):
    """int16: 60 a label, blurred, on a smooth ground with noise."""
    rng = np.random.default_rng(seed)
    ground = ndimage.gaussian_filter(rng.normal(size=labels.shape), (3, 5, 5))
    image = 100 + 20 * ground / ground.std() + 60 * ndimage.gaussian_filter(labels.astype(float), (0, 1, 1))
    return (image + rng.normal(0, noise, labels.shape)).round().astype(np.int16)


def volume_of(array, spacing_kji_mm=(1.0, 1.0, 1.0)):
    return Volume(array, Geometry(array.shape, np.diag([*spacing_kji_mm[::-1], 1.0])), "shapes")


def slices_of(labels, indices, axis=0):
    along = np.moveaxis(np.asarray(labels).astype(np.uint8), axis, 0)
    return [AnnotatedSlice(axis, index, along[index]) for index in indices]


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))
