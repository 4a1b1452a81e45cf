"""``qMRMLSegmentEditorWidget`` with Paint and Erase: Slicer's own editing logic, and mouse strokes in the slice views.

As in Slicer, every widget with an active effect paints, whether it is shown or not, and a stroke is applied when the
button is released. Any place mode ends the effect; so does another segmentation, whose reference volume becomes the
source volume and whose first segment is chosen; and a scene that closes under an effect that has painted is a crash.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import slicer
import vtk
from PySide6.QtWidgets import QLabel, QTableWidget, QVBoxLayout, QWidget
from vtk.util.numpy_support import numpy_to_vtk

from slicer_host.views import Views

_PRIORITY = 1.0  # above the views' own interaction
_MODES = slicer.vtkSlicerSegmentEditorLogic


class _Effect:
    """Paint or Erase."""

    def __init__(self, name: str, node: Any) -> None:
        self.name, self._node = name, node

    def setParameter(self, name: str, value: Any) -> None:
        self._node.SetAttribute(f"{self.name}.{name}", str(value))

    def setCommonParameter(self, name: str, value: Any) -> None:
        self._node.SetAttribute(name, str(value))

    def parameter(self, name: str) -> str:
        return self._node.GetAttribute(f"{self.name}.{name}") or self._node.GetAttribute(name) or ""


class qMRMLSegmentEditorWidget(QWidget):
    """volumes_looked_at : how often a source volume was looked at voxel by voxel, by all widgets"""

    views: ClassVar[Views | None] = None
    volumes_looked_at: ClassVar[int] = 0

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Paint   Erase   Threshold   Islands   ...", self))
        table = QTableWidget(self)
        table.setObjectName("SegmentsTableView")
        layout.addWidget(table)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMaximumNumberOfUndoStates(10)
        self._scene, self._node, self._effect = None, None, None
        self._tags: list[tuple[Any, int]] = []
        self._scene_tags: list[tuple[Any, int]] = []
        self._has_painted = False
        self._source: Any = None
        self._stroke: list[tuple[float, ...]] | None = None

    def setMRMLScene(self, scene: Any) -> None:
        for observed, tag in self._scene_tags:
            observed.RemoveObserver(tag)
        self._scene, self._scene_tags = scene, []
        self._logic.SetMRMLScene(scene)
        if scene is None:
            self.setActiveEffect(None)
            self.removeViewObservations()
            return
        interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        for observed, event, act in (
            (scene, scene.EndCloseEvent, self._on_scene_closed),
            (interaction, "ModifiedEvent", self._on_interaction),
        ):
            if observed is not None:
                self._scene_tags.append((observed, observed.AddObserver(event, act)))

    def _on_scene_closed(self, *_: Any) -> None:
        if self._effect is not None and self._has_painted:
            raise RuntimeError("Slicer would have crashed: the scene was closed under an effect that has painted")

    def _on_interaction(self, interaction: Any, _event: str) -> None:
        if self._effect is not None and interaction.GetCurrentInteractionMode() != interaction.ViewTransform:
            self.setActiveEffect(None)

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._node = node
        self._logic.SetSegmentEditorNode(node)

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        if self._logic.GetSegmentationNode() is node:
            return
        self._logic.SetSegmentationNode(node)
        self.setActiveEffect(None)
        if node is None:
            return
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        self.setSourceVolumeNode(node.GetNodeReference(role))
        if node.GetSegmentation().GetNumberOfSegments():
            self.setCurrentSegmentID(node.GetSegmentation().GetNthSegmentID(0))

    def segmentationNode(self) -> Any:
        return self._logic.GetSegmentationNode()

    def setSourceVolumeNode(self, node: Any) -> None:
        segmentation = self._logic.GetSegmentationNode()
        self._logic.SetSourceVolumeNode(node)
        if node is not None and node is not self._source:
            type(self).volumes_looked_at += 1
        self._source = node
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        if segmentation is not None and node is not None and segmentation.GetNodeReference(role) is None:
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)

    def sourceVolumeNode(self) -> Any:
        return self._logic.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:
        self._logic.SetCurrentSegmentID(segment_id)

    def currentSegmentID(self) -> str:
        return self._logic.GetCurrentSegmentID() or ""

    def setMaximumNumberOfUndoStates(self, states: int) -> None:
        self._logic.SetMaximumNumberOfUndoStates(states)

    def saveStateForUndo(self) -> bool:
        return self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(_Effect(name, self._node) if name else None)

    def activeEffect(self) -> _Effect | None:
        return self._effect

    def setActiveEffect(self, effect: _Effect | None) -> None:
        if self._node is None:
            return
        self._effect, self._has_painted = effect, False
        if effect is None:
            self.removeViewObservations()
        else:
            self.setupViewObservations()
            interaction = slicer.app.applicationLogic().GetInteractionNode()
            if interaction.GetCurrentInteractionMode() != interaction.ViewTransform:
                interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        self._node.SetActiveEffectName(effect.name if effect is not None else "")

    def removeViewObservations(self) -> None:
        for interactor, tag in self._tags:
            interactor.RemoveObserver(tag)
        self._tags = []

    def setupViewObservations(self) -> None:
        """Strokes in the views come to this widget from here on."""
        self.removeViewObservations()
        if self.views is None:
            return
        handlers = {
            "LeftButtonPressEvent": self._on_press,
            "MouseMoveEvent": self._on_move,
            "LeftButtonReleaseEvent": self._on_release,
        }
        for name in ("Red", "Green", "Yellow"):
            for event, handler in handlers.items():
                self._observe(name, event, handler)

    def _observe(self, name: str, event: str, handler: Any) -> None:
        interactor = self.views[name].interactor()

        def call(*_: Any) -> None:
            if handler(name, interactor.GetEventPosition()):
                interactor.GetCommand(tag).SetAbortFlag(1)

        tag = interactor.AddObserver(event, call, _PRIORITY)
        self._tags.append((interactor, tag))

    def _on_press(self, name: str, position: tuple[int, int]) -> bool:
        self._stroke = [self._world(name, position)] if self._effect is not None else None
        return self._stroke is not None

    def _on_move(self, name: str, position: tuple[int, int]) -> bool:
        if self._stroke is not None:
            self._stroke.append(self._world(name, position))
        return self._stroke is not None

    def _on_release(self, name: str, _position: tuple[int, int]) -> bool:
        if self._stroke is None:
            return False
        points, self._stroke = self._stroke, None
        self._apply(name, np.array(points))
        return True

    def _world(self, name: str, position: tuple[int, int]) -> tuple[float, ...]:
        return self.views[name].get_view_node().GetXYToRAS().MultiplyPoint((*position, 0, 1))[:3]

    def _apply(self, name: str, points_ras: np.ndarray) -> None:
        """Mark the voxels within the brush along the stroke: a sphere, or a disk in the slice of the view.

        The labelmap that is painted lies in the frame of the segmentation, the stroke in the world.
        """
        self._has_painted = True
        self._logic.SaveStateForUndo()
        self._logic.ResetModifierLabelmapToDefault()
        labelmap = self._logic.GetModifierLabelmap()
        view_node = self.views[name].get_view_node()
        radius_mm = float(self._effect.parameter("BrushRelativeDiameter") or 3) / 200 * view_node.GetFieldOfView()[1]
        to_ijk, from_ijk = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        labelmap.GetWorldToImageMatrix(to_ijk)
        labelmap.GetImageToWorldMatrix(from_ijk)
        to_ijk, from_ijk = slicer.util.arrayFromVTKMatrix(to_ijk), slicer.util.arrayFromVTKMatrix(from_ijk)
        to_world = vtk.vtkMatrix4x4()
        parent = self.segmentationNode().GetParentTransformNode()
        if parent is not None:
            parent.GetMatrixTransformToWorld(to_world)
        to_world = slicer.util.arrayFromVTKMatrix(to_world)
        from_ijk = to_world @ from_ijk
        to_ijk = to_ijk @ np.linalg.inv(to_world)
        dimensions = np.array(labelmap.GetDimensions())
        mask = np.zeros(dimensions[::-1], np.uint8)
        normal = slicer.util.arrayFromVTKMatrix(view_node.GetSliceToRAS())[:3, 2]
        spacing = np.linalg.norm(from_ijk[:3, :3], axis=0)
        thickness_mm = radius_mm if self._effect.parameter("BrushSphere") == "1" else spacing.max() * 0.501
        if thickness_mm != radius_mm:
            thickness_mm = 0.501 * np.abs(from_ijk[:3, :3].T @ normal).max()
        for point in _dense(points_ras, radius_mm / 2):
            centre = to_ijk[:3, :3] @ point + to_ijk[:3, 3]
            reach = np.ceil(radius_mm / spacing) + 1
            low = np.clip(np.floor(centre - reach), 0, dimensions).astype(int)
            high = np.clip(np.ceil(centre + reach) + 1, 0, dimensions).astype(int)
            grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
            offset = grid @ from_ijk[:3, :3].T + from_ijk[:3, 3] - point
            depth = offset @ normal
            inside = ((offset**2).sum(axis=-1) <= radius_mm**2) & (np.abs(depth) <= thickness_mm)
            mask[low[2] : high[2], low[1] : high[1], low[0] : high[0]] |= inside.transpose(2, 1, 0).astype(np.uint8)
        if not mask.any():
            return
        scalars = numpy_to_vtk(mask.ravel(), deep=True)
        labelmap.GetPointData().SetScalars(scalars)
        erase = self._effect.name == "Erase"
        mode = _MODES.ModificationModeRemove if erase else _MODES.ModificationModeAdd
        if erase and self._effect.parameter("EraseAllSegments") == "1":
            mode = _MODES.ModificationModeRemoveAll
        self._logic.ModifySegmentByLabelmap(
            self.segmentationNode(), self.currentSegmentID(), labelmap, mode, False, False
        )


def _dense(points: np.ndarray, step: float) -> np.ndarray:
    """The stroke with points at most a step apart."""
    pieces = [points[:1]]
    for start, stop in itertools.pairwise(points):
        count = max(1, int(np.ceil(np.linalg.norm(stop - start) / max(step, 1e-6))))
        pieces.append(start + (stop - start) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(pieces)
