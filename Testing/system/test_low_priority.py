"""A process at low priority yields to others, including other sessions of a desktop, and slows none down."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from InteractiveSegLib.system import low_priority

AUTOGROUP = Path("/proc/self/autogroup")
SAYS = (
    "import os; from InteractiveSegLib.system.low_priority import give_way; give_way(); "
    "print(os.nice(0), os.getsid(0) == os.getpid(), open('/proc/self/autogroup').read().split()[-1])"
)
linux_with_autogroup = pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system has no autogroup")


@linux_with_autogroup
@pytest.mark.parametrize("session_of_its_own", [False, True])
def test_on_linux_the_process_and_its_session_are_nice_and_the_parents_is_not(session_of_its_own):
    before, niceness = AUTOGROUP.read_text(), os.nice(0)
    done = subprocess.run(
        [sys.executable, "-c", SAYS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(low_priority.__file__).resolve().parents[2],
        start_new_session=session_of_its_own,
    )
    assert done.stdout.split() == [str(min(19, niceness + 15)), "True", "15"]
    assert AUTOGROUP.read_text() == before


def test_on_windows_the_process_is_idle(monkeypatch):
    calls = []
    kernel = SimpleNamespace(GetCurrentProcess=Recorder([], "process"), SetPriorityClass=Recorder(calls))
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(low_priority.sys, "platform", "win32")
    low_priority.give_way()
    assert calls == [("process", 0x40)]


def test_on_macos_the_process_is_in_the_background(monkeypatch):
    calls = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(setpriority=Recorder(calls)))
    monkeypatch.setattr(low_priority.sys, "platform", "darwin")
    monkeypatch.setattr(low_priority.os, "nice", lambda by: calls.append(("nice", by)))
    low_priority.give_way()
    assert calls == [("nice", 15), (4, 0, 0x1000)]


class Recorder:
    """A function of a C library that keeps with what it was called."""

    def __init__(self, calls, result=1):
        self._calls, self._result = calls, result

    def __call__(self, *arguments):
        self._calls.append(arguments)
        return self._result


@pytest.mark.parametrize("error", [PermissionError, OSError, FileNotFoundError])
def test_a_system_that_refuses_changes_nothing_and_raises_nothing(monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(low_priority.sys, "platform", "linux")
    for name in ("nice", "setsid"):
        monkeypatch.setattr(low_priority.os, name, refuse, raising=False)
    monkeypatch.setattr(low_priority.os, "getsid", lambda _: -1, raising=False)
    low_priority.give_way()
