"""What the panel shows and the scene keeps: typed fields of the module's parameter node."""

from __future__ import annotations

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from InteractiveSegLib.networks import DEFAULT_NETWORK


@parameterNodeWrapper
class Parameters:
    """One set a scene.

    volume, segmentation : chosen by the person
    segment : id of the segment that is worked on
    every_segment : compute all segments with prompts together, not the chosen one alone
    brush_percent : diameter of the brush in percent of the view's height
    sphere_brush : scribble in 3D
    box_visible : show the boxes in the views
    overlay : "none", "probability", "uncertainty" (of the network), "confidence" or "residual" (of a propagation)
    overlay_opacity : 0 to 1
    model : a shipped network, or a folder with a model
    device : "auto", "cpu" or "cuda"
    propagate_method, propagate_preset : of ``SlicesToPropagate``
    rounds, smoothness, sigma : of ``SegmentRequest``; 0 leaves them as they are for the network
    """

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segment: str
    every_segment: bool = False
    brush_percent: Annotated[float, WithinRange(0.5, 20.0)] = 2.0
    sphere_brush: bool = False
    box_visible: bool = True
    overlay: str = "none"
    overlay_opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    model: str = DEFAULT_NETWORK
    device: str = "auto"
    propagate_method: str = "elastix"
    propagate_preset: str = "mr"
    rounds: int = 0
    smoothness: float = 0.0
    sigma: float = 0.0
