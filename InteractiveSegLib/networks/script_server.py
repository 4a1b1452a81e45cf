"""The process that runs a TorchScript model, within limits of time and memory; it holds nothing that could be lost.

``script_model`` starts it. A question is a line of JSON and raw bytes after it, and so is an answer; the other side
never executes anything that this side sends. It ends when its input ends.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import re
import sys
import textwrap
import warnings
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

_GRACE_S = 5.0  # the other side ends this process first, if it is still running


def main() -> None:
    """Answer until the input ends."""
    source, sink = _claimed_streams()
    nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115 (for as long as the process lives)
    warnings.simplefilter("ignore")
    model: Any = None
    _say(sink, {"kind": "ready"})
    while line := source.readline():
        question = json.loads(line)
        given = source.read(question["bytes"])
        torch.set_num_threads(question["threads"])
        _limit_memory(question["memory"], question["device"])
        faulthandler.dump_traceback_later(question["seconds"] + _GRACE_S, exit=True, file=nowhere)
        try:
            if question["kind"] == "load":
                model = torch.jit.load(io.BytesIO(given), map_location="cpu").eval()
                answer: tuple[dict[str, Any], bytes] = ({"kind": "loaded"}, b"")
            else:
                answer = _answer(model.to(question["device"]), question, given)
        except Exception as error:  # whatever the model raises; a damaged file fails in every way
            answer = ({"kind": kind_of(error), "text": reason_of(error)}, b"")
        faulthandler.cancel_dump_traceback_later()
        del given
        _say(sink, *answer)


def kind_of(error: Exception) -> str:
    """Whether there was not enough memory, on a GPU or in the computer, or the model itself failed."""
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "CUDA out of memory" in text or "ALLOC_FAILED" in text:
        return "device memory"
    return "memory" if isinstance(error, MemoryError) or re.search("allocate memory|bad_alloc", text) else "failed"


def reason_of(error: Exception) -> str:
    """The line of a TorchScript error, with its listings of code, that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    named = [match[1] for line in lines if (match := re.match(r"[\w.]*(?:Error|Exception): (.+)", line))]
    line = re.sub(r"^\[enforce fail at [^\]]*\]\W*", "", named[-1] if named else lines[0])
    return textwrap.shorten(line.split(" This is an internal miniz error")[0].rstrip(" .:"), 300)


def _answer(model: Any, question: dict[str, Any], given: bytes) -> tuple[dict[str, Any], bytes]:
    tensor = torch.from_numpy(np.frombuffer(given, "<f4").reshape(question["shape"]).copy()).to(question["device"])
    with torch.no_grad(), torch.jit.optimized_execution(False):  # whose profiling changes the rounding
        answer = model(tensor)
    if not isinstance(answer, Tensor):
        return {"kind": "answer", "type": type(answer).__name__}, b""
    header = {"kind": "answer", "type": "Tensor", "shape": list(answer.shape), "dtype": str(answer.dtype)}
    plain = answer.is_floating_point() and list(answer.shape) == question["expected"]
    return header, answer.float().cpu().contiguous().numpy().tobytes() if plain else b""


def _say(sink: BinaryIO, header: dict[str, Any], content: bytes = b"") -> None:
    sink.write(json.dumps({**header, "bytes": len(content)}).encode() + b"\n")
    sink.write(content)
    sink.flush()


def _claimed_streams() -> tuple[BinaryIO, BinaryIO]:
    """Input and output only for questions and answers: what a model prints is discarded."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    return source, sink


def _limit_memory(more: int, device: str) -> None:
    """Limit this process to so many bytes beyond those that it took to start; only on Linux, and without a GPU's
    driver.
    """
    if sys.platform != "linux" or device != "cpu":
        return
    import resource

    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (_AT_START + more, most))


def _data_bytes() -> int:
    """Memory of this process that RLIMIT_DATA counts."""
    with suppress(OSError), open("/proc/self/status") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 4 << 30


_AT_START = _data_bytes() if sys.platform == "linux" else 0
