"""What a scripted module keeps to: short, quick to import, thin, nothing heavy before it is needed."""

import ast
import subprocess
import sys

import pytest
from imported_names import imported
from panel_session import MODULE_FILE, REPOSITORY

FOLDER = MODULE_FILE.parent
FILES = sorted(FOLDER.rglob("*.py"))
HEAVY = {"torch", "monai", "itk", "SimpleITK", "scipy", "matplotlib", "nilearn", "skimage", "safetensors"}
IN_SLICER = {"slicer", "qt", "ctk", "vtk", "numpy", "SampleData", "PyTorchUtils"}

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())

START = """
import sys, time
sys.path.insert(0, "Testing")
import panel_session
views = panel_session.bed()
sys.modules.pop("InteractiveSeg")
before = set(sys.modules)
started = time.perf_counter()
import InteractiveSeg
print(time.perf_counter() - started)
session = panel_session.PanelSession()
print(*sorted({name.split(".")[0] for name in set(sys.modules)}))
session.close()
"""


def test_the_module_file_is_short():
    assert len(MODULE_FILE.read_text("utf-8").splitlines()) <= 200


@every_file
def test_a_file_is_no_longer_than_one_can_read(path):
    assert len(path.read_text("utf-8").splitlines()) <= 350


@every_file
def test_nothing_heavy_is_imported_by_the_panel(path):
    names = {name for name, _ in imported(ast.parse(path.read_text("utf-8")))}
    assert not names & HEAVY
    others = names - IN_SLICER - {"InteractiveSegLib", "InteractiveSegUI"}
    assert others <= set(sys.stdlib_module_names)


def test_importing_the_module_is_quick_and_the_panel_needs_neither_torch_nor_monai_nor_itk(person):
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    seconds, modules = done.stdout.splitlines()[-2:]
    assert float(seconds) < 0.2
    assert not {"torch", "monai", "itk"} & set(modules.split())


def test_texts_are_translated(person):
    """No f-string within ``_()``: a translator sees the text as it is in the file."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}:{node.lineno}"


def test_slicer_is_told_of_the_module(person):
    description = person.views.module.description.parent
    assert description.categories == ["Segmentation"]
    assert "King's College London" in description.acknowledgementText
    assert "Not for clinical use" in description.helpText


def test_keys_work_only_while_the_module_is_shown(person):
    shortcuts = person.panel._shortcuts
    assert all(shortcut.enabled for shortcut in shortcuts)
    person.widget.exit()
    assert not any(shortcut.enabled for shortcut in shortcuts)
    person.widget.enter()
    keys = [shortcut.key.toString() for shortcut in shortcuts]
    assert len(set(keys)) == len(keys)
    next(s for s in shortcuts if s.key.toString() == "S").activated.emit()
    assert person.status.is_error


def test_every_widget_with_a_parameter_shows_it(person):
    person.parameters.smoothness = 7.5
    person.parameters.model = "pnet"
    assert person.ui("smoothnessBox").value == 7.5
    assert person.ui("modelBox").currentText == "pnet"
    person.ui("roundsBox").value = 3
    assert person.panel.segmenting.request(adapt=True).rounds == 3
    assert person.panel.segmenting.request(adapt=True).smoothness == 7.5
    assert person.panel.segmenting.request(adapt=True).sigma is None


def test_the_module_s_own_test_runs(person):
    person.views.module.InteractiveSegTest().runTest()
