"""Which cases are worked on together before the network learns again: batches that grow, and how they are chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.case_features import known_features
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

BATCHES = (5, 10, 20, 40)
"""Ma et al., arXiv 2204.06243: the better the network, the more cases may wait for it to learn."""
BATCH_ORDERS = ("fixed", "random", "uncertain", "diverse")


@dataclass(frozen=True, eq=False)
class Batch:
    """The cases to work on next, and a sentence that says why these."""

    cases: Sequence[CaseEntry]
    reason: str


def batch_size(done: int, sizes: Sequence[int] = BATCHES) -> int:
    """Of the batch that comes, or goes on, after so many cases; the last size comes again and again.

    >>> [batch_size(done) for done in (0, 3, 5, 14, 15, 75, 76)]
    [5, 2, 10, 1, 20, 40, 39]
    """
    for end in accumulate(sizes):
        if done < end:
            return end - done
    return sizes[-1] - (done - sum(sizes)) % sizes[-1]


def batch_sizes(done: int, sizes: Sequence[int] = BATCHES) -> list[int]:
    """Of the batches that so many cases make up; the last one may be unfinished.

    >>> batch_sizes(17), batch_sizes(80), batch_sizes(0)
    ([5, 10, 2], [5, 10, 20, 40, 5], [])
    """
    found: list[int] = []
    while sum(found) < done:
        found.append(min(batch_size(sum(found), sizes), done - sum(found)))
    return found


def next_batch(
    casebook: Casebook, order: str = "fixed", size: int | None = None, splits: Collection[str] | None = None
) -> Batch:
    """New cases that nobody has in work; fewer than the size where no more are left.

    Parameters
    ----------
    order : "fixed", as they were added; "random", always the same; "uncertain", those of the largest uncertainty of the
        version in use, then those that it has not looked at; "diverse", so that no case is far from all that were taken
        up, as a network sees them (k-centre), then those that none has looked at
    size : of the batch; None for the one that ``batch_size`` gives
    splits : of the cases; all but the test split, whose cases are annotated without help, where None

    Raises
    ------
    InputError : another order, or a size below 1.
    """
    if order not in BATCH_ORDERS:
        raise InputError(f"the order must be one of {', '.join(BATCH_ORDERS)}, not {order!r}")
    if size is not None and size < 1:
        raise InputError(f"the size of a batch must be at least 1, not {size}")
    cases = [each for each in casebook.cases() if (each.split in splits if splits else each.split != TEST)]
    new = [each for each in cases if each.state is State.NEW and not casebook.work.someone_has(each.id)]
    size = size or batch_size(sum(each.state is State.ACCEPTED for each in cases))
    by_name = {each.name: each for each in new}
    seed = casebook.splits.seed
    drawn = sorted(by_name, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if order == "random":
        chosen, reason = drawn, "drawn at random"
    elif order == "uncertain":
        unsure = {name: value for name, value in known_uncertainties(casebook).items() if name in by_name}
        chosen = sorted(unsure, key=lambda name: (-unsure[name], name))
        reason = f"the network is least sure of them, of {counted(len(unsure), 'case', 'cases')} that it has looked at"
    elif order == "diverse":
        features = known_features(casebook)
        taken = [each.name for each in cases if each.name not in by_name and each.state is not State.SKIPPED]
        chosen = diverse(features, [name for name in taken if name in features], by_name, size)
        count = sum(name in features for name in by_name)
        reason = f"as different as can be, of {counted(count, 'case', 'cases')} that a network has looked at"
    else:
        chosen, reason = list(by_name), "they were added first"
    if order in ("uncertain", "diverse"):
        rest = [name for name in drawn if name not in chosen]
        if len(chosen) < min(size, len(by_name)):
            reason += f"; {counted(min(size, len(by_name)) - len(chosen), 'other was', 'others were')} drawn at random"
        chosen = [*chosen, *rest]
    return Batch([by_name[name] for name in chosen[:size]], reason)


def diverse(
    features: Mapping[str, NDArray[np.floating]], taken: Sequence[str], candidates: Collection[str], count: int
) -> list[str]:
    """Greedy k-centre: again and again the candidate that is farthest from all that were taken (Sener and Savarese).

    Distances are Euclidean, each feature in units of its standard deviation over all cases; the first of all, where
    none was taken yet, is the candidate nearest to the mean. Candidates without features are left out.

    Parameters
    ----------
    features : name -> (n,)
    taken : names of the cases that a batch adds to
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
