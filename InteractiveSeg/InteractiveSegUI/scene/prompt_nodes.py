"""Scribbles drawn in the views, as plain marks."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import slicer
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegUI.scene.roi_nodes import SEGMENTATION, paint_roi, rois_of
from InteractiveSegUI.scene.segment_io import labelmap, labels_of, shared_layer

_VOLUME, _LASSOED = "InteractiveSeg.Volume", "InteractiveSeg.Lassoed"
DRAWN, EDITED = "drawn", "edited"
_BACKGROUND_COLOUR = (0.25, 0.6, 1.0)
_GREY, _VIVID = 0.15, 0.6  # saturation below which a colour has no hue; and above which it is vivid, if it is bright
_YELLOW = (1.0, 1.0, 0.0)


def scribbles_of(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation with the scribbles drawn on a volume for a segmentation; it follows the volume's transform."""
    for node in all_scribbles_of(segmentation):
        if were_drawn_on(node, volume):
            if node.GetTransformNodeID() != volume.GetTransformNodeID():
                node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
            return node
    return None


def were_drawn_on(node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    """Whether scribbles belong to a volume."""
    return node.GetNodeReference(_VOLUME) is volume


def is_of_scribbles(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segmentation contains the scribbles of any segmentation."""
    return node.GetNodeReferenceID(_VOLUME) is not None


def all_scribbles_of(segmentation: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkMRMLSegmentationNode]:
    """The scribbles drawn for a segmentation on any volume."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetNodeReference(SEGMENTATION) is segmentation]


def new_scribbles(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLSegmentationNode:
    """Create a segmentation for scribbles; it is saved with the scene but hidden from node selectors."""
    name = slicer.mrmlScene.GenerateUniqueName(f"{segmentation.GetName()} scribbles")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetHideFromEditors(True)
    node.SetNodeReferenceID(_VOLUME, volume.GetID())
    node.SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())  # first: the geometry is set in this frame
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    # Without the volume itself, whose voxels the Segment Editor would all read when the first brush is activated:
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), None)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetOpacity2DFill(0.7)
    display.SetOpacity2DOutline(1.0)
    display.SetSliceIntersectionThickness(2)
    return node


def scribble_segment(node: slicer.vtkMRMLSegmentationNode, label: int, kind: str = DRAWN) -> str:
    """Id of the segment for the marks of a label, created if there is none; ``look_alike`` describes its looks.

    kind : ``DRAWN``, or ``EDITED``, which is hidden since the edit itself is visible
    """
    segment_id, segmentation = f"{kind}_{label}", node.GetSegmentation()
    if segmentation.GetSegment(segment_id) is None:
        segmentation.AddEmptySegment(segment_id, segment_id)
        node.GetDisplayNode().SetSegmentVisibility(segment_id, kind == DRAWN)
    _look_of_marks(node, segment_id)
    return segment_id


