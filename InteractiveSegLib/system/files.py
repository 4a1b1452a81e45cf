"""Files are written completely or not at all, with unpredictable temporary names; remains of killed processes are
removed.

A temporary file lies beside its target and is locked by the process that writes it, so that others can tell whether
that process is alive. In a folder that only its owner can enter, new files are only for the owner.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from InteractiveSegLib.errors import OutputError

_PREFIX, _UNLOCKED = ".interactiveseg-", ".interactiveseg-new-"
_TEMPORARY = re.compile(r"\.interactiveseg-(new-)?[0-9a-f]{16}(\.[A-Za-z0-9]{1,8}){0,2}")
_SUFFIXES = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")
_FULL = {errno.ENOSPC: "the disk is full", getattr(errno, "EDQUOT", -1): "your quota of the disk is used up"}
_REASONS = {**_FULL, errno.ENAMETOOLONG: "its name is too long"}
_PROBE_BYTES = 1 << 20
_DAY_S = 86_400.0
_SWEEP_SHARE = 0.01  # maximum fraction of the time spent searching for remains of killed processes
_TRIES = 100

_next_sweep: dict[str, float] = {}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write, which replaces ``path`` when the block ends without an error.

    It has the suffixes of ``path``. A symbolic link is followed, and a replaced file keeps its mode.

    Raises
    ------
    OutputError : the folder or the file cannot be written, or the disk is full; an existing file is kept.
    """
    with _named_errors(path), temporary_beside(target := replaced_file(path)) as temporary:
        try:
            yield temporary
        except OSError as error:
            full = _fullness(temporary)
            if full is None:
                raise
            raise full from error
        _settle(temporary, target)


@contextmanager
def temporary_beside(path: Path, locked: bool = True) -> Iterator[Path]:
    """An empty file of a random name in the folder of ``path``, with its suffixes; gone at the end, unless renamed.

    locked : without it, for writers with locks of their own, remains of a killed process are removed after a day

    Raises
    ------
    OSError : the folder cannot be written.
    """
    _sweep(path.parent)
    private = _is_private(path.parent) or path.exists()  # the mode of an existing file is set at the end
    temporary, descriptor = _made(path, 0o600 if private else 0o666, locked)
    try:
        yield temporary
    finally:
        if descriptor is not None:
            os.close(descriptor)
        with suppress(OSError):  # it was renamed
            temporary.unlink()


def sweep_unlocked(path: Path) -> None:
    """Remove what killed processes left of ``temporary_beside(path, locked=False)``, for callers that keep writers out.

    Raises
    ------
    OSError : the folder cannot be written.
    """
    for left in path.parent.glob(f"{_UNLOCKED}*{path.suffix}"):
        if _TEMPORARY.fullmatch(left.name):
            left.unlink(missing_ok=True)


def replaced_file(path: Path) -> Path:
    """What ``replacing`` replaces: for a link, the file that it points to.

    Raises
    ------
    OutputError : the existing file cannot be replaced.
    """
    with _named_errors(path):
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        try:
            found = target.lstat()
        except FileNotFoundError:
            return target
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, "its links lead in a circle")
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is a folder" if target.is_dir() else "it is not a regular file")
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "it is write-protected")
        return target


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents. OutputError if that fails."""
    if path.is_dir():
        return
    with _named_errors(path):
        if not path.parent.is_dir():
            make_folder(path.parent)
        path.mkdir(0o700 if _is_private(path.parent) else 0o777, exist_ok=True)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system into OutputError with the path and the reason."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error


def _made(path: Path, mode: int, locked: bool) -> tuple[Path, int | None]:
    """A new file and the descriptor that holds its lock; None on Windows, where open files cannot be renamed."""
    found = _SUFFIXES.search(path.name)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    for _ in range(_TRIES):
        name = f"{_PREFIX if locked else _UNLOCKED}{secrets.token_hex(8)}{found.group() if found else ''}"
        temporary = path.with_name(name)
        descriptor = os.open(temporary, flags, mode)
        if os.name == "nt":
            os.close(descriptor)
            return temporary, None
        if not locked or (_lock(descriptor) is not False and _is_same(temporary, descriptor)):
            return temporary, descriptor
        os.close(descriptor)  # another process mistook it for one left by a killed process
    raise OSError(errno.EBUSY, "another process removes the files that this one writes")


def _settle(temporary: Path, target: Path) -> None:
    """Flush a file to the disk, and rename it to its final name."""
    if not stat.S_ISREG(temporary.lstat().st_mode):
        raise OSError(errno.EINVAL, f"{temporary} was replaced")
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode) & 0o777)
    temporary.replace(target)
    if os.name != "nt":
        with suppress(OSError):  # some file systems cannot sync a folder
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _fullness(temporary: Path) -> OSError | None:
    """The disk's error, which libraries report in their own words or not at all."""
    try:
        with temporary.open("ab", buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
            os.fsync(file.fileno())
    except OSError as error:
        return error if error.errno in _FULL else None
    return None


def _sweep(folder: Path) -> None:
    """Remove the temporary files of processes that were killed."""
    began = time.monotonic()
    if began < _next_sweep.get(os.path.abspath(folder), 0.0):  # noqa: PTH100 (links in it do not matter)
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_dead(Path(entry.path))
    ended = time.monotonic()
    _next_sweep[os.path.abspath(folder)] = ended + (ended - began) / _SWEEP_SHARE  # noqa: PTH100


def _remove_dead(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
        return
    if os.name == "nt" or path.name.startswith(_UNLOCKED):
        if time.time() - found.st_mtime > _DAY_S:
            path.unlink()
        return
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        locked = _lock(descriptor)
        if locked or (locked is None and time.time() - found.st_mtime > _DAY_S):
            path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Lock a file until its descriptor is closed; False if another process has it, None if there are no locks."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_private(folder: Path) -> bool:
    return os.name != "nt" and not stat.S_IMODE(folder.stat().st_mode) & 0o077
