"""The request ``segment``: from the prompts to masks."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.notes.notes import note_fields, notes_of
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.records.prompt_record import box_fields, box_of, mask_of
from InteractiveSegLib.segmenting.segment_result import SegmentResult, WorkingProbability

if TYPE_CHECKING:
    from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
    from InteractiveSegLib.segmenting.settings import BifsegSettings
    from InteractiveSegLib.worker.requests.request_context import RequestContext


@dataclass(frozen=True)
class SegmentRequest:
    """How to segment; image and prompts are those of the context. ``None`` keeps the network's own setting.

    model : a shipped network, or a folder with a model on the worker's machine
    adapt : fine-tune the last block to this image
    device : "auto", "cpu" or "cuda"
    seed : of the random choices of fine-tuning, 0 to 2**32 - 1
    smoothness : lambda of the energy, in voxels of the working grid, 0 to 1000
    sigma : intensity change, on [0, 1], that counts as an edge, above 0 to 10
    rounds : maximum number of alternations of label step and network step, 0 to 50
    with_probability : the result includes the probabilities
    trust : SHA-256 of a model that is a program, if the user has allowed it to run; this is remembered

    Raises
    ------
    InputError : a value is invalid.
    """

    kind: ClassVar[str] = "segment"
    needs_image: ClassVar[bool] = True

    model: str = DEFAULT_NETWORK
    adapt: bool = True
    device: str = "auto"
    seed: int = 0
    smoothness: float | None = None
    sigma: float | None = None
    rounds: int | None = None
    with_probability: bool = False
    trust: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or "\0" in self.model:
            raise InputError(f"the model is the name of a network or of a folder, not {self.model!r}")
        for name in ("adapt", "with_probability"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} is true or false, not {getattr(self, name)!r}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise InputError(f"the device is auto, cpu or cuda, not {self.device!r}")
        _require_integer("seed", self.seed, 2**32 - 1)
        if self.rounds is not None:
            _require_integer("rounds", self.rounds, 50)
        if self.smoothness is not None and not 0 <= _number("smoothness (lambda)", self.smoothness) <= 1000:
            raise InputError(f"smoothness (lambda) lies between 0 and 1000 voxels, not at {self.smoothness}")
        if self.sigma is not None and not 0 < _number("sigma", self.sigma) <= 10:
            raise InputError(f"sigma lies above 0 and is at most 10, not {self.sigma}")

    def to_message(self) -> Message:
        """The request without image and prompts."""
        return Message(self.kind, asdict(self))

    @classmethod
    def from_message(cls, message: Message) -> SegmentRequest:
        """InputError if the fields are not those of a request."""
        try:
            return cls(**message.fields)
        except TypeError as error:
            raise InputError(f"this is not a valid request to segment: {error}") from error

    def changed(self, settings: BifsegSettings) -> BifsegSettings:
        """Settings of a network with the changes of the request."""
        if self.smoothness is not None:
            settings = replace(settings, smoothness_voxels=self.smoothness, smoothness_voxels_of_box=None)
        if self.sigma is not None:
            settings = replace(settings, energy=replace(settings.energy, sigma=self.sigma))
        if self.rounds is not None:
            settings = replace(settings, adapt=replace(settings.adapt, rounds=self.rounds))
        return settings

    def steps(self, bench: RequestContext) -> Steps[SegmentResult]:
        """Compute the masks; if voxels have to be fetched, only those that a round uses."""
        segmenter = yield from self.prepared(bench)
        round_ = yield from segmenter.round_steps(bench.prompts, self.adapt)
        return SegmentResult.of_round(round_, self.with_probability, str(segmenter.device))

    def prepared(self, bench: RequestContext) -> Steps[ImageSegmenter]:
        """The segmenter of the round, once all voxels that it will use have arrived."""
        if self.trust:
            from InteractiveSegLib.networks.model_trust import trust

            trust(self.trust, self.model)
        segmenter = bench.segmenter(self.model, self.device, self.seed, self.changed)
        for crop in segmenter.crops(bench.prompts):
            yield from bench.required_image.fetch(crop)
        return segmenter

    @staticmethod
    def result_message(result: SegmentResult) -> Message:
        """The result as sent: bits within crops, probabilities on their working grids."""
        fields = {
            "masks": {str(label): box_fields(mask.box) for label, mask in result.masks.items()},
            "crops": {str(label): box_fields(found.crop) for label, found in result.probabilities.items()},
            "regions": {str(label): box_fields(box) for label, box in result.regions.items()},
            "notes": note_fields(result.notes),
            "seconds": result.seconds,
            "device": result.device,
        }
        arrays = {f"mask/{label}": mask.bits for label, mask in result.masks.items()}
        arrays.update({f"probability/{label}": found.values for label, found in result.probabilities.items()})
        return Message("segment", fields, arrays)

    @staticmethod
    def result_of(message: Message) -> SegmentResult:
        """The result of ``result_message``. InputError or KeyError if it is invalid."""
        fields, arrays = message.fields, message.arrays
        return SegmentResult(
            {int(label): mask_of(box, arrays[f"mask/{label}"]) for label, box in fields["masks"].items()},
            {
                int(label): WorkingProbability(box_of(box), arrays[f"probability/{label}"])
                for label, box in fields["crops"].items()
            },
            notes_of(fields["notes"]),
            float(fields["seconds"]),
            str(fields["device"]),
            {int(label): box_of(box) for label, box in fields["regions"].items()},
        )


def _require_integer(name: str, value: Any, most: int) -> None:
    try:
        inside = 0 <= operator.index(value) <= most
    except TypeError:
        inside = False
    if not inside:
        raise InputError(f"{name} is an integer from 0 to {most}, not {value!r}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise InputError(f"{name} is a number, not {value!r}")
    return value
