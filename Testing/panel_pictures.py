"""Pictures of the module for the README and the extensions index: ``make pictures``.

A person segments the lateral ventricles of the ICBM152 template in the test bed: the slice views are Slicer's own,
drawn off screen; the panel is the module's, with the test bed's widgets in place of Slicer's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from panel_session import REPOSITORY, PanelSession
from propagation_picture import propagation_picture

from InteractiveSegLib.evaluation.prompted.demo import ventricles
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.metrics import dice

VIEWS, PANEL = "slicer_views.png", "slicer_panel.png"
_LOOK_AT_KJI = (92, 112, 84)
_COLOUR = (0.98, 0.6, 0.1)
_STROKES = (  # mark, view, points kji
    ("object", "Red", ((92, 94, 77), (92, 118, 90), (92, 142, 90))),
    ("object", "Red", ((92, 94, 119), (92, 118, 106), (92, 142, 106))),
    ("object", "Yellow", ((88, 100, 84), (98, 120, 84), (90, 152, 84))),
    ("background", "Red", ((92, 90, 98), (92, 116, 98))),
    ("background", "Red", ((92, 98, 70), (92, 118, 80), (92, 140, 82))),
    ("background", "Red", ((92, 98, 126), (92, 118, 116), (92, 140, 114))),
    ("background", "Green", ((84, 112, 80), (86, 112, 98), (84, 112, 116))),
    ("background", "Green", ((86, 112, 98), (70, 112, 98))),
    ("background", "Yellow", ((86, 106, 84), (92, 124, 84), (91, 140, 84), (86, 150, 84))),
)
_NAMES = ("Red", "Green", "Yellow")
_VIEW_PIXELS, _VIEW_MM = 440, 190.0
PANEL_WIDTH = 380


def segment_ventricles(person: PanelSession) -> float:
    """Box by two clicks and its depth, strokes on object and background, a round with fine-tuning; returns the Dice."""
    volume, truth = ventricles()
    box = BoundingBox.of_mask(truth).expanded((2, 2, 2))
    views = [person.views[name] for name in _NAMES]
    for view in views:
        view.render_window().SetSize(_VIEW_PIXELS, _VIEW_PIXELS)
        view.interactor().UpdateSize(_VIEW_PIXELS, _VIEW_PIXELS)
    person.choose(person.add_volume(np.array(volume.array_kji), volume.geometry.ijk_to_ras, "ICBM152 T1"))
    for view in views:
        view.get_view_node().SetFieldOfView(_VIEW_MM, _VIEW_MM, 1.0)
    person.add_segment()
    segment = person.controller.workspace.segmentation_node.GetSegmentation().GetSegment(person.parameters.segment)
    segment.SetName("lateral ventricles")
    segment.SetColor(*_COLOUR)
    (k0, j0, i0), (k1, j1, i1) = box.start_kji, box.stop_kji
    k = _LOOK_AT_KJI[0]
    person.place_box((k, j0, i0), (k, j1 - 1, i1 - 1))
    person.ui("depthRange").setValues(k0, k1 - 1)
    person.press("segmentButton")
    person.wait()
    person.ui("brushSlider").value = 1.0
    for mark, view, points in _STROKES:
        person.scribble(mark, *points, view=view)
    person.press("fineTuneButton")
    person.wait()
    assert not person.status.is_error, person.status
    return dice(person.labelmap() == 1, truth)


def slice_views(person: PanelSession) -> list[NDArray[np.uint8]]:
    """Axial, coronal and sagittal view, (rows, columns, 3) RGB."""
    person.look_at(_LOOK_AT_KJI)
    return [person.views.picture(name) for name in _NAMES]


def panel(person: PanelSession, theme: str) -> NDArray[np.uint8]:
    """The panel as Qt draws it in the "light" or the "dark" theme, (rows, columns, 3) RGB."""
    from PySide6.QtGui import QImage
    from PySide6.QtWidgets import QApplication

    before = QApplication.palette()
    QApplication.setPalette(_palette(theme))
    widget = person.widget.parent
    widget.show()
    for _ in range(2):  # texts wrap at the width of the first time
        widget.resize(PANEL_WIDTH, max(widget.minimumSizeHint.height(), widget.layout().heightForWidth(PANEL_WIDTH)))
        person.settle()
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    QApplication.setPalette(before)
    return pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def _palette(theme: str) -> Any:
    """As Slicer's two styles have it."""
    from PySide6.QtGui import QColor, QPalette

    if theme == "light":
        return QPalette(QColor(239, 239, 239))
    palette, role = QPalette(QColor(50, 50, 50)), QPalette.ColorRole
    palette.setColor(role.Base, QColor(30, 30, 30))
    for each in (role.Text, role.WindowText, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, each, QColor(125, 125, 125))
    return palette


def save_all(folder: Path) -> None:
    """Write the pictures."""
    from slicer_host.views import save_png

    person = PanelSession()
    print(f"Dice {segment_ventricles(person):.3f}; {person.status.text}")
    person.ui("updateBox").checked = True  # as it comes
    save_png(folder / VIEWS, *slice_views(person))
    save_png(folder / PANEL, *[panel(person, theme) for theme in ("light", "dark")])
    person.close()


if __name__ == "__main__":
    save_all(REPOSITORY / "Resources")
    propagation_picture(REPOSITORY / "Resources")
