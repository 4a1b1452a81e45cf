"""Processes of the library that start at once: forks of one process that has already imported everything.

What a fork does from there on is what the real process does. The program that a test starts is a small one, which hands
its streams to the fork, lives and dies with it, and ends with its exit code. Where the start itself is tested (what is
imported from where, limits of memory, signals), a test takes the real command.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
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
    return [str(python), "-S", "-E", str(_HERE), "run", os.environ[_ADDRESS], module, *words]


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
    server = subprocess.Popen([sys.executable, str(_HERE), "serve", os.environ[_ADDRESS]], stdin=subprocess.PIPE)
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


def _run(address: str, words: list[str]) -> int:
    """Have the server fork for the streams of this process, and wait for the end of the fork."""
    asked = json.dumps({"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}).encode()
    with _connected(address) as connection:
        socket.send_fds(connection, [_NUMBER.pack(len(asked))], [0, 1, 2])
        connection.sendall(asked)
        for stream in (0, 1, 2):
            os.close(stream)
        code = connection.recv(_NUMBER.size)
    ended = _NUMBER.unpack(code)[0] if code else 1
    if ended < 0:  # by a signal, as whoever waits for this process is to see
        os.kill(os.getpid(), -ended)
    return ended


def _serve(address: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    select.select([listener, 0], [], [])
    sys.path.insert(0, str(_HERE.parents[1]))
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
    signal.signal(signal.SIGCHLD, _reap)
    while listener in select.select([listener, 0], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:  # one process waits for the end of each, or for that of who asked for it
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            os._exit(_fork(connection))
        connection.close()


def _reap(*_: object) -> None:
    """Rather than ignore them, so that their time is counted."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _fork(connection: socket.socket) -> int:
    number, streams, _, _ = socket.recv_fds(connection, _NUMBER.size, 3)
    if not streams:  # somebody waits for the server
        with suppress(OSError):
            connection.send(_NUMBER.pack(0))
        return 0
    asked = b""
    while len(asked) < _NUMBER.unpack(number)[0]:
        asked += connection.recv(1 << 16)
    child = os.fork()
    if child == 0:
        connection.close()
        for stream, given in enumerate(streams):
            os.dup2(given, stream)
            os.close(given)
        _become(**json.loads(asked))
    for stream in streams:
        os.close(stream)
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if select.select([connection], [], [], 0.01)[0]:  # who asked has ended
            os.kill(child, signal.SIGKILL)
    with suppress(OSError):  # nobody is there to hear it
        connection.send(_NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))
    return 0


def _become(words: list[str], folder: str, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    module, *sys.argv[1:] = words
    code: object = 1
    try:
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
    sys.exit(_run(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "run" else _serve(sys.argv[2]))
