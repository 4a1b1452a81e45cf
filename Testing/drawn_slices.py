"""A person who draws an object on some slices and marks them as done, in the panel of the test bed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.slice_names import Place


def draw(person: Any, truth: NDArray[np.bool_], *places: Place) -> None:
    """What a person has painted with the Segment Editor on some slices of the segment that is worked on."""
    from InteractiveSegUI.scene.workspace import mask_key

    workspace = person.controller.workspace
    segment_id = person.parameters.segment
    before = workspace.masks()[segment_id]
    voxels = np.zeros(truth.shape, bool)
    if before is not None:
        voxels[before.box.slices] = before.mask_kji
    for axis, index in places:
        at = tuple(index if other == axis else slice(None) for other in range(3))
        voxels[at] = truth[at]
    workspace.restore({mask_key(segment_id): PackedMask.of(voxels) if voxels.any() else None})
    person.settle()


def look(person: Any, place: Place, view: str) -> None:
    """Scroll a view to a slice, with the mouse in it."""
    middle = [n // 2 for n in person.controller.workspace.geometry().shape_kji]
    middle[place[0]] = place[1]
    person.look_at(middle)
    person.views.enter(view)
    person.views.move(view, (200, 200))


def mark(person: Any, *places: Place) -> None:
    """Go to each slice and mark it as done."""
    for place in places:
        look(person, place, ("Red", "Green", "Yellow")[place[0]])
        person.press("markSliceButton")
        assert not person.status.is_error, person.status


def finished(person: Any, button: str) -> None:
    """Press a button, wait for the worker, and be content."""
    person.press(button)
    person.wait()
    assert not person.status.is_error, person.status
