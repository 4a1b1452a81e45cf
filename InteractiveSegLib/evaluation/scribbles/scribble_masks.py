"""Masks that the interactive networks make of experts' scribbles, kept for the next run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.evaluation.data.scribbled_cases import BACKGROUND, UNMARKED, ScribbledCase
from InteractiveSegLib.evaluation.prompted.methods import segmenter
from InteractiveSegLib.image.image_io import read_labelmap, write_labelmap
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND as DRAWN_BACKGROUND
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.system.files import make_folder


def scribble_masks(
    cases: Sequence[ScribbledCase], method: str, folder: Path, seed: int
) -> Steps[dict[str, NDArray[np.uint8]]]:
    """Name of a case -> labels (K, J, I) that a method of ``segmenter`` makes of its scribbles.

    Masks in the folder are not made again; it belongs to one method.
    """
    make_folder(folder)
    found = {}
    for number, case in enumerate(cases):
        yield Progress(number, len(cases), f"segmenting {case.name} from its scribbles")
        path = folder / f"{case.name}.nii.gz"
        if not path.is_file():
            drawn = np.where(case.scribbles == BACKGROUND, DRAWN_BACKGROUND, case.scribbles)
            drawn[case.scribbles == UNMARKED] = 0
            prompts = Prompts(scribbles=Scribbles.from_labelmap(drawn.astype(np.uint8)))
            made = segmenter(method, case.volume, seed, torch.device("cpu")).segment(prompts)
            write_labelmap(path, made.labelmap, case.volume.geometry)
        found[case.name] = read_labelmap(path, case.volume.geometry, []).astype(np.uint8)
    return found


def masks_dice(cases: Sequence[ScribbledCase], masks: dict[str, NDArray[np.uint8]]) -> float:
    """Mean Dice of such masks over the cases and objects of which the truth is known; nan without any."""
    scores = [
        dice(masks[case.name] == label, case.truth == label)
        for case in cases
        if case.truth is not None and case.name in masks
        for label in case.objects
    ]
    return float(np.nanmean(scores)) if scores else float("nan")
