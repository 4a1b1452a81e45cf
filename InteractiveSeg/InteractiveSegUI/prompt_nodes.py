"""What a person draws in the views, ROIs and scribbles, as plain prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from InteractiveSegLib.geometry import Geometry, kji_to_ras
from InteractiveSegLib.prompts import BACKGROUND, BoundingBox, Scribbles
from InteractiveSegLib.roi import roi_box
from InteractiveSegUI.segment_io import labelmap, shared_layer

_SEGMENT, _SEGMENTATION, _VOLUME = "InteractiveSeg.Segment", "InteractiveSeg.Segmentation", "InteractiveSeg.Volume"
DRAWN, EDITED = "drawn", "edited"
_BACKGROUND_COLOUR = (0.25, 0.6, 1.0)


def new_roi(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkMRMLMarkupsROINode:
    """An ROI for a segment, not placed yet: an outline in the segment's colour, so that the image stays visible."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", f"{segment.GetName()} box")
    node.SetAttribute(_SEGMENT, segment_id)
    node.SetNodeReferenceID(_SEGMENTATION, segmentation.GetID())
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetFillVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetSelectedColor(segment.GetColor())
    display.SetColor(segment.GetColor())
    return node


def roi_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkMRMLMarkupsROINode | None:
    """The ROI that belongs to a segment."""
    for node in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode"):
        if node.GetAttribute(_SEGMENT) == segment_id and node.GetNodeReference(_SEGMENTATION) is segmentation:
            return node
    return None


def is_placed(roi: slicer.vtkMRMLMarkupsROINode) -> bool:
    return min(roi.GetSize()) > 0 and roi.GetNumberOfDefinedControlPoints() > 0


def box_of(roi: slicer.vtkMRMLMarkupsROINode, geometry: Geometry) -> tuple[BoundingBox, str]:
    """The voxels of an ROI, wherever it is turned and moved to (``roi_box``), and a note on what was done to it."""
    matrix = slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    return roi_box(matrix[:3, 3], matrix[:3, :3] / lengths, np.array(roi.GetSize()) * lengths, geometry)


@dataclass(frozen=True, eq=False)
class Pose:
    """Where an ROI is.

    matrix : (4, 4), the ROI's own axes and centre in the coordinates of its node, mm
    size_mm : along these axes
    """

    matrix: NDArray[np.float64]
    size_mm: tuple[float, float, float]

    def equals(self, other: Pose) -> bool:
        return np.allclose(self.matrix, other.matrix) and np.allclose(self.size_mm, other.size_mm)


def pose_of(roi: slicer.vtkMRMLMarkupsROINode) -> Pose:
    return Pose(slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix()), roi.GetSize())


def put(roi: slicer.vtkMRMLMarkupsROINode, pose: Pose) -> None:
    with slicer.util.NodeModify(roi):
        roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(pose.matrix))
        roi.SetSize(*pose.size_mm)


def place_roi(roi: slicer.vtkMRMLMarkupsROINode, box: BoundingBox, geometry: Geometry) -> None:
    """Put an ROI round a box of voxels, along the axes of the volume."""
    put(roi, box_pose(roi, box, geometry))


