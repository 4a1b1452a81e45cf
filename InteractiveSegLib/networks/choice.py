"""Which network suits an image."""

from InteractiveSegLib.geometry import Geometry
from InteractiveSegLib.networks.block_six import BlockSixNetwork
from InteractiveSegLib.networks.checkpoint import load_network

THICK_SLICES = 3.0
"""Slices this many times as thick as a pixel is wide are looked at one by one."""


def network_for(model: str, geometry: Geometry) -> BlockSixNetwork:
    """The network of that name or folder; ``auto`` takes P-Net for single or thick slices and PC-Net otherwise.

    Raises
    ------
    InputError : there is no such model, or its weights cannot be used.
    """
    if model != "auto":
        return load_network(model)
    spacing = sorted(geometry.spacing_kji_mm)
    slicewise = 1 in geometry.shape_kji or spacing[2] >= THICK_SLICES * spacing[1]
    return load_network("pnet" if slicewise else "pcnet")
