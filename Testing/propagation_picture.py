"""The picture of a propagation for the README; a part of ``make pictures``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from drawn_slices import draw, finished, mark
from panel_session import PanelSession

from InteractiveSegLib.evaluation.prompted.demo import ventricles
from InteractiveSegLib.image.metrics import dice

PICTURE = "slicer_slices.png"
_EVERY = 8
_SAGITTAL_KJI, _BETWEEN_KJI = (92, 112, 84), (72, 112, 98)
_VIEW_PIXELS, _VIEW_MM = 440, 170.0
_COLOUR = (0.98, 0.6, 0.1)


def propagation_picture(folder: Path) -> None:
    """The ventricles of the ICBM152 template drawn on every eighth axial slice, seen from the side; the same after
    Propagate; and the confidence on a slice between.
    """
    from slicer_host.views import save_png

    volume, truth = ventricles()
    person = PanelSession()
    views = {name: person.views[name] for name in ("Red", "Green", "Yellow")}
    for view in views.values():
        view.render_window().SetSize(_VIEW_PIXELS, _VIEW_PIXELS)
        view.interactor().UpdateSize(_VIEW_PIXELS, _VIEW_PIXELS)
    person.choose(person.add_volume(np.array(volume.array_kji), volume.geometry.ijk_to_ras, "ICBM152 T1"))
    for view in views.values():
        view.get_view_node().SetFieldOfView(_VIEW_MM, _VIEW_MM, 1.0)
    person.add_segment()
    segment = person.controller.workspace.segmentation_node.GetSegmentation().GetSegment(person.parameters.segment)
    segment.SetColor(*_COLOUR)
    held = np.flatnonzero(truth.any(axis=(1, 2))).tolist()
    drawn = sorted({held[0] - 1, *held[::_EVERY], held[-1], held[-1] + 1})
    draw(person, truth, *((0, index) for index in drawn))
    mark(person, *((0, index) for index in drawn))

    def seen(view: str, kji: tuple[int, int, int]) -> np.ndarray:
        person.look_at(kji)
        person.views.picture(view)
        return person.views.picture(view)

    for view in views.values():
        view.set_render_blocked(False)
    before = seen("Yellow", _SAGITTAL_KJI)
    finished(person, "propagateButton")
    between = np.setdiff1d(held, drawn)
    mask = person.labelmap() == 1
    print(f"{len(drawn)} slices; Dice between them {dice(mask[between], truth[between]):.3f}; {person.status.text}")
    after = seen("Yellow", _SAGITTAL_KJI)
    person.show_overlay("confidence")
    save_png(folder / PICTURE, before, after, seen("Red", _BETWEEN_KJI))
    person.close()
