"""Segments of the scene as labels and packed masks. Only a mask's bounding box is read and written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, ras_to_kji
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegUI.scene.volume_io import geometry_of, node_to_world

_LABEL_TAG = "InteractiveSeg.Label"
_OFF_GRID_VOXELS = 1e-3
_BINARY = "Binary labelmap"


@dataclass(frozen=True, eq=False)
class SegmentIdentity:
    """Name, colour and tags of a segment, from which a removed segment is restored.

    kept : a copy without representations; it is not changed
    before : id of the segment that followed it in the list, empty if it was the last
    """

    kept: slicer.vtkSegment
    before: str

    @property
    def name(self) -> str:
        return self.kept.GetName()

    @property
    def label(self) -> int | None:
        """Its label in the prompts; None if it has none yet."""
        value = vtk.reference("")
        return int(value.get()) if self.kept.GetTag(_LABEL_TAG, value) else None

    def equals(self, _other: SegmentIdentity) -> bool:
        """Always True: only adding and removing a segment can be undone; the Segment Editor handles name and colour."""
        return True


def identity_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> SegmentIdentity | None:
    """Identity of a segment; None if there is no such segment."""
    segmentation = node.GetSegmentation()
    segment = segmentation.GetSegment(segment_id)
    if segment is None:
        return None
    kept = slicer.vtkSegment()
    kept.DeepCopyMetadata(segment)
    position = segmentation.GetSegmentIndex(segment_id)
    return SegmentIdentity(kept, segmentation.GetNthSegmentID(position + 1) or "")


def write_identity(node: slicer.vtkMRMLSegmentationNode, segment_id: str, identity: SegmentIdentity | None) -> None:
    """Add the segment, empty, if it is missing; remove it if the identity is None."""
    segmentation = node.GetSegmentation()
    exists = segmentation.GetSegment(segment_id) is not None
    if identity is None and exists:
        segmentation.RemoveSegment(segment_id)
    elif identity is not None and not exists:
        segment = slicer.vtkSegment()
        segment.DeepCopyMetadata(identity.kept)
        segmentation.AddSegment(segment, segment_id, identity.before)


def label_of(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> int:
    """The object label, 1 to 254, of a segment in the prompts; assigned once and saved with the segment.

    Raises
    ------
    InputError : the segmentation has more segments than there are labels.
    """
    labels = labels_of(node)
    if segment_id not in labels:
        free = next((label for label in range(1, BACKGROUND) if label not in labels.values()), None)
        if free is None:
            raise InputError(f"{node.GetName()} has more than {BACKGROUND - 1} segments")
        set_label(node, segment_id, free)
        return free
    return labels[segment_id]


def set_label(node: slicer.vtkMRMLSegmentationNode, segment_id: str, label: int) -> None:
    """Give a segment its object label."""
    node.GetSegmentation().GetSegment(segment_id).SetTag(_LABEL_TAG, str(label))


def labels_of(node: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Segment id -> label of the segments that have one."""
    labels: dict[str, int] = {}
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        value = vtk.reference("")
        segment = node.GetSegmentation().GetSegment(segment_id)
        if segment.GetTag(_LABEL_TAG, value) and int(value.get()) not in labels.values():
            labels[segment_id] = int(value.get())
    return labels


