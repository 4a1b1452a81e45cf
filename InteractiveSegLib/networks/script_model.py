"""A TorchScript model that runs in a process of its own, which is stopped if it takes too long or too much memory."""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.networks.model_trust import read_trusted
from InteractiveSegLib.progress import Progress, Stage, Steps
from InteractiveSegLib.system.python_process import library_command, library_environment

_TICK_S = 0.1
_START_S = 180.0  # time to import PyTorch on a busy computer
_PATIENCE_S = 1.0
_HEADER_BYTES = 1 << 16
_GIB = 1 << 30


@dataclass(frozen=True)
class ScriptLimits:
    """Limits after which a model is stopped; only an endless or a harmful model exceeds them.

    seconds, voxel_seconds : for loading it or for one answer, plus a time for each voxel of its input
    memory, voxel_memory : bytes in addition to four times the size of its file, plus some for each voxel
    """

    seconds: float = 60.0
    voxel_seconds: float = 1e-4
    memory: int = 2 * _GIB
    voxel_memory: int = 4096


class ScriptModel:
    """Loaded when it is first used, and again if its process was stopped. Copies share it: nothing in it changes.

    Parameters
    ----------
    path, sha256 : of a model that may run
    """

    def __init__(self, path: Path, sha256: str, limits: ScriptLimits | None = None) -> None:
        self.path, self.sha256, self.limits = path, sha256, limits or ScriptLimits()
        self._process: _Process | None = None
        self._file_bytes = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> ScriptModel:
        return self

    def __del__(self) -> None:
        with suppress(Exception):  # also while the interpreter ends
            self.close()

    def close(self) -> None:
        """Release the process, which then serves the next model."""
        process, self._process = self._process, None
        if process is not None:
            process.release()

    def load_steps(self) -> Steps[None]:
        """Have it loaded.

        Raises
        ------
        InputError : it has changed since it was checked, cannot be read as TorchScript, or exceeds its limits.
        """
        if self._process is not None:
            return
        content, sha256 = read_trusted(self.path)
        if sha256 != self.sha256:
            raise InputError(f"the model {self.path} has changed since it was loaded")
        self._file_bytes = len(content)
        self._process = _Process.idle()
        try:
            yield from self._process.wait_steps(_START_S, None)
        except _EndedError as error:
            self._end()
            raise InteractiveSegError(f"the process for the model {self.path} cannot be started: {error}") from error
        header, _ = yield from self._asked({"kind": "load", "device": "cpu"}, content, 0, "to be loaded")
        if header["kind"] != "loaded":
            self.close()
            raise InputError(f"the model {self.path} cannot be read as TorchScript: {header.get('text')}")

    def answer_steps(self, given: Tensor, expected: Sequence[int]) -> Steps[tuple[dict[str, Any], Tensor | None]]:
        """What the model returns for a float32 tensor; cancelled when the steps are closed.

        Returns
        -------
        its ``type``, ``shape`` and ``dtype``, or its ``kind`` and a ``text`` where it failed; and the tensor, float32,
        where it is one of floating-point numbers and of the expected shape

        Raises
        ------
        InputError : as ``load_steps``.
        """
        yield from self.load_steps()
        shape, voxels = tuple(given.shape), given[0, 0].numel()
        content = given.detach().cpu().numpy().astype("<f4", copy=False).tobytes()
        question = {"kind": "answer", "device": str(given.device), "shape": shape, "expected": list(expected)}
        header, answer = yield from self._asked(question, content, voxels, f"for an input of {shape}")
        if not answer:
            return header, None
        values = np.frombuffer(answer, "<f4").reshape(tuple(expected)).copy()
        return header, torch.from_numpy(values).to(given.device)

    def _asked(
        self, question: dict[str, Any], content: bytes, voxels: int, what: str
    ) -> Steps[tuple[dict[str, Any], bytes]]:
        limits, process = self.limits, self._process
        seconds = limits.seconds + limits.voxel_seconds * voxels
        memory = limits.memory + 4 * self._file_bytes + limits.voxel_memory * voxels
        header = {**question, "seconds": seconds, "memory": memory, "threads": torch.get_num_threads()}
        try:
            process.ask(header, content)
            found = yield from process.wait_steps(seconds, memory if question["device"] == "cpu" else None)
        except _EndedError as error:
            self._end()
            raise InputError(f"the model {self.path} was stopped {what}: {error}") from error
        finally:
            if process.is_busy:  # cancelled before the answer came
                self._end()
        if found[0]["kind"] == "memory":
            self._end()  # its state is unknown
            raise InputError(f"the model {self.path} was stopped {what}: {_too_much(memory)}")
        return found

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()


