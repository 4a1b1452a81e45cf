"""Maps over the image, on the grid they were computed on, with a legend of their colours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import slicer
from numpy.typing import NDArray

from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.propagate.propagate_result import SHADES, PropagateResult
from InteractiveSegLib.segmenting.segment_result import WorkingProbability
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.parameters import Overlay
from InteractiveSegUI.scene.segment_io import labels_of

T = TypeVar("T")

_BRIGHT, _HOT = "vtkMRMLColorTableNodeFileViridis.txt", "vtkMRMLColorTableNodeFileInferno.txt"
_LEGEND_SIZE, _LEGEND_CORNER = (0.07, 0.3), (0.98, 0.97)  # of a view: the upper right corner, which Slicer leaves empty


@dataclass(frozen=True)
class _Kind:
    """One map.

    label_format : of the legend
    most : value of the last colour; the first colour is that of 0
    shown : lowest and highest value shown
    """

    colours: str
    label_format: str
    most: float
    shown: tuple[float, float]


_KINDS = {
    Overlay.PROBABILITY: _Kind(_BRIGHT, "%.1f", 1.0, (0.05, 1.0)),
    Overlay.UNCERTAINTY: _Kind(_HOT, "%.1f", 1.0, (0.05, 1.0)),
    Overlay.CONFIDENCE: _Kind(_BRIGHT, "%.0f %%", SHADES, (0.0, 0.95 * SHADES)),
    Overlay.RESIDUAL: _Kind(_HOT, "%.0f %%", SHADES / 2, (0.05 * SHADES, SHADES)),
}


class Overlays:
    """The last maps of each object; one map of the current segment is shown over the image.

    High confidence of a propagation is left transparent, so that colour marks only the places to check.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._probabilities: dict[int, WorkingProbability] = {}
        self._before: dict[int, WorkingProbability] = {}
        self._propagated: dict[int, PropagateResult] = {}

    def show(self, probabilities: Mapping[int, WorkingProbability]) -> None:
        """Keep the probabilities of a round, and show them if the user has chosen so."""
        for label, probability in probabilities.items():
            if label in self._probabilities:
                self._before[label] = self._probabilities[label]
            self._probabilities[label] = probability
        self.update()

    def show_propagated(self, results: Mapping[int, PropagateResult]) -> None:
        """Keep the maps of a propagation, by label, and show them if the user has chosen so."""
        self._propagated.update(results)
        self.update()

    @property
    def propagated(self) -> PropagateResult | None:
        """The last propagation of the current segment."""
        return self._of_segment(self._propagated)

    @property
    def certainty(self) -> float | None:
        """Mean probability, 0.5 to 1, of the voxels predicted as the current segment; None before the first round."""
        found = self._of_segment(self._probabilities)
        if found is None:
            return None
        inside = found.values[found.values >= 0.5]
        return float(inside.mean()) if inside.size else None

    def rounds(self, labels: Collection[int]) -> tuple[dict[int, WorkingProbability], dict[int, WorkingProbability]]:
        """The network's probabilities of these labels in its last round, and in the one before it."""
        last, before = (
            {label: found[label] for label in labels if label in found} for found in (self._probabilities, self._before)
        )
        return last, before

    def forget(self) -> None:
        """Remove the overlay when the volume or segmentation changes."""
        for kept in (self._probabilities, self._before, self._propagated):
            kept.clear()
        self.update()

    def close(self) -> None:
        """Called when the scene closes. A singleton would survive it and refer to nodes of the old scene."""
        node = slicer.mrmlScene.GetSingletonNode("InteractiveSegOverlay", "vtkMRMLScalarVolumeNode")
        if node is not None:
            slicer.mrmlScene.RemoveNode(node)

    def update(self) -> None:
        """Update the views from the parameters."""
        parameters = self._controller.parameters
        node = slicer.mrmlScene.GetSingletonNode("InteractiveSegOverlay", "vtkMRMLScalarVolumeNode")
        kind = _KINDS.get(parameters.overlay)
        found = self._map(parameters.overlay) if kind is not None else None
        if found is None:
            if node is not None:
                self._put_in_front(None, 0.0)
                slicer.modules.colors.logic().GetColorLegendDisplayNode(node).SetVisibility(False)
            return
        if node is None:
            node = self._new_node()
        values, geometry = found
        slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(values))
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        node.SetName(parameters.overlay.label())
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(kind.colours)
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0.0, kind.most)
        display.SetThreshold(*kind.shown)
        display.ApplyThresholdOn()
        self._put_in_front(node, parameters.overlay_opacity)
        legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(node)
        legend.SetLabelFormat(kind.label_format)
        legend.SetVisibility(True)
        legend.Modified()  # views check the legend when it changes, not when the foreground volume does

    def _map(self, overlay: Overlay) -> tuple[NDArray, Geometry] | None:
        """Values (K, J, I) of a map of the current segment, and their grid."""
        by_network = overlay in (Overlay.PROBABILITY, Overlay.UNCERTAINTY)
        found = self._of_segment(self._probabilities if by_network else self._propagated)
        if found is None:
            return None
        value = "values" if overlay is Overlay.PROBABILITY else overlay.value
        return getattr(found, value), found.geometry(self._controller.workspace.geometry())

    def _of_segment(self, kept: Mapping[int, T]) -> T | None:
        parameters = self._controller.parameters
        if parameters.segmentation is None:
            return None
        return kept.get(labels_of(parameters.segmentation).get(parameters.segment, 0))

    @staticmethod
    def _new_node() -> slicer.vtkMRMLScalarVolumeNode:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
        node.UnRegister(None)
        node.SetSingletonTag("InteractiveSegOverlay")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(node)
        legend.SetSaveWithScene(False)
        legend.SetTitleText("")  # the view names the map in its lower left corner
        legend.SetSize(*_LEGEND_SIZE)
        legend.SetPosition(*_LEGEND_CORNER)
        legend.SetNumberOfLabels(3)
        return node

    @staticmethod
    def _put_in_front(node: slicer.vtkMRMLScalarVolumeNode | None, opacity: float) -> None:
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            shown = composite.GetForegroundVolumeID() or ""
            ours = slicer.mrmlScene.GetNodeByID(shown)
            if node is None and (ours is None or ours.GetSingletonTag() != "InteractiveSegOverlay"):
                continue  # the user's own foreground volume stays
            composite.SetForegroundVolumeID(node.GetID() if node is not None else None)
            composite.SetForegroundOpacity(opacity)
