"""The loss of a network that learns from scribbles."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.networks.losses import marginal_logits, soft_dice
from InteractiveSegLib.networks.scribble_losses import (
    UNMARKED,
    CrfSettings,
    attentive_similarity,
    half_offsets,
    masked_crf,
    mean_similarity,
    partial_cross_entropy,
)
from InteractiveSegLib.training.trainer import Batch

_NEIGHBOURS = 80
_POOL = {2: nn.functional.adaptive_avg_pool2d, 3: nn.functional.adaptive_avg_pool3d}


@dataclass(frozen=True)
class ScribbleLossSettings:
    """The terms of the loss besides the cross-entropy of the marked voxels.

    crf, attentive : weights of the masked CRF and of the attentive similarity; 0 leaves a term out. That of the CRF
        applies to voxels with 80 neighbours, as pixels of 1.5 mm have, and is inversely proportional to their number
    dice : weight of the soft Dice of the marked voxels, for masks that mark every voxel
    pairs : settings of the CRF
    radius : of the attentive similarity, in cells
    held : fraction of the training during which the similarities learn nothing from the attentive similarity: otherwise
        they all fall to 0 before the network has learnt anything
    ramp : fraction of the training over which the CRF and the attentive similarity grow to their weights: at full
        weight from the start, they favour a single class everywhere
    fading : fraction of the training, at its end, over which the weight of the CRF falls to 0 again: the CRF makes
        thin structures thinner
    """

    crf: float = 0.0
    attentive: float = 0.0
    dice: float = 0.0
    pairs: CrfSettings = field(default_factory=CrfSettings)
    radius: int = 5
    held: float = 0.3
    ramp: float = 0.4
    fading: float = 0.5

    def __post_init__(self) -> None:
        if min(self.crf, self.attentive, self.dice) < 0:
            raise InputError(
                f"the weights of the loss must not be below 0: crf {self.crf}, attentive {self.attentive}, dice "
                f"{self.dice}"
            )


class ScribbleObjective:
    """The loss for the trainer.

    Attributes
    ----------
    terms : name -> value in the latest batch, for monitoring; ``similarity`` is the mean similarity of neighbours
    """

    def __init__(self, settings: ScribbleLossSettings) -> None:
        self.settings = settings
        self.terms: dict[str, float] = {}

    def __call__(self, network: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(network, AutomaticNetwork)
        settings, marks, known = self.settings, batch["marks"], batch["known"]
        logits = network(batch["image"]).float()
        parts = {"marks": partial_cross_entropy(logits, marks, known)}
        if settings.dice and bool((marks != UNMARKED).any()):
            parts["dice"] = settings.dice * _soft_dice(logits, marks, known)
        probabilities = logits.softmax(dim=1)
        done = float(batch["done"])
        grown = min(1.0, done / settings.ramp) if settings.ramp else 1.0
        if settings.crf:
            spacing = _spacing(network)
            found = masked_crf(probabilities, batch["image"], marks, spacing, settings.pairs)
            share = _NEIGHBOURS / max(1, 2 * len(half_offsets(spacing, settings.pairs.radius_mm)))
            left = min(1.0, (1 - done) / settings.fading) if settings.fading else 1.0
            parts["crf"] = grown * left * settings.crf * share * found
        watched: dict[str, float] = {}
        if settings.attentive and network.attention is not None and network.attention.latest is not None:
            latest = network.attention.latest
            similarity = latest.similarity.detach() if done < settings.held else latest.similarity
            on_cells = _POOL[network.dimensions](probabilities, latest.cells)
            found = attentive_similarity(on_cells, similarity, settings.radius)
            parts["attentive"] = grown * settings.attentive * found
            watched["similarity"] = float(mean_similarity(similarity, latest.cells, settings.radius))
        self.terms = {name: float(value.detach()) for name, value in parts.items()} | watched
        return torch.stack(list(parts.values())).sum()


def _soft_dice(logits: Tensor, marks: Tensor, known: Tensor) -> Tensor:
    """Soft Dice of the marked voxels, as for masks."""
    targets = nn.functional.one_hot(marks.clamp(min=0), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    spread = known.reshape(*known.shape, *[1] * (logits.ndim - 2)).expand_as(logits)
    return soft_dice(marginal_logits(logits, spread).softmax(dim=1), targets, (marks != UNMARKED).to(logits.dtype))


def _spacing(network: AutomaticNetwork) -> tuple[float, ...]:
    """Spacing along the axes that the network sees, mm."""
    if network.dimensions == 3:
        return network.spacing_mm
    return tuple(mm for axis, mm in enumerate(network.spacing_mm) if axis != network.axis)
