"""The outline of a box of voxels in the slice views: thin, faint and without handles."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from InteractiveSegLib.image.box import BoundingBox

_TAG = "InteractiveSegRegion"
_OPACITY, _PIXELS = 0.6, 2


class RegionNode:
    """One outline per scene, which is not saved with it and not listed among the models.

    It is a surface, so that any transform of the volume can rotate and shear it. An ROI would remain a box, and the
    user would take it for one to edit.
    """

    def __init__(self) -> None:
        self._shown: tuple | None = None

    def show(
        self,
        box: BoundingBox,
        volume: slicer.vtkMRMLScalarVolumeNode,
        name: str,
        colour: tuple[float, float, float],
    ) -> None:
        """Outline voxels of a volume, under its transform; the views are redrawn only if this changes anything."""
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        grid = slicer.util.arrayFromVTKMatrix(matrix).tobytes()
        wanted = box, grid, volume.GetTransformNodeID(), name, tuple(colour)
        node = _node()
        if node is not None and wanted == self._shown:
            return
        self._shown = wanted
        node = node or _new_node()
        with slicer.util.NodeModify(node):
            node.SetName(name)
            node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
            node.SetAndObservePolyData(_surface(box, matrix))
        node.GetDisplayNode().SetColor(*colour)

    def hide(self) -> None:
        """Remove it from the scene."""
        node = _node()
        if node is not None:
            display = node.GetDisplayNode()
            slicer.mrmlScene.RemoveNode(node)
            if display is not None and display.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(display)


def _surface(box: BoundingBox, ijk_to_ras: vtk.vtkMatrix4x4) -> vtk.vtkPolyData:
    """Surface of the voxels, along their outer borders."""
    cube, to_ras, transform = vtk.vtkCubeSource(), vtk.vtkTransformPolyDataFilter(), vtk.vtkTransform()
    borders = np.array([box.start_kji, box.stop_kji]) - 0.5
    cube.SetBounds(*borders[:, ::-1].T.ravel().tolist())
    transform.SetMatrix(ijk_to_ras)
    to_ras.SetTransform(transform)
    to_ras.SetInputConnection(cube.GetOutputPort())
    to_ras.Update()
    return to_ras.GetOutput()


def _node() -> slicer.vtkMRMLModelNode | None:
    return slicer.mrmlScene.GetSingletonNode(_TAG, "vtkMRMLModelNode")


def _new_node() -> slicer.vtkMRMLModelNode:
    node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLModelNode")
    node.UnRegister(None)
    node.SetSingletonTag(_TAG)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetSelectable(False)
    node = slicer.mrmlScene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetVisibility2D(True)
    display.SetVisibility3D(False)
    display.SetSliceIntersectionThickness(_PIXELS)
    display.SetSliceIntersectionOpacity(_OPACITY)
    return node
