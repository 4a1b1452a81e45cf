"""All prompts on one image, as a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import Index
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.records.array_file import read_arrays
from InteractiveSegLib.records.prompt_record import prompt_record, prompts_of
from InteractiveSegLib.system.files import replacing

_FIELDS = "fields"


def save_prompts(prompts: Prompts, shape_kji: Index, path: Path) -> None:
    """Write an ``.npz`` file, completely or not at all.

    Raises
    ------
    InputError : a mark is outside an image of this shape.
    OutputError : the file cannot be written.
    """
    fields, arrays = prompt_record(prompts, shape_kji)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{_FIELDS: np.array(json.dumps(fields))}, **arrays)


def load_prompts(path: Path, shape_kji: Index) -> Prompts:
    """Read a file of ``save_prompts``. InputError if it is missing, damaged or belongs to another image."""
    arrays = read_arrays(path, "the prompts")
    try:
        return prompts_of(json.loads(str(arrays.pop(_FIELDS))), arrays, shape_kji)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the prompts {path} cannot be read: {error}") from error
