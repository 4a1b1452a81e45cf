"""Soft masks of several labels, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.records.array_file import read_arrays
from InteractiveSegLib.system.files import replacing

_NOTHING = 1 / 512  # less than this is not stored


def save_soft_masks(masks: Mapping[int, NDArray[np.floating]], path: Path) -> None:
    """Write probabilities (K, J, I) by label, in 8 bits, into an ``.npz`` file, completely or not at all."""
    arrays: dict[str, NDArray] = {}
    for label, mask in masks.items():
        arrays[f"shape_{label}"] = np.array(mask.shape)
        if (mask >= _NOTHING).any():
            box = BoundingBox.of_mask(mask >= _NOTHING)
            arrays[f"start_{label}"] = np.array(box.start_kji)
            arrays[f"values_{label}"] = np.rint(np.clip(mask[box.slices], 0, 1) * 255).astype(np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_soft_masks(path: Path) -> dict[int, NDArray[np.float32]]:
    """Read a file of ``save_soft_masks``. InputError if it is missing or damaged."""
    arrays = read_arrays(path, "the soft masks")
    masks = {}
    try:
        for name in (name for name in arrays if name.startswith("shape_")):
            label = int(name.removeprefix("shape_"))
            masks[label] = np.zeros(arrays[name], np.float32)
            if f"values_{label}" in arrays:
                values, start = arrays[f"values_{label}"], arrays[f"start_{label}"]
                place = tuple(slice(int(a), int(a) + n) for a, n in zip(start, values.shape, strict=True))
                masks[label][place] = values.astype(np.float32) / 255
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the soft masks {path} cannot be read: {error}") from error
    return masks
