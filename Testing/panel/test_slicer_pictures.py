"""What a person sees: no text is cut off or hard to read in either theme, and the views show what was drawn."""

import numpy as np
import pytest
import slicer_balls as balls
from panel_pictures import PANEL_WIDTH, panel


def luminance(pixels):
    """Relative luminance of sRGB pixels, as WCAG 2 defines it."""
    values = pixels / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.fixture
def opened(person):
    """The panel with a segment, a box and every section open."""
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    for section in person.panel.sections:
        for name in vars(section.ui):
            if getattr(section.ui, name).className() == "ctkCollapsibleButton":
                getattr(section.ui, name).collapsed = False
    person.controller.say("Place a box first.", is_error=True)
    return person


def with_text(person):
    """Buttons and labels that show text."""
    from PySide6.QtWidgets import QAbstractButton, QLabel

    found = [w for kind in (QAbstractButton, QLabel) for w in person.widget.parent._qt.findChildren(kind)]
    return [widget for widget in found if widget.isVisible() and widget.text()]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_is_whole_and_can_be_read(opened, theme):
    from PySide6.QtCore import QPoint

    picture = panel(opened, theme)
    assert picture.shape[1] == PANEL_WIDTH
    widgets = with_text(opened)
    assert len(widgets) > 30
    for widget in widgets:
        wraps = hasattr(widget, "wordWrap") and widget.wordWrap()
        height = widget.heightForWidth(widget.width()) if wraps else widget.fontMetrics().height()
        assert wraps or widget.width() >= widget.minimumSizeHint().width(), f"{widget.text()!r} is cut"
        assert widget.height() >= height, f"{widget.text()!r} is cut below"
        corner = widget.mapTo(opened.widget.parent._qt, QPoint(0, 0))
        part = picture[corner.y() : corner.y() + widget.height(), corner.x() : corner.x() + widget.width()]
        shades = luminance(part)
        contrast = (shades.max() + 0.05) / (shades.min() + 0.05)
        assert not widget.isEnabled() or contrast >= 4.5, f"{widget.text()!r} has a contrast of {contrast:.1f}"


def test_the_open_panel_fits_a_dock_of_350_pixels_whatever_names_are_long(opened):
    long = "a_case_of_a_study_with_a_name_that_goes_on_and_on_without_any_blank"
    for label in ("recoveryLabel", "casebookLabel", "caseLabel", "learnerLabel", "versionLabel", "statusLabel"):
        opened.ui(label).text = f"{long} and what is said of it"
    opened.settle()
    assert opened.widget.parent._qt.dock_width() <= 350


def test_the_views_show_box_scribbles_and_mask(person):
    """Each adds pixels of its own colour to the picture of the slice."""
    balls.in_scene(person)
    person.add_segment()
    segment = person.controller.workspace.segmentation_node.GetSegmentation().GetSegment(person.parameters.segment)
    segment.SetColor(1.0, 0.5, 0.0)
    person.look_at(balls.BALLS[0][0])

    def coloured():
        red, _, blue = person.views.picture("Red").astype(int).transpose(2, 0, 1)
        return np.count_nonzero(red - blue > 60), np.count_nonzero(blue - red > 60)

    plain = coloured()
    balls.box_round(person, 0)
    with_box = coloured()
    assert with_box[0] > plain[0] + 200
    person.scribble("background", (10, 12, 12), (10, 12, 36))
    with_scribble = coloured()
    assert with_scribble[1] > with_box[1] + 50
    person.press("segmentButton")
    person.wait()
    person.look_at(balls.BALLS[0][0])
    assert coloured()[0] > with_scribble[0] + 1000
