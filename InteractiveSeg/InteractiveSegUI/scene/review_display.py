"""How a review is shown: verified objects are filled, others are outlines."""

from __future__ import annotations

from collections.abc import Mapping

import slicer

_OUTLINE_PIXELS = 2  # one pixel is hard to see over an image


def show_reviewed(segmentation: slicer.vtkMRMLSegmentationNode, filled: Mapping[str, bool]) -> None:
    """Fill these segments in the slice views, or draw only their outlines.

    filled : segment id -> whether
    """
    display = segmentation.GetDisplayNode()
    if display is None:
        return
    if display.GetSliceIntersectionThickness() < _OUTLINE_PIXELS:
        display.SetSliceIntersectionThickness(_OUTLINE_PIXELS)
    for segment_id, fill in filled.items():
        if bool(display.GetSegmentVisibility2DFill(segment_id)) != fill:
            display.SetSegmentVisibility2DFill(segment_id, fill)
