"""A worker with one more kind of request, which misbehaves in every way a library can; it can be run as a program."""

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.progress import Progress
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.worker import handshake, server
from InteractiveSegLib.worker.requests.request_kinds import REQUEST_KINDS


@dataclass(frozen=True)
class OddRequest:
    """Answers with its number and what it was sent, after it has done what it is asked for."""

    kind: ClassVar[str] = "odd"
    needs_image: ClassVar[bool] = False

    does: str = ""
    number: float = 0.0

    def to_message(self):
        return Message(self.kind, asdict(self))

    @classmethod
    def from_message(cls, message):
        return cls(**message.fields)

    def steps(self, bench):
        yield Progress(0, 1, "about to")
        yield from DEEDS[self.does](self.number, bench)
        return {"number": self.number, "labels": list(bench.prompts.labels)}

    def result_message(self, result):
        if self.does == "untold":
            result["number"] = object()
        return Message(self.kind, result)

    def result_of(self, message):
        return message.fields


class OddRequestOnImage(OddRequest):
    """The same, about image and prompts."""

    kind: ClassVar[str] = "odd on image"
    needs_image: ClassVar[bool] = True


REQUEST_KINDS.update({kind.kind: kind for kind in (OddRequest, OddRequestOnImage)})


def nothing(_number, _bench):
    yield from ()


def step_for(seconds, _):
    """Many short steps, as of the session."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
        yield Progress(0, 1, "stepping")


def block(seconds, _):
    """One long call into a library."""
    time.sleep(seconds)
    yield from ()


def fill_memory(kind, _):
    import torch

    if kind == 0:
        raise MemoryError
    if kind == 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
    if kind == 2:
        torch.empty(1 << 60, dtype=torch.uint8)
    yield from ()


def print_everywhere(_number, _bench):
    """Through Python, through the descriptor, from C, and from a child process."""
    import ctypes

    print("\x89ISEG printed")
    sys.stdout.flush()
    os.write(1, b"written\n")
    if sys.platform != "win32":
        libc = ctypes.CDLL(None)
        libc.puts(b"from C")
        libc.fflush(None)
    subprocess.run([sys.executable, "-c", "print('from a child', input('asked'))"], check=False)
    yield from ()


def stumble(_number, _bench):
    yield Progress(1, 2, "still fine")
    return 1 / 0


def die(code, _):
    sys.stderr.write("a last word\n")
    sys.stderr.flush()
    os._exit(int(code))
    yield


def fetch(number, bench):
    """The box of an object, in parts that overlap; then the sum of its voxels, each times its place."""
    box = bench.prompts.boxes[1]
    (k, j, i), shape = box.start_kji, box.shape_kji
    yield from bench.image.fetch(BoundingBox(box.start_kji, (k + shape[0] // 2, *box.stop_kji[1:])))
    yield from bench.image.fetch(BoundingBox((k + shape[0] // 3, j + 1, i + 1), box.stop_kji))
    yield from bench.image.fetch(box)
    voxels = bench.image.volume.array_kji[box.slices].astype(np.int64).reshape(-1)
    if (voxels * (np.arange(voxels.size) % 1009)).sum() != number:
        raise ValueError("these are other voxels")


DEEDS = {
    "untold": nothing,
    "fetch": fetch,
    "": nothing,
    "step": step_for,
    "block": block,
    "memory": fill_memory,
    "print": print_everywhere,
    "stumble": stumble,
    "die": die,
}


def main():
    """Words: ``quick`` does without the warm-up; ``other`` is of another version; ``banner`` and ``noise`` print first;
    ``mute`` says nothing; ``silent`` gives no sign of life after the greeting; ``exit`` ends at once."""
    words = sys.argv[1:]
    if "quick" in words:
        server._warm_up = lambda _: {}
    if "other" in words:
        handshake.__version__ = "9.9"
    if "banner" in words:
        os.write(1, b"Welcome to this host\n")
    if "noise" in words:
        os.write(1, b"noise\n" * 50_000)
    if "mute" in words:
        time.sleep(60)
    if "exit" in words:
        raise SystemExit("no such module")
    if "silent" in words:
        server.MessageChannel._beat = lambda _: None
    if "lacks" in words:
        sys.modules["torch"] = None
    server.serve()


if __name__ == "__main__":
    main()
