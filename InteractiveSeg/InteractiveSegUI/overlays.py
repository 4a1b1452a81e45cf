"""Probability and uncertainty over the image, on the grid they were computed on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import slicer

from InteractiveSegLib.segment_result import WorkingProbability
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.segment_io import labels_of

KINDS = ("none", "probability", "uncertainty")
_COLOURS = {
    "probability": "vtkMRMLColorTableNodeFileViridis.txt",
    "uncertainty": "vtkMRMLColorTableNodeFileInferno.txt",
}
_SHOWN_ABOVE = 0.05


class Overlays:
    """The last probabilities of each object; of the segment that is worked on one is shown in front of the image."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._probabilities: dict[int, WorkingProbability] = {}

    def show(self, probabilities: Mapping[int, WorkingProbability]) -> None:
        """Keep the probabilities of a round and show them where the person wants it."""
        self._probabilities.update(probabilities)
        self.update()

    def forget(self) -> None:
        """Another volume: take the overlay away."""
        self._probabilities.clear()
        self.update()

    def update(self) -> None:
        """Bring the views in line with the parameters."""
        parameters = self._controller.parameters
        node = slicer.mrmlScene.GetSingletonNode("InteractiveSegOverlay", "vtkMRMLScalarVolumeNode")
        found = self._of_segment() if parameters.overlay != "none" else None
        if found is None:
            if node is not None:
                self._put_in_front(None, 0.0)
            return
        if node is None:
            node = self._new_node()
        geometry = found.geometry(self._controller.workspace.geometry())
        values = found.values if parameters.overlay == "probability" else found.uncertainty
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(values))
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        node.SetName(parameters.overlay)
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(_COLOURS[parameters.overlay])
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, 1.0)
        display.SetThreshold(_SHOWN_ABOVE, 1.0)
        display.ApplyThresholdOn()
        self._put_in_front(node, parameters.overlay_opacity)

    def _of_segment(self) -> WorkingProbability | None:
        parameters = self._controller.parameters
        if parameters.segmentation is None:
            return None
        return self._probabilities.get(labels_of(parameters.segmentation).get(parameters.segment, 0))

    @staticmethod
    def _new_node() -> slicer.vtkMRMLScalarVolumeNode:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
        node.UnRegister(None)
        node.SetSingletonTag("InteractiveSegOverlay")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        return node

    @staticmethod
    def _put_in_front(node: slicer.vtkMRMLScalarVolumeNode | None, opacity: float) -> None:
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            shown = composite.GetForegroundVolumeID() or ""
            ours = slicer.mrmlScene.GetNodeByID(shown)
            if node is None and (ours is None or ours.GetSingletonTag() != "InteractiveSegOverlay"):
                continue  # what the person put there stays
            composite.SetForegroundVolumeID(node.GetID() if node is not None else None)
            composite.SetForegroundOpacity(opacity)
