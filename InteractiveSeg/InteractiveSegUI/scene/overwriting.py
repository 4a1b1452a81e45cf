"""Which voxels a result may take: masking, overwrite mode and completed segments, as in the Segment Editor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.wording.counting import counted
from InteractiveSegUI.scene.segment_io import labelmap, voxels_of


@dataclass(frozen=True, eq=False)
class Settled:
    """What is to be written.

    masks : segment id -> its whole mask, None if it is empty; of the results and of those they take voxels from
    notes : sentences on the voxels left to or taken from other segments
    """

    masks: Mapping[str, PackedMask | None]
    notes: tuple[str, ...]


def is_completed(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> bool:
    """Whether the user set the segment's status to completed, so that it must not be changed."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    return logic.GetSegmentStatus(segmentation.GetSegmentation().GetSegment(segment_id)) == logic.Completed


def settled(
    results: Mapping[str, PackedMask | None],
    before: Mapping[str, PackedMask | None],
    marks: Mapping[str, NDArray],
    segmentation: slicer.vtkMRMLSegmentationNode,
    editor: slicer.vtkMRMLSegmentEditorNode,
    intensities_kji: NDArray,
    grid: Geometry,
) -> Settled:
    """Resolve conflicts between results and the other segments.

    A result takes no voxel of a segment that was not computed with it, except marked ones if the overwrite mode allows
    it, and never of a completed segment. If overlap is allowed, the other segments are not changed. Outside the masking
    area a segment does not change.

    Parameters
    ----------
    results : of the segments computed together; they do not overlap
    before : the masks of all segments
    marks : segment id -> (N, 3) indices of its own marks, for the segments in ``results``
    editor : the Segment Editor's node with mask and overwrite mode
    intensities_kji, grid : the volume, and its grid in the segmentation's coordinates
    """
    written: dict[str, PackedMask | None] = {}
    taken: dict[str, PackedMask | None] = {}
    notes: list[str] = []
    for segment_id, result in results.items():
        box = _union([result, before.get(segment_id)])
        if box is None or not _is_contested(box, results, before, editor):
            written[segment_id] = result
            continue
        mask = _part(result, box)
        allowed = _allowed(segment_id, box, segmentation, editor, intensities_kji, grid)
        if allowed is not None:
            mask = np.where(allowed, mask, _part(before.get(segment_id), box))
        own = np.zeros(box.shape_kji, bool)
        inside = marks[segment_id][box.contains(marks[segment_id])]
        own[tuple((inside - np.array(box.start_kji)).T)] = True
        for other, other_mask in before.items():
            if other in results or other_mask is None or not _counts(other, segmentation, editor):
                continue
            other_mask = taken.get(other, other_mask)
            both = mask & _part(other_mask, box)
            if not both.any():
                continue
            name = segmentation.GetSegmentation().GetSegment(other).GetName()
            takes = both & own if not is_completed(segmentation, other) else np.zeros_like(both)
            mask = mask & ~(both & ~takes)
            left = int(np.count_nonzero(both) - np.count_nonzero(takes))
            if left:
                notes.append(f"{counted(left, 'voxel was', 'voxels were')} left to {name}")
            if takes.any():
                taken[other] = _without(other_mask, takes, box)
                notes.append(
                    f"{counted(np.count_nonzero(takes), 'marked voxel was', 'marked voxels were')} taken from {name}"
                )
        written[segment_id] = PackedMask.of_part(mask, box) if mask.any() else None
    return Settled({**taken, **written}, tuple(notes))


def _is_contested(
    box: BoundingBox,
    results: Mapping[str, PackedMask | None],
    before: Mapping[str, PackedMask | None],
    editor: slicer.vtkMRMLSegmentEditorNode,
) -> bool:
    """Whether masking or other segments affect the voxels of a box."""
    if editor.GetMaskMode() != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
        return True
    others = [mask for other, mask in before.items() if other not in results and mask is not None]
    return bool(editor.GetSourceVolumeIntensityMask()) or any(box.overlaps(other.box) for other in others)


def _counts(other: str, segmentation: slicer.vtkMRMLSegmentationNode, editor: slicer.vtkMRMLSegmentEditorNode) -> bool:
    """Whether another segment's voxels must not overlap with the result."""
    mode, modes = editor.GetOverwriteMode(), slicer.vtkMRMLSegmentEditorNode
    visible = segmentation.GetDisplayNode() is None or segmentation.GetDisplayNode().GetSegmentVisibility(other)
    if is_completed(segmentation, other):
        return True
    return mode == modes.OverwriteAllSegments or (mode == modes.OverwriteVisibleSegments and visible)


def _allowed(
    segment_id: str,
    box: BoundingBox,
    segmentation: slicer.vtkMRMLSegmentationNode,
    editor: slicer.vtkMRMLSegmentEditorNode,
    intensities_kji: NDArray,
    grid: Geometry,
) -> NDArray[np.bool_] | None:
    """The editable area within a box, as Slicer computes it; None if editing is allowed everywhere."""
    allowed = None
    if editor.GetMaskMode() != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
        outside = slicer.vtkOrientedImageData()
        reference = labelmap(np.zeros(box.shape_kji, bool), box, grid)
        chosen = editor.GetMaskSegmentID() or ""
        segmentation.GenerateEditMask(outside, editor.GetMaskMode(), reference, segment_id, chosen)
        allowed = voxels_of(outside) == 0
    if editor.GetSourceVolumeIntensityMask():
        low, high = editor.GetSourceVolumeIntensityMaskRange()
        values = intensities_kji[box.slices]
        within = (values >= low) & (values <= high)
        allowed = within if allowed is None else allowed & within
    return allowed


def _part(mask: PackedMask | None, box: BoundingBox) -> NDArray[np.bool_]:
    return mask.within(box) if mask is not None else np.zeros(box.shape_kji, bool)


def _union(masks: list[PackedMask | None]) -> BoundingBox | None:
    boxes = [mask.box for mask in masks if mask is not None]
    box = boxes[0] if boxes else None
    for other in boxes[1:]:
        box = box.union(other)
    return box


def _without(mask: PackedMask, takes: NDArray[np.bool_], box: BoundingBox) -> PackedMask | None:
    whole = box.union(mask.box)
    voxels = mask.within(whole)
    voxels[box.counted_from(whole).slices] &= ~takes
    return PackedMask.of_part(voxels, whole) if voxels.any() else None
