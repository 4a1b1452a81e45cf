"""Choosing cases that differ from each other, in the features of a network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def diverse(
    features: Mapping[str, NDArray[np.floating]], taken: Sequence[str], candidates: Collection[str], count: int
) -> list[str]:
    """Greedy k-centre selection (Sener and Savarese, ICLR 2018): always the candidate farthest from all cases chosen.

    Distances are Euclidean, with each feature in units of its standard deviation over all cases. Without any case
    chosen before, the first is the candidate nearest to the mean. Candidates without features are left out.

    Parameters
    ----------
    features : name -> (n,)
    taken : names of the cases chosen before
    """
    names = sorted(name for name in candidates if name in features)
    if not names:
        return []
    everything = np.stack(list(features.values()))
    spread = everything.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1)
    points = {name: (values - everything.mean(axis=0)) / scale for name, values in features.items()}
    chosen: list[str] = []
    if not taken:
        chosen.append(min(names, key=lambda name: (float(np.linalg.norm(points[name])), name)))
    centres = [points[name] for name in (*taken, *chosen)]
    nearest = {name: min(float(np.linalg.norm(points[name] - each)) for each in centres) for name in names}
    while len(chosen) < min(count, len(names)):
        left = [name for name in names if name not in chosen]
        best = max(left, key=lambda name: nearest[name])
        chosen.append(best)
        for name in left:
            nearest[name] = min(nearest[name], float(np.linalg.norm(points[name] - points[best])))
    return chosen
