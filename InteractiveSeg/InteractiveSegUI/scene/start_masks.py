"""Masks that were there before anything was drawn on them: corrections of their segments start from these."""

from __future__ import annotations

from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegUI.scene.parameters import Parameters
from InteractiveSegUI.scene.prompt_nodes import Marks
from InteractiveSegUI.scene.segment_io import labels_of

_TAG = "InteractiveSeg.Started"


class StartMasks:
    """Those of all segmentations in the scene.

    A tag, which is saved with the segment, says that there was one. When the scene is loaded again, corrections start
    from the mask as it was saved.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._kept: dict[tuple[str, str], PackedMask] = {}

    def get(self, segment_id: str) -> PackedMask | None:
        """That of a segment of the chosen segmentation."""
        node = self._parameters.segmentation
        return self._kept.get((node.GetID(), segment_id)) if node is not None else None

    def put(self, segment_id: str, mask: PackedMask | None) -> None:
        """None for none."""
        node = self._parameters.segmentation
        segment, place = node.GetSegmentation().GetSegment(segment_id), (node.GetID(), segment_id)
        self._kept.pop(place, None)
        if mask is not None:
            self._kept[place] = mask
            segment.SetTag(_TAG, "1")
        elif segment is not None:
            segment.RemoveTag(_TAG)

    def clear(self) -> None:
        """Called when the scene closes: the ids of its nodes become invalid."""
        self._kept.clear()

    def take(
        self, segment_id: str, mask: PackedMask | None, box: object | None, marks: Marks | None
    ) -> PackedMask | None:
        """Decide what corrections of a segment start from; mask, box and marks were read from the scene."""
        node, start = self._parameters.segmentation, self.get(segment_id)
        is_marked = marks is not None and labels_of(node).get(segment_id) in marks.all.object_labels()
        was_started = start is None and node.GetSegmentation().GetSegment(segment_id).HasTag(_TAG)
        if was_started or (box is None and not is_marked):
            start = mask
        self.put(segment_id, start)
        return start

    def added_to(self, prompts: Prompts) -> Prompts:
        """Prompts with the masks that they correct."""
        for segment_id, label in labels_of(self._parameters.segmentation).items():
            start = self.get(segment_id)
            if start is not None and (label in prompts.labels or is_denied(start, label, prompts.scribbles)):
                prompts = prompts.with_start(label, start)
        return prompts


def is_denied(mask: PackedMask, label: int, marks: Scribbles) -> bool:
    """Whether marks of background or of another label lie in a mask."""
    return bool(mask.at(marks.indices_kji[marks.labels != label]).any())
