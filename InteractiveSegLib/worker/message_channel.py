"""The worker's end of standard input and output: the client's messages, and a way to answer."""

from __future__ import annotations

import os
import queue
import sys
import threading
from contextlib import suppress

from InteractiveSegLib.records.message import Decoder, Message, ProtocolError, encode
from InteractiveSegLib.worker.handshake import disagreement

_READ_BYTES = 1 << 20
_PIPE_BYTES = 1 << 20  # for fewer context switches while voxels are sent; 64 KiB is the usual size
_BEAT_S = 2.0
_TIME_TO_END_S = 3.0


class MessageChannel:
    """Messages of one client. One thread reads, so that a cancel is received at any time; another sends signs of life.

    Parameters
    ----------
    source, sink : file descriptors of the streams, owned by the channel

    Attributes
    ----------
    requests : in the order in which they came; None at the end, after which ``trouble`` may say why
    voxels : that were asked for
    trouble : a text, if the client is unusable
    greeted, ended : the client has sent its version; it has gone, or there is trouble
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._writing = threading.Lock()
        self._cancelled: set[int] = set()
        self.requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.voxels: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.trouble = ""
        self.greeted, self.ended = threading.Event(), threading.Event()
        for work in (self._read, self._beat):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: Message) -> None:
        """Write a message. BrokenPipeError if the client has gone."""
        data = memoryview(encode(message))
        with self._writing:
            while data:
                data = data[os.write(self._sink, data) :]

    def is_cancelled(self, identity: int) -> bool:
        """Whether the client has cancelled the request, or has gone."""
        return identity in self._cancelled or self.ended.is_set()

    def next_voxels(self, timeout_s: float) -> Message | None:
        """Voxels that arrive within the given time."""
        with suppress(queue.Empty):
            return self.voxels.get(timeout=timeout_s)
        return None

    def _read(self) -> None:
        decoder = Decoder()
        try:
            while data := os.read(self._source, _READ_BYTES):
                for message in decoder.feed(data):
                    if not self.greeted.is_set():
                        self.trouble = disagreement(message, "the client")
                        if self.trouble:
                            return
                        self.greeted.set()
                    elif message.kind == "cancel":
                        self._cancelled.add(_identity(message))
                    elif message.kind == "voxels":
                        self.voxels.put(message)
                    elif message.kind == "request":
                        _identity(message)
                        self.requests.put(message)
                    else:
                        raise ProtocolError(f"the client sent a message of the kind {message.kind!r}")
            decoder.end()
        except OSError as error:
            self.trouble = f"cannot read from the client: {error}"
        except Exception as error:  # whatever it is, a reader that ends silently would leave the client waiting
            self.trouble = f"the client's messages cannot be understood: {error or type(error).__name__}"
        finally:
            self._end()

    def _end(self) -> None:
        """Running work is closed at its next step; a long native call is not waited for."""
        self.ended.set()
        self.greeted.set()
        self.requests.put(None)
        timer = threading.Timer(_TIME_TO_END_S, os._exit, (1,))
        timer.daemon = True
        timer.start()

    def _beat(self) -> None:
        with suppress(OSError):
            while not self.ended.wait(_BEAT_S):
                self.send(Message("alive"))


def _identity(message: Message) -> int:
    """The client's number of its request. ProtocolError if there is none."""
    identity = message.fields.get("id")
    if type(identity) is not int or not 0 <= identity < 1 << 63:
        raise ProtocolError(f"a {message.kind} has an id from 0 to 2**63 - 1, not {identity!r}")
    return identity


def claim_standard_streams() -> tuple[int, int]:
    """Descriptors of standard input and output for the protocol only.

    What a library prints goes to standard error from here on, also from C++; a child process inherits neither stream.
    """
    source, sink = os.dup(0), os.dup(1)
    if sys.platform == "linux":
        import fcntl

        with suppress(OSError):  # not a pipe, or more than the system allows
            fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    if sys.platform == "win32":
        import msvcrt

        for stream in (source, sink):
            msvcrt.setmode(stream, os.O_BINARY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return source, sink
