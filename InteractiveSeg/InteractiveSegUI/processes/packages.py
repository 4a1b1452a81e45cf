"""The Python packages that the worker needs: which are missing, how large they are, and how to install them on a
computer without network access."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

REQUIREMENTS = Path(__file__).parents[2] / "Resources" / "requirements.txt"
_KEPT = ("numpy", "scipy", "SimpleITK", "torch")
_DOWNLOAD = {
    "torch": "200 MB, with an NVIDIA GPU up to 3 GB",
    "monai": "2 MB",
    "safetensors": "1 MB",
    "rich": "2 MB",
    "itk-elastix": "300 MB, to propagate slices",
}
"""Wheels for Python 3.12 on Linux with their dependencies, except those that Slicer includes."""
_FOR_ONE_FEATURE = ("itk-elastix",)


@dataclass(frozen=True)
class Package:
    """A line of the requirements.

    name : on the Python Package Index
    least : minimum version
    """

    name: str
    least: str

    @property
    def requirement(self) -> str:
        return f"{self.name}>={self.least}"

    @property
    def installed(self) -> str:
        """The installed version, found without importing the package; empty if it is not installed."""
        try:
            return importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return ""

    @property
    def is_missing(self) -> bool:
        installed = self.installed
        return not installed or _numbers(installed) < _numbers(self.least)

    @property
    def is_essential(self) -> bool:
        """Whether every computation needs it."""
        return self.name not in _FOR_ONE_FEATURE

    @property
    def described(self) -> str:
        """Its name and, if known, the size of the download."""
        return f"{self.name} ({_DOWNLOAD[self.name]})" if self.name in _DOWNLOAD else self.name


def required_packages(requirements: Path = REQUIREMENTS) -> list[Package]:
    """The packages of a requirements file, whose lines read ``name>=version``."""
    lines = [line.strip() for line in requirements.read_text("utf-8").splitlines()]
    return [Package(*line.split(">=")) for line in lines if line and not line.startswith("#")]


def missing_packages(requirements: Path = REQUIREMENTS) -> list[Package]:
    """Packages that are not installed or too old."""
    importlib.invalidate_caches()
    return [package for package in required_packages(requirements) if package.is_missing]


def kept_versions() -> str:
    """Constraints that keep pip from changing packages of Slicer and of the PyTorch extension."""
    installed = {name: Package(name, "0").installed for name in _KEPT}
    return "".join(f"{name}=={version}\n" for name, version in installed.items() if version)


def offline_page(requirements: Path = REQUIREMENTS) -> str:
    """Instructions and commands for a computer without network access."""
    names = " ".join(f'"{package.requirement}"' for package in required_packages(requirements))
    python = shutil.which("PythonSlicer") or "PythonSlicer"
    return _(
        "1. On a computer with internet access, the same operating system ({system}) and Python {version}, or the same "
        "3D Slicer (then use PythonSlicer instead of python), run:\n\n"
        "python -m pip download --only-binary=:all: --dest interactiveseg-packages {names}\n\n"
        "2. Copy the folder interactiveseg-packages to this computer, open a terminal in the folder that contains "
        "it, and run:\n\n"
        '"{python}" -m pip install --no-index --find-links interactiveseg-packages {names}\n\n'
        "3. Press Check again. The PyTorch extension is then not needed."
    ).format(
        system=f"{platform.system()} {platform.machine()}",
        version=".".join(platform.python_version_tuple()[:2]),
        names=names,
        python=python,
    )


def _numbers(version: str) -> list[int]:
    """Numbers of the release, without what follows a plus sign or a letter."""
    return [int(number) for number in re.match(r"[\d.]*", version).group().split(".") if number]
