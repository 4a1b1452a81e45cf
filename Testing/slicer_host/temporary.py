"""Folders that are deleted when the process ends."""

import atexit
import shutil
import tempfile
from pathlib import Path


def temporary_folder(prefix: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
