"""A scribbled image as a lesson of the automatic network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.image_lesson import seen
from InteractiveSegLib.networks.scribble_losses import UNMARKED


@dataclass(frozen=True, eq=False)
class ScribbleLesson:
    """Axes and voxels are those of the network.

    image : (S, P, Q) float32 in [0, 1]
    marks : (S, P, Q) int8, ``UNMARKED``, 0 for the background, or the place of a label among the network's, from 1
    known : (1 + labels,) bool, the classes that the marks cover
    """

    image: NDArray[np.float32]
    marks: NDArray[np.int8]
    known: NDArray[np.bool_]


def scribble_lesson(
    volume: Volume, marks: Mapping[int, NDArray[np.bool_]], network: AutomaticNetwork, known: Sequence[int]
) -> ScribbleLesson:
    """A lesson of an image.

    Thin strokes are kept on coarser voxels: a voxel is marked if any part of it was, with the label of most of its
    marks, and as background only if it has no label.

    Parameters
    ----------
    marks : label -> (K, J, I) where it is marked; 0 is the background
    known : labels that the marks cover, whether they occur or not
    """
    axes = network.axes_of(volume.geometry)
    image = seen(volume, axes, network.spacing_mm).numpy()
    found = np.full(image.shape, UNMARKED, np.int8)
    most = np.zeros(image.shape, np.int64)
    for place, label in enumerate((0, *network.labels)):
        if label not in marks:
            continue
        points = np.argwhere(axes.turned(marks[label]))
        factor = np.array(image.shape) / [volume.geometry.shape_kji[axis] for axis in axes.order]
        count = np.zeros(image.shape, np.int64)
        np.add.at(count, tuple(np.floor((points + 0.5) * factor).astype(int).T), 1)
        wins = count > most
        found[wins] = place
        if place:  # any mark of a label outweighs the background
            most[wins] = count[wins]
    classes = np.array([True, *(label in known for label in network.labels)])
    return ScribbleLesson(image, found, classes)
