"""The worker process: answers a client's requests one after the other, and holds nothing that could be lost."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from InteractiveSegLib.errors import MEMORY_IS_FULL, InputError, InteractiveSegError, is_out_of_memory
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.networks.model_trust import UntrustedModelError
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.records.message import Message, ProtocolError
from InteractiveSegLib.records.prompt_record import prompts_of
from InteractiveSegLib.worker.handshake import hello
from InteractiveSegLib.worker.image_transfer import ArrivingImage
from InteractiveSegLib.worker.message_channel import MessageChannel, claim_standard_streams
from InteractiveSegLib.worker.requests.request_context import RequestContext
from InteractiveSegLib.worker.requests.request_kinds import REQUEST_KINDS, Request

_PROGRESS_EVERY_S = 0.1
_VOXELS_WAIT_S = 0.05


def serve() -> None:
    """Answer requests from standard input on standard output, until the input ends.

    Raises
    ------
    ProtocolError : the client has another version, or sends invalid data.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is handled by the client
    channel = MessageChannel(*claim_standard_streams())
    try:
        channel.send(hello())
        _Server(channel).run()
    except BrokenPipeError:
        return  # the client is gone
    if channel.trouble:
        raise ProtocolError(channel.trouble)


class _Cancelled(Exception):  # noqa: N818 (no error)
    """The client has cancelled the request."""


class _Server:
    def __init__(self, channel: MessageChannel) -> None:
        self._channel = channel
        self._bench = RequestContext()
        self._image: ArrivingImage | None = None
        self._prompt_arrays: dict[str, Any] = {}

    def run(self) -> None:
        self._channel.greeted.wait()
        if not self._channel.ended.is_set():
            try:
                self._channel.send(Message("ready", _warm_up(self._bench)))
            except ImportError as error:
                self._channel.send(Message("fatal", {"text": f"the worker lacks a Python package: {error}"}))
                return
        while (message := self._channel.requests.get()) is not None:
            self._answer(message)
        if self._channel.trouble:
            self._channel.send(Message("fatal", {"text": self._channel.trouble}))

    def _answer(self, message: Message) -> None:
        identity = message.fields.get("id")
        try:
            result = self._computed(identity, message)
        except _Cancelled:
            answer = Message("cancelled", {"id": identity})
        except Exception as error:
            answer = Message("error", {"id": identity, **self._error_fields(error)})
        else:
            answer = Message("result", {"id": identity, "result": dict(result.fields)}, result.arrays)
        try:
            self._channel.send(answer)
        except ProtocolError as error:  # the result of a request contains something that cannot be sent
            self._channel.send(Message("error", {"id": identity, **self._error_fields(error)}))

    def _computed(self, identity: int, message: Message) -> Message:
        self._channel.send(Message("begun", {"id": identity}))
        request = self._understood(message)
        with closing(request.steps(self._bench)) as steps:
            return request.result_message(self._followed(identity, steps))

    def _understood(self, message: Message) -> Request:
        """The request of a message, with its image and prompts in the context. InputError if it is invalid."""
        try:
            self._take_over(message)
            kind = message.fields["kind"]
            if not isinstance(kind, str) or kind not in REQUEST_KINDS:
                raise InputError(f"the worker does not know the request {kind!r}, only {', '.join(REQUEST_KINDS)}")
            own = {name[len("own/") :]: values for name, values in message.arrays.items() if name.startswith("own/")}
            return REQUEST_KINDS[kind].from_message(Message(kind, message.fields["own"], own))
        except InteractiveSegError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(f"the request cannot be understood: {type(error).__name__} {error}") from error

    def _take_over(self, message: Message) -> None:
        """Image and prompts of a request. Arrays of the previous request are not sent again."""
        fields = message.fields.get("image")
        if fields is None:
            self._bench.image, self._bench.prompts = None, Prompts()
            return
        known = tuple(f"{part}/" for part in message.fields["known"])
        kept = {name: values for name, values in self._prompt_arrays.items() if name.startswith(known)}
        self._prompt_arrays = {**kept, **{n: v for n, v in message.arrays.items() if not n.startswith("own/")}}
        if self._image is None or self._image.identity != fields["identity"]:
            self._bench.image = self._image = None  # its memory first
            self._image = ArrivingImage(fields, self._channel.send, lambda: self._channel.next_voxels(_VOXELS_WAIT_S))
        self._bench.image = self._image
        shape = self._image.volume.geometry.shape_kji
        self._bench.prompts = prompts_of(message.fields["prompts"], self._prompt_arrays, shape)

    def _followed(self, identity: int, steps: Steps[Any]) -> Any:
        """Run the steps, report progress, and stop if the client cancels."""
        report = _Reports(lambda fields: self._channel.send(Message("progress", {"id": identity, **fields})))
        while True:
            if self._channel.is_cancelled(identity):
                raise _Cancelled
            try:
                report(next(steps))
            except StopIteration as end:
                return end.value

    def _error_fields(self, error: Exception) -> dict[str, Any]:
        """Report of an error to the client: type, text, where an unexpected error happened, and which program may not
        run.
        """
        if is_out_of_memory(error):
            self._bench.forget()
            self._image, self._bench.image = None, None
            return {"type": "MemoryError", "text": MEMORY_IS_FULL, "log": "".join(traceback.format_exception(error))}
        log = "" if isinstance(error, InteractiveSegError) else "".join(traceback.format_exception(error))
        told: dict[str, Any] = {"type": type(error).__name__, "text": str(error) or type(error).__name__, "log": log}
        if isinstance(error, UntrustedModelError):
            told["program"] = {"path": str(error.path), "sha256": error.sha256}
        return told


class _Reports:
    """Sends progress, but not more often than anybody can read it."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send, self._last = send, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _PROGRESS_EVERY_S:
            self._last = now
            self._send({"done": progress.done, "total": progress.total, "text": progress.text})


def _warm_up(bench: RequestContext) -> dict[str, Any]:
    """Load what requests need, so that the first is as fast as the others; returns versions and devices."""
    import torch

    from InteractiveSegLib.segmenting import image_segmenter  # noqa: F401
    from InteractiveSegLib.segmenting.adapt import load_optimizer

    load_optimizer()
    with suppress(InputError):  # reported when it is requested
        bench.network(DEFAULT_NETWORK)
    return {"torch": str(torch.__version__), "cuda": torch.cuda.is_available()}
