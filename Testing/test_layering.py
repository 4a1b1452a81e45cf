"""The rules of the house that a test can hold: what may import what, what may print, how long a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from imported_names import imported

LIBRARY = Path(__file__).resolve().parents[1] / "InteractiveSegLib"
FILES = sorted(LIBRARY.rglob("*.py"))
OF_SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "vtkSegmentationCorePython", "PythonQt", "slicer_core"}
HEAVY = {"torch", "monai", "SimpleITK", "itk", "matplotlib", "nilearn", "skimage"}
BASELINES = "evaluation/baselines.py"
COMMAND_LINE = {
    "batch.py",
    "cli.py",
    "segment_command.py",
    "propagate_command.py",
    "casebook_command.py",
    "learn_command.py",
    "terminal.py",
    "evaluation/benchmark_command.py",
    "evaluation/stream_command.py",
}
LINES = 350
WITHOUT_HEAVY = [
    f"InteractiveSegLib{name}"
    for name in ("", ".cli", ".errors", ".drawing", ".journal", ".segment_result", ".worker.blocking", ".worker.server")
]

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(LIBRARY).as_posix())


def name_of(path):
    return path.relative_to(LIBRARY).as_posix()


def test_there_are_files_to_look_at():
    names = {name_of(path) for path in FILES}
    assert {"refine.py", "cli.py", "networks/pnet.py", "training/trainer.py"} <= names


@every_file
def test_the_library_knows_nothing_of_slicer(path):
    found = {(name, lazy) for name, lazy in imported(ast.parse(path.read_text("utf-8"))) if name in OF_SLICER}
    if name_of(path) == BASELINES:
        found = {(name, lazy) for name, lazy in found if not lazy}
    assert not found


@every_file
def test_the_library_neither_prints_nor_draws_bars(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert "tqdm" not in {name for name, _ in imported(tree)}
    if name_of(path) in COMMAND_LINE:
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    prints = [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    writes = [node.lineno for node in calls if ast.unparse(node.func).startswith(("sys.stdout", "sys.stderr"))]
    assert not prints + writes
    assert "rich" not in {name for name, _ in imported(tree)}


@every_file
def test_a_file_is_no_longer_than_one_can_read(path):
    assert len(path.read_text("utf-8").splitlines()) <= LINES


@every_file
def test_imports_name_the_package_in_full(path):
    assert "." not in {name for name, _ in imported(ast.parse(path.read_text("utf-8")))}


@pytest.mark.parametrize("module", WITHOUT_HEAVY)
def test_heavy_packages_wait_until_they_are_used(module):
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=LIBRARY.parent)
    assert done.stdout.split() == []


def test_the_command_line_shows_its_help_without_heavy_packages():
    code = (
        "import sys\nfrom InteractiveSegLib.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=LIBRARY.parent)
    assert done.stderr.strip() == "[]"
