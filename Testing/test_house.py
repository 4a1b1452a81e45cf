"""Rules that neither ruff nor the import contracts check: file lengths, and what loads PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LINES = 350
HEAVY = {"torch", "monai", "SimpleITK", "itk", "matplotlib", "nilearn", "skimage"}
WITHOUT_HEAVY = {
    "what the window imports": "InteractiveSegLib.prompts.drawing, InteractiveSegLib.records.journal, "
    "InteractiveSegLib.segmenting.segment_result, InteractiveSegLib.worker.blocking",
    "what begins a worker": "InteractiveSegLib.cli, InteractiveSegLib.worker.server",
}


def test_a_file_is_no_longer_than_one_can_read():
    files = [
        path for package in ("InteractiveSegLib", "InteractiveSeg") for path in (REPOSITORY / package).rglob("*.py")
    ]
    assert len(files) > 300
    assert {path.name: n for path in files if (n := len(path.read_text("utf-8").splitlines())) > LINES} == {}


@pytest.mark.parametrize("modules", WITHOUT_HEAVY.values(), ids=WITHOUT_HEAVY)
def test_heavy_packages_wait_until_they_are_used(modules):
    code = f"import sys, {modules}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split() == []


def test_the_command_line_shows_its_help_without_heavy_packages():
    code = (
        "import sys\nfrom InteractiveSegLib.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stderr.strip() == "[]"
