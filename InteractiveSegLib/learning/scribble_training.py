"""Training the automatic network on scribbles, and choosing the checkpoint that is best on other patients."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.device import bfloat16_is_fast
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.held_out import HeldOut, helpful_parts, mean_score
from InteractiveSegLib.learning.scribble_batches import ScribbleBatches, ScribblePatches
from InteractiveSegLib.learning.scribble_lesson import ScribbleLesson
from InteractiveSegLib.learning.scribble_objective import ScribbleLossSettings, ScribbleObjective
from InteractiveSegLib.networks.checkpoint import replacing_by_torch
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.system.files import make_folder, replacing
from InteractiveSegLib.training.trainer import TrainSettings, train

MIDDLE = "model.1.submodule.1.submodule.0"
"""The third stage of the U-Net on the way down, at an eighth of the resolution."""
_BEST, _CURVE = "best.pt", "validation.csv"
_CHECKPOINT_EVERY = 25
_AVERAGING = 0.99
_AVERAGED_PARTS = 10  # of a short training: weights are averaged over the last tenth of it


@dataclass(frozen=True)
class ScribbleSettings:
    """How the network learns.

    steps : of the optimiser
    learning_rate : initial value; it decays to 0 along half a cosine
    widths : feature channels per level
    patches : contents of a batch
    loss : its terms
    attention : layer of the U-Net that gets attention; "" for none
    validations : number of times that the validation cases are scored
    seed : for all random choices
    """

    steps: int = 12_000
    learning_rate: float = 3e-3
    widths: tuple[int, ...] = (16, 32, 64, 128, 128)
    patches: ScribblePatches = field(default_factory=ScribblePatches)
    loss: ScribbleLossSettings = field(default_factory=lambda: ScribbleLossSettings(crf=0.1, attentive=0.1))
    attention: str = MIDDLE
    validations: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.validations < 1 or not self.learning_rate > 0:
            raise InputError(
                f"steps {self.steps} and validations {self.validations} must be at least 1, and learning_rate "
                f"{self.learning_rate} above 0"
            )
        if self.loss.attentive and not self.attention:
            raise InputError("the attentive similarity needs attention on a layer: name one, or give it the weight 0")

    @property
    def validate_every(self) -> int:
        """Steps between two validations, each of which coincides with a checkpoint."""
        return _CHECKPOINT_EVERY * max(1, round(self.steps / self.validations / _CHECKPOINT_EVERY))

    def network(self, labels: Sequence[int], spacing_mm: Sequence[float], slices_first: bool) -> AutomaticNetwork:
        """A new network. InputError if it has no layer of the name ``attention``."""
        torch.manual_seed(self.seed)
        window = self.patches.sides[AutomaticNetwork.dimensions_of(spacing_mm) == 2]
        return AutomaticNetwork(sorted(labels), spacing_mm, self.widths, slices_first, window, self.attention)


def fingerprint(
    settings: ScribbleSettings,
    scribbled: Iterable[tuple[Volume, Mapping[int, NDArray[np.bool_]]]],
    held_out: Iterable[HeldOut],
) -> str:
    """A hash of images, their grids, marks, validation cases and settings, wherever they are stored."""
    digest = hashlib.sha256(json.dumps(asdict(settings)).encode())
    learnt = ((volume, marks, None) for volume, marks in scribbled)
    for volume, marks, known in (*learnt, *((case.volume, case.truth, case.known) for case in held_out)):
        grid = [volume.geometry.shape_kji, volume.geometry.ijk_to_ras.tolist()]
        digest.update(json.dumps(grid).encode() + np.ascontiguousarray(volume.array_kji).tobytes())
        for label, where in sorted(marks.items()):
            digest.update(f"{label}".encode() + np.packbits(where).tobytes())
        if known is not None:
            digest.update(np.packbits(known).tobytes())
    return digest.hexdigest()


def require_same(folder: Path, key: str) -> None:
    """Note in the folder of a training what it is of. InputError if the folder contains another training.

    key : of images, marks and settings, such as their ``fingerprint``
    """
    path = folder / "begun.txt"
    if path.is_file():
        if path.read_text("utf-8").strip() != key:
            raise InputError(
                f"{folder} contains a training with other images, scribbles or settings: choose another --output, or "
                "delete that folder"
            )
        return
    make_folder(folder)
    with replacing(path) as temporary:
        temporary.write_text(key, "utf-8")


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """The result of a training.

    step, score : of the best checkpoint on the validation cases; without any, the last step and nan
    curve : step -> mean Dice on the validation cases
    largest_part : the labels that scored best there, as for ``largest_parts``
    seconds : of this process, not counting earlier runs of the same training
    notes : sentences
    """

    network: AutomaticNetwork
    step: int
    score: float
    curve: dict[int, float]
    largest_part: tuple[int, ...]
    seconds: float
    notes: tuple[str, ...]


def training_steps(
    network: AutomaticNetwork,
    lessons: Sequence[ScribbleLesson],
    held_out: Sequence[HeldOut],
    settings: ScribbleSettings,
    folder: Path,
    device: torch.device,
) -> Steps[TrainingResult]:
    """Train in place, and return the network of the best checkpoint; another run with the same folder resumes it.

    Raises
    ------
    InputError : there is no lesson; or the checkpoint in the folder is damaged or belongs to another training.
    OutputError : the folder cannot be written, or the disk is full.
    TrainingDivergedError : the loss is not finite.
    """
    if not lessons:
        raise InputError("there is no scribbled image to learn from")
    make_folder(folder)
    started = time.monotonic()
    axis = network.axis if network.dimensions == 2 else None
    batches = ScribbleBatches(lessons, axis, settings.steps, settings.seed, settings.patches)
    objective = ScribbleObjective(settings.loss)
    averaging = min(_AVERAGING, max(0.0, 1 - _AVERAGED_PARTS / settings.steps))
    training = TrainSettings(
        settings.steps,
        settings.learning_rate,
        averaging=averaging,
        checkpoint_every=_CHECKPOINT_EVERY,
        mixed_precision=bfloat16_is_fast(device),
    )
    if network.dimensions == 2:
        network = network.to(memory_format=torch.channels_last)  # a tenth faster on CPUs
    watch = _Validation(AutomaticNetwork(**network.config), held_out, folder)
    yield from watch.missed_steps(settings)
    steps = train(network, batches, objective, training, folder, device)
    first, begun = None, time.monotonic()
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            last = end.value
            break
        if first is None:
            first, begun = progress.done, time.monotonic()
        if held_out and (progress.done % settings.validate_every == 0 or progress.done == settings.steps):
            yield from watch.score_steps(progress.done, settings.steps)
        text = _progress_text(objective.terms, watch.curve, first, begun, progress)
        yield Progress(progress.done, progress.total, text)
    notes = tuple(network.attention.notes) if network.attention is not None else ()
    if not watch.curve:
        return TrainingResult(last.cpu(), settings.steps, float("nan"), {}, (), time.monotonic() - started, notes)
    step, best = watch.best()
    parts = helpful_parts(best, held_out)
    seconds = time.monotonic() - started
    return TrainingResult(best, step, watch.curve[step], dict(watch.curve), parts, seconds, notes)


def _progress_text(
    terms: dict[str, float], curve: dict[int, float], first: int, begun: float, progress: Progress
) -> str:
    """The terms of the loss, the latest validation, and the remaining time."""
    parts = [", ".join(f"{name} {value:.3f}" for name, value in terms.items())]
    if curve:
        step = max(curve)
        parts.append(f"validation Dice {curve[step]:.3f} after {step} steps")
    if progress.done > first:
        minutes = (time.monotonic() - begun) / (progress.done - first) * (progress.total - progress.done) / 60
        parts.append(f"{minutes:.0f} min left" if minutes >= 1 else "less than a minute left")
    return "; ".join(parts)


class _Validation:
    """Scores of checkpoints on the validation cases, and the best of them, in the folder of the training."""

    def __init__(self, network: AutomaticNetwork, cases: Sequence[HeldOut], folder: Path) -> None:
        self.network, self.cases, self.folder = network.eval(), cases, folder
        self.curve = _read_curve(folder / _CURVE)

    def missed_steps(self, settings: ScribbleSettings) -> Steps[None]:
        """Score the checkpoint that a run wrote before it was killed; forget scores of steps that are repeated."""
        step = self._checkpoint()
        self.curve = {each: score for each, score in self.curve.items() if each <= step}
        due = step and (step % settings.validate_every == 0 or step == settings.steps)
        if self.cases and due and step not in self.curve:
            yield from self.score_steps(step, settings.steps)

    def score_steps(self, step: int, total: int) -> Steps[None]:
        """Score the checkpoint of this step."""
        yield Progress(step, total, f"scoring {len(self.cases)} validation cases")
        self._checkpoint()
        score = mean_score(self.network, self.cases)
        if not self.curve or score > max(self.curve.values()):
            kept = {"step": step, "weights": self.network.state_dict()}
            with replacing_by_torch(self.folder / _BEST) as temporary:
                torch.save(kept, temporary)
        self.curve[step] = score
        with replacing(self.folder / _CURVE) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows(self.curve.items())

    def best(self) -> tuple[int, AutomaticNetwork]:
        kept = _read(self.folder / _BEST)
        self.network.load_state_dict(kept["weights"])
        return int(kept["step"]), self.network

    def _checkpoint(self) -> int:
        """Load the averaged weights of the checkpoint, and return its step; 0 if there is none."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return 0
        kept = _read(path)
        try:
            weights = {name.removeprefix("module."): value for name, value in kept["averaged"].items()}
            weights.pop("n_averaged", None)
            self.network.load_state_dict(weights)
        except (RuntimeError, KeyError, AttributeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise InputError(
                f"the checkpoint {path} belongs to another training ({reason}): choose another folder, or delete it"
            ) from error
        return int(kept["step"])


def _read(path: Path) -> dict:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        raise InputError(f"{path} cannot be read: {error}") from error


def _read_curve(path: Path) -> dict[int, float]:
    if not path.is_file():
        return {}
    try:
        with path.open(newline="") as file:
            return {int(step): float(score) for step, score in csv.reader(file)}
    except (OSError, ValueError) as error:
        raise InputError(f"the validation scores {path} are damaged: {error}") from error
