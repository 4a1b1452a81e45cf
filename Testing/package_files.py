"""The lists of files that the extension installs; ``python Testing/package_files.py`` writes them from the tree."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("InteractiveSeg", "InteractiveSegLib")
_OUTSIDE = {"CMakeLists.txt", "files.cmake"}


def listed(package: str) -> str:
    """What ``files.cmake`` of a package must be."""
    folder = REPOSITORY / package
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in _OUTSIDE
    )
    scripts = [name for name in files if name.endswith(".py")]
    resources = [name for name in files if not name.endswith(".py")]
    return _set("PACKAGE_SCRIPTS", scripts) + _set("PACKAGE_RESOURCES", resources)


def _set(name: str, files: list[str]) -> str:
    return f"set({name}\n" + "".join(f"  {file}\n" for file in files) + "  )\n"


if __name__ == "__main__":
    for package in PACKAGES:
        (REPOSITORY / package / "files.cmake").write_text(listed(package), "utf-8")
