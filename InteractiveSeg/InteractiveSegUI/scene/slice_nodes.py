"""Slices marked as done, in the scene: a text node of a volume and a segmentation, saved with them."""

from __future__ import annotations

import json

import slicer

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.propagate.marked_slices import MarkedSlices

_KIND, _SLICES = "InteractiveSeg.Kind", "slices"
_VOLUME, _SEGMENTATION = "InteractiveSeg.Volume", "InteractiveSeg.Segmentation"


def read_slices(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, geometry: Geometry
) -> MarkedSlices:
    """The slices marked on a volume for a segmentation.

    Raises
    ------
    InputError : the saved slices cannot be read or belong to an image of another shape.
    """
    node = _slices_of(volume, segmentation)
    if node is None or not node.GetText():
        return MarkedSlices(geometry.shape_kji)
    try:
        fields = json.loads(node.GetText())
    except ValueError as error:
        raise InputError(f"the marked slices in {node.GetName()} cannot be read: {error}") from error
    slices = MarkedSlices.of_fields(fields)
    slices.require_shape(geometry.shape_kji)
    return slices


def write_slices(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, slices: MarkedSlices
) -> None:
    """Replace all marked slices; the node is created if there is none."""
    node = _slices_of(volume, segmentation)
    if node is None:
        name = slicer.mrmlScene.GenerateUniqueName(f"{segmentation.GetName()} slices")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", name)
        node.SetHideFromEditors(True)
        node.SetAttribute(_KIND, _SLICES)
        node.SetNodeReferenceID(_VOLUME, volume.GetID())
        node.SetNodeReferenceID(_SEGMENTATION, segmentation.GetID())
    node.SetText(json.dumps(slices.fields()))


def _slices_of(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLTextNode | None:
    for node in slicer.util.getNodesByClass("vtkMRMLTextNode"):
        belongs = node.GetNodeReference(_VOLUME) is volume and node.GetNodeReference(_SEGMENTATION) is segmentation
        if belongs and node.GetAttribute(_KIND) == _SLICES:
            return node
    return None
