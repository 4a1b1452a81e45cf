"""The kinds of requests that a worker answers. A new kind is a class in a file of its own and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from InteractiveSegLib.progress import Steps
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.worker.requests.casebook_request import CasebookRequest
from InteractiveSegLib.worker.requests.prepare_request import PrepareRequest
from InteractiveSegLib.worker.requests.propagate_request import PropagateRequest
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest
from InteractiveSegLib.worker.requests.source_request import SourceRequest
from InteractiveSegLib.worker.requests.suggest_request import SuggestRequest

if TYPE_CHECKING:
    from InteractiveSegLib.worker.requests.request_context import RequestContext


class Request(Protocol):
    """A request to a worker; a frozen dataclass that imports nothing heavy outside ``steps``.

    kind : its name in the table
    needs_image : it concerns the image and its prompts, so they are sent with it, and its result is dropped when they
        change
    """

    kind: ClassVar[str]
    needs_image: ClassVar[bool]

    def to_message(self) -> Message:
        """The request without image and prompts; on the client's side."""

    @classmethod
    def from_message(cls, message: Message) -> Request:
        """The request that ``to_message`` made. InputError if it is invalid."""

    def steps(self, bench: RequestContext) -> Steps[Any]:
        """Do the work; in the worker, or directly in a command."""

    def result_message(self, result: Any) -> Message:
        """The result as sent."""

    def result_of(self, message: Message) -> Any:
        """The result that ``result_message`` made; on the client's side."""


REQUEST_KINDS: dict[str, type[Request]] = {
    kind.kind: kind
    for kind in (SegmentRequest, PrepareRequest, PropagateRequest, SuggestRequest, CasebookRequest, SourceRequest)
}
