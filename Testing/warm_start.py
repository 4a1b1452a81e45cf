"""The small program that a test starts in place of a process of the library, as a fork of one that has imported all.

It hands its streams to the fork, lives and dies with it, and ends with its exit code. Hundreds of tests start it: it
imports next to nothing.
"""

import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket  # without what Python adds to it
from array import array


def run(address: str, words: list[str]) -> int:
    """Have the server at an address fork for the streams of this process, and wait for the end of the fork."""
    asked = ascii((words, os.getcwd(), dict(os.environ))).encode()  # noqa: PTH109 (pathlib takes longer than the rest)
    connection = socket(AF_UNIX)
    connection.connect(address)
    streams = (SOL_SOCKET, SCM_RIGHTS, array("i", (0, 1, 2)))
    connection.sendmsg([len(asked).to_bytes(4, "little")], [streams])
    connection.sendall(asked)
    for stream in (0, 1, 2):
        os.close(stream)
    code = connection.recv(4)
    return int.from_bytes(code, "little", signed=True) if code else 1


if __name__ == "__main__":
    ended = run(sys.argv[1], sys.argv[2:])
    if ended < 0:  # by a signal, as whoever waits for this process is to see
        os.kill(os.getpid(), -ended)
    os._exit(ended)
