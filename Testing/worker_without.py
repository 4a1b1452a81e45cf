"""A worker that is a fork, and does not have a package which the process it was forked from has imported."""

import sys
from importlib import invalidate_caches

from InteractiveSegLib.cli import main as cli


def main() -> int:
    """``worker_without PACKAGE FOLDER WORDS...``: the package is looked for anew, first in a folder."""
    _, package, folder, *words = sys.argv
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
    sys.path.insert(0, folder)
    invalidate_caches()
    return cli(words)
