"""Images of bright discs in grey rings on thick slices, on which somebody drew a few lines."""

import numpy as np

from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap

SHAPE = (3, 40, 40)
GEOMETRY = Geometry(SHAPE, np.diag([-1.0, -1.0, 6.0, 1.0]))


def truth(seed):
    """(K, J, I), 1 the disc, 2 the ring."""
    middle = np.random.default_rng(seed).integers(15, 25, 2)
    _, j, i = np.ogrid[tuple(slice(n) for n in SHAPE)]
    far = np.hypot(j - middle[0], i - middle[1]) + np.zeros(SHAPE)
    return np.where(far < 6, 1, np.where(far < 11, 2, 0)).astype(np.uint8)


def image(seed):
    noise = np.random.default_rng([seed, 1]).normal(0, 6, SHAPE)
    return (np.array([0.0, 120.0, 60.0])[truth(seed)] + noise).astype(np.float32)


def scribbles(seed, background=255, unmarked=0):
    """Lines along the middle of each part, and two in the background."""
    labels = truth(seed)
    marks = np.full(SHAPE, unmarked, np.uint8)
    j, i = np.argwhere(labels[0] == 1).mean(axis=0).round().astype(int)
    marks[:, j - 3 : j + 4, i] = 1
    marks[:, j - 4 : j + 5, i + 8] = 2
    marks[:, j - 8, i - 3 : i + 4] = 2
    marks[:, 2, 3:-3] = marks[:, 4:-4, 2] = background
    return marks


def write_case(folder, name, seed, marks=None, labels=False, geometry=GEOMETRY, array=None):
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / f"{name}_image.nii.gz", image(seed) if array is None else array, geometry)
    write_labelmap(folder / f"{name}_scribble.nii.gz", scribbles(seed) if marks is None else marks, geometry)
    if labels:
        write_labelmap(folder / f"{name}_label.nii.gz", truth(seed), geometry)
    return folder


def write_cases(folder, count=6, **more):
    for seed in range(count):
        write_case(folder, f"p{seed // 2}_t{seed % 2}", seed, **more)
    return folder
