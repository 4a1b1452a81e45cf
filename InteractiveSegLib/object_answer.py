"""The answer of one network to an object's prompts, or of several together."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.bifseg import BifsegSettings, BoxedImage, ObjectLabels, object_marks, object_steps
from InteractiveSegLib.networks.network import Member, Network, members
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts import BoundingBox
from InteractiveSegLib.refine import label_steps
from InteractiveSegLib.working_grid import WorkingGrid

_SUREST = 1e-4  # no network is surer than this of what it says
_PROMPTED_SHARE = 0.5  # of the first network, within a drawn box
_PROMPTED_SHARE_OF_SCRIBBLES = 0.3  # and from scribbles alone, with slices enough for the others to learn from


def answering(
    network: Network, grid: WorkingGrid, *, box_drawn: bool, scribbled: bool, adapt: bool
) -> tuple[Member, ...]:
    """The networks that have a say: of several the first alone where the others are not fitted or learn little.

    They learn little without scribbles, and where there are no more than scribbles on a single slice.
    """
    alone = not adapt or not scribbled or (not box_drawn and 1 in grid.shape_kji)
    return members(network)[:1] if alone else members(network)


def answer_steps(
    boxed: BoxedImage,
    box: BoundingBox,
    foreground_kji: NDArray[np.int32],
    background_kji: NDArray[np.int32],
    network: Network,
    settings: BifsegSettings,
    *,
    box_drawn: bool,
    adapt: bool,
    seed: int,
    start: Tensor | None = None,
    others_kji: Sequence[NDArray[np.int32]] = (),
) -> Steps[ObjectLabels]:
    """Segment one object on the working grid; arguments as those of ``object_steps``, for all networks that answer.

    Of several networks each is fitted to the image by itself; the weighted mean of their log-odds meets the energy.
    """
    found: list[ObjectLabels] = []
    scribbled = bool(len(foreground_kji) + len(background_kji))
    for member in answering(network, boxed.grid, box_drawn=box_drawn, scribbled=scribbled, adapt=adapt):
        answer = yield from object_steps(
            boxed,
            box,
            foreground_kji,
            background_kji,
            member,
            settings if member is network else settings.for_member(member),
            box_drawn=box_drawn,
            adapt=adapt,
            seed=seed,
            start=start,
            others_kji=others_kji,
            classical=found[-1].classical if found else None,
        )
        found.append(answer)
    if len(found) == 1:
        return found[0]
    grid, device = boxed.grid, boxed.image.device
    first, *rest = (answer.probability.logit(_SUREST) for answer in found)
    share = _PROMPTED_SHARE if box_drawn else _PROMPTED_SHARE_OF_SCRIBBLES
    probability = (share * first + (1 - share) * torch.stack(rest).mean(dim=0)).sigmoid()
    marks = object_marks(grid, foreground_kji, background_kji, others_kji, device)
    outside = ~grid.inside(box).to(device)
    labels = yield from label_steps(
        probability,
        boxed.image,
        grid.spacing_kji_mm,
        marks.foreground & ~outside,
        marks.background | outside,
        settings.on(grid).energy,
    )
    return ObjectLabels(probability, labels, max(answer.rounds for answer in found), found[-1].classical)
