"""The propagated mask combined with the network: the network has weight where the propagation is uncertain and far from
the annotated slices.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.networks.cues import ShownPrompts
from InteractiveSegLib.networks.network import Member, Network
from InteractiveSegLib.networks.predict import foreground_probability, prompted_feature_steps
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.propagate.proxy_mask import ProxyMask
from InteractiveSegLib.segmenting.adapt import SoftAdaptSettings, soft_adapt_steps
from InteractiveSegLib.segmenting.object_crop import object_crop
from InteractiveSegLib.segmenting.settings import BifsegSettings

_CPU = torch.device("cpu")
_POSSIBLE = 0.05  # probability from which an object may be there
_FLOOR = 1e-3  # probabilities are kept this far from 0 and 1
_MARGIN = 0.1  # of the object's largest extent


@dataclass(frozen=True)
class CombinationSettings:
    """Weights of the two.

    trust : exponent of the confidence that weights the propagated mask's log-odds; the rest weights the network's
    reach : slices from the nearest annotated one; nearer than that, the network has proportionally less weight, since
        there are few registrations in between that could be wrong
    adapt : fine-tuning of the network's last block to the propagated mask
    """

    trust: float = 0.5
    reach: float = 8.0
    adapt: SoftAdaptSettings = field(default_factory=SoftAdaptSettings)

    def __post_init__(self) -> None:
        for name in ("trust", "reach"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")


def combine_steps(
    volume: Volume,
    proxy: ProxyMask,
    network: Network,
    settings: CombinationSettings | None = None,
    *,
    seed: int = 0,
    device: torch.device = _CPU,
) -> Steps[ProxyMask]:
    """The propagated mask, corrected by a network where the registration is uncertain.

    For each label the network sees the propagated mask as a mask to start from and the annotated slices as marks; its
    last block is fitted to the propagated mask, softly. The log-odds of both are then added, weighted voxel by voxel
    by the propagation's confidence and the distance from the annotated slices. Annotated slices are not changed.
    Outside ``proxy.box`` there is no object.

    Parameters
    ----------
    network : one that sees start masks, in eval mode; it is not changed. If there are several, the first is used
    seed : for drawing the voxels of fine-tuning

    Returns
    -------
    the mask with other probabilities

    Raises
    ------
    InputError : the network does not take start masks as input.
    """
    settings = settings or CombinationSettings()
    network = network.members[0]
    if not network.sees_start_masks:
        raise InputError("this network does not take masks as input: it cannot be combined with propagated slices")
    drawn = annotated_voxels(proxy)
    of_network = np.full(proxy.probabilities.shape, np.nan, np.float16)
    for channel in range(len(proxy.labels)):
        found = yield from _odds_steps(volume, proxy, channel, drawn, network, settings, seed, device)
        if found is not None:
            box, odds = found
            of_network[(channel, *box.slices)] = odds
    probabilities = proxy.probabilities.copy()
    for k in range(probabilities.shape[1]):
        yield Progress(k, probabilities.shape[1], "weighing the network against the propagated mask")
        most_of_network = np.minimum(1, slices_away(proxy, k) / settings.reach)
        share = 1 - most_of_network * (1 - proxy.confidence[k].astype(np.float32) ** settings.trust)
        blended = _blended(proxy.probabilities[:, k].astype(np.float32), of_network[:, k].astype(np.float32), share)
        probabilities[:, k] = np.where(drawn[k], proxy.probabilities[:, k], blended)
    return replace(proxy, probabilities=probabilities)


def annotated_voxels(proxy: ProxyMask) -> NDArray[np.bool_]:
    """(K, J, I) bool in the box of a propagated mask: the voxels of annotated slices."""
    drawn = np.zeros(proxy.box.shape_kji, bool)
    for axis, indices in proxy.annotated.items():
        start, stop = proxy.box.start_kji[axis], proxy.box.stop_kji[axis]
        np.moveaxis(drawn, axis, 0)[[index - start for index in indices if start <= index < stop]] = True
    return drawn


def slices_away(proxy: ProxyMask, k: int) -> NDArray[np.float32]:
    """(J, I) in slice k of a propagated mask's box: slices from the nearest annotated one, along any axis."""
    nearest = np.full(proxy.box.shape_kji[1:], np.inf, np.float32)
    for axis, indices in proxy.annotated.items():
        start, stop = proxy.box.start_kji[axis], proxy.box.stop_kji[axis]
        places = np.array([start + k]) if axis == 0 else np.arange(start, stop)
        away = np.abs(places[:, None] - np.array(indices)).min(axis=1)
        np.minimum(nearest, away[:, None] if axis == 1 else away, out=nearest)
    return nearest


