"""One worker process as seen by its client: greeted, warmed up, ready, and eventually ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from InteractiveSegLib.records.message import Decoder, Message, ProtocolError, encode
from InteractiveSegLib.worker.handshake import disagreement, hello
from InteractiveSegLib.worker.transport import Transport, TransportEvents

_BANNER_BYTES = 1 << 16
_LINES_KEPT = 40

Stage = Literal["starting", "warming up", "ready", "ended"]


class Connection:
    """Communicates with one process until it ends.

    Parameters
    ----------
    transport : not yet started
    on_message : called with every message except the handshake; returns a callback for its listener
    on_stage : the process was greeted, or is ready
    on_end : the process ended, or is unusable and was killed; the text says why
    on_log : called with what the process writes to standard error

    Attributes
    ----------
    heard : messages so far, signs of life included
    was_ready : it was ready once, so another try is worthwhile
    versions : reported by the process, such as "python" and "torch"; "cuda" says whether there is a GPU
    known : the image and, by name, the immutable parts of the prompts that were sent to the process, which keeps them
    """

    def __init__(
        self,
        transport: Transport,
        on_message: Callable[[Message], Callable[[], None]],
        on_stage: Callable[[], None],
        on_end: Callable[[str], None],
        on_log: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._on_message, self._on_stage, self._on_end, self._on_log = on_message, on_stage, on_end, on_log
        self._decoder = Decoder(_BANNER_BYTES)
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self.stage: Stage = "starting"
        self.heard, self.was_ready = 0, False
        self.versions: dict[str, Any] = {}
        self.known: tuple[int, Mapping[str, object]] = (0, {})

    def start(self) -> None:
        self._transport.start(TransportEvents(self._received, self._said, self._ended))
        self.send(hello())

    def send(self, message: Message) -> None:
        """ProtocolError if the message cannot be sent."""
        self._transport.write(encode(message))

    def knows(self, image_identity: int, name: str, part: object) -> bool:
        """Whether this part of the prompts was sent with the previous request, for the same image."""
        return self.known[0] == image_identity and self.known[1].get(name) is part

    def close(self) -> None:
        """End the process; nothing more is reported about it."""
        if self.stage != "ended":
            self.stage = "ended"
            self._transport.kill()

    def fail(self, text: str) -> None:
        """End the process because it is unusable."""
        if self.stage != "ended":
            self.close()
            self._on_end(text)

    @property
    def last_words(self) -> str:
        """The last lines of the process's standard error."""
        return "".join(self._lines)

    def _received(self, data: bytes) -> None:
        if self.stage == "ended":
            return
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as error:
            self.fail(f"the worker process sent invalid data: {error}")
            return
        for message in messages:
            if self.stage != "ended":
                self._take(message)

    def _take(self, message: Message) -> None:
        self.heard += 1
        if self.stage == "starting":
            if self._decoder.banner:
                self._said(self._decoder.banner.decode(errors="replace"))
            trouble = disagreement(message, "the worker")
            if trouble:
                self.fail(trouble)
                return
            self.versions.update(message.fields)
            self.stage = "warming up"
            self._on_stage()
        elif message.kind == "ready":
            self.versions.update(message.fields)
            self.stage, self.was_ready = "ready", True
            self._on_stage()
        elif message.kind == "fatal":
            self.fail(str(message.fields.get("text")))
        elif message.kind != "alive":
            try:
                tell = self._on_message(message)
            except Exception as error:  # whatever it is, the job that waits for the answer must be told
                self.fail(f"the worker process sent an invalid message: {type(error).__name__} {error}")
            else:
                tell()  # a listener's exceptions are not handled here

    def _said(self, text: str) -> None:
        if self.stage != "ended":
            self._lines.extend(text.splitlines(keepends=True))
            self._on_log(text)

    def _ended(self, text: str) -> None:
        if self.stage != "ended":
            self.stage = "ended"
            last = next((line.strip() for line in reversed(self._lines) if line.strip()), "")
            self._on_end(f"{text}; its last output was: {last}" if last else text)
