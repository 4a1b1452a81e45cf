"""Interactive segmentation that adapts to the image in front of the user; the logic layer, free of 3D Slicer."""

__version__ = "0.1.0"