def _odds_steps(
    volume: Volume,
    proxy: ProxyMask,
    channel: int,
    drawn: NDArray[np.bool_],
    network: Member,
    settings: CombinationSettings,
    seed: int,
    device: torch.device,
) -> Steps[tuple[BoundingBox, NDArray[np.float32]] | None]:
    """The network's log-odds of one label and their part of the proxy's box; None without an object."""
    possible = proxy.probabilities[channel] > _POSSIBLE
    if not possible.any():
        return None
    spacing = volume.geometry.spacing_kji_mm
    held = BoundingBox.of_mask(possible)
    margin_mm = _MARGIN * max(n * mm for n, mm in zip(held.shape_kji, spacing, strict=True))
    held = held.expanded(tuple(max(2, round(margin_mm / mm)) for mm in spacing)).intersected(proxy.box.shape_kji)
    offset = proxy.box.start_kji
    box = BoundingBox(
        tuple(a + o for a, o in zip(held.start_kji, offset, strict=True)),
        tuple(a + o for a, o in zip(held.stop_kji, offset, strict=True)),
    )
    bifseg = BifsegSettings.for_network(network)
    around = object_crop(volume, box, bifseg.grid, device)
    grid = around.grid

    def working(values: NDArray) -> Tensor:
        """Values in the proxy's box on the working grid."""
        crop = np.zeros(grid.crop.shape_kji, np.float32)
        crop[box.counted_from(grid.crop).slices] = values[held.slices]
        return grid.averaged(torch.from_numpy(crop)).to(device)

    given = proxy.probabilities > 0.5
    inside, others = given[channel], [given[other] for other in range(len(given)) if other != channel]
    foreground = working(inside & drawn) > 0
    elsewhere = [working(other & drawn) > 0 for other in others]
    background = working(~given.any(axis=0) & drawn) > 0
    marks = _without_shared([foreground, background, *elsewhere])
    seen = yield from prompted_feature_steps(
        network,
        around.image,
        grid.spacing_kji_mm,
        ShownPrompts(torch.ones_like(foreground), *marks[:2], working(inside), marks[2:]),
        bifseg.cues,
    )
    confidence = working(proxy.confidence)
    head = yield from soft_adapt_steps(
        network.block6,
        seen.features,
        working(proxy.probabilities[channel]),
        confidence,
        working(drawn) > 0.5,
        settings.adapt,
        seed,
    )
    probability = foreground_probability(head, seen.features).clamp(_FLOOR, 1 - _FLOOR)
    odds = grid.interpolated(torch.logit(probability)).cpu().numpy()
    return held, odds[box.counted_from(grid.crop).slices]


def _without_shared(marks: list[Tensor]) -> list[Tensor]:
    """Marks without the working voxels that contain several kinds of them."""
    kinds = torch.stack(marks)
    return list(kinds & (kinds.sum(dim=0) == 1))


def _blended(
    probabilities: NDArray[np.float32], of_network: NDArray[np.float32], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Probabilities (L, J, I): the softmax over background and labels of log-odds that are weighted means.

    Parameters
    ----------
    of_network : (L, J, I) log-odds, nan where the network has no answer
    share : (J, I) weight of the probabilities' own log-odds; the rest is the network's weight
    """
    nothing = np.maximum(1 - probabilities.sum(axis=0), _FLOOR)
    own = np.log(np.maximum(probabilities, _FLOOR) / nothing)
    scores = np.where(np.isnan(of_network), own, share * own + (1 - share) * of_network)
    weights = np.exp(scores)
    return weights / (1 + weights.sum(axis=0))
