"""All that was drawn on one image, as a file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.files import replacing
from InteractiveSegLib.packed_mask import PackedMask
from InteractiveSegLib.prompts import BoundingBox, Prompts, Scribbles


def save_prompts(prompts: Prompts, path: Path) -> None:
    """Write an ``.npz`` file, whole or not at all. OutputError where it cannot be written."""
    described = {
        "boxes": {label: _corners(box) for label, box in prompts.boxes.items()},
        "lassoed": {label: _corners(box) for label, box in prompts.lassoed.items()},
        "starts": {label: _corners(mask.box) for label, mask in prompts.starts.items()},
    }
    arrays = {f"start_{label}": mask.bits for label, mask in prompts.starts.items()}
    arrays |= {"indices_kji": prompts.scribbles.indices_kji, "labels": prompts.scribbles.labels}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, described=np.array(json.dumps(described)), **arrays)


def load_prompts(path: Path) -> Prompts:
    """What ``save_prompts`` wrote. InputError where the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            described = json.loads(str(arrays["described"]))
            scribbles = Scribbles(arrays["indices_kji"], arrays["labels"])
            starts = {
                int(label): PackedMask(BoundingBox(*corners), arrays[f"start_{label}"])
                for label, corners in described["starts"].items()
            }
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"the prompts {path} cannot be read: {error}") from error
    boxes, lassoed = (
        {int(label): BoundingBox(*corners) for label, corners in described[name].items()}
        for name in ("boxes", "lassoed")
    )
    return Prompts(boxes, scribbles, starts, lassoed)


def _corners(box: BoundingBox) -> list[tuple[int, int, int]]:
    return [box.start_kji, box.stop_kji]
