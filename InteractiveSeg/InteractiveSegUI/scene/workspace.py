"""The nodes that the user works on, read and written as plain values."""

from __future__ import annotations

from typing import Any

import slicer

from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.notes import Words
from InteractiveSegLib.notes.slice_names import InPatient
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegUI.scene.history import State
from InteractiveSegUI.scene.parameters import Parameters
from InteractiveSegUI.scene.prompt_nodes import (
    Marks,
    new_scribbles,
    read_marks,
    scribble_segment,
    scribbles_of,
    write_marks,
)
from InteractiveSegUI.scene.roi_nodes import box_of, is_placed, new_roi, pose_of, put, roi_of
from InteractiveSegUI.scene.segment_io import (
    grid_in,
    identity_of,
    label_of,
    labels_of,
    read_mask,
    require_grid,
    write_identity,
    write_mask,
)
from InteractiveSegUI.scene.slice_nodes import read_slices, write_slices
from InteractiveSegUI.scene.start_masks import StartMasks
from InteractiveSegUI.scene.volume_io import geometry_of, volume_of

MARKS = ("marks",)
SLICES = ("slices",)
REVIEW = ("review",)


def mask_key(segment_id: str) -> tuple[str, str]:
    return "mask", segment_id


def box_key(segment_id: str) -> tuple[str, str]:
    return "box", segment_id


def segment_key(segment_id: str) -> tuple[str, str]:
    return "segment", segment_id


def start_key(segment_id: str) -> tuple[str, str]:
    """Of the mask that corrections of a segment start from: the one it had before anything was drawn on it."""
    return "start", segment_id


