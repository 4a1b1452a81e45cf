"""Programs that the user has allowed to run: TorchScript models, identified by the hash of their content.

The permission is kept in a file of the user, not beside the model, where it could come with the model.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import is_zipfile

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.system.files import make_folder, replacing

_FILE = "trusted-models.txt"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class UntrustedModelError(InputError):
    """A model is a program, and nobody has allowed it to run.

    Parameters
    ----------
    path : of the model
    sha256 : of its content
    """

    def __init__(self, path: Path, sha256: str) -> None:
        super().__init__(
            f"the model {path} is a TorchScript program from elsewhere (SHA-256 {sha256}): if you trust whoever made "
            "it, say so once with --trust-model"
        )
        self.path, self.sha256 = path, sha256


Ask = Callable[[Path, str], bool]
"""``ask(path, sha256)``: whether this program may run."""


def refuse(path: Path, sha256: str) -> bool:
    """For code that cannot ask anybody."""
    return False


def trusting(path: Path, sha256: str) -> bool:
    """For code that was told to trust any model."""
    return True


def settings_folder() -> Path:
    """Folder of the user's settings: ``INTERACTIVESEG_CONFIG``, or the usual place on this operating system."""
    if chosen := os.environ.get("INTERACTIVESEG_CONFIG"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "InteractiveSeg"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "InteractiveSeg"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "interactiveseg"


def trust(sha256: str, name: str) -> None:
    """Remember that a program may run.

    Parameters
    ----------
    sha256 : of its content
    name : for whoever reads the file

    Raises
    ------
    InputError : not a SHA-256.
    OutputError : the file cannot be written.
    """
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise InputError(f"{sha256!r} is not the SHA-256 of a model: 64 digits from 0 to f")
    lines = _lines()
    if _is_among(sha256, lines):
        return
    folder = settings_folder()
    make_folder(folder)
    with replacing(folder / _FILE) as temporary:
        temporary.chmod(0o600)
        temporary.write_text("".join(f"{line}\n" for line in (*lines, f"{sha256}  {' '.join(name.split())}")), "utf-8")


def is_trusted(sha256: str) -> bool:
    """Whether the user has allowed it before."""
    return _is_among(sha256, _lines())


def read_trusted(path: Path, ask: Ask = refuse) -> tuple[bytes, str]:
    """The content of a model that may run, and its hash: exactly the content that was checked is run.

    ask : called for permission if it was not given before; the answer is remembered

    Raises
    ------
    InputError : the file cannot be read, is cut short or of another kind.
    UntrustedModelError : nobody has allowed it to run.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the model {path} cannot be read: {error.strerror or error}") from error
    if not is_zipfile(BytesIO(content)):
        raise InputError(f"the model {path} cannot be read as TorchScript: the file is cut short, or of another kind")
    sha256 = hashlib.sha256(content).hexdigest()
    if not is_trusted(sha256):
        if not ask(path, sha256):
            raise UntrustedModelError(path, sha256)
        trust(sha256, str(path.resolve()))
    return content, sha256


def _lines() -> list[str]:
    try:
        return (settings_folder() / _FILE).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _is_among(sha256: str, lines: list[str]) -> bool:
    return any(line.split(maxsplit=1)[:1] == [sha256] for line in lines)
