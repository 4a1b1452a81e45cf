"""A worker process by ``subprocess``: threads read and write, so that a full pipe blocks nobody."""

from __future__ import annotations

import codecs
import contextlib
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import BinaryIO

from InteractiveSegLib.worker.callback_loop import CallbackLoop
from InteractiveSegLib.worker.transport import TransportEvents, end_in_words

_READ_BYTES = 1 << 18
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows a console would open


class SubprocessTransport:
    """One run of a command.

    Parameters
    ----------
    command : program and arguments, such as ``worker_command()`` or ``["ssh", "host", "interactiveseg", "worker"]``
    loop : runs the callbacks
    environment : instead of this process's own
    """

    def __init__(
        self, command: Sequence[str], loop: CallbackLoop, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command, self._loop, self._environment = list(command), loop, environment
        self._to_write: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, events: TransportEvents) -> None:
        """Start the process and the threads that serve its streams."""
        try:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                creationflags=_NO_WINDOW,
            )
        except OSError as error:
            text = f"the worker process {self._command[0]} cannot be started: {error.strerror or error}"
            self._loop.post(partial(events.ended, text))
            return
        errors = threading.Thread(target=self._read_errors, args=(events.said,), daemon=True)
        errors.start()
        threading.Thread(target=self._read_output, args=(events, errors), daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()

    def write(self, data: bytes) -> None:
        """Pass bytes to the writing thread."""
        self._to_write.put(data)

    def kill(self) -> None:
        """End the process; the reading thread waits for its end."""
        self._to_write.put(None)
        if self.process is not None:
            self.process.kill()

    def _write(self) -> None:
        with contextlib.suppress(OSError), self.process.stdin as stream:  # the reader reports the end
            while (data := self._to_write.get()) is not None:
                rest = memoryview(data)
                while rest:
                    rest = rest[stream.write(rest) :]

    def _read_output(self, events: TransportEvents, errors: threading.Thread) -> None:
        for data in _pieces(self.process.stdout):
            self._loop.post(partial(events.received, data))
        code = self.process.wait()
        errors.join(timeout=1.0)  # a child of the process may hold the stream open
        self._to_write.put(None)
        self._loop.post(partial(events.ended, end_in_words(code)))

    def _read_errors(self, said: Callable[[str], None]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for data in _pieces(self.process.stderr):
            self._loop.post(partial(said, decoder.decode(data)))


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with contextlib.suppress(OSError), stream:
        while data := os.read(stream.fileno(), _READ_BYTES):
            yield data
