"""Processes of the library that start at once: forks of one process that has already imported everything.

What a fork does from there on is what the real process does. The program that a test starts, ``warm_start.py``, hands
its streams to the fork. Where the start itself is tested (what is imported from where, limits of memory, signals), a
test takes the real command.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from ast import literal_eval
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

_HERE = Path(__file__).resolve()
_NUMBER = struct.Struct("<i")
_PATH_AT_START = os.environ.get("PYTHONPATH")
_ADDRESS = "INTERACTIVESEG_WARM"
_START_S = 60.0


def warm_command(module: str, *words: str, python: str | Path = sys.executable) -> list[str]:
    """In place of ``InteractiveSegLib.system.python_process.library_command``, where processes can fork.

    A fork looks for packages where this process did at its start: where a test has changed that, the real command.
    """
    from InteractiveSegLib.system.python_process import library_command

    if not hasattr(os, "fork") or os.environ.get("PYTHONPATH") != _PATH_AT_START:
        return library_command(module, *words, python=python)
    start_server()
    _wait_for_server()
    return [str(python), "-S", "-E", str(_HERE.with_name("warm_start.py")), os.environ[_ADDRESS], module, *words]


def warm_worker_command(python: str | Path = sys.executable, command: str = "worker") -> list[str]:
    """In place of ``InteractiveSegLib.worker.transport.worker_command``."""
    return warm_command("InteractiveSegLib.cli", command, python=python)


def start_server() -> None:
    """Start the process to fork from, which this process and those that it starts share; it ends with this one.

    It imports nothing before it is needed.
    """
    if _ADDRESS in os.environ or not hasattr(os, "fork"):
        return
    import atexit
    from tempfile import TemporaryDirectory

    folder = TemporaryDirectory()
    os.environ[_ADDRESS] = str(Path(folder.name) / "worker")
    large_pages = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # a fork has fewer of them to copy
    server = subprocess.Popen(
        [sys.executable, str(_HERE), "serve", os.environ[_ADDRESS]], stdin=subprocess.PIPE, env=large_pages
    )
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)


@cache
def _wait_for_server() -> None:
    """Until it has imported all, so that no test waits for that within its own limits of time."""
    with _connected(os.environ[_ADDRESS]) as connection:
        connection.sendall(_NUMBER.pack(0))
        connection.recv(_NUMBER.size)


def _connected(address: str) -> socket.socket:
    connection, ends = socket.socket(socket.AF_UNIX), time.monotonic() + _START_S
    while connection.connect_ex(address):  # until the server listens
        if time.monotonic() > ends:
            raise ConnectionError("the process that the tests' workers are forked from does not listen")
        time.sleep(0.02)
    return connection


def _serve(address: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    select.select([listener, 0], [], [])
    sys.path.insert(0, str(_HERE.parents[1]))
    gc.disable()
    for module in ("segmenting.image_segmenter", "propagate.proxy_mask", "cli", "worker.server"):
        import_module(f"InteractiveSegLib.{module}")
    from InteractiveSegLib.propagate import registration, slice_pool
    from InteractiveSegLib.segmenting.adapt import load_optimizer

    load_optimizer()
    if registration.has_elastix():
        registration.load_elastix()
    slice_pool.library_command = warm_command  # also of what a fork starts
    import_module("InteractiveSegLib.networks.script_server")  # the last: it measures the memory in use
    gc.collect()
    gc.freeze()  # what a fork does not touch, it does not have to copy
    gc.enable()
    _Forks(listener).serve()


class _Forks:
    """The forks that run, each with the connection to who asked for it. Each lives and dies with who asked."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[int, socket.socket] = {}
        self._ends, self._ended = socket.socketpair()
        for each in (self._ends, self._ended):
            each.setblocking(False)

    def serve(self) -> None:
        """Until the process that started this one ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._ends.fileno(), warn_on_full_buffer=False)
        while True:
            ready = select.select([0, self._listener, self._ended, *self._running.values()], [], [])[0]
            if self._ended in ready:
                self._ended.recv(1 << 12)
                self._report()
            for child, connection in self._running.items():
                if connection in ready:  # who asked has ended
                    os.kill(child, signal.SIGKILL)
            if self._listener in ready:
                self._answer(self._listener.accept()[0])
            elif 0 in ready:
                break
        for child in self._running:
            os.kill(child, signal.SIGKILL)

    def _report(self) -> None:
        """Say with which code each ended, and have its time counted."""
        for child in list(self._running):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                connection = self._running.pop(child)
                with connection, suppress(OSError):  # nobody may be there to hear it
                    connection.send(_NUMBER.pack(os.waitstatus_to_exitcode(status)))

    def _answer(self, connection: socket.socket) -> None:
        number, streams, _, _ = socket.recv_fds(connection, _NUMBER.size, 3)
        if not streams:  # somebody waits for the server
            with connection, suppress(OSError):
                connection.send(_NUMBER.pack(0))
            return
        asked = b""
        while len(asked) < _NUMBER.unpack(number)[0] and (more := connection.recv(1 << 16)):
            asked += more
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._listener, self._ends, self._ended, connection, *self._running.values()):
                each.close()
            for stream, given in enumerate(streams):
                os.dup2(given, stream)
                os.close(given)
            _become(asked)
        for stream in streams:
            os.close(stream)
        self._running[child] = connection


def _become(asked: bytes) -> None:
    code: object = 1
    try:
        (module, *sys.argv[1:]), folder, environment = literal_eval(asked.decode())
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        code = import_module(module).main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(int(code or 0) if not isinstance(code, str) else 1)  # taking all modules down takes a second


if __name__ == "__main__":
    _serve(sys.argv[2])
