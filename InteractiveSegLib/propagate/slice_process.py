"""A process that works on slices: tasks come in by standard input, results go out by standard output.

``slice_pool`` starts it. It ends when its input ends, so that it does not outlive the process that started it.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any, BinaryIO

from InteractiveSegLib.propagate.registration import load_elastix

_LENGTH = struct.Struct("<Q")
_STANDARD_OUTPUT = 1


def send(stream: BinaryIO, value: Any) -> None:
    """Write a value with its length before it."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read a value. EOFError where the stream ends."""
    return pickle.loads(_exactly(stream, _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if data is None or len(data) < count:
        raise EOFError("the other side has ended")
    return data


def _leave_torch_out() -> None:
    """ITK loads PyTorch, if there is any, to recognise its tensors: half of the time that a process takes to start."""
    stand_in = ModuleType("torch")
    stand_in.Tensor = type("Tensor", (), {})
    sys.modules["torch"] = stand_in


def main() -> None:
    """Answer each task with ``(True, result)`` or ``(False, reason)``."""
    _leave_torch_out()
    answers = os.fdopen(os.dup(_STANDARD_OUTPUT), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STANDARD_OUTPUT)  # compiled code may write there
    with suppress(ImportError):
        load_elastix()  # while the first task is being prepared
    tasks = sys.stdin.buffer
    while True:
        try:
            answer = (True, receive(tasks).run())
        except EOFError:
            return
        except Exception as error:
            answer = (False, " ".join(str(error).split()) or type(error).__name__)
        send(answers, answer)
