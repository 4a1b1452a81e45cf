"""Give this process the lowest priority, by the means of each operating system."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_NICENESS = 15
_AUTOGROUP = Path("/proc/self/autogroup")
_IDLE_PRIORITY = 0x40  # of Windows: IDLE_PRIORITY_CLASS
_DARWIN_PROCESS, _DARWIN_BACKGROUND = 4, 0x1000  # of macOS: PRIO_DARWIN_PROCESS, PRIO_DARWIN_BG


def give_way() -> None:
    """Lower the priority of this process and of what it starts; if a system refuses, it is unchanged."""
    with suppress(OSError):
        if sys.platform == "win32":
            import ctypes

            kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
            kernel.GetCurrentProcess.restype = ctypes.c_void_p  # a handle is wider than an int
            kernel.SetPriorityClass.argtypes = ctypes.c_void_p, ctypes.c_uint32
            kernel.SetPriorityClass(kernel.GetCurrentProcess(), _IDLE_PRIORITY)
        else:
            os.nice(_NICENESS)
    if sys.platform == "darwin":
        import ctypes

        ctypes.CDLL(None).setpriority(_DARWIN_PROCESS, 0, _DARWIN_BACKGROUND)
    elif sys.platform == "linux":
        _leave_autogroup()


def _leave_autogroup() -> None:
    """Have the scheduler also prefer other sessions of a desktop.

    If it groups processes by session, niceness only matters within a session, and the session has a niceness of its
    own. This process starts a new session and lowers the priority of that, so that the process that started it is not
    slowed down as well. A job of a terminal, which cannot start a session, keeps the niceness of its session.
    """
    with suppress(OSError):
        if _AUTOGROUP.exists():
            if os.getsid(0) != os.getpid():
                os.setsid()
            _AUTOGROUP.write_text(str(_NICENESS), "ascii")
