"""BIFSeg for one object: the network in the box, then alternating label and network steps (Wang et al., TMI 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from InteractiveSegLib.image.geodesic import geodesic_distance
from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.networks.predict import (
    PromptedFeatures,
    classical_answer,
    foreground_probability,
    prompted_feature_steps,
)
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.segmenting.adapt import adapt_steps, interaction_weights
from InteractiveSegLib.segmenting.object_crop import ObjectCrop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.refine import Border, fit_labels_steps, minimise_energy_steps
from InteractiveSegLib.segmenting.settings import BifsegSettings


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """An object on the working grid.

    probability : (K, J, I) float32, of the foreground
    labels : (K, J, I) bool
    rounds : number of rounds of adaptation
    classical : (K, J, I) log-odds, the classical answer to the prompts
    """

    probability: Tensor
    labels: Tensor
    rounds: int
    classical: Tensor


def corrected_answer(
    network: Member, box_features: PromptedFeatures, prompts: ObjectPrompts, settings: BifsegSettings
) -> Tensor:
    """The probability (K, J, I) of the object from its box alone, corrected where it is marked and outside the box."""
    classical = settings.classical_share_of_box * box_features.classical
    found = foreground_probability(network.block6, box_features.features, classical)
    return torch.where(prompts.foreground, 1.0, torch.where(prompts.background | ~prompts.inside, 0.0, found))


def bifseg_steps(
    crop: ObjectCrop,
    prompts: ObjectPrompts,
    network: Member,
    settings: BifsegSettings,
    *,
    adapt: bool,
    seed: int,
    classical: Tensor | None = None,
    fitted: bool = True,
) -> Steps[ObjectLabels]:
    """Segment one object on the working grid with one network.

    Parameters
    ----------
    prompts : on the grid of ``crop``. Only networks that see prompts use the mask to start from; without one,
        scribbles in a drawn box correct the answer to the box alone, where ``crop`` has it
    adapt : fit block 6 to this image; the network itself is not changed. With scribbles in a box it learns what the
        share of the classical answer, if it has one, leaves open. Otherwise it learns the labels, since people's
        scribbles without a box mark most slices, and the classical answer knows little from a box alone
    classical : (K, J, I), the classical answer to these prompts, if another network has already computed it; a network
        that sees the prompts computes it with its features
    fitted : the labels of the result are fitted to its probability; without, they are those more probable than not, for
        networks whose probabilities are yet to be combined
    """
    scribbled, spacing = prompts.is_scribbled, crop.grid.spacing_kji_mm
    settings = settings.on(crop.grid, prompts.has_scribbles)
    share = settings.classical_share if scribbled else settings.classical_share_of_box
    features = crop.features
    if network.takes_prompts:
        seen = yield from _seen_steps(crop, prompts, network, settings)
        features, classical = seen.features, seen.classical
    elif classical is None:
        classical = classical_answer(crop.image, spacing, prompts.shown(None), settings.cues)
    added = share * classical
    inside, outside = prompts.inside, ~prompts.inside
    same = {"image": crop.image, "spacing_mm": spacing, "settings": settings.energy, "border": Border()}
    marks = {"foreground": prompts.foreground & inside, "background": prompts.background | outside}
    fit_to_marks = partial(fit_labels_steps, **same, **marks)
    probability = foreground_probability(network.block6, features, added)
    learns = adapt and (scribbled or settings.adapt_to_box)
    labels = (yield from fit_to_marks(probability)) if learns or fitted else probability > 0.5
    if not learns:
        return ObjectLabels(probability, labels, 0, classical)
    first = labels
    distance = torch.full((2, *labels.shape), torch.inf, device=labels.device)
    if scribbled:
        first = yield from minimise_energy_steps(probability, background=outside, **same)
        marks = torch.stack([prompts.foreground, prompts.background])
        distance = geodesic_distance(crop.image, marks, spacing, settings.geodesic)
    learnt = added if scribbled and prompts.box_drawn else None
    head, rounds = network.block6, 0
    for rounds in range(1, settings.adapt.rounds + 1):
        weights = interaction_weights(
            probability, first, prompts.foreground, prompts.background, distance, settings.adapt
        )
        head = yield from adapt_steps(head, features, labels, weights, settings.adapt, seed + rounds, learnt)
        probability = foreground_probability(head, features, added)
        if rounds == settings.adapt.rounds and not fitted:
            labels = probability > 0.5
            break
        before = labels
        labels = yield from fit_to_marks(probability)
        if (labels != before).float().mean() < settings.adapt.changed_fraction:
            break
    return ObjectLabels(probability, labels, rounds, classical)


def _seen_steps(
    crop: ObjectCrop, prompts: ObjectPrompts, network: Member, settings: BifsegSettings
) -> Steps[PromptedFeatures]:
    """Features of a network that sees prompts; for a box alone, those that ``crop`` already has.

    Clicks are shown twice, as voxels and as spots, and the mean of the features counts: those of so few voxels depend
    on every one of them.
    """
    found = None
    if crop.box_features is not None and prompts.box_drawn and prompts.start is None:
        if not prompts.is_scribbled:
            return crop.box_features
        found = corrected_answer(network, crop.box_features, prompts, settings)
    views = [prompts, prompts.with_spots()] if prompts.are_clicks and not prompts.shows_spots else [prompts]
    seen: list[PromptedFeatures] = []
    for view in views:
        shown, spacing = view.shown(found), crop.grid.spacing_kji_mm
        seen.append((yield from prompted_feature_steps(network, crop.image, spacing, shown, settings.cues)))
    return PromptedFeatures.mean(seen)