def look_alike(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Give boxes and scribbles the names and colours of their segments."""
    for segment_id, roi in rois_of(segmentation).items():
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        if segment is not None:
            paint_roi(roi, segment)
    for node in all_scribbles_of(segmentation):
        for segment_id in node.GetSegmentation().GetSegmentIDs():
            _look_of_marks(node, segment_id)


def _look_of_marks(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
    """Blue for background, otherwise the object's hue in a colour that is visible on the object's mask."""
    label, segment = int(segment_id.split("_")[1]), node.GetSegmentation().GetSegment(segment_id)
    name, colour = "background", _BACKGROUND_COLOUR
    if label != BACKGROUND:
        owner = node.GetNodeReference(SEGMENTATION)
        own = next((each for each, value in labels_of(owner).items() if value == label), None) if owner else None
        if own is None:
            return
        of_object = owner.GetSegmentation().GetSegment(own)
        name, colour = of_object.GetName(), _contrasting(of_object.GetColor())
    if segment.GetName() != name:
        segment.SetName(name)
    if not np.allclose(segment.GetColor(), colour, atol=1e-6):
        segment.SetColor(*colour)


def _contrasting(colour: tuple[float, ...]) -> tuple[float, ...]:
    """The same hue at full brightness; much paler if it is vivid already; yellow if the colour has no hue."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    if saturation < _GREY:
        return _YELLOW
    vivid = np.array(colorsys.hsv_to_rgb(hue, 1.0, 1.0))
    if saturation > _VIVID and value > _VIVID:
        vivid = 0.4 * vivid + 0.6
    return tuple(vivid.tolist())


@dataclass(frozen=True, eq=False)
class Marks:
    """All hard marks of an image; a voxel has at most one.

    drawn : scribbles, points and the marks of lassos
    edited : voxels painted or erased in a mask by hand
    lasso_boxes : label -> bounding box of its lassos, as in ``Prompts``
    """

    drawn: Scribbles
    edited: Scribbles
    lasso_boxes: Mapping[int, BoundingBox] = field(default_factory=dict)

    @property
    def all(self) -> Scribbles:
        return self.drawn.merged(self.edited) if len(self.edited) else self.drawn

    def with_edits(self, edits: Scribbles) -> Marks:
        """These marks with edits on top."""
        return replace(self, drawn=_uncovered(self.drawn, edits), edited=self.edited.merged(edits))

    def with_drawn(self, later: Scribbles) -> Marks:
        """These marks with scribbles on top."""
        return replace(self, drawn=self.drawn.merged(later), edited=_uncovered(self.edited, later))

    def with_lasso(self, label: int, marks: Scribbles, extent: BoundingBox) -> Marks:
        """These marks with marks and extent of a lasso (``Lasso.marks``) on top."""
        lasso_boxes = {**self.lasso_boxes, label: extent.union(self.lasso_boxes.get(label, extent))}
        return replace(self.with_drawn(marks), lasso_boxes=lasso_boxes)

    def without(self, label: int) -> Marks:
        """These marks without those of one object."""
        lasso_boxes = {other: box for other, box in self.lasso_boxes.items() if other != label}
        return Marks(self.drawn.without(label), self.edited.without(label), lasso_boxes)

    def relabelled(self, later: Marks) -> int:
        """Number of voxels with another label in the later marks."""
        return self.all.merged(later.all).contradictions

    def equals(self, other: Marks) -> bool:
        same_marks = self.drawn.equals(other.drawn) and self.edited.equals(other.edited)
        return same_marks and dict(self.lasso_boxes) == dict(other.lasso_boxes)


def read_marks(node: slicer.vtkMRMLSegmentationNode | None, grid: Geometry) -> Marks:
    """The marks of a scribble segmentation, including those outside the volume's grid."""
    found: dict[str, list[tuple[NDArray, NDArray]]] = {DRAWN: [], EDITED: []}
    ids = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
    for box, voxels, owners in shared_layer(node, ids, grid):
        indices = _nonzero(voxels)
        values = voxels[tuple(indices.T)]
        for value, segment_id in owners.items():
            kind, label = segment_id.split("_")
            own = indices[values == value] + np.array(box.start_kji)
            found[kind].append((own, np.full(len(own), int(label))))
    drawn, edited = (_joined(parts) for parts in found.values())
    return Marks(drawn, edited, _read_lasso_boxes(node, drawn))


def write_marks(node: slicer.vtkMRMLSegmentationNode, marks: Marks, grid: Geometry) -> None:
    """Replace all marks; segments are created for labels that have none yet."""
    lasso_boxes = {label: (box.start_kji, box.stop_kji) for label, box in marks.lasso_boxes.items()}
    node.SetAttribute(_LASSOED, json.dumps(lasso_boxes) if lasso_boxes else None)
    logic, segmentation = slicer.vtkSlicerSegmentationsModuleLogic, node.GetSegmentation()
    for kind, scribbles in ((DRAWN, marks.drawn), (EDITED, marks.edited)):
        for label in np.unique(scribbles.labels).tolist():
            if segmentation.GetSegment(f"{kind}_{label}") is None:
                scribble_segment(node, label, kind)
    for segment_id in list(segmentation.GetSegmentIDs()):
        kind, label = segment_id.split("_")
        scribbles = marks.drawn if kind == DRAWN else marks.edited
        own = scribbles.indices_kji[scribbles.labels == int(label)]
        low = own.min(axis=0) if len(own) else np.zeros(3, int)
        high = own.max(axis=0) + 1 if len(own) else np.ones(3, int)
        box = BoundingBox(low.tolist(), high.tolist())
        voxels = np.zeros(box.shape_kji, np.uint8)
        voxels[tuple((own - low).T)] = 1
        logic.SetBinaryLabelmapToSegment(labelmap(voxels, box, grid), node, segment_id, logic.MODE_REPLACE)


def _read_lasso_boxes(node: slicer.vtkMRMLSegmentationNode | None, drawn: Scribbles) -> dict[int, BoundingBox]:
    """The lassos of objects that still have marks; erasing all marks of an object removes its lasso, too.

    InputError if the saved lassos cannot be read.
    """
    if node is None or not node.GetAttribute(_LASSOED):
        return {}
    try:
        kept = json.loads(node.GetAttribute(_LASSOED))
        boxes = {int(label): BoundingBox(start, stop) for label, (start, stop) in kept.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"the lassos in {node.GetName()} cannot be read: {error}") from error
    return {label: box for label, box in boxes.items() if label in drawn.object_labels()}


def _uncovered(marks: Scribbles, later: Scribbles) -> Scribbles:
    """The marks at voxels without later marks."""
    kept = ~np.isin(_flat(marks.indices_kji), _flat(later.indices_kji))
    return Scribbles(marks.indices_kji[kept], marks.labels[kept])


def _joined(parts: list[tuple[NDArray, NDArray]]) -> Scribbles:
    if not parts:
        return Scribbles.none()
    return Scribbles(np.concatenate([indices for indices, _ in parts]), np.concatenate([label for _, label in parts]))


def _flat(indices_kji: NDArray) -> NDArray[np.int64]:
    """One number per voxel, unique for images of up to 2 million voxels per side."""
    k, j, i = indices_kji.astype(np.int64).T
    return (k << 42) + (j << 21) + i


def _nonzero(voxels: NDArray) -> NDArray[np.int64]:
    """``argwhere`` that searches only slices that contain anything, since scribbles fill few of them."""
    flags = voxels.view(bool) if voxels.itemsize == 1 else voxels != 0
    slices = np.flatnonzero(flags.reshape(len(flags), -1).any(axis=1))
    found = np.argwhere(flags[slices])
    found[:, 0] = slices[found[:, 0]]
    return found
