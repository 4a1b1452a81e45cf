"""Which cases are worked on together before the network learns again: batches that grow, and how they are chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.casebook.worklist import ORDERS, new_in_order
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

BATCHES = (5, 10, 20, 40)
"""Ma et al., arXiv 2204.06243: the better the network, the more cases may wait for it to learn."""


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
    """New cases that nobody has in work, in the worklist's order; fewer than the size where no more are left.

    Parameters
    ----------
    order : of ``worklist.ORDERS``; "diverse" looks at all that was taken up before, too
    size : of the batch; None for the one that ``batch_size`` gives
    splits : of the cases; all but the test split, whose cases are annotated without help, where None

    Raises
    ------
    InputError : another order, or a size below 1.
    """
    if order not in ORDERS:
        raise InputError(f"the order must be one of {', '.join(ORDERS)}, not {order!r}")
    if size is not None and size < 1:
        raise InputError(f"the size of a batch must be at least 1, not {size}")
    cases = [each for each in casebook.cases() if (each.split in splits if splits else each.split != TEST)]
    new = [each for each in cases if each.state is State.NEW and not casebook.work.someone_has(each.id)]
    size = size or batch_size(sum(each.state is State.ACCEPTED for each in cases))
    chosen, known = new_in_order(casebook, cases, new, order, known_uncertainties(casebook))
    chosen = chosen[:size]
    of = f"of {counted(known, 'case', 'cases')} that a network has looked at"
    reason = {
        "fixed": "they were added first",
        "random": "drawn at random",
        "uncertain": f"the network is least sure of them, {of}",
        "diverse": f"as different as can be, {of}",
    }[order]
    if order in ("uncertain", "diverse") and known < len(chosen):
        reason += f"; {counted(len(chosen) - known, 'other was', 'others were')} added first"
    return Batch(chosen, reason)