def grid_in(node: slicer.vtkMRMLTransformableNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """The volume's grid in the coordinates of another node, which may be under a transform of its own.

    Raises
    ------
    InputError : either transform is not linear.
    """
    world = geometry_of(volume_node)
    return Geometry(world.shape_kji, np.linalg.solve(node_to_world(node), world.ijk_to_ras))


def require_grid(node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """The volume's grid in the segmentation's coordinates, on which all its masks lie.

    Raises
    ------
    InputError : the segmentation contains only surfaces, or masks on another grid: that of another volume, or one
        moved relative to this volume by a transform.
    """
    grid, segmentation = grid_in(node, volume_node), node.GetSegmentation()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != _BINARY:
        raise InputError(
            f"the segmentation {node.GetName()} consists of surfaces: convert it to binary labelmaps (module "
            "Segmentations, Representations), or choose another segmentation"
        )
    for segment_id in segmentation.GetSegmentIDs():
        _require_on(grid, node, segment_id, volume_node)
    return grid


def read_mask(node: slicer.vtkMRMLSegmentationNode, segment_id: str, grid: Geometry) -> PackedMask | None:
    """The voxels of a segment, None if it is empty.

    grid : the volume's grid in the segmentation's coordinates, of ``require_grid``
    """
    image, value = _layer(node, segment_id)
    if image is None:
        return None
    box = _box_of(image, grid)
    part = voxels_of(image) == value
    inside = box.intersected(grid.shape_kji)
    part = part[inside.counted_from(box).slices]
    return PackedMask.of_part(part, inside) if part.any() else None


def write_mask(node: slicer.vtkMRMLSegmentationNode, segment_id: str, mask: PackedMask | None, grid: Geometry) -> None:
    """Replace the voxels of a segment, with a single event; other segments are not changed."""
    box = mask.box if mask is not None else BoundingBox((0, 0, 0), (1, 1, 1))
    voxels = mask.mask_kji if mask is not None else np.zeros((1, 1, 1), bool)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(labelmap(voxels, box, grid), node, segment_id, logic.MODE_REPLACE):
        raise InputError(f"the segment {segment_id} of {node.GetName()} cannot be written")


def labelmap(voxels_kji: NDArray, box: BoundingBox, grid: Geometry) -> slicer.vtkOrientedImageData:
    """Voxels of a box as Slicer's own image, with its extent in the volume's grid, so that nothing is resampled."""
    image, matrix = slicer.vtkOrientedImageData(), slicer.util.vtkMatrixFromArray(grid.ijk_to_ras)
    (k0, j0, i0), (k1, j1, i1) = box.start_kji, box.stop_kji
    image.SetExtent(i0, i1 - 1, j0, j1 - 1, k0, k1 - 1)
    image.SetImageToWorldMatrix(matrix)
    voxels = np.ascontiguousarray(voxels_kji, np.uint8)
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    return image


def labelmap_time(segmentation: slicer.vtkSegmentation, segment_id: str) -> tuple[int, int]:
    """A value that changes when a segment's labelmap is modified."""
    segment = segmentation.GetSegment(segment_id)
    image = segment.GetRepresentation(_BINARY)
    return (image.GetMTime() if image is not None else 0), segment.GetLabelValue()


def shared_layer(
    node: slicer.vtkMRMLSegmentationNode, segment_ids: list[str], grid: Geometry
) -> list[tuple[BoundingBox, NDArray, dict[int, str]]]:
    """Each labelmap that contains some of the segments: its box, its voxels (K, J, I), and value -> segment id."""
    layers: dict[int, tuple[slicer.vtkOrientedImageData, dict[int, str]]] = {}
    for segment_id in segment_ids:
        image, value = _layer(node, segment_id)
        if image is not None:
            layers.setdefault(id(image), (image, {}))[1][value] = segment_id
    return [(_box_of(image, grid), voxels_of(image), owners) for image, owners in layers.values()]


def _layer(node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> tuple[slicer.vtkOrientedImageData | None, int]:
    """The labelmap, possibly shared with other segments, and the segment's value in it; None if it is empty."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(_BINARY) if segment is not None else None
    empty = image is None or image.GetPointData().GetScalars() is None or image.IsEmpty()
    return (None, 0) if empty else (image, segment.GetLabelValue())


def voxels_of(image: slicer.vtkOrientedImageData) -> NDArray:
    """(K, J, I), a view of the image's memory."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def _box_of(image: slicer.vtkOrientedImageData, grid: Geometry) -> BoundingBox:
    first = np.rint(_first_voxel(image, grid)).astype(int)
    return BoundingBox(first.tolist(), (first + image.GetDimensions()[::-1]).tolist())


def _first_voxel(image: slicer.vtkOrientedImageData, grid: Geometry) -> NDArray[np.float64]:
    """(3,) continuous kji on the volume's grid."""
    matrix, extent = _image_to_world(image), image.GetExtent()
    first_ras = matrix[:3, :3] @ (extent[0], extent[2], extent[4]) + matrix[:3, 3]
    return ras_to_kji(first_ras[None], grid)[0]


def _image_to_world(image: slicer.vtkOrientedImageData) -> NDArray[np.float64]:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def _require_on(
    grid: Geometry,
    node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    image, _ = _layer(node, segment_id)
    if image is None:
        return
    steps = np.linalg.solve(grid.ijk_to_ras[:3, :3], _image_to_world(image)[:3, :3]) - np.eye(3)
    first = _first_voxel(image, grid)
    off = max(np.abs(steps).max() * max(image.GetDimensions()), np.abs(first - np.rint(first)).max())
    if off > _OFF_GRID_VOXELS:
        name = node.GetSegmentation().GetSegment(segment_id).GetName()
        raise InputError(
            f"the segment {name} of {node.GetName()} lies on another grid than the volume {volume_node.GetName()} "
            f"({off:.3g} voxels off): choose the volume it was drawn on, put both under the same transform, "
            "or choose another segmentation"
        )
