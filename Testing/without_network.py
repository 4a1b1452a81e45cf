"""Brings up the loopback of an otherwise empty network namespace and runs a command there: ``make test-offline``.

Processes that train together speak to each other by the loopback.
"""

import fcntl
import os
import socket
import struct
import sys

_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x1 | 0x40  # of netdevice(7)

with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14s", b"lo", _UP_AND_RUNNING, b""))
os.execv(sys.argv[1], sys.argv[1:])