class _EndedError(Exception):
    """The process exceeded a limit, or ended; the text says why."""


class _Process:
    """One process. It answers one question at a time, in a thread, so that nobody has to wait for it.

    All live processes are referenced here: a model that is collected as part of a cycle releases its process in its
    finaliser, by which time the pipes of a process referenced only by the model could already have been closed by their
    own.
    """

    _idle: _Process | None = None
    _living: ClassVar[set[_Process]] = set()

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            library_command("InteractiveSegLib.networks.script_server"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=library_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows a console would open
        )
        self._answers: queue.SimpleQueue[tuple[dict[str, Any], bytes] | None] = queue.SimpleQueue()
        self.is_busy = False
        self._before = 0
        self._living.add(self)
        self._work(b"")

    @classmethod
    def idle(cls) -> _Process:
        """The idle process, or a new one, whose first answer says that it is ready."""
        found, cls._idle = cls._idle, None
        if found is None or found._child.poll() is not None:
            return cls()
        return found

    def release(self) -> None:
        """Keep it for the next model, if it is the only one."""
        if self.is_busy or _Process._idle is not None or self._child.poll() is not None:
            self.end()
        else:
            _Process._idle = self

    def ask(self, header: dict[str, Any], content: bytes) -> None:
        if header["kind"] == "load":
            self._before = resident_bytes(self._child.pid)
        most = 4 * math.prod(header.get("expected", (0,)))
        self._work(json.dumps({**header, "bytes": len(content)}).encode() + b"\n" + content, most)

    def wait_steps(self, seconds: float, memory: int | None) -> Steps[tuple[dict[str, Any], bytes]]:
        """The answer. ``_EndedError`` if it does not come within the limits; the process has then ended."""
        if not self.is_busy:
            return {"kind": "ready"}, b""
        ends = time.monotonic() + seconds
        while True:
            try:
                found = self._answers.get(timeout=_TICK_S)
            except queue.Empty:
                yield Progress(0, 1, "waiting for the model", Stage.NETWORK)
                if time.monotonic() > ends:
                    self.end()
                    raise _EndedError(f"it took longer than {seconds:.0f} s") from None
                if memory is not None and resident_bytes(self._child.pid) - self._before > memory:
                    self.end()
                    raise _EndedError(_too_much(memory)) from None
                continue
            self.is_busy = False
            if found is None:
                with suppress(subprocess.TimeoutExpired):
                    self._child.wait(_PATIENCE_S)
                code = self._child.poll()
                self.end()
                raise _EndedError(_end_in_words(code))
            return found

    def end(self) -> None:
        self._living.discard(self)
        with suppress(OSError):
            self._child.kill()
        self._child.wait()
        self.is_busy = False
        for stream in (self._child.stdin, self._child.stdout):
            with suppress(OSError, ValueError):
                stream.close()

    def _work(self, question: bytes, most: int = 0) -> None:
        self.is_busy = True
        threading.Thread(target=self._exchange, args=(question, most), daemon=True).start()

    def _exchange(self, question: bytes, most: int) -> None:
        """Write a question and read its answer, which is checked in every respect; it has no bytes or ``most``."""
        try:
            self._child.stdin.write(question)
            self._child.stdin.flush()
            header = json.loads(self._child.stdout.readline(_HEADER_BYTES))
            count = header["bytes"]
            right = isinstance(header["kind"], str) and count in (0, most)
            content = self._child.stdout.read(count) if right else b""
            self._answers.put((header, content) if right and len(content) == count else None)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self._answers.put(None)


def resident_bytes(pid: int) -> int:
    """Main memory that a process uses; 0 if unknown."""
    try:
        if sys.platform == "linux":
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if sys.platform == "win32":
            return _working_set(pid)
        said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
        return int(said.stdout) << 10
    except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
        return 0


def _working_set(pid: int) -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("faults", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in ("peak", "working_set", *"abcdef")),
        )

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.K32GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)
    process = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    counters = Counters(cb=ctypes.sizeof(Counters))
    try:
        told = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb)
        return counters.working_set if told else 0
    finally:
        kernel.CloseHandle(wintypes.HANDLE(process))


def _end_in_words(code: int | None) -> str:
    if code is None:
        return "its process sent an invalid answer"
    if code in (-9, 137):
        return "the system killed its process, usually because memory ran out"
    return f"its process ended with the code {code}"


def _too_much(memory: int) -> str:
    return f"it needed more than {memory / _GIB:.1f} GiB of memory"
