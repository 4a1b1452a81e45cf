"""Volumes of the scene as plain values."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, Volume


def volume_of(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The volume with its parent transform applied; the array is the scene's own memory.

    Raises
    ------
    InputError : as ``geometry_of``.
    """
    return Volume(slicer.util.arrayFromVolume(node), geometry_of(node), node.GetName())


def geometry_of(node: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """Grid of a volume in the patient.

    Raises
    ------
    InputError : no image, more than one component per voxel, a non-linear parent transform, a degenerate grid.
    """
    name, image = node.GetName(), node.GetImageData()
    if image is None or not image.GetNumberOfPoints():
        raise InputError(f"the volume {name} contains no image")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(
            f"the volume {name} has {image.GetNumberOfScalarComponents()} components per voxel; one is expected: "
            "convert it with the module Vector to Scalar Volume"
        )
    ijk_to_node = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_node)
    matrix = node_to_world(node) @ slicer.util.arrayFromVTKMatrix(ijk_to_node)
    return Geometry(image.GetDimensions()[::-1], matrix)


def node_to_world(node: slicer.vtkMRMLTransformableNode) -> NDArray[np.float64]:
    """(4, 4), mm: transform from a node's coordinates to the world, by its parent transforms.

    Raises
    ------
    InputError : one of them is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise InputError(
            f"{node.GetName()} is under the transform {parent.GetName()}, which is not linear: voxels would no longer "
            "lie on a grid. Harden the transform (module Data, right click) or remove the volume from it"
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)
