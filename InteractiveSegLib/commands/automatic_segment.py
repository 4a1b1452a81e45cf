"""``interactiveseg segment`` with a model that needs no prompts: alone, or as what corrections start from."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.commands.terminal import shown
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.prompts.scribbles import BACKGROUND

if TYPE_CHECKING:
    from InteractiveSegLib.image.geometry import Volume
    from InteractiveSegLib.prompts.drawing import Drawing


@dataclass(frozen=True, eq=False)
class AutomaticAnswer:
    """labels : (K, J, I) uint8; foreground : (K, J, I) float32, how likely each voxel is any object; seconds"""

    labels: NDArray[np.uint8]
    foreground: NDArray[np.float32]
    seconds: float

    def in_kept(
        self, probability: NDArray[np.float32], mask: NDArray[np.integer], kept: Sequence[int]
    ) -> NDArray[np.float32]:
        """The probability of corrected objects (K, J, I) with that of the objects that stayed as they were."""
        return np.where(np.isin(mask, kept), np.maximum(probability, self.foreground), probability)


def automatic_answer(options: argparse.Namespace, volume: Volume) -> AutomaticAnswer | None:
    """What the model of the command line finds by itself; None if it is one that takes prompts.

    InputError or UntrustedModelError as for ``AutomaticModel``.
    """
    from InteractiveSegLib.learning.automatic_card import is_automatic
    from InteractiveSegLib.learning.automatic_model import AutomaticModel
    from InteractiveSegLib.networks.model_trust import refuse, trusting

    if not is_automatic(options.model):
        return None
    started = time.perf_counter()
    model = AutomaticModel(options.model, trusting if options.trust_model else refuse)
    soft = shown(model.probabilities_steps(volume), options)
    return AutomaticAnswer(model.labelmap(soft), 1 - soft[0], time.perf_counter() - started)


def start_corrections(drawing: Drawing, found: NDArray[np.uint8]) -> list[int]:
    """Let the objects that somebody marked start from what the model found.

    These are the labels with marks of their own, and those in whose mask background or another label is marked.

    Returns
    -------
    the other labels that were found: they stay as they are

    Raises
    ------
    InputError : nothing that was found, and no object, is marked.
    """
    prompts = drawing.prompts
    own = set(prompts.labels)
    marks = prompts.scribbles.to_labelmap(found.shape)
    wrong = (marks > 0) & (marks != found) & (found > 0)
    touched = {int(label) for label in np.unique(found[wrong])}
    for label in sorted(own | touched):
        if (found == label).any() and label not in prompts.start_masks:
            drawing.set_start(label, found == label)
    if not own | touched:
        raise InputError(
            f"the corrections mark only background ({BACKGROUND}), and none of it where the model found an object"
        )
    return [int(label) for label in np.unique(found) if label and label not in own | touched]
