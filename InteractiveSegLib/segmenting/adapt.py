"""Image-specific fine-tuning: the last block learns from one image, its labels and the user's scribbles."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from InteractiveSegLib.networks.losses import weighted_cross_entropy
from InteractiveSegLib.networks.network import Head
from InteractiveSegLib.progress import Progress, Stage, Steps


@dataclass(frozen=True)
class AdaptSettings:
    """Image-specific fine-tuning (Wang et al., TMI 2018, eq. 8-10).

    rounds : maximum number of alternations of label step and network step
    changed_fraction : stop when fewer labels of the working grid change in a round
    updates : gradient steps per round
    learning_rate : of the updates
    scribble_weight : omega, weight of a scribbled voxel (the paper: 5)
    unsure_above, unsure_below : t0 and t1; voxels with a probability between them have no weight
    contradiction_mm : epsilon; voxels within this geodesic distance of a contradicting scribble have no weight
    max_voxels : voxels used in an update: all scribbled ones, and others drawn at random in each round (at least half
        as many)
    """

    rounds: int = 4
    changed_fraction: float = 0.001
    updates: int = 20
    learning_rate: float = 1e-2
    scribble_weight: float = 25.0
    unsure_above: float = 0.2
    unsure_below: float = 0.7
    contradiction_mm: float = 4.0
    max_voxels: int = 16384


@dataclass(frozen=True)
class SoftAdaptSettings:
    """Fine-tuning to a soft mask.

    updates : gradient steps; 0 leaves the network unchanged
    learning_rate : of the updates
    sureness : exponent of the mask's confidence in the weight of a voxel
    annotated_weight : weight of a voxel that a person annotated
    max_voxels : number of voxels drawn at random
    """

    updates: int = 10
    learning_rate: float = 3e-3
    sureness: float = 6.0
    annotated_weight: float = 30.0
    max_voxels: int = 32768


def load_optimizer() -> None:
    """Have PyTorch import what its optimisers need in advance: it takes a second, in which no step could be
    cancelled.
    """
    torch.optim.Adam([torch.zeros(1)])


def interaction_weights(
    probability: Tensor,
    first_labels: Tensor,
    foreground: Tensor,
    background: Tensor,
    distance_mm: Tensor,
    settings: AdaptSettings,
) -> Tensor:
    """Weight of each voxel in the network step: voxels of which network and user are unsure have none.

    Parameters
    ----------
    probability : (*S) float, foreground probability of the network
    first_labels : (*S) bool, of the first label step, without scribbles
    foreground, background : (*S) bool, scribbles
    distance_mm : (2, *S) geodesic distance to the foreground and to the background scribbles

    Returns
    -------
    (*S) float: omega on scribbles; 0 where the network is unsure, or near a scribble that contradicts the first label;
    1 elsewhere.
    """
    unsure = (probability > settings.unsure_above) & (probability < settings.unsure_below)
    near = distance_mm < settings.contradiction_mm
    contradicted = (near[0] & ~first_labels) | (near[1] & first_labels)
    weights = torch.where(unsure | contradicted, 0.0, 1.0)
    return torch.where(foreground | background, settings.scribble_weight, weights)


def adapt_steps(
    head: Head,
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    settings: AdaptSettings,
    seed: int,
    added: Tensor | None = None,
) -> Steps[Head]:
    """Fit a copy of block 6 to one image on cached features; ``head`` itself is not changed.

    Dropout is in evaluation mode. An update costs two small matrix products instead of a pass through the network.

    Parameters
    ----------
    head : block 6
    features : (F, *S), output of blocks 1-5
    labels : (*S) bool; weights : (*S) float, at least 0
    seed : of the draw of voxels
    added : (*S) log-odds that are added to those of block 6: it then learns what they leave open, rather than the
        labels

    Returns
    -------
    the fitted copy; an unchanged one if no voxel has a weight, or if it would agree with the scribbles less than before
    """
    before, head = head, copy.deepcopy(head).eval()
    chosen, chosen_weights = _draw(weights, labels, settings, seed)
    if chosen.numel() == 0:
        return head
    logits_of = _Columns(features, chosen, added)
    target = labels.flatten()[chosen].long()
    optimizer = torch.optim.Adam(head.parameters(), lr=settings.learning_rate)
    for step in range(settings.updates):
        loss = weighted_cross_entropy(logits_of(head), target[None], chosen_weights[None])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield Progress.of(Stage.FINE_TUNING, step + 1, settings.updates, f"loss {loss.item():.3f}")
    marks = torch.nonzero(weights.flatten() == settings.scribble_weight).flatten()
    if marks.numel():
        logits_of, given = _Columns(features, marks, added), labels.flatten()[marks].long()[None]
        with torch.no_grad():
            losses = [cross_entropy(logits_of(tried), given) for tried in (before, head)]
        if losses[1] > losses[0]:
            return copy.deepcopy(before).eval()
    return head


def soft_adapt_steps(
    head: Head,
    features: Tensor,
    target: Tensor,
    confidence: Tensor,
    annotated: Tensor,
    settings: SoftAdaptSettings,
    seed: int,
) -> Steps[Head]:
    """Fit a copy of block 6 to a soft mask; ``head`` itself is not changed.

    Parameters
    ----------
    features : (F, *S), output of blocks 1-5
    target : (*S) float, foreground probability; confidence : (*S) float, 0 to 1
    annotated : (*S) bool, voxels of which the target is known
    seed : of the draw of voxels
    """
    head = copy.deepcopy(head).eval()
    weights = torch.where(annotated, settings.annotated_weight, confidence.clamp(0, 1) ** settings.sureness).flatten()
    known = torch.nonzero(weights > 0).flatten()
    if not known.numel():
        return head
    order = torch.randperm(known.numel(), generator=torch.Generator().manual_seed(seed))[: settings.max_voxels]
    chosen = known[order.to(known.device)]
    sample, wanted, weights = _of_voxels(features, chosen), target.flatten()[chosen], weights[chosen]
    optimizer = torch.optim.Adam(head.parameters(), lr=settings.learning_rate)
    for step in range(settings.updates):
        logits = head.on_columns(sample)[0]
        losses = binary_cross_entropy_with_logits(logits[1] - logits[0], wanted, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield Progress(step + 1, settings.updates, f"fine-tuning to the propagated mask, loss {loss.item():.3f}")
    return head


class _Columns:
    """Chosen voxels of features (F, *S), and of log-odds (*S) that are added to the logits of the foreground."""

    def __init__(self, features: Tensor, chosen: Tensor, added: Tensor | None) -> None:
        self._features = _of_voxels(features, chosen)
        self._added = None if added is None else added.flatten()[chosen]

    def __call__(self, head: Head) -> Tensor:
        """Logits (1, 2, N)."""
        logits = head.on_columns(self._features)
        if self._added is None:
            return logits
        return torch.stack([logits[:, 0], logits[:, 1] + self._added], dim=1)


def _of_voxels(features: Tensor, chosen: Tensor) -> Tensor:
    """Features (F, N) of the voxels ``chosen`` (N,) out of (F, *S), read voxel by voxel if they are stored in that
    order.
    """
    return features.flatten(1).t()[chosen].t()


def _draw(weights: Tensor, labels: Tensor, settings: AdaptSettings, seed: int) -> tuple[Tensor, Tensor]:
    """Indices and weights of the voxels used in an update: all scribbles, and some of the others.

    Voxels without a weight are mostly voxels of the object, where networks are less sure. Leaving them out would bias
    the head towards the background in every round; the remaining voxels of a label therefore have as much weight as all
    of that label.
    """
    flat, flat_labels = weights.flatten(), labels.flatten()
    is_scribble = flat == settings.scribble_weight
    scribbled = torch.nonzero(is_scribble).flatten()
    others = torch.nonzero((flat > 0) & ~is_scribble).flatten()
    room = max(settings.max_voxels - scribbled.numel(), settings.max_voxels // 2)
    if others.numel() > room:
        order = torch.randperm(others.numel(), generator=torch.Generator().manual_seed(seed))[:room]
        others = others[order.to(others.device)]
    drawn = flat[others].clone()
    for label in (False, True):
        of_label = flat_labels[others] == label
        count = torch.count_nonzero((flat_labels == label) & ~is_scribble)
        drawn[of_label] *= count / drawn[of_label].sum().clamp(min=1e-6)
    return torch.cat([scribbled, others]), torch.cat([flat[scribbled], drawn])
