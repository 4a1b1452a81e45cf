"""An accepted case in the form that all learners use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.targets import soft_target, voxel_weights
from InteractiveSegLib.prompts.prompts import Prompts


@dataclass(frozen=True, eq=False)
class CaseTargets:
    """Image and targets.

    targets : label -> (K, J, I) float32, soft target of each voxel; for every label that was known
    weight : (K, J, I) float32
    prompts : a person's; empty if there were none
    known : label -> bool that broadcasts to (K, J, I), where its target is known; a label without entry is known
        everywhere
    """

    volume: Volume
    targets: Mapping[int, NDArray[np.float32]]
    weight: NDArray[np.float32]
    prompts: Prompts
    known: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)


def case_targets(
    volume: Volume, accepted: AcceptedMask, known_labels: tuple[int, ...], alpha: float, person_weight: float
) -> CaseTargets:
    """Targets and weights of an accepted mask. Where a label was not reviewed, its target is 0 and not known.

    Parameters
    ----------
    known_labels : labels that the mask decides on, whether they occur or not
    alpha : trust in the mask, as for ``targets.trust``; 1 ignores the first prediction
    """
    first = accepted.first if alpha < 1 else {}
    targets = {
        label: soft_target(accepted.labels == label, first.get(label), alpha, accepted.origins)
        for label in known_labels
    }
    review, known = accepted.review, {}
    if review is not None:
        known = {label: review.known_kji(label) for label in known_labels if not review.known(label).all()}
    targets |= {label: targets[label] * where for label, where in known.items()}
    return CaseTargets(volume, targets, voxel_weights(accepted.origins, person_weight), accepted.prompts, known)
