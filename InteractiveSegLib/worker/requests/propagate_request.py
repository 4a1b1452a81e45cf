"""The request ``propagate``: from annotated slices to masks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from InteractiveSegLib.notes.notes import note_fields, notes_of
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.propagate.propagate_result import PropagateResult
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.records.prompt_record import box_fields, box_of, mask_of
from InteractiveSegLib.worker.requests.slices_request import SlicesToPropagate

if TYPE_CHECKING:
    from InteractiveSegLib.worker.requests.request_context import RequestContext


@dataclass(frozen=True, eq=False)
class PropagateRequest:
    """Carry annotated slices to all others."""

    kind: ClassVar[str] = "propagate"
    needs_image: ClassVar[bool] = True

    slices: SlicesToPropagate

    def to_message(self) -> Message:
        return Message(self.kind, self.slices.fields(), self.slices.arrays())

    @classmethod
    def from_message(cls, message: Message) -> PropagateRequest:
        """InputError if the fields are not those of a request."""
        return cls(SlicesToPropagate.of(message.fields, message.arrays))

    def steps(self, bench: RequestContext) -> Steps[PropagateResult]:
        started = time.perf_counter()
        proxy = yield from self.slices.steps(bench)
        return PropagateResult.of_proxy(proxy, time.perf_counter() - started)

    @staticmethod
    def result_message(result: PropagateResult) -> Message:
        """The result as sent: bits of the masks, one byte per voxel of the maps."""
        fields = {
            "masks": {str(label): box_fields(mask.box) for label, mask in result.masks.items()},
            "box": box_fields(result.box),
            "axes": sorted(result.slice_confidence),
            "notes": note_fields(result.notes),
            "seconds": result.seconds,
        }
        arrays = {f"mask/{label}": mask.bits for label, mask in result.masks.items()}
        arrays |= {f"slices/{axis}": values for axis, values in result.slice_confidence.items()}
        return Message("propagate", fields, {**arrays, "confidence": result.confidence, "residual": result.residual})

    @staticmethod
    def result_of(message: Message) -> PropagateResult:
        """The result of ``result_message``. InputError or KeyError if it is invalid."""
        fields, arrays = message.fields, message.arrays
        return PropagateResult(
            {int(label): mask_of(box, arrays[f"mask/{label}"]) for label, box in fields["masks"].items()},
            box_of(fields["box"]),
            arrays["confidence"],
            arrays["residual"],
            {axis: arrays[f"slices/{axis}"] for axis in fields["axes"]},
            notes_of(fields["notes"]),
            float(fields["seconds"]),
        )
