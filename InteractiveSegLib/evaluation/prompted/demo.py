"""The main workflow on a real scan: box, scribbles and fine-tuning on the ICBM152 brain template."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from InteractiveSegLib.errors import MissingPackageError
from InteractiveSegLib.evaluation.overlay import save_overlay
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.evaluation.users.robot import correct
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_labelmap
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.segmenting.rounds import Round
from InteractiveSegLib.segmenting.session import ImageSession

_FILES = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_VENTRICLE_SEED_KJI = (89, 96, 77)
_SCRIBBLE_ROUNDS = 3


def ventricles() -> tuple[Volume, NDArray[np.bool_]]:
    """The T1 template of ICBM152 (2009a, symmetric) and its lateral ventricles, (K, J, I) bool.

    The ventricles are the connected cavity, round a voxel within them, that the template's own tissue maps leave free
    of grey and white matter. Image and maps are in the Python package nilearn.

    Raises
    ------
    MissingPackageError : nilearn is not installed.
    """
    package = find_spec("nilearn")
    if package is None or package.origin is None:
        raise MissingPackageError("the demo", "nilearn")
    folder = Path(package.origin).parent / "datasets" / "data"
    volume = read_volume(folder / _FILES.format("t1"))
    grey, white = (
        read_labelmap(folder / _FILES.format(tissue), volume.geometry).astype(np.uint16) for tissue in ("gm", "wm")
    )
    free = (grey + white < 128) & (volume.array_kji > 0)
    cavities, _ = ndimage.label(free)
    return volume, cavities == cavities[_VENTRICLE_SEED_KJI]


def demo_steps(folder: Path, seed: int, device: torch.device) -> Steps[str]:
    """Segment the ventricles from a box, then from scribbles a robot draws; pictures and the mask go to ``folder``.

    Returns
    -------
    a table of Dice and seconds for each round
    """
    folder.mkdir(parents=True, exist_ok=True)
    volume, truth = ventricles()
    box = BoundingBox.of_mask(truth).expanded((2, 2, 2))
    session = ImageSession(volume, load_network(DEFAULT_NETWORK), seed=seed, device=device)
    session.set_box(1, box)
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, str]] = []
    at = np.argwhere(truth).mean(axis=0).round().astype(int)
    at[2] = int(truth.sum(axis=(0, 1)).argmax())

    def note(name: str, result: Round) -> None:
        mask = session.labelmap() == 1
        score = dice(mask, truth)
        rows.append((name, f"{score:.3f}", f"{result.seconds:.1f}"))
        title = f"{name}: Dice {score:.3f}"
        save_overlay(folder / f"round{len(rows)}.png", volume, mask, session.prompts, at, truth, title)

    note("box", (yield from session.fine_tune()))
    for number in range(1, _SCRIBBLE_ROUNDS + 1):
        found = session.labelmap().astype(np.uint8)
        spacing, drawn = volume.geometry.spacing_kji_mm, session.prompts.scribbles
        session.add_scribbles(correct(found, truth.astype(np.uint8), spacing, rng, scribbled=drawn).scribbles)
        note(f"scribble round {number}", (yield from session.fine_tune()))
    write_labelmap(folder / "ventricles.nii.gz", session.labelmap(), volume.geometry)
    return markdown_table(("round", "Dice", "seconds"), rows) + f"\n\npictures and mask: {folder}"
