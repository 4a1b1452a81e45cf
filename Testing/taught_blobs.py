"""Casebooks of bright blobs, and tiny networks that learn from them."""

import numpy as np
import torch
from blobs import ellipsoid, noisy
from casebook_cases import by_hand

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.splits import SplitSettings
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.image_batches import PatchSettings
from InteractiveSegLib.learning.object_batches import SessionSettings
from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.networks.checkpoint import save_network
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles

SHAPE = (8, 18, 20)
QUICK = LearnSettings(updates=4, averaging=0.5, expected_cases=4)


def blob(seed):
    """Truth of a case (K, J, I)."""
    rng = np.random.default_rng(seed)
    return ellipsoid(SHAPE, rng.uniform(0.4, 0.6, 3) * SHAPE, rng.uniform(0.25, 0.4, 3) * SHAPE)


def scribbled(truth):
    """A line in the blob and one in the background."""
    marks = np.zeros(truth.shape, np.uint8)
    k, j, i = np.argwhere(truth).mean(axis=0).round().astype(int)
    marks[k, j, i - 1 : i + 2], marks[k, 0, :5] = 1, 255
    return Prompts(scribbles=Scribbles.from_labelmap(marks))


def blob_casebook(folder, splits):
    """Cases named case0, case1, ... whose splits are given."""
    casebook = Casebook.created(folder / "book", SplitSettings(0, 0))
    for seed, split in enumerate(splits):
        path = folder / "images" / f"case{seed}.nrrd"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, noisy(blob(seed), seed), Geometry(SHAPE, np.diag([-1.0, -1.0, 1.2, 1.0])))
        casebook.add(ImageReference.of(path), f"case{seed}", split=split)
    return casebook


def accept_blob(casebook, number, label=1, prompted=True):
    """Accept the truth of a case, with scribbles or without."""
    entry = casebook.begin(casebook.case(f"case{number}"))
    truth = blob(number)
    mask = by_hand(truth.astype(np.uint8) * label)
    prompts = scribbled(truth) if prompted and label == 1 else Prompts()
    return accept(casebook, entry, AcceptedMask(mask.labels, mask.origins, prompts))


def tiny_prompted(folder):
    """A teacher that starts from a tiny network of its own."""
    start = folder / "start"
    if not start.is_dir():
        start.mkdir(parents=True)
        torch.manual_seed(0)
        save_network(PromptedNetwork((4, 4), dropout=0.1), start / "tiny.safetensors", {"steps": 0})
    return PromptedTeacher(start, SessionSettings(voxels=600))


def tiny_automatic():
    return AutomaticTeacher((4, 8), PatchSettings(sides=(12, 12), count=(2, 2)))
