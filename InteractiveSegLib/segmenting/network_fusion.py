"""The answer of one network, or of several together, to an object's prompts."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from InteractiveSegLib.networks.network import Member, Network
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.segmenting.bifseg import ObjectLabels, bifseg_steps
from InteractiveSegLib.segmenting.claim import log_odds
from InteractiveSegLib.segmenting.object_crop import ObjectCrop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.refine import fit_labels_steps
from InteractiveSegLib.segmenting.settings import BifsegSettings

_SHARE_OF_SCRIBBLES = 0.6  # of the first network, from scribbles alone
_SHARE_AMONG_OBJECTS = 0.3  # its weight if other objects and background are scribbled, too: the others learn more then
_SHARE_ON_A_SLICE = 0.7  # its weight if these are on a single slice, too few for the others to learn much from
_LEAST_SHARE, _MOST_SHARE = 0.6, 0.9  # bounds of its weight within a drawn box
_MARKED = 0.6  # fraction of slices marked at which the rest of its weight has fallen by 1/e
_KEPT = 0.5  # least fraction of what the first network finds that the others may leave
_CAUTIOUS = 2.0  # log-odds within which they are kept if they would leave less
_MARKED_ENOUGH = 0.3  # fraction of slices on which the object is marked; on fewer, the marks may speak against it


def answering(network: Network, *, scribbled: bool, adapt: bool) -> tuple[Member, ...]:
    """The networks that answer: of several, only the first if the others are not fitted to scribbles."""
    return network.members if adapt and scribbled else network.members[:1]


def fused_steps(
    crop: ObjectCrop,
    prompts: ObjectPrompts,
    network: Network,
    settings: BifsegSettings,
    *,
    adapt: bool,
    seed: int,
    other_look: Tensor | None = None,
) -> Steps[ObjectLabels]:
    """Segment one object on the working grid; arguments as for ``bifseg_steps``, for all networks that answer.

    If there are several networks, each is fitted to the image separately, but within a drawn box the first answers as
    it was trained; the weighted mean of their log-odds enters the energy. The first, which knows from training what
    scribbles mean, has more weight on a single slice or where no other object is marked, and in a box its weight is
    larger the fewer slices are marked: from few marks the others learn little about the object.

    Parameters
    ----------
    other_look : (K, J, I) log-odds from another look at the object; the mean with those of the networks counts
    """
    found: list[ObjectLabels] = []
    networks = answering(network, scribbled=prompts.has_scribbles, adapt=adapt)
    for member in networks:
        answer = yield from bifseg_steps(
            crop,
            prompts,
            member,
            settings if member is network else settings.for_member(member),
            adapt=adapt and (len(networks) == 1 or not prompts.box_drawn or member is not networks[0]),
            seed=seed,
            classical=found[-1].classical if found else None,
            fitted=len(networks) == 1 and other_look is None,
        )
        found.append(answer)
    if len(found) == 1 and other_look is None:
        return found[0]
    if prompts.box_drawn:
        share = _share_in_box(prompts.marked_part)
    elif 1 in crop.grid.shape_kji:
        share = _SHARE_ON_A_SLICE
    elif prompts.other_objects and prompts.plain_background.any():
        share = _SHARE_AMONG_OBJECTS
    else:
        share = _SHARE_OF_SCRIBBLES
    probability = found[0].probability
    if len(found) > 1:
        probability = fused_probability([answer.probability for answer in found], share, prompts)
    if other_look is not None:
        probability = ((log_odds(probability) + other_look) / 2).sigmoid()
    labels = yield from fit_labels_steps(
        probability,
        crop.image,
        crop.grid.spacing_kji_mm,
        prompts.foreground & prompts.inside,
        prompts.background | ~prompts.inside,
        settings.on(crop.grid).energy,
    )
    return ObjectLabels(probability, labels, max(answer.rounds for answer in found), found[-1].classical)


def fused_probability(probabilities: Sequence[Tensor], share: float, prompts: ObjectPrompts) -> Tensor:
    """The weighted mean of the log-odds as a probability; the first network has the weight ``share``.

    A network that is fitted to marks can be sure that most of an object is background, for instance in thin objects. In
    a drawn box where the object is marked, the others keep within small log-odds if most of what the first network
    finds would vanish.
    """
    first, *rest = map(log_odds, probabilities)
    others = torch.stack(rest).mean(dim=0)
    fused = (share * first + (1 - share) * others).sigmoid()
    if not prompts.box_drawn or prompts.marked_part < _MARKED_ENOUGH:
        return fused
    found = (first > 0) & prompts.inside
    if int(((fused > 0.5) & found).sum()) >= _KEPT * int(found.sum()):
        return fused
    return (share * first + (1 - share) * others.clamp(-_CAUTIOUS, _CAUTIOUS)).sigmoid()


def _share_in_box(marked: float) -> float:
    """Weight of the first network's log-odds, given the fraction of the box's slices on which the object is marked."""
    return min(_MOST_SHARE, _LEAST_SHARE + (1 - _LEAST_SHARE) * math.exp(-marked / _MARKED))
