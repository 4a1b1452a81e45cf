"""The panel's settings, saved with the scene: typed fields of the module's parameter node."""

from __future__ import annotations

import logging
from enum import Enum
from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScriptedModuleNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from InteractiveSegLib.networks import DEFAULT_NETWORK


class Overlay(Enum):
    """What is shown in addition to the mask. The value is the name of the map, the label is for the user."""

    NONE = "none"
    REGION = "region"
    PROBABILITY = "probability"
    UNCERTAINTY = "uncertainty"
    CONFIDENCE = "confidence"
    RESIDUAL = "residual"

    def label(self) -> str:
        return {
            Overlay.NONE: _("Mask only"),
            Overlay.REGION: _("Search region"),
            Overlay.PROBABILITY: _("Probability of the object"),
            Overlay.UNCERTAINTY: _("Uncertainty of the network"),
            Overlay.CONFIDENCE: _("Confidence of the propagation"),
            Overlay.RESIDUAL: _("What drawing would change"),
        }[self]


class Device(Enum):
    """Where the worker computes; the value is PyTorch's name."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "cuda"

    def label(self) -> str:
        return {
            Device.AUTO: _("Graphics card, if there is one"),
            Device.CPU: _("Processor"),
            Device.GPU: _("Graphics card"),
        }[self]


class PropagateMethod(Enum):
    """How the slices in between are filled; the value is that of ``SlicesToPropagate``."""

    ELASTIX = "elastix"
    SHAPE = "shape"

    def label(self) -> str:
        return _("By the image") if self is PropagateMethod.ELASTIX else _("By shape alone")


class PropagatePreset(Enum):
    """How intensities are scaled; the value is that of ``SlicesToPropagate``."""

    MR = "mr"
    CT = "ct"

    def label(self) -> str:
        return _("MR or ultrasound") if self is PropagatePreset.MR else _("CT, soft tissue")


@parameterNodeWrapper
class Parameters:
    """One set per scene.

    volume, segmentation : chosen by the user
    segment : id of the current segment
    every_segment : compute all segments with prompts together, not only the current one
    brush_percent : diameter of the brush in percent of the view's height
    sphere_brush : scribble in 3D
    box_visible : show the boxes in the views
    overlay : what is shown in addition to the mask
    overlay_opacity : 0 to 1
    model : a shipped network, or a folder with a model
    device : where the worker computes
    propagate_method, propagate_preset : of a propagation
    rounds, smoothness, sigma : of ``SegmentRequest``; 0 uses the network's own value
    """

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segment: str
    every_segment: bool = False
    brush_percent: Annotated[float, WithinRange(0.5, 20.0)] = 2.0
    sphere_brush: bool = False
    box_visible: bool = True
    overlay: Overlay = Overlay.NONE
    overlay_opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    model: str = DEFAULT_NETWORK
    device: Device = Device.AUTO
    propagate_method: PropagateMethod = PropagateMethod.ELASTIX
    propagate_preset: PropagatePreset = PropagatePreset.MR
    rounds: Annotated[int, WithinRange(0, 50)] = 0
    smoothness: Annotated[float, WithinRange(0.0, 1000.0)] = 0.0
    sigma: Annotated[float, WithinRange(0.0, 10.0)] = 0.0


_PLAIN = tuple(name for name in Parameters.allParameters if name not in ("volume", "segmentation"))


def parameters_of(node: vtkMRMLScriptedModuleNode) -> Parameters:
    """The parameters stored in a node.

    A scene may come from another version of the module: if one of its settings cannot be read, all are reset to their
    defaults; the chosen volume and segmentation are kept.
    """
    try:
        return Parameters(node)
    except ValueError:
        logging.warning("InteractiveSeg: the settings of this scene cannot be read and are reset.", exc_info=True)
        for name in _PLAIN:
            node.UnsetParameter(name)
        return Parameters(node)
