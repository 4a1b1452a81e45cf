"""The box in which an object is searched for: the drawn one, or one derived from the other prompts."""

from __future__ import annotations

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.prompts.prompts import Prompts

MARGIN = 0.35  # of the extent of what was drawn, where no box was
_LEAST_MARGIN_VOXELS = 8


def object_roi(prompts: Prompts, label: int, geometry: Geometry) -> tuple[BoundingBox, str]:
    """Box of one object of the prompts, within the image.

    A drawn box is enlarged to contain the object's scribbles. Without one, the box contains scribbles, lassos and start
    mask, plus a margin: 0.35 of their largest extent in mm, at least 8 voxels of the finest axis.

    Returns
    -------
    box, note : the note says that a drawn box was enlarged; otherwise it is empty.
    """
    foreground, _ = prompts.scribbles.for_label(label)
    touched = []
    if len(foreground):
        low, high = foreground.min(axis=0), foreground.max(axis=0) + 1
        touched.append(BoundingBox(tuple(low.tolist()), tuple(high.tolist())))
    if label in prompts.boxes:
        drawn = prompts.boxes[label]
        grown = drawn.union(touched[0]) if touched else drawn
        note = Note("the box of ", Labelled(label), " was enlarged to contain its scribbles")
        return grown, "" if grown == drawn else note
    if label in prompts.lasso_boxes:
        touched.append(prompts.lasso_boxes[label])
    if label in prompts.start_masks:
        touched.append(prompts.start_masks[label].box)
    box, *others = touched
    for other in others:
        box = box.union(other)
    return geometry.surrounded(box, MARGIN, _LEAST_MARGIN_VOXELS), ""
