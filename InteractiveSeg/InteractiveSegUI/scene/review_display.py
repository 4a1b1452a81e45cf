"""How a person sees what was looked at: verified objects are filled, others are outlines."""

from __future__ import annotations

from collections.abc import Mapping

import slicer


def show_reviewed(segmentation: slicer.vtkMRMLSegmentationNode, filled: Mapping[str, bool]) -> None:
    """Fill these segments in the slice views, or draw their outlines alone.

    filled : segment id -> whether
    """
    display = segmentation.GetDisplayNode()
    if display is None:
        return
    for segment_id, fill in filled.items():
        if bool(display.GetSegmentVisibility2DFill(segment_id)) != fill:
            display.SetSegmentVisibility2DFill(segment_id, fill)