class Workspace:
    """Volume, segmentation, boxes and scribbles of a parameter node."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._position = 0
        self._reviews: dict[str, Review] = {}
        self.starts = StartMasks(parameters)

    @property
    def volume_node(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The chosen volume. InputError if there is none."""
        if self.parameters.volume is None:
            raise InputError("choose a volume first")
        return self.parameters.volume

    @property
    def segmentation_node(self) -> slicer.vtkMRMLSegmentationNode:
        """The chosen segmentation. InputError if there is none."""
        if self.parameters.segmentation is None:
            raise InputError("choose a segmentation or create a new one first")
        return self.parameters.segmentation

    @property
    def segment_id(self) -> str:
        """The current segment. InputError if there is none."""
        segment_id = self.parameters.segment
        if self.segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
            raise InputError("add a segment first, or choose one in the list")
        return segment_id

    @property
    def review(self) -> Review | None:
        """The review of the masks of the chosen segmentation; None if they count as a whole, or if none is chosen."""
        node = self.parameters.segmentation
        return None if node is None else self._reviews.get(node.GetID())

    @review.setter
    def review(self, review: Review | None) -> None:
        self._reviews.pop(self.segmentation_node.GetID(), None)
        if review is not None:
            self._reviews[self.segmentation_node.GetID()] = review

    def forget_nodes(self) -> None:
        """Called when the scene closes: the ids of its nodes become invalid."""
        self._reviews.clear()
        self.starts.clear()

    def volume(self) -> Volume:
        """As ``volume_of``."""
        return volume_of(self.volume_node)

    def geometry(self) -> Geometry:
        """As ``geometry_of``."""
        return geometry_of(self.volume_node)

    def grid(self) -> Geometry:
        """As ``require_grid``."""
        return require_grid(self.segmentation_node, self.volume_node)

    def name_of(self, segment_id: str) -> str:
        segment = self.segmentation_node.GetSegmentation().GetSegment(segment_id)
        return segment.GetName() if segment is not None else segment_id

    def choose_shown_volume(self) -> None:
        """If no volume is chosen, choose the one in the background of the slice views, otherwise the first."""
        if self.parameters.volume is not None:
            return
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        shown = [slicer.mrmlScene.GetNodeByID(each.GetBackgroundVolumeID() or "") for each in composites]
        there = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        for node in (*shown, *there):
            plain = node is not None and node.GetClassName() == "vtkMRMLScalarVolumeNode"
            if plain and not node.GetHideFromEditors() and node.GetImageData() is not None:
                self.parameters.volume = node
                return

    def choose_segmentation_of_volume(self) -> None:
        """If the masks of the chosen segmentation are on another grid, choose a segmentation of the volume, or none."""
        volume, chosen = self.parameters.volume, self.parameters.segmentation
        if volume is None or (chosen is not None and _fits(chosen, volume)):
            return
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        own = [
            node
            for node in nodes
            if labels_of(node) and not node.GetHideFromEditors() and node.GetNodeReference(role) is volume
        ]
        self.parameters.segmentation = own[-1] if own else None

    def choose_existing_segment(self) -> None:
        """If the current segment was removed, choose the one that took its place in the list."""
        node = self.parameters.segmentation
        ids = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
        if self.parameters.segment in ids:
            self._position = ids.index(self.parameters.segment)
        elif self.parameters.segment or ids:
            self.parameters.segment = ids[min(self._position, len(ids) - 1)] if ids else ""

    def slice_names(self) -> InPatient:
        """Names of the volume's slices as in the slice views."""
        return InPatient(self.geometry())

    def words(self) -> Words:
        """Names for notes: of segments, and of slices as in the slice views."""
        labels = labels_of(self.segmentation_node)
        return Words({label: self.name_of(segment_id) for segment_id, label in labels.items()}, self.slice_names())

    def new_segmentation(self) -> slicer.vtkMRMLSegmentationNode:
        """Create and choose a segmentation on the volume's grid and under its transform."""
        volume = self.volume_node
        name = slicer.mrmlScene.GenerateUniqueName(f"{volume.GetName()} segmentation")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())  # first: the geometry is set in this frame
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.CreateDefaultDisplayNodes()
        self.parameters.segmentation = node
        return node

    def add_segment(self) -> str:
        """Add an empty segment and make it the current one."""
        if self.parameters.segmentation is None:
            self.new_segmentation()
        node = self.segmentation_node
        segment_id = node.GetSegmentation().AddEmptySegment()
        label_of(node, segment_id)
        self.parameters.segment = segment_id
        return segment_id

    def roi(self, segment_id: str) -> slicer.vtkMRMLMarkupsROINode | None:
        return roi_of(self.segmentation_node, segment_id)

    def required_roi(self, segment_id: str) -> slicer.vtkMRMLMarkupsROINode:
        """The segment's ROI, created if there is none."""
        return self.roi(segment_id) or new_roi(self.segmentation_node, segment_id)

    def box(self, segment_id: str) -> tuple[BoundingBox, str] | None:
        """The segment's box, which may extend outside the volume, and a note; None if it has no box."""
        roi = self.roi(segment_id)
        return box_of(roi, self.geometry()) if roi is not None and is_placed(roi) else None

    @property
    def scribbles_node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The scribbles drawn on this volume for this segmentation."""
        return scribbles_of(self.volume_node, self.segmentation_node)

    def required_scribbles(self) -> slicer.vtkMRMLSegmentationNode:
        """The node of the scribbles, created if there is none."""
        return self.scribbles_node or new_scribbles(self.volume_node, self.segmentation_node)

    def scribble_segment(self, background: bool = False) -> str:
        """Id, in the node of the scribbles, of the marks of the current segment or of background."""
        label = BACKGROUND if background else label_of(self.segmentation_node, self.segment_id)
        return scribble_segment(self.required_scribbles(), label)

    def marks(self) -> Marks:
        """All marks. InputError if they were drawn on another grid than the volume's."""
        node = self.scribbles_node
        return read_marks(node, require_grid(node, self.volume_node) if node is not None else self.geometry())

    def slices(self) -> MarkedSlices:
        """Slices marked as done. InputError as for ``read_slices``."""
        return read_slices(self.volume_node, self.segmentation_node, self.geometry())

    def prompts(self) -> tuple[Prompts, tuple[str, ...]]:
        """All prompts, and sentences on what was clipped or converted.

        Raises
        ------
        InputError : a box or a scribble lies outside the volume; as ``grid``.
        """
        node, shape = self.segmentation_node, self.geometry().shape_kji
        self.grid()
        boxes, notes = {}, []
        for segment_id in node.GetSegmentation().GetSegmentIDs():
            found = self.box(segment_id)
            if found is None:
                continue
            box, note = found
            name = self.name_of(segment_id)
            try:
                inside = box.intersected(shape)
            except InputError as error:
                raise InputError(f"the box of {name} lies outside the volume {self.volume_node.GetName()}") from error
            notes += [f"{name}: {note}"] if note else []
            notes += [f"the box of {name} reached outside the volume and was cut"] if inside != box else []
            boxes[label_of(node, segment_id)] = inside
        marks = self.marks()
        marks.all.require_inside(shape)
        return self.starts.added_to(Prompts(boxes, marks.all, lasso_boxes=marks.lasso_boxes)), tuple(notes)

    def masks(self) -> dict[str, PackedMask | None]:
        """Segment id -> mask of all segments."""
        node, grid = self.segmentation_node, self.grid()
        return {segment_id: read_mask(node, segment_id, grid) for segment_id in node.GetSegmentation().GetSegmentIDs()}

    def exists(self, segment_id: str) -> bool:
        node = self.parameters.segmentation
        return node is not None and node.GetSegmentation().GetSegment(segment_id) is not None

    def segment_of(self, label: int) -> str | None:
        found = labels_of(self.segmentation_node)
        return next((segment_id for segment_id, value in found.items() if value == label), None)

    def value(self, key: tuple[str, ...]) -> Any:
        """The scene's value for a key of the history."""
        if key == MARKS:
            return self.marks()
        if key == SLICES:
            return self.slices()
        if key == REVIEW:
            return self.review
        kind, segment_id = key
        if kind == "segment":
            return identity_of(self.segmentation_node, segment_id)
        if kind == "mask":
            return read_mask(self.segmentation_node, segment_id, self.grid())
        if kind == "start":
            return self.starts.get(segment_id)
        roi = self.roi(segment_id)
        if roi is None or not is_placed(roi):
            return None
        return pose_of(roi)

    def restore(self, state: State) -> None:
        """Put values of the history back into the scene; segments first, since the other values belong to them."""
        for key, value in sorted(state.items(), key=lambda item: item[0][0] != "segment"):
            if key == MARKS:
                node = self.required_scribbles()
                write_marks(node, value, grid_in(node, self.volume_node))
                continue
            if key == SLICES:
                if value is not None:  # slices that could not be read are not overwritten
                    write_slices(self.volume_node, self.segmentation_node, value)
                continue
            if key == REVIEW:
                self.review = value
                continue
            kind, segment_id = key
            if kind == "segment":
                write_identity(self.segmentation_node, segment_id, value)
            elif value is None and kind == "box":
                self.remove_roi(segment_id)
            elif self.segmentation_node.GetSegmentation().GetSegment(segment_id) is None:
                continue
            elif kind == "mask":
                write_mask(self.segmentation_node, segment_id, value, self.grid())
            elif kind == "start":
                self.starts.put(segment_id, value)
            else:
                put(self.required_roi(segment_id), value)

    def remove_roi(self, segment_id: str) -> None:
        roi = self.roi(segment_id)
        if roi is not None:
            slicer.mrmlScene.RemoveNode(roi)


def _fits(segmentation: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether all masks are on the volume's grid; empty masks always are."""
    try:
        require_grid(segmentation, volume)
    except InputError:
        return False
    return True


def same(one: Any, other: Any) -> bool:
    """Whether two values of the history are equal."""
    if one is None or other is None:
        return one is other
    return one is other or one.equals(other)
