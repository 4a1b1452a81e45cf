"""What the command line computes from the prompts in the scene."""

from pathlib import Path
from typing import Any

import numpy as np

from InteractiveSegLib.cli import main
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap


def by_command_line(folder: Path, person: Any, *options: str, image: Path | None = None) -> np.ndarray:
    """The labelmap of ``interactiveseg segment``, (K, J, I) uint8.

    Parameters
    ----------
    folder : for the files
    options : further ones of the command
    image : the file that the volume was loaded from; without it, the volume is written to one
    """
    workspace = person.controller.workspace
    volume = workspace.volume()
    if image is None:
        image = folder / "image.nrrd"
        write_image(image, volume.array_kji, volume.geometry)
    prompts, _ = workspace.prompts()
    words = [*options]
    for label, box in prompts.boxes.items():
        (k0, j0, i0), (k1, j1, i1) = box.start_kji, box.stop_kji
        words += ["--box", *map(str, (i0, j0, k0, i1, j1, k1)), "--box-label", str(label)]
    if len(prompts.scribbles):
        write_labelmap(folder / "s.nrrd", prompts.scribbles.to_labelmap(volume.geometry.shape_kji), volume.geometry)
        words += ["--scribbles", str(folder / "s.nrrd")]
    if prompts.start_masks:
        starts = np.zeros(volume.geometry.shape_kji, np.uint8)
        for label, mask in prompts.start_masks.items():
            starts[mask.box.slices][mask.mask_kji] = label
        write_labelmap(folder / "start.nrrd", starts, volume.geometry)
        words += ["--start", str(folder / "start.nrrd")]
    assert main(["segment", str(image), *words, "-o", str(folder / "mask.nrrd"), "--quiet"]) == 0
    return read_labelmap(folder / "mask.nrrd", read_volume(image).geometry)
