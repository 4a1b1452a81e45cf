"""Puts saved segments, masks and prompts into the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.prompt_nodes import Marks
from InteractiveSegUI.scene.roi_nodes import place_roi
from InteractiveSegUI.scene.segment_io import set_label
from InteractiveSegUI.scene.workspace import MARKS, SLICES, mask_key, start_key


@dataclass(frozen=True)
class KeptSegment:
    """label : of its prompts. colour : None lets Slicer choose one."""

    label: int
    name: str
    colour: Sequence[float] | None = None


def put_session(
    controller: Controller,
    segments: Sequence[KeptSegment],
    prompts: Prompts,
    masks: Mapping[int, PackedMask],
    slices: MarkedSlices | None = None,
    review: Review | None = None,
) -> None:
    """Create a segmentation of the chosen volume from these segments, masks, boxes, scribbles and marked slices.

    review : of the masks; None if they count as a whole
    """
    workspace = controller.workspace
    segmentation, geometry = workspace.new_segmentation(), workspace.geometry()
    for kept in segments:
        colour = [] if kept.colour is None else [kept.colour]
        segment_id = segmentation.GetSegmentation().AddEmptySegment("", kept.name, *colour)
        set_label(segmentation, segment_id, kept.label)
        if kept.label in prompts.boxes:
            place_roi(workspace.required_roi(segment_id), prompts.boxes[kept.label], geometry)
        start = prompts.start_masks.get(kept.label)
        workspace.restore({mask_key(segment_id): masks.get(kept.label), start_key(segment_id): start})
        workspace.parameters.segment = segment_id
    if len(prompts.scribbles):
        workspace.restore({MARKS: Marks(prompts.scribbles, Scribbles.none(), prompts.lasso_boxes)})
    workspace.restore({SLICES: slices})
    workspace.review = review
    controller.watch()
