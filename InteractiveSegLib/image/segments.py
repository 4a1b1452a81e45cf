"""Segmentations of 3D Slicer (``.seg.nrrd``): layers and named segments as one labelmap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError

_MOST_LABELS = 1 << 31
_KEY = re.compile(r"Segment(\d+)_(\w+)$")


@dataclass(frozen=True)
class Segment:
    """A segment as the header describes it: its values in one of the layers."""

    name: str
    value: int
    layer: int


def is_segmentation(metadata: Mapping[str, str]) -> bool:
    """Whether a header, as ITK gives it, is one that 3D Slicer wrote for segments."""
    return any(key.startswith("Segmentation_") or _KEY.match(key) for key in metadata)


def segments_in(metadata: Mapping[str, str], layers: int, path: Path) -> list[Segment]:
    """The segments in the order of the file. InputError for invalid numbers and missing layers."""
    found: dict[int, dict[str, str]] = {}
    for key, text in metadata.items():
        if match := _KEY.match(key):
            found.setdefault(int(match[1]), {})[match[2]] = text
    segments = []
    for order, (number, fields) in enumerate(sorted(found.items())):
        try:
            # a file without these keys has one segment per layer
            value, layer = int(fields.get("LabelValue", 1)), int(fields.get("Layer", order if layers > 1 else 0))
        except ValueError as error:
            raise InputError(f"{path}: segment {number} has a LabelValue or Layer that is not an integer") from error
        if not 0 < value < _MOST_LABELS:
            raise InputError(f"{path}: segment {number} has the LabelValue {value}, not 1 to {_MOST_LABELS - 1}")
        if not 0 <= layer < layers:
            raise InputError(f"{path}: segment {number} lies in layer {layer}, of {layers}")
        segments.append(Segment(fields.get("Name", f"segment {number}"), value, layer))
    return segments


def merged(array: NDArray[np.integer], metadata: Mapping[str, str], path: Path) -> tuple[NDArray, list[str]]:
    """One label per segment.

    The labels are the values in the file, unless two segments of different layers share one: then the segments are
    numbered in their order. Where segments overlap, the later one counts.

    Parameters
    ----------
    array : (K, J, I), or (K, J, I, layers)

    Returns
    -------
    labels, notes : (K, J, I); the notes name the segments, and say what overlaps or belongs to no segment
    """
    layered = array[..., None] if array.ndim == 3 else array
    segments = segments_in(metadata, layered.shape[3], path)
    if not segments:
        if layered.shape[3] > 1:
            raise InputError(f"{path} has {layered.shape[3]} layers, but its header names no segment")
        return layered[..., 0], []
    values = [segment.value for segment in segments]
    labels = values if len(set(values)) == len(values) else list(range(1, len(values) + 1))
    named = ", ".join(f"{label} {segment.name!r}" for label, segment in zip(labels, segments, strict=True))
    notes = [f"the segments of {path.name} are the labels {named}"]
    whole = np.zeros(layered.shape[:3], np.result_type(layered.dtype, np.min_scalar_type(max(labels))))
    used = np.zeros(layered.shape, bool)
    overlap = 0
    for label, segment in zip(labels, segments, strict=True):
        voxels = layered[..., segment.layer] == segment.value
        overlap += np.count_nonzero(voxels & (whole != 0))
        whole[voxels] = label
        used[..., segment.layer] |= voxels
    if overlap:
        notes.append(f"segments of {path.name} overlap in {overlap} voxels, which are given to the later segment")
    unnamed = np.count_nonzero((layered != 0) & ~used)
    if unnamed:
        notes.append(f"{unnamed} voxels of {path.name} belong to no segment of its header and are left out")
    return whole, notes
