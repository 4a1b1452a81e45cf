"""What a scripted module must be: short, quick to import, thin, loading nothing heavy before it is needed."""

import ast
import subprocess
import sys

import pytest
import slicer_balls as balls
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


def test_slicer_lists_the_module(person):
    description = person.views.module.description.parent
    assert description.categories == ["Segmentation"]
    assert "King's College London" in description.acknowledgementText
    assert "Not for clinical use" in description.helpText


def enabled_keys(person):
    return {key for key, shortcut in person.panel.keys._shortcuts.items() if shortcut.enabled}


EVERY_KEY = {"P", "B", "L", "X", "E", "T", "Space", "Return", "Shift+Return", "Ctrl+Z", "Ctrl+Y"}


def test_keys_work_only_while_the_module_is_shown(person):
    assert enabled_keys(person) == EVERY_KEY
    person.widget.exit()
    assert not enabled_keys(person)
    person.widget.enter()
    assert enabled_keys(person) == EVERY_KEY


def test_keys_work_after_reload_which_calls_setup_but_not_enter(person):
    before = person.panel
    person.reload()
    assert person.panel is not before
    assert enabled_keys(person) == EVERY_KEY
    person.widget.exit()
    person.widget.parent.show_module(False)
    person.reload()
    assert not enabled_keys(person)


def test_a_person_who_types_does_not_press_the_module_s_keys(person):
    import slicer

    field, plain = person.ui("offlineText"), person.ui("segmentButton")
    slicer.app._signals.focusChanged.emit(plain, field)
    assert enabled_keys(person) == {"Ctrl+Z", "Ctrl+Y"}
    slicer.app._signals.focusChanged.emit(field, plain)
    assert enabled_keys(person) == EVERY_KEY


def test_keys_can_be_turned_off_and_stay_so(person):
    person.ui("keysBox").checked = False
    try:
        assert not enabled_keys(person)
        person.reload()
        assert not person.ui("keysBox").checked
        assert not enabled_keys(person)
    finally:
        person.ui("keysBox").checked = True
    assert enabled_keys(person) == EVERY_KEY


def test_esc_is_the_views_own_while_something_else_is_placed_in_them(person):
    import slicer

    balls.in_scene(person)
    person.add_segment()
    assert "Esc" not in enabled_keys(person)
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    person.settle()
    assert "Esc" not in enabled_keys(person)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    for tool in ("brush", "box", "erase"):
        person.press(f"{tool}Button")
        assert "Esc" in enabled_keys(person)
        person.panel.keys._shortcuts["Esc"].activated.emit()
        person.settle()
        assert person.panel.tools.current is None
        assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert "Esc" not in enabled_keys(person)


def test_no_single_key_destroys_anything(person):
    balls.in_scene(person)
    segment = person.add_segment()
    balls.box_round(person, 0)
    person.scribble("object", (10, 22, 22), (10, 26, 26))
    box, marks = person.controller.workspace.value(("box", segment)), person.controller.workspace.marks()
    for key in sorted(EVERY_KEY - {"Ctrl+Z", "Ctrl+Y", "Return", "Shift+Return"}):
        person.panel.keys._shortcuts[key].activated.emit()
        person.settle()
    assert person.controller.workspace.value(("box", segment)).equals(box)
    assert person.controller.workspace.marks().equals(marks)


def test_tool_tips_name_the_keys(person):
    tips = {"brushButton": "B", "boxButton": "X", "eraseButton": "E", "backgroundButton": "T", "segmentButton": "Enter"}
    for name, key in tips.items():
        assert person.tip(name).splitlines()[0].endswith(key), name


def test_every_widget_with_a_parameter_shows_it(person):
    person.parameters.smoothness = 7.5
    person.parameters.model = "pnet"
    assert person.ui("smoothnessBox").value == 7.5
    assert person.ui("modelBox").currentText == "P-Net, slice by slice"
    assert person.tip("modelBox") == "P-Net, slice by slice"
    person.ui("roundsBox").value = 3
    assert person.panel.segmenting.request(adapt=True).rounds == 3
    assert person.panel.segmenting.request(adapt=True).smoothness == 7.5
    assert person.panel.segmenting.request(adapt=True).sigma is None
    person.ui("deviceBox").currentText = "Processor"
    assert person.panel.segmenting.request(adapt=True).device == "cpu"


def test_a_folder_is_a_network_too(person, tmp_path):
    person.parameters.model = str(tmp_path / "mine")
    assert person.ui("modelBox").currentText == "Folder mine"
    person.ui("modelBox").currentIndex = 0
    assert person.parameters.model == "ensemble"
    person.ui("modelBox").currentText = "Folder mine"
    assert person.parameters.model == str(tmp_path / "mine")


def test_spin_boxes_keep_their_limits_and_their_special_text(person):
    for name in ("roundsBox", "smoothnessBox", "sigmaBox"):
        box = person.ui(name)
        assert (box.minimum, box.text) == (0, "as trained")
        box.value = -5
        assert box.value == 0


@pytest.mark.parametrize(("name", "value"), [("overlay", "residual map"), ("device", "tpu"), ("rounds", "many")])
def test_a_scene_with_settings_of_another_version_opens_with_the_defaults(person, name, value):
    """The nodes that were chosen stay chosen."""
    volume = balls.in_scene(person)
    person.panel.unbind()
    person.parameters.parameterNode.SetParameter(name, value)
    person.panel.bind(person.widget.logic.parameters())
    assert person.parameters.volume is volume
    assert person.parameters.overlay.value == "none"
    assert person.parameters.rounds == 0
    assert person.ui("deviceBox").currentText == "Graphics card, if there is one"


def test_the_module_s_own_test_runs(person):
    person.views.module.InteractiveSegTest().runTest()


def test_tool_tips_show_no_markup_although_slicer_makes_paragraphs_of_them(person):
    assert person.ui("segmentButton").toolTip.startswith("<p>")
    assert "<" not in person.tip("segmentButton")
    assert person.tip("segmentButton").splitlines()[-1] == "Choose a volume first."
    assert person.tip("objectButton").splitlines()[0].endswith("Key to switch to background: T")
