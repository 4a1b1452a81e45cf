"""The automatic network as a folder that anybody can use: TorchScript with a card, run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.held_out import largest_parts
from InteractiveSegLib.learning.image_lesson import PatientAxes, resized, seen
from InteractiveSegLib.networks.model_trust import Ask, read_trusted, refuse, trust
from InteractiveSegLib.networks.script_model import ScriptModel
from InteractiveSegLib.progress import Progress, Steps, finish
from InteractiveSegLib.system.files import make_folder, replacing

MODEL, CARD = "model.ts", "model.json"
_KIND = "automatic"
_AT_ONCE = 4  # windows


@dataclass(frozen=True)
class AutomaticCard:
    """What an automatic model sees and says.

    labels : of its outputs after the background -> name
    spacing_mm : of the voxels it sees, along its three axes
    slices_first : as for ``AutomaticNetwork``
    dimensions : 2 where it looks at slices one by one, else 3
    window : side of the parts in which it looks at them
    largest_part : labels of which only the largest connected part is taken
    facts : how it was taught, for whoever reads the card
    """

    labels: Mapping[int, str]
    spacing_mm: tuple[float, float, float]
    slices_first: bool
    dimensions: int
    window: int
    largest_part: tuple[int, ...] = ()
    facts: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        network: AutomaticNetwork,
        names: Mapping[int, str],
        largest_part: tuple[int, ...],
        facts: Mapping[str, Any],
    ) -> AutomaticCard:
        labels = {label: names.get(label, f"label {label}") for label in network.labels}
        spacing, first = network.spacing_mm, network.slices_first
        return cls(labels, spacing, first, network.dimensions, network.window, largest_part, facts)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": _KIND,
            "spatial_axes": self.dimensions,
            "channels": ["image"],
            "outputs": 1 + len(self.labels),
            "labels": {str(label): name for label, name in self.labels.items()},
            "spacing_mm": list(self.spacing_mm),
            "slices_first": self.slices_first,
            "window": self.window,
            "largest_part": list(self.largest_part),
            "training": dict(self.facts or {}),
        }

    @classmethod
    def read(cls, path: Path) -> AutomaticCard:
        """InputError where the card is missing, damaged, or states what cannot be."""
        try:
            kept = json.loads(path.read_text("utf-8"))
            labels = {int(label): str(name) for label, name in kept["labels"].items()}
            s, p, q = (float(mm) for mm in kept["spacing_mm"])
            card = cls(
                labels,
                (s, p, q),
                bool(kept["slices_first"]),
                int(kept["spatial_axes"]),
                int(kept["window"]),
                tuple(int(label) for label in kept["largest_part"]),
                dict(kept.get("training", {})),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the card {path} of an automatic model cannot be read: {error!r}") from error
        right = all(0 < mm < math.inf for mm in card.spacing_mm) and card.dimensions in (2, 3) and card.window > 0
        if not right or not labels or min(labels) < 1 or max(labels) > 254:
            raise InputError(
                f"the card {path} states {card.dimensions} spatial_axes, a window of {card.window}, voxels of "
                f"{card.spacing_mm} mm and the labels {sorted(labels)}: axes are 2 or 3, sizes above 0, labels 1 to 254"
            )
        return card


def is_automatic(folder: str | Path) -> bool:
    """Whether a folder holds an automatic model, which needs no prompts."""
    card = Path(folder) / CARD
    try:
        return (Path(folder) / MODEL).is_file() and json.loads(card.read_text("utf-8")).get("kind") == _KIND
    except (OSError, ValueError, AttributeError):
        return False


def export_model(network: AutomaticNetwork, card: AutomaticCard, folder: Path) -> Path:
    """Write a network and its card; whoever taught it trusts it.

    Raises
    ------
    InputError : the network looks at images of any size; a model has a window.
    OutputError : the folder cannot be written, or the disk is full.
    """
    if not network.window:
        raise InputError("only a network with a window can be exported: this one looks at images as a whole")
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
    with replacing(folder / MODEL) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                torch.jit.save(script, str(temporary))
        except RuntimeError as error:  # of a full disk
            raise OSError(str(error).splitlines()[0]) from error
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
        """The most probable label of every voxel (K, J, I), of some labels the largest part alone."""
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
        sides = [card.window] * card.dimensions
        parts = []
        for number, stack in enumerate(stacks):
            yield Progress(number, len(stacks), "looking at the image")
            found = sliding_window_inference(
                stack, sides, _AT_ONCE, self._answer, overlap=0.5, mode="gaussian", padding_mode="replicate"
            )
            parts.append(found.softmax(dim=1))
        soft = torch.cat(parts)
        soft = soft.movedim(0, 1).movedim(1, axis + 1) if card.dimensions == 2 else soft[0]
        shape = tuple(volume.geometry.shape_kji[each] for each in axes.order)
        return axes.turned_back(resized(soft, shape).numpy())

    def _answer(self, windows: Tensor) -> Tensor:
        expected = (len(windows), 1 + len(self.card.labels), *windows.shape[2:])
        told, answer = finish(self._model.answer_steps(windows.contiguous(), expected))
        if told["kind"] != "answer" or answer is None or tuple(told.get("shape", ())) != expected:
            said = told.get("text") or f"it returned {told.get('shape')} {told.get('dtype')}, not {expected}"
            raise InputError(f"the model {self.folder / MODEL} fails on windows of {tuple(windows.shape)}: {said}")
        if not torch.isfinite(answer).all():
            raise InputError(f"the model {self.folder / MODEL} returns NaN or infinite values")
        return answer
