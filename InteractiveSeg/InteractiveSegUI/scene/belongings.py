"""What a segmentation shows in the views (masks, boxes and scribbles), hidden while another one is chosen."""

from __future__ import annotations

import slicer

from InteractiveSegUI.scene.prompt_nodes import all_scribbles_of, were_drawn_on
from InteractiveSegUI.scene.roi_nodes import rois_of

_HIDDEN = "InteractiveSeg.Hidden"


def hide_belongings(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Hide its visible nodes in slice and 3D views, and remember that they were visible."""
    for display in _displays_of(segmentation, *all_scribbles_of(segmentation), *rois_of(segmentation).values()):
        _hide(display)


def show_belongings(
    segmentation: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode | None,
    with_boxes: bool,
) -> None:
    """Show what ``hide_belongings`` hid; of the scribbles, only those drawn on the volume. What the user hid stays
    hidden.
    """
    for node in all_scribbles_of(segmentation):
        if not were_drawn_on(node, volume) and node.GetDisplayNode() is not None:
            _hide(node.GetDisplayNode())
    own = [node for node in all_scribbles_of(segmentation) if were_drawn_on(node, volume)]
    for display in _displays_of(segmentation, *own, *rois_of(segmentation).values()):
        if display.GetAttribute(_HIDDEN):
            display.RemoveAttribute(_HIDDEN)
            display.SetVisibility(True)
    show_boxes(segmentation, with_boxes)


def show_boxes(segmentation: slicer.vtkMRMLSegmentationNode, shown: bool) -> None:
    """Show or hide the boxes of all its segments."""
    for roi in rois_of(segmentation).values():
        display = roi.GetDisplayNode()
        if display is not None and bool(display.GetVisibility()) != shown:
            display.SetVisibility(shown)


def _hide(display: slicer.vtkMRMLDisplayNode) -> None:
    if display.GetVisibility():
        display.SetAttribute(_HIDDEN, "1")
        display.SetVisibility(False)


def _displays_of(*nodes: slicer.vtkMRMLDisplayableNode) -> list[slicer.vtkMRMLDisplayNode]:
    return [node.GetDisplayNode() for node in nodes if node.GetDisplayNode() is not None]
