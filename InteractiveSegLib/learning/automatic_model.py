"""The automatic network as a folder that anybody can use: TorchScript with a card, run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_card import CARD, MODEL, AutomaticCard
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork, in_windows
from InteractiveSegLib.learning.held_out import largest_parts
from InteractiveSegLib.learning.image_lesson import PatientAxes, on_image_grid, seen
from InteractiveSegLib.networks.checkpoint import replacing_by_torch
from InteractiveSegLib.networks.model_trust import Ask, read_trusted, refuse, trust
from InteractiveSegLib.networks.script_model import ScriptModel
from InteractiveSegLib.progress import Progress, Steps, finish
from InteractiveSegLib.system.files import make_folder, replacing


def export_model(network: AutomaticNetwork, card: AutomaticCard, folder: Path) -> Path:
    """Write a network and its card, and trust the file, since it was made here.

    Raises
    ------
    InputError : the network has no window, which a model needs.
    OutputError : the folder cannot be written, or the disk is full.
    """
    if not network.window:
        raise InputError("only a network with a window can be exported: this one processes images as a whole")
    sides = [network.window] * network.dimensions
    plain = AutomaticNetwork(**network.config).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of sizes, which a window fixes
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is what models are exchanged in here
        script = torch.jit.trace(plain, torch.zeros(2, 1, *sides), check_trace=False)
    make_folder(folder)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(json.dumps(card.as_json(), indent=1), "utf-8")
    with replacing_by_torch(folder / MODEL) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(script, str(temporary))
    trust(hashlib.sha256((folder / MODEL).read_bytes()).hexdigest(), str((folder / MODEL).resolve()))
    return folder / MODEL


class AutomaticModel:
    """A model in a folder. It runs in a process of its own, within limits.

    Parameters
    ----------
    ask : whether a model that was not allowed before may run

    Raises
    ------
    InputError : the folder holds none, or it is damaged.
    UntrustedModelError : nobody has allowed it to run.
    """

    def __init__(self, folder: str | Path, ask: Ask = refuse) -> None:
        self.folder = Path(folder)
        self.card = AutomaticCard.read(self.folder / CARD)
        self._model = ScriptModel(self.folder / MODEL, read_trusted(self.folder / MODEL, ask)[1])

    def labelmap(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The most probable label of every voxel (K, J, I); of the card's ``largest_part``, only the largest parts."""
        labels = np.array([0, *self.card.labels], np.uint8)[probabilities.argmax(axis=0)]
        return largest_parts(labels, self.card.largest_part)

    def probabilities_steps(self, volume: Volume) -> Steps[NDArray[np.float32]]:
        """(1 + labels, K, J, I) on the image's own grid.

        Raises
        ------
        InputError : the model does not return what its card promises, or exceeds its limits.
        """
        card = self.card
        axes = (PatientAxes.slices_first if card.slices_first else PatientAxes.of)(volume.geometry)
        image = seen(volume, axes, card.spacing_mm)
        axis = int(np.argmax(card.spacing_mm))
        stacks = image.movedim(axis, 0)[:, None, None] if card.dimensions == 2 else image[None, None, None]
        parts = []
        for number, stack in enumerate(stacks):
            yield Progress(number, len(stacks), "looking at the image")
            parts.append(in_windows(self._answer, stack, card.window).softmax(dim=1))
        soft = torch.cat(parts)
        soft = soft.movedim(0, 1).movedim(1, axis + 1) if card.dimensions == 2 else soft[0]
        return on_image_grid(soft, axes, volume.geometry)

    def _answer(self, windows: Tensor) -> Tensor:
        expected = (len(windows), 1 + len(self.card.labels), *windows.shape[2:])
        told, answer = finish(self._model.answer_steps(windows.contiguous(), expected))
        if told["kind"] != "answer" or answer is None or tuple(told.get("shape", ())) != expected:
            said = told.get("text") or f"it returned {told.get('shape')} {told.get('dtype')}, not {expected}"
            raise InputError(f"the model {self.folder / MODEL} fails on windows of {tuple(windows.shape)}: {said}")
        if not torch.isfinite(answer).all():
            raise InputError(f"the model {self.folder / MODEL} returns NaN or infinite values")
        return answer
