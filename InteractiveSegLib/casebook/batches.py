"""Batches: cases that are annotated before the network learns again. They grow, and are chosen in several orders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.orders import require_order
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.casebook.worklist import new_in_order
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

BATCHES = (5, 10, 20, 40)
"""Ma et al., arXiv 2204.06243: the better the network, the larger the batches."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The next cases, and why these, as a sentence."""

    cases: Sequence[CaseEntry]
    reason: str


def batch_size(done: int, sizes: Sequence[int] = BATCHES) -> int:
    """Number of cases left in the current batch after ``done`` cases; the last size repeats.

    >>> [batch_size(done) for done in (0, 3, 5, 14, 15, 75, 76)]
    [5, 2, 10, 1, 20, 40, 39]
    """
    for end in accumulate(sizes):
        if done < end:
            return end - done
    return sizes[-1] - (done - sum(sizes)) % sizes[-1]


def batch_sizes(done: int, sizes: Sequence[int] = BATCHES) -> list[int]:
    """Sizes of the batches of ``done`` cases; the last one may be incomplete.

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
    """New cases that no program has in work; fewer than the size if no more are left.

    Parameters
    ----------
    order : of ``ORDERS``
    size : of the batch; that of ``batch_size`` if None
    splits : of the cases; if None, all but the test split, whose cases are annotated without help

    Raises
    ------
    InputError : another order, or a size below 1.
    """
    require_order(order)
    if size is not None and size < 1:
        raise InputError(f"the size of a batch must be at least 1, not {size}")
    cases = [each for each in casebook.cases() if (each.split in splits if splits else each.split != TEST)]
    new = [each for each in cases if each.state is State.NEW and not casebook.work.someone_has(each.id)]
    size = size or batch_size(sum(each.state is State.ACCEPTED for each in cases))
    chosen, known = new_in_order(casebook, cases, new, order, known_uncertainties(casebook))
    chosen = chosen[:size]
    among = f"of the {counted(known, 'case', 'cases')} that it has predicted"
    reason = {
        "fixed": "they were added first",
        "random": "drawn at random",
        "uncertain": f"the network is most uncertain about them, {among}",
        "diverse": f"they differ most from each other and from earlier cases for the network, {among}",
    }[order]
    if order in ("uncertain", "diverse") and known < len(chosen):
        reason += f"; {counted(len(chosen) - known, 'other was', 'others were')} added first"
    return Batch(chosen, reason)
