"""Python processes that import nothing from the folder in which they are started.

A file called ``json.py`` among somebody's images would otherwise be run: Python searches the working folder for modules
first, with ``-m``, with ``-c`` and in the processes of ``multiprocessing``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGES = Path(__file__).resolve().parents[2]
_RUN = (  # nothing is imported before the working folder is off the path; from Python 3.11 on "-P" does the same
    "import sys; sys.path[:1] = [sys.argv.pop(1), *filter(None, sys.path[:1])]; "
    "from importlib import import_module; sys.exit(import_module(sys.argv.pop(1)).main())"
)
_SAFE_PATH = "PYTHONSAFEPATH"  # known from Python 3.11 on


def library_command(module: str, *words: str, python: str | Path = sys.executable) -> list[str]:
    """Arguments that run the ``main()`` of a module of this copy of the library.

    Parameters
    ----------
    module : full name
    words : its arguments
    python : the interpreter; in 3D Slicer, where ``sys.executable`` is the application itself, that of
        ``shutil.which("PythonSlicer")``
    """
    return [str(python), "-c", _RUN, str(_PACKAGES), module, *words]


def library_environment(**more: str) -> dict[str, str]:
    """Environment of such a process: that of this one, with changes. ``PYTHONPATH`` keeps only absolute entries."""
    environment = {**os.environ, **more, _SAFE_PATH: "1"}
    entries = environment.pop("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(entry for entry in entries if Path(entry).is_absolute())
    return {**environment, "PYTHONPATH": absolute} if absolute else environment


@contextmanager
def spawning_safely() -> Iterator[None]:
    """For the time in which ``multiprocessing`` starts processes. Before Python 3.11 they start in the folder of the
    library.
    """
    folder, before = Path.cwd(), os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    if sys.version_info < (3, 11):
        os.chdir(_PACKAGES)
    try:
        yield
    finally:
        if sys.version_info < (3, 11):
            os.chdir(folder)
        if before is None:
            del os.environ[_SAFE_PATH]
