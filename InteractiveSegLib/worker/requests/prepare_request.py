"""The request ``prepare``: prepare what a round needs before it is requested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from InteractiveSegLib.progress import Steps
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest

if TYPE_CHECKING:
    from InteractiveSegLib.worker.requests.request_context import RequestContext


@dataclass(frozen=True)
class PrepareRequest:
    """Everything that a round needs except the user's next marks. If cancelled, what has arrived is kept.

    round : the expected round
    """

    kind: ClassVar[str] = "prepare"
    needs_image: ClassVar[bool] = True

    round: SegmentRequest

    def to_message(self) -> Message:
        return Message(self.kind, self.round.to_message().fields)

    @classmethod
    def from_message(cls, message: Message) -> PrepareRequest:
        """InputError if the fields are not those of a request to segment."""
        return cls(SegmentRequest.from_message(message))

    def steps(self, bench: RequestContext) -> Steps[None]:
        """Load the network, fetch the voxels that a round from the prompts uses, and compute the features in boxes."""
        segmenter = yield from self.round.prepared(bench)
        yield from segmenter.look_steps(bench.prompts, self.round.adapt)

    @staticmethod
    def result_message(_result: None) -> Message:
        return Message("prepare")

    @staticmethod
    def result_of(_message: Message) -> None:
        """There is no result."""