def box_pose(roi: slicer.vtkMRMLMarkupsROINode, box: BoundingBox, geometry: Geometry) -> Pose:
    """Where an ROI lies round a box of voxels, along the axes of the volume."""
    axes = geometry.ijk_to_ras[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    matrix = np.eye(4)
    matrix[:3, :3] = _right_handed(axes / spacing)
    middle = (np.array(box.start_kji) + box.stop_kji - 1) / 2
    matrix[:3, 3] = kji_to_ras(middle[None], geometry)[0]
    to_world = vtk.vtkMatrix4x4()
    if roi.GetParentTransformNode() is not None:
        roi.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    matrix = np.linalg.solve(slicer.util.arrayFromVTKMatrix(to_world), matrix)
    return Pose(matrix, tuple((np.array(box.shape_kji[::-1]) * spacing).tolist()))


def scribbles_of(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation that holds the scribbles drawn on a volume for a segmentation; it follows the volume."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetNodeReference(_VOLUME) is volume and node.GetNodeReference(_SEGMENTATION) is segmentation:
            if node.GetTransformNodeID() != volume.GetTransformNodeID():
                node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
            return node
    return None


def new_scribbles(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation for scribbles; it is saved with the scene but not offered for choice."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{segmentation.GetName()} scribbles")
    node.SetHideFromEditors(True)
    node.SetNodeReferenceID(_VOLUME, volume.GetID())
    node.SetNodeReferenceID(_SEGMENTATION, segmentation.GetID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetOpacity2DFill(0.8)
    return node


def scribble_segment(
    node: slicer.vtkMRMLSegmentationNode, label: int, name: str, colour: tuple[float, ...], kind: str = DRAWN
) -> str:
    """Id of the segment of the marks of a label, in the colour of its object (blue for background).

    kind : ``DRAWN``, or ``EDITED``, which is not shown: the edit itself is
    """
    segment_id, segmentation = f"{kind}_{label}", node.GetSegmentation()
    if segmentation.GetSegment(segment_id) is None:
        segmentation.AddEmptySegment(segment_id, name)
        node.GetDisplayNode().SetSegmentVisibility(segment_id, kind == DRAWN)
    segment = segmentation.GetSegment(segment_id)
    segment.SetName(name)
    segment.SetColor(_BACKGROUND_COLOUR if label == BACKGROUND else colour)
    return segment_id


@dataclass(frozen=True, eq=False)
class Marks:
    """All hard marks of an image; a voxel has one at most.

    drawn : scribbles
    edited : what was painted or erased in a mask by hand
    """

    drawn: Scribbles
    edited: Scribbles

    @property
    def all(self) -> Scribbles:
        return self.drawn.merged(self.edited) if len(self.edited) else self.drawn

    def with_edits(self, edits: Scribbles) -> Marks:
        """Edits on top of what there is."""
        edited = self.edited.merged(edits)
        under = _flat(self.drawn.indices_kji)
        kept = ~np.isin(under, _flat(edits.indices_kji))
        return Marks(Scribbles(self.drawn.indices_kji[kept], self.drawn.labels[kept]), edited)

    def equals(self, other: Marks) -> bool:
        return self.drawn.equals(other.drawn) and self.edited.equals(other.edited)


def read_marks(node: slicer.vtkMRMLSegmentationNode | None, grid: Geometry) -> Marks:
    """The marks of a scribble segmentation; those outside the volume's grid, too."""
    found: dict[str, list[tuple[NDArray, NDArray]]] = {DRAWN: [], EDITED: []}
    ids = list(node.GetSegmentation().GetSegmentIDs()) if node is not None else []
    for box, voxels, owners in shared_layer(node, ids, grid):
        indices = _nonzero(voxels)
        values = voxels[tuple(indices.T)]
        for value, segment_id in owners.items():
            kind, label = segment_id.split("_")
            own = indices[values == value] + np.array(box.start_kji)
            found[kind].append((own, np.full(len(own), int(label))))
    return Marks(*(_joined(parts) for parts in found.values()))


def write_marks(node: slicer.vtkMRMLSegmentationNode, marks: Marks, grid: Geometry) -> None:
    """Replace all marks; segments for labels that have none yet are made."""
    logic, segmentation = slicer.vtkSlicerSegmentationsModuleLogic, node.GetSegmentation()
    for kind, scribbles in ((DRAWN, marks.drawn), (EDITED, marks.edited)):
        for label in np.unique(scribbles.labels).tolist():
            if segmentation.GetSegment(f"{kind}_{label}") is None:
                scribble_segment(node, label, f"{kind} {label}", _BACKGROUND_COLOUR, kind)
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


def _joined(parts: list[tuple[NDArray, NDArray]]) -> Scribbles:
    if not parts:
        return Scribbles.none()
    return Scribbles(np.concatenate([indices for indices, _ in parts]), np.concatenate([label for _, label in parts]))


def _flat(indices_kji: NDArray) -> NDArray[np.int64]:
    """One number a voxel of any image of up to 2 million voxels a side."""
    k, j, i = indices_kji.astype(np.int64).T
    return (k << 42) + (j << 21) + i


def _nonzero(voxels: NDArray) -> NDArray[np.int64]:
    """``argwhere`` that looks into the slices that hold anything only: scribbles fill few of them."""
    flags = voxels.view(bool) if voxels.itemsize == 1 else voxels != 0
    slices = np.flatnonzero(flags.reshape(len(flags), -1).any(axis=1))
    found = np.argwhere(flags[slices])
    found[:, 0] = slices[found[:, 0]]
    return found


def _right_handed(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same axes, one turned round where they are left-handed: the box stays the same."""
    return axes if np.linalg.det(axes) > 0 else axes * (1, 1, -1)
