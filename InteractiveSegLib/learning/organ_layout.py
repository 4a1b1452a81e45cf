"""Layout of organs in labelled images: their number of pieces and total extent.

A network trained on few images finds organs where there are none; its result is compared with the layout in the images
it learnt from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.system.files import replacing

ALL = 0
"""The key of all organs taken together."""
_WORTH = 0.1  # share of the organ's volume from which a piece counts
_MARGIN = 0.1  # of the size, on both sides: organs may be larger than in any labelled image
_SURE = 4  # exponent of probabilities: many uncertain voxels count less than a few certain ones
_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class OrganLayout:
    """Maxima over labelled images.

    parts : label -> number of pieces of at least a tenth of the organ; under ``ALL`` that of all organs together
    extent_mm : of the box round all organs, along the network's axes
    """

    parts: Mapping[int, int]
    extent_mm: tuple[float, float, float]

    @classmethod
    def of(cls, labels: NDArray[np.integer], geometry: Geometry, network: AutomaticNetwork) -> OrganLayout:
        """Layout of one labelmap (K, J, I) that is not empty."""
        axes = network.axes_of(geometry)
        box = BoundingBox.of_mask(axes.turned(labels > 0))
        extent = [n * mm for n, mm in zip(box.shape_kji, axes.spacing_mm(geometry), strict=True)]
        if network.slices_first:  # at any angle
            extent[1:] = [max(extent[1:])] * 2
        return cls(part_counts(labels), tuple(extent))

    @classmethod
    def of_all(cls, layouts: Iterable[OrganLayout]) -> OrganLayout:
        """Maxima of several layouts."""
        layouts = list(layouts)
        parts: dict[int, int] = {}
        for each in layouts:
            parts |= {label: max(count, parts.get(label, 0)) for label, count in each.parts.items()}
        s, p, q = (max(sizes) for sizes in zip(*(each.extent_mm for each in layouts), strict=True))
        return cls(parts, (s, p, q))

    def likely(
        self, probabilities: NDArray[np.floating], geometry: Geometry, network: AutomaticNetwork
    ) -> NDArray[np.uint8]:
        """The labelmap (K, J, I) restricted to this layout: within its extent, in no more pieces.

        The extent is placed where the network is most certain to see every organ, and the most certain pieces of each
        organ are kept.

        probabilities : (1 + labels, K, J, I), the background first
        """
        labels = network.labelmap(probabilities)
        sure = probabilities.max(axis=0) ** _SURE
        box, larger = self._boxes(labels, sure, geometry, network)
        return _likely_parts(np.where(larger, labels, 0).astype(np.uint8), sure * box, self.parts)

    def _boxes(
        self, labels: NDArray[np.integer], sure: NDArray[np.floating], geometry: Geometry, network: AutomaticNetwork
    ) -> list[NDArray[np.bool_]]:
        """(K, J, I) the box of this extent that contains most of every organ, by geometric mean; and a larger one.

        The first box decides which pieces belong to the organs; these may extend into the larger one.
        """
        axes = network.axes_of(geometry)
        spacing = axes.spacing_mm(geometry)
        size = [max(1, round(extent / mm)) for extent, mm in zip(self.extent_mm, spacing, strict=True)]
        turned, weights = axes.turned(labels), axes.turned(sure).astype(np.float32)
        held = [
            ndimage.uniform_filter(np.where(turned == label, weights, 0), size, mode="constant") * np.prod(size)
            for label in self.parts
            if label != ALL
        ]
        best = np.unravel_index(np.mean(np.log1p(np.maximum(held, 0)), axis=0).argmax(), turned.shape)
        boxes = []
        for margin in (0.0, _MARGIN):
            box = np.zeros(turned.shape, bool)
            box[tuple(_around(*each, margin) for each in zip(best, size, turned.shape, strict=True))] = True
            boxes.append(axes.turned_back(box))
        return boxes

    def save(self, path: Path) -> None:
        """OutputError if the file cannot be written."""
        kept = {"parts": {str(label): count for label, count in self.parts.items()}, "extent_mm": self.extent_mm}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(kept), "utf-8")

    @classmethod
    def load(cls, path: Path) -> OrganLayout:
        """InputError if the file is missing or damaged."""
        try:
            kept = json.loads(path.read_text("utf-8"))
            s, p, q = (float(mm) for mm in kept["extent_mm"])
            return cls({int(label): int(count) for label, count in kept["parts"].items()}, (s, p, q))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the layout of organs {path} cannot be read: {error}") from error


def _around(place: int, length: int, count: int, margin: float) -> slice:
    """A length and a margin around a place, along an axis of ``count`` voxels; the whole axis if it is shorter."""
    if length >= count:
        return slice(None)
    more = math.ceil(margin * length)
    start = place - length // 2
    return slice(max(0, start - more), start + length + more)


def part_counts(labels: NDArray[np.integer]) -> dict[int, int]:
    """Label -> pieces of at least a tenth of the organ in a labelmap (K, J, I); under ``ALL`` those of all organs."""
    found = {ALL: labels > 0} | {int(value): labels == value for value in np.unique(labels) if value}
    counts = {}
    for label, mask in found.items():
        pieces, count = ndimage.label(mask, _NEIGHBOURS)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        counts[label] = int((sizes >= _WORTH * sizes.sum()).sum()) if count else 0
    return counts


def _likely_parts(
    labels: NDArray[np.integer], sure: NDArray[np.floating], most: Mapping[int, int]
) -> NDArray[np.integer]:
    """A labelmap (K, J, I) with no more pieces than organs have: those that the network is most certain of.

    Parameters
    ----------
    sure : (K, J, I) certainty of the label of each voxel; the weight of a piece is its sum
    most : as ``OrganLayout.parts``; all organs together come first. If they form one piece, like the chambers of a
        heart, the weight of a piece is the geometric mean of the sums over each organ, since each should be present.
    """
    kept = labels.copy()
    organs = [label for label in most if label != ALL]
    for label, count in sorted(most.items()):
        mask = kept > 0 if label == ALL else kept == label
        pieces, found = ndimage.label(mask, _NEIGHBOURS)
        if found > count:
            numbers = np.arange(1, found + 1)
            if label == ALL and count == 1 and organs:
                held = [ndimage.sum_labels(sure * (kept == organ), pieces, numbers) for organ in organs]
                weights = np.exp(np.mean(np.log(np.array(held) + 1), axis=0))
            else:
                weights = ndimage.sum_labels(sure, pieces, numbers)
            best = 1 + np.argsort(-weights, kind="stable")[:count]
            kept[mask & ~np.isin(pieces, best)] = 0
    return kept
