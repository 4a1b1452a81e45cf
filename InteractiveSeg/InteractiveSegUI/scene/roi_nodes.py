"""Boxes placed in the views: one ROI per segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.prompts.slicer_roi import roi_box

SEGMENTATION = "InteractiveSeg.Segmentation"
"""Role of the reference from a node of prompts to the segmentation that it belongs to."""
_SEGMENT, _DEPTH_AXIS = "InteractiveSeg.Segment", "InteractiveSeg.DepthAxis"


def new_roi(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkMRMLMarkupsROINode:
    """An ROI of a segment, not placed yet."""
    node = outlined_roi(segmentation, segment_id)
    node.SetAttribute(_SEGMENT, segment_id)
    node.SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
    return node


def outlined_roi(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkMRMLMarkupsROINode:
    """An ROI that looks like a segment's but belongs to none; only an outline, so that the image stays visible."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", _box_name(segment))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetFillVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    paint_roi(node, segment)
    return node


def rois_of(segmentation: slicer.vtkMRMLSegmentationNode) -> dict[str, slicer.vtkMRMLMarkupsROINode]:
    """Segment id -> its ROI."""
    return {
        node.GetAttribute(_SEGMENT): node
        for node in reversed(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode"))
        if node.GetAttribute(_SEGMENT) and node.GetNodeReference(SEGMENTATION) is segmentation
    }


def roi_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> slicer.vtkMRMLMarkupsROINode | None:
    """The ROI that belongs to a segment."""
    return rois_of(segmentation).get(segment_id)


def is_placed(roi: slicer.vtkMRMLMarkupsROINode) -> bool:
    """Whether both corners are set: after the first click an ROI has a size, but one corner follows the mouse."""
    previewed = roi.GetNumberOfDefinedControlPoints(True) - roi.GetNumberOfDefinedControlPoints()
    return bool(roi.GetControlPointPlacementComplete()) and not previewed and min(roi.GetSize()) > 0


def box_of(roi: slicer.vtkMRMLMarkupsROINode, geometry: Geometry) -> tuple[BoundingBox, str]:
    """The voxels of an ROI in any pose (``roi_box``), and a note on how it was converted."""
    matrix = slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    return roi_box(matrix[:3, 3], matrix[:3, :3] / lengths, np.array(roi.GetSize()) * lengths, geometry)


@dataclass(frozen=True, eq=False)
class Pose:
    """Position, orientation and size of an ROI.

    matrix : (4, 4), the ROI's own axes and centre in the coordinates of its node, mm
    size_mm : along these axes
    depth_axis : 0, 1 or 2 (k, j, i), across the slice in which it was drawn
    """

    matrix: NDArray[np.float64]
    size_mm: tuple[float, float, float]
    depth_axis: int = 0

    def equals(self, other: Pose) -> bool:
        return np.allclose(self.matrix, other.matrix) and np.allclose(self.size_mm, other.size_mm)


def pose_of(roi: slicer.vtkMRMLMarkupsROINode) -> Pose:
    matrix = slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix())
    return Pose(matrix, roi.GetSize(), int(roi.GetAttribute(_DEPTH_AXIS) or 0))


def put(roi: slicer.vtkMRMLMarkupsROINode, pose: Pose) -> None:
    with slicer.util.NodeModify(roi):
        roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(pose.matrix))
        roi.SetSize(*pose.size_mm)
        roi.SetAttribute(_DEPTH_AXIS, str(pose.depth_axis))


def place_roi(roi: slicer.vtkMRMLMarkupsROINode, box: BoundingBox, geometry: Geometry) -> None:
    """Put an ROI round a box of voxels, along the axes of the volume."""
    put(roi, box_pose(roi, box, geometry))


def box_pose(
    roi: slicer.vtkMRMLMarkupsROINode, box: BoundingBox, geometry: Geometry, depth_axis: int | None = None
) -> Pose:
    """The pose of an ROI round a box of voxels, along the axes of the volume.

    depth_axis : None keeps the ROI's own
    """
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
    size_mm = tuple((np.array(box.shape_kji[::-1]) * spacing).tolist())
    return Pose(matrix, size_mm, pose_of(roi).depth_axis if depth_axis is None else depth_axis)


def _box_name(segment: slicer.vtkSegment) -> str:
    return f"{segment.GetName()} box"


def paint_roi(roi: slicer.vtkMRMLMarkupsROINode, segment: slicer.vtkSegment) -> None:
    """Give an ROI the name and colour of its segment."""
    display, colour = roi.GetDisplayNode(), segment.GetColor()
    if roi.GetName() != _box_name(segment):
        roi.SetName(_box_name(segment))
    if display is not None and not np.allclose(display.GetSelectedColor(), colour, atol=1e-6):
        display.SetSelectedColor(colour)
        display.SetColor(colour)


def _right_handed(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same axes, one of them reversed if they are left-handed, which leaves the box unchanged."""
    return axes if np.linalg.det(axes) > 0 else axes * (1, 1, -1)
