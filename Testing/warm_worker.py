"""Workers for the panel's tests that start at once: forks of a process that has already imported everything.

What a fork does from there on is what ``interactiveseg worker`` does. The program that the panel starts is a small one,
which hands its streams to the fork, lives and dies with it, and ends with its exit code.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_HERE = Path(__file__).resolve()
_CODE = struct.Struct("<i")
_PATH_AT_START = os.environ.get("PYTHONPATH")
_CONFIG = "INTERACTIVESEG_CONFIG"


def warm_command(python: str | Path = sys.executable, command: str = "worker") -> list[str]:
    """In place of ``InteractiveSegLib.worker.transport.worker_command``, where processes can fork.

    A fork looks for packages where this process did at its start: where a test has changed that, the real command.
    """
    from InteractiveSegLib.worker.transport import worker_command

    if not hasattr(os, "fork") or command != "worker" or os.environ.get("PYTHONPATH") != _PATH_AT_START:
        return worker_command(python, command)
    return [str(python), "-S", "-E", str(_HERE), "run", _server()]


@cache
def _server() -> str:
    """Address of this process's server; it ends with this process."""
    folder = tempfile.TemporaryDirectory()
    address = str(Path(folder.name) / "worker")
    child = subprocess.Popen([sys.executable, str(_HERE), "serve", address], stdin=subprocess.PIPE)
    atexit.register(folder.cleanup)
    atexit.register(child.kill)
    return address


def _run(address: str) -> int:
    """Have the server fork for the streams of this process, and wait for the end of the fork."""
    with socket.socket(socket.AF_UNIX) as connection:
        while connection.connect_ex(address):  # until the server has imported all
            time.sleep(0.02)
        socket.send_fds(connection, [os.environ.get(_CONFIG, "").encode() or b"-"], [0, 1, 2])
        for stream in (0, 1, 2):
            os.close(stream)
        code = connection.recv(_CODE.size)
    ended = _CODE.unpack(code)[0] if code else 1
    if ended < 0:  # by a signal, as whoever waits for this process is to see
        os.kill(os.getpid(), -ended)
    return ended


def _serve(address: str) -> None:
    sys.path.insert(0, str(_HERE.parents[1]))
    from InteractiveSegLib.networks import checkpoint  # noqa: F401
    from InteractiveSegLib.propagate import proxy_mask  # noqa: F401
    from InteractiveSegLib.segmenting import image_segmenter  # noqa: F401
    from InteractiveSegLib.segmenting.adapt import load_optimizer
    from InteractiveSegLib.worker import server  # noqa: F401

    load_optimizer()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:  # one process a worker waits for its end, or for that of who asked for it
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(_fork(connection))
        connection.close()


def _fork(connection: socket.socket) -> int:
    config, streams, _, _ = socket.recv_fds(connection, 4096, 3)
    os.environ[_CONFIG] = config.decode()
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        from InteractiveSegLib.worker.server import serve

        serve()
        sys.stdout.flush()
        os._exit(0)
    for stream in streams:
        os.close(stream)
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if select.select([connection], [], [], 0.01)[0]:  # who asked has ended
            os.kill(child, signal.SIGKILL)
    with suppress(OSError):  # nobody is there to hear it
        connection.send(_CODE.pack(os.waitstatus_to_exitcode(ended[1])))
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[2]) if sys.argv[1] == "run" else _serve(sys.argv[2]))
