"""All that was drawn on one image, as a file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.files import replacing
from InteractiveSegLib.prompt_record import prompt_record, prompts_of
from InteractiveSegLib.prompts import Index, Prompts

_FIELDS = "fields"


def save_prompts(prompts: Prompts, shape_kji: Index, path: Path) -> None:
    """Write an ``.npz`` file, whole or not at all.

    Raises
    ------
    InputError : a mark lies outside an image of this shape.
    OutputError : the file cannot be written.
    """
    fields, arrays = prompt_record(prompts, shape_kji)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{_FIELDS: np.array(json.dumps(fields))}, **arrays)


def load_prompts(path: Path, shape_kji: Index) -> Prompts:
    """What ``save_prompts`` wrote. InputError where the file is missing, damaged or of another image."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        return prompts_of(json.loads(str(arrays.pop(_FIELDS))), arrays, shape_kji)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"the prompts {path} cannot be read: {error}") from error
