"""The request ``prepare``: have at hand what a round needs before it is asked for."""

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
    """All that a round waits for but what the person has yet to mark. Cancelled in the middle, what has arrived stays.

    round : that is expected
    """

    kind: ClassVar[str] = "prepare"
    needs_image: ClassVar[bool] = True

    round: SegmentRequest

    def to_message(self) -> Message:
        return Message(self.kind, self.round.to_message().fields)

    @classmethod
    def from_message(cls, message: Message) -> PrepareRequest:
        """InputError where the fields are none of a request to segment."""
        return cls(SegmentRequest.from_message(message))

    def steps(self, bench: RequestContext) -> Steps[None]:
        """Load the network, fetch what a round from the prompts looks at, and look at what is in boxes."""
        segmenter = yield from self.round.prepared(bench)
        yield from segmenter.look_steps(bench.prompts, self.round.adapt)

    @staticmethod
    def result_message(_result: None) -> Message:
        return Message("prepare")

    @staticmethod
    def result_of(_message: Message) -> None:
        """There is nothing to tell."""
