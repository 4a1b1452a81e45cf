"""3D Slicer module: interactive segmentation that adapts to the image in front of the user."""

import sys
import time
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_BEFORE_BOXES = 1.0  # of nodes, which forget what is chosen when the scene closes


class InteractiveSeg(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        super().__init__(parent)
        self.parent.title = _("InteractiveSeg")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Colors", "Markups", "Segmentations", "SegmentEditor"]
        self.parent.contributors = ["The InteractiveSeg developers"]
        self.parent.helpText = _(
            "Draw a box round an object and get a mask; scribble where it is wrong, and the network is fine-tuned to "
            "this image. Everything runs on this computer, in a process of its own, so Slicer never freezes.<br>"
            "1. Choose a volume and add an object. 2. Place a box with two clicks and set its first and last slice. "
            "3. Press Segment. 4. Scribble on object and background, press Fine-tune to this image. "
            "Or draw the object on a few slices, mark each as done, and press Propagate. "
            "Not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "The fine-tuning follows BIFSeg (Wang et al., IEEE Transactions on Medical Imaging 37(7), 2018). Its "
            "authors hold patents on the method (US 11379985 B2, EP 3639240 B1, &quot;System and computer-implemented "
            "method for segmenting an image&quot;, King's College London); the licence of this software, Apache 2.0, "
            "grants no rights in them."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data():
    """Register the image of the tutorial with the Sample Data module."""
    from InteractiveSegUI.scene.sample_image import register_sample

    register_sample()


class InteractiveSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Hosts the panel in Slicer and passes on the events of the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        super().setup()
        self.logic = InteractiveSegLogic()
        self.panel = self.logic.new_panel(self.layout)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.on_scene_closing, priority=_BEFORE_BOXES)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.on_scene_ready)
        if getattr(self.parent, "isEntered", False):  # Reload calls setup, but not enter, while the module is shown
            self.enter()

    def enter(self):
        policy = self.parent.sizePolicy  # Slicer sets one before that keeps the dock as wide as its longest text
        policy.setHorizontalPolicy(qt.QSizePolicy.Preferred)
        self.parent.setSizePolicy(policy)
        self.panel.enter()

    def exit(self):
        self.panel.leave()

    def cleanup(self):
        self.removeObservers()
        self.panel.close()

    def on_scene_closing(self, _caller, _event):
        self.panel.leave_scene()

    def on_scene_ready(self, _caller, _event):
        self.panel.bind(self.logic.parameters())


class InteractiveSegLogic(ScriptedLoadableModuleLogic):
    """Creates the panel and its parameters; InteractiveSegUI and InteractiveSegLib do the work."""

    def __init__(self):
        super().__init__()
        make_importable()

    def parameters(self):
        """The scene's parameters of this module."""
        from InteractiveSegUI.scene.parameters import parameters_of

        return parameters_of(self.getParameterNode())

    def new_panel(self, layout):
        """The panel, added to a layout."""
        from InteractiveSegUI.panel import Panel

        return Panel(layout, self.parameters())


def make_importable():
    """Make both packages importable from beside this file, in a source checkout and after Reload, too."""
    here = Path(__file__).resolve().parent
    folders = [here, here.parent] if (here.parent / "InteractiveSegLib").is_dir() else [here]
    loaded = sys.modules.get("InteractiveSegLib")
    for folder in folders:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    if loaded is not None and Path(loaded.__file__).resolve().parents[1] not in folders:
        for name in [name for name in sys.modules if name.split(".")[0] == "InteractiveSegLib"]:
            del sys.modules[name]


class InteractiveSegTest(ScriptedLoadableModuleTest):
    """Tests within Slicer, on the module's own panel; those that need packages run only if these are installed."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.widget = None
        if not slicer.app.commandOptions().noMainWindow:
            slicer.util.selectModule("InteractiveSeg")
            self.panel = slicer.modules.InteractiveSegWidget.panel
        else:  # no window
            self.widget = qt.QWidget()
            self.panel = InteractiveSegLogic().new_panel(qt.QVBoxLayout(self.widget))
            self.panel.enter()

    def tearDown(self):
        if self.widget is not None:
            self.panel.close()

    def runTest(self, msec=100, **kwargs):
        tests = (
            self.test_a_mask_is_written_undone_and_redone,
            self.test_the_self_test_passes,
            self.test_a_whole_session_by_mouse,
        )
        for test in tests:
            self.setUp()
            try:
                test()
            finally:
                self.tearDown()

    def test_a_whole_session_by_mouse(self):
        from InteractiveSegUI.acceptance import Acceptance

        if self.widget is not None or not self.panel.installer.can_compute():
            return
        print(Acceptance(self.panel).play())

    def test_a_mask_is_written_undone_and_redone(self):
        from InteractiveSegLib.segmenting.self_test import SelfTestCase
        from InteractiveSegUI.actions.session_nodes import KeptSegment, put_session
        from InteractiveSegUI.scene.history import StepKind
        from InteractiveSegUI.scene.workspace import mask_key

        case, controller = SelfTestCase.drawn(), self.panel.controller
        matrix = slicer.util.vtkMatrixFromArray(case.volume.geometry.ijk_to_ras)
        controller.parameters.volume = slicer.util.addVolumeFromArray(case.volume.array_kji.copy(), matrix)
        put_session(controller, [KeptSegment(1, "ball")], case.prompts, {})
        prompts, _notes = controller.workspace.prompts()
        assert dict(prompts.boxes) == dict(case.prompts.boxes)
        assert prompts.scribbles.equals(case.prompts.scribbles)
        mask = case.mask
        controller.change(StepKind.ROUND, "Segment", {mask_key(controller.parameters.segment): mask})
        assert all(found.equals(mask) for found in controller.workspace.masks().values())
        controller.undo()
        assert not any(controller.workspace.masks().values())
        controller.redo()
        assert all(found.equals(mask) for found in controller.workspace.masks().values())

    def test_the_self_test_passes(self):
        if not self.panel.installer.can_compute():
            self.delayDisplay("The packages are not installed, so the worker is not tested.")
            return
        testing, started = self.panel.self_testing, time.monotonic()
        testing.start()
        while testing.is_running and time.monotonic() - started < 300:
            slicer.app.processEvents()
        assert testing.passed, testing.text
