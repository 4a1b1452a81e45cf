"""Teaching the automatic network."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.case_targets import CaseTargets
from InteractiveSegLib.learning.image_batches import ImageBatches, PatchSettings, patch_loss
from InteractiveSegLib.learning.image_lesson import ImageLesson, PatientAxes, resampled, seen
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.learning.settings import DARK, LearnSettings
from InteractiveSegLib.networks.checkpoint import read_weights, write_weights
from InteractiveSegLib.training.trainer import Loss

_FILE, _ARCHITECTURE = "automatic.safetensors", "automatic"
MOST_VOXELS = 160**3  # of an image as the network sees it
_KNOWN = 0.499  # share of a voxel of the network's grid that must be known for it to count as known


class AutomaticTeacher:
    """Lessons are whole images. The first one fixes the network's voxel size.

    seed : for the network's initial weights
    """

    name = "automatic"
    mixed_precision = True

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64), patches: PatchSettings | None = None, seed: int = 0
    ) -> None:
        self.widths, self.patches, self.seed = tuple(widths), patches or PatchSettings(), seed

    def start(self, weights: Path | None, volume: Volume, labels: Sequence[int]) -> AutomaticNetwork:
        return self.started(self.load(weights), volume, labels)

    def started(self, network: AutomaticNetwork | None, volume: Volume, labels: Sequence[int]) -> AutomaticNetwork:
        """A network with outputs for these labels; if there is none yet, a new one for the voxels of this image.

        Raises
        ------
        InputError : no label is known.
        """
        if not labels:
            raise InputError("no label is known: there is nothing for the automatic network to learn")
        if network is not None:
            return network.grown(labels)
        spacing = PatientAxes.of(volume.geometry).spacing_mm(volume.geometry)
        coarser = max(1.0, (volume.geometry.voxel_count / MOST_VOXELS) ** (1 / 3))
        torch.manual_seed(self.seed)
        return AutomaticNetwork(sorted(labels), [mm * coarser for mm in spacing], self.widths)

    def save(self, network: AutomaticNetwork, folder: Path, facts: Mapping[str, str | int | float]) -> None:
        write_weights(network, folder / _FILE, _ARCHITECTURE, network.config, facts)

    def load(self, folder: Path | None) -> AutomaticNetwork | None:
        """InputError for weights that cannot be read or belong to another network."""
        if folder is None:
            return None
        path = folder / _FILE
        header, tensors = read_weights(path)
        if header.get("architecture") != _ARCHITECTURE:
            raise InputError(f"the weights {path} belong to {header.get('architecture')!r}, not to {_ARCHITECTURE!r}")
        network = AutomaticNetwork(**json.loads(header["config"]))
        network.load_state_dict(tensors)
        return network.eval()

    def lesson(self, case: CaseTargets, network: AutomaticNetwork) -> ImageLesson | None:
        """The case as a lesson; None if none of the network's labels is known in it, or only in a part that is thinner
        than half a voxel of the network's grid.
        """
        axes = network.axes_of(case.volume.geometry)
        own = axes.spacing_mm(case.volume.geometry)

        def brought(array: NDArray[np.float32]) -> NDArray[np.float32]:
            return resampled(torch.from_numpy(axes.turned(array)), own, network.spacing_mm).numpy()

        labels = tuple(label for label in network.labels if label in case.targets)
        if not labels:
            return None
        image = seen(case.volume, axes, network.spacing_mm).numpy()
        grid: dict[str, Any] = {"spacing_mm": network.spacing_mm, "slices_first": network.slices_first}
        targets = np.stack([brought(case.targets[label]) for label in labels])
        if not any(label in case.known for label in labels):
            return ImageLesson(image, labels, targets, brought(case.weight), **grid)
        shape = case.volume.geometry.shape_kji
        spread = (np.broadcast_to(case.known.get(label, True), shape).astype(np.float32) for label in labels)
        share = np.stack([brought(where) for where in spread])
        known = share >= _KNOWN
        targets = np.where(known, targets / np.maximum(share, _KNOWN), 0)  # the mean of what is known
        weight = brought(case.weight) * known.any(axis=0)  # unreviewed voxels are not learnt
        return ImageLesson(image, labels, targets, weight, known=known, **grid) if weight.any() else None

    def fits(self, lesson: ImageLesson, network: AutomaticNetwork, known: Collection[int]) -> bool:
        same_grid = lesson.spacing_mm == network.spacing_mm and lesson.slices_first == network.slices_first
        remembered = lesson.dark_labels == network.labels[: len(lesson.dark_labels)]
        return same_grid and remembered and set(lesson.labels) == set(network.labels) & set(known)

    def batches(
        self, lessons: Sequence[ImageLesson], network: AutomaticNetwork, settings: LearnSettings, seed: int
    ) -> Dataset[Any]:
        axis = network.axis if network.dimensions == 2 else None
        mixture = Mixture(settings.latest, settings.together)
        return ImageBatches(lessons, network.labels, axis, mixture, settings.updates, seed, self.patches)

    def loss(self, settings: LearnSettings) -> Loss:
        return patch_loss(settings.dark_share if settings.replay == DARK else 0.0)

    def remembered(self, lesson: ImageLesson, network: AutomaticNetwork) -> ImageLesson:
        return lesson.with_dark(network.logits(torch.from_numpy(lesson.image)), network.labels)

    def pack(self, lesson: ImageLesson) -> dict[str, NDArray]:
        return lesson.arrays()

    def unpack(self, arrays: Mapping[str, NDArray]) -> ImageLesson:
        return ImageLesson.from_arrays(arrays)

    def answer(
        self, network: AutomaticNetwork, volume: Volume, accepted: AcceptedMask, seed: int
    ) -> NDArray[np.integer]:
        return network.labelmap(network.probabilities(volume))

    def foregrounds(
        self, network: AutomaticNetwork, volume: Volume, boxes: Mapping[int, BoundingBox]
    ) -> dict[int, NDArray[np.floating]]:
        found = network.probabilities(volume)
        return {label: found[1 + place] for place, label in enumerate(network.labels)}
