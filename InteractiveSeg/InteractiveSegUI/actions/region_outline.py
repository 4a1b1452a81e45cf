"""The region searched for an object without a drawn box, as an optional faint outline."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from slicer.i18n import tr as _

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.history import Step, StepKind
from InteractiveSegUI.scene.parameters import Overlay
from InteractiveSegUI.scene.region_node import RegionNode
from InteractiveSegUI.scene.segment_io import labels_of
from InteractiveSegUI.scene.workspace import box_key, mask_key


class RegionOutline:
    """The region of the current segment, as long as its mask is the one found there.

    Each region is kept with the undo step of its mask, so that it disappears and returns with the mask.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._node = RegionNode()
        self._start = Step(StepKind.ROUND, "", {}, {})  # of rounds before anything was done
        self._found: WeakKeyDictionary[Step, Mapping[int, BoundingBox | None]] = WeakKeyDictionary()

    def keep(self, regions: Mapping[int, BoundingBox | None]) -> None:
        """Keep the regions of a round, whose masks are in the scene: label -> region, None if the prompts define it."""
        step = (self._start, *self._controller.history.done)[-1]
        self._found[step] = {**self._found.get(step, {}), **regions}
        self.update()

    def forget(self) -> None:
        """Reset when the volume or segmentation changes."""
        self._found.clear()
        self.update()

    def close(self) -> None:
        """Called when the scene closes. A singleton would survive it."""
        self._node.hide()

    def update(self) -> None:
        """Update the views from the parameters and the history."""
        parameters = self._controller.parameters
        region = self._region() if parameters.overlay is Overlay.REGION else None
        if region is None:
            self._node.hide()
            return
        segment = parameters.segmentation.GetSegmentation().GetSegment(parameters.segment)
        name = _("Search region of {name}").format(name=segment.GetName())
        self._node.show(region, parameters.volume, name, segment.GetColor())

    def _region(self) -> BoundingBox | None:
        """Region of the last step that changed the mask or came from a round; None if there is a drawn box."""
        controller, parameters = self._controller, self._controller.parameters
        if parameters.volume is None or parameters.segmentation is None:
            return None
        segment_id = parameters.segment
        label = labels_of(parameters.segmentation).get(segment_id)
        if label is None or controller.recorder.known(box_key(segment_id)) is not None:
            return None
        for step in reversed((self._start, *controller.history.done)):
            found = self._found.get(step, {})
            if label in found or mask_key(segment_id) in step.after:
                return found.get(label)
        return None
