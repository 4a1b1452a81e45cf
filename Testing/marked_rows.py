"""Images of one row with marks, and the densities of their intensities worked out by hand, for tests of cues."""

import math
from statistics import fmean

import torch

from InteractiveSegLib.networks.cues import CHANNELS, ShownPrompts, encode

SHAPE_KJI = (5, 8, 11)
SPACING_KJI_MM = (3.0, 0.75, 0.5)
CUBES = (1.0, 1.0, 1.0)
SHARP, SOFT = 0.015, 0.1  # standard deviation of histograms of marks that are all alike, and of a few far apart
FLOOR = 1e-4


def line(*values):
    """One image of a single row along i."""
    return torch.tensor(values)[None, None, None]


def marked(shape, *indices):
    marks = torch.zeros((1, *shape), dtype=torch.bool)
    for index in indices:
        marks[(0, *index)] = True
    return marks


def row(length, *columns):
    return marked((1, 1, length), *((0, 0, column) for column in columns))


def density(at, marks, blur):
    """Of level ``at`` of 0 to 63 where marks of other levels are spread by a Gaussian, of which the range holds all."""

    def spread(mark, level):
        return math.exp(-0.5 * ((level - mark) / 63 / blur) ** 2)

    return FLOOR + 64 * fmean(spread(mark, at) / sum(spread(mark, n) for n in range(64)) for mark in marks)


def channel(cues, name):
    return cues[0, CHANNELS.index(name)]


def on_row(cues, name):
    return channel(cues, name)[0, 0].tolist()


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


def several(count=3, shape_kji=SHAPE_KJI):
    """Images that differ in what is drawn on them: all kinds of marks, a box alone, nothing."""
    generator = torch.Generator().manual_seed(4)
    images = torch.rand((count, *shape_kji), generator=generator)
    boxes = torch.ones(images.shape, dtype=torch.bool)
    foreground, background = torch.zeros(2, *images.shape, dtype=torch.bool)
    foreground[0, 0, 2, 3], background[0, -1, 5:7, 9] = True, True
    boxes[0, :, :, 10:] = False
    if count > 1:
        boxes[1, :, :3] = False
    start = (torch.rand(images.shape, generator=generator) > 0.5).float()
    return images, boxes, foreground, background, start


def cues_of(images, boxes, foreground, background, start, *others, spacing_mm=SPACING_KJI_MM):
    return encode(images, spacing_mm, ShownPrompts(boxes, foreground, background, start, others))


def kinds_missing():
    """Six images on each of which other kinds of marks are missing, and marks on two other objects."""
    images, boxes, foreground, background, start = several(6)
    others = torch.zeros(2, *images.shape, dtype=torch.bool)
    foreground[:, 0, 2, 3], background[:, -1, 5:7, 9], others[0, :, 1, 6, 1], others[1, :, 3, 0, :3] = (True,) * 4
    boxes[:] = True
    boxes[5, :, :, 8:] = False
    for index, missing in enumerate(([], [background], [foreground], [background, *others], [others[1]], [foreground])):
        for marks in missing:
            marks[index] = False
    return images, boxes, foreground, background, start, *others
