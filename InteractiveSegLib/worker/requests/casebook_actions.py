"""The actions of a window on a casebook, in the worker: each opens the casebook, acts, and returns a new view of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept
from InteractiveSegLib.casebook.case_rounds import keep_round
from InteractiveSegLib.casebook.case_view import CasebookView, CaseRow, CaseWork, OpenedCase
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import CaseEntry, ConflictError
from InteractiveSegLib.casebook.left_work import left_work
from InteractiveSegLib.casebook.provenance import traced
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.starting_masks import starting_masks
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.casebook.study_status import study_status
from InteractiveSegLib.casebook.uncertainties import known_uncertainties
from InteractiveSegLib.casebook.work_locks import WorkLocks
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import Index
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.wording.counting import counted

_INTERACTIVE, _IGNITER = "prompted", "igniter"
_IN_WORK: dict[Path, WorkLocks] = {}  # the cases open in windows, for the lifetime of this process


def act(folder: Path, action: str, work: CaseWork | None = None, case: str = "", order: str = "fixed") -> CasebookView:
    """Run one of the ``ACTIONS``, and return a view of the casebook.

    Parameters
    ----------
    work : of the open case, for "accept", "skip" and "leave"
    case : its name, for "open", "reopen" and "release"; for "next", that of the case just left, which comes last
    order : of the worklist, for "next"

    Raises
    ------
    InputError, OutputError : as raised by the action; nothing is changed then.
    """
    if action not in ACTIONS:
        raise InputError(f"a casebook has no action {action!r}, only {', '.join(ACTIONS)}")
    place = Path(folder).resolve()
    with Casebook(folder, _IN_WORK.setdefault(place, WorkLocks(place))) as casebook:
        return ACTIONS[action](casebook, work, case, order)


def _look(casebook: Casebook, said: str = "", opened: OpenedCase | None = None) -> CasebookView:
    from InteractiveSegLib.learning.versions import in_use

    started = starting_masks(casebook)
    rows = tuple(
        CaseRow(
            entry.name,
            entry.state.value,
            entry.split,
            casebook.effort(entry),
            entry.id in started and entry.state is State.NEW,
        )
        for entry in casebook.cases()
    )
    version = in_use(casebook, _INTERACTIVE)
    learnt = {
        row["acceptance_id"]
        for row in casebook.database.rows(
            "SELECT acceptance_id FROM training WHERE learner = ? AND state != 'running'", [_INTERACTIVE]
        )
    }
    waiting = casebook.database.rows(
        "SELECT max(acceptance.id) AS id FROM acceptance JOIN case_ ON case_.id = case_id"
        " WHERE state = 'accepted' AND split = 'train' GROUP BY case_id"
    )
    return CasebookView(
        rows,
        casebook.labels(),
        str(version.folder) if version and version.folder else "",
        f"version {version.id}, learnt from {counted(len(version.cases), 'case', 'cases')}; {version.reason}"
        if version
        else "as shipped",
        sum(row["id"] not in learnt for row in waiting),
        tuple(study_status(casebook).lines()),
        in_use(casebook, _IGNITER) is not None,
        said,
        opened,
        tuple(casebook.notes),
    )


def _just_look(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    return _look(casebook)


def _next(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    found = next_case(casebook, order, known_uncertainties(casebook), after=case)
    if found is None:
        return _look(casebook, "nothing is left to do: no case is new or reopened")
    for passed_over in found.notes:
        casebook.note(passed_over)
    return _opened(casebook, found.entry, found.reason)


def _open(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    return _opened(casebook, casebook.case(case), "chosen in the list")


def _opened(casebook: Casebook, entry: CaseEntry, reason: str) -> CasebookView:
    volume = casebook.volume(entry)  # before anything is changed
    entry = casebook.begin(entry)
    left = left_work(casebook, entry)
    prompts, masks = (Prompts(), {}) if left is None else (left.prompts, _packed(left.labels))
    if left is not None and left.is_start:
        reason = f"{reason}; it opens with a starting mask, which is unverified"
    if entry.split == TEST:
        reason = f"{reason}; it is of the test set, which is annotated without help"
    review = None if left is None else left.review
    started = starting_masks(casebook).get(entry.id) if entry.split != TEST else None
    confidences = {} if started is None else dict(started.confidences)
    opened = OpenedCase(entry.name, entry.revision, volume, prompts, masks, reason, review, confidences)
    return _look(casebook, f"{entry.name}: {reason}", opened)


def _kept(casebook: Casebook, work: CaseWork) -> CaseEntry:
    """Save the work; returns the case as it then stands."""
    entry = casebook.case(work.case)
    if entry.state in (State.IN_WORK, State.REOPENED):
        casebook.work.take(entry.id)  # which a restarted worker does not have yet
    labels = _labels(work.masks, entry.image.geometry.shape_kji)
    keep_round(casebook, entry, work.prompts, labels, work.review)
    casebook.record(entry, work.events)
    return casebook.case(work.case)


def _leave(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    """Save the work, and release the case for others."""
    work = _required(work)
    _put_away(casebook, work)
    return _look(casebook, f"{work.case}: saved for later")


def leave_at_once(folder: Path, work: CaseWork) -> None:
    """The action "leave" for a window that closes, beside a worker that still has the case in work.

    Raises
    ------
    InputError, OutputError : nothing is changed then.
    """
    with Casebook(folder) as casebook:
        _put_away(casebook, work)


def _put_away(casebook: Casebook, work: CaseWork) -> None:
    entry = _kept(casebook, work)
    if entry.state is State.IN_WORK:
        casebook.give_back(entry)
    casebook.work.give_back(entry.id)  # of a reopened case, too


def _release(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    """Release a case for others, as it was last saved."""
    entry = casebook.case(case)
    if entry.state is State.IN_WORK:
        casebook.give_back(entry)
    casebook.work.give_back(entry.id)
    return _look(casebook, f"{case}: left as it was last saved")


def _accept(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    work = _required(work)
    entry = _as_opened(casebook, work)
    shape = entry.image.geometry.shape_kji
    labels = _labels(work.masks, shape)
    marked = work.prompts.scribbles.to_labelmap(shape) > 0
    left = left_work(casebook, entry)
    proposed = _labels(work.proposed, shape)
    origins = traced(labels, marked, model=proposed)
    if left is not None:  # voxels that were not changed since the case was opened keep their origin
        same = ~marked & (labels == left.labels) & (labels != proposed)
        origins[same] = left.origins[same]
    found = accept(casebook, entry, AcceptedMask(labels, origins, work.prompts, review=work.review))
    casebook.record(entry, work.events)
    return _look(casebook, f"{work.case}: accepted{_left_open(found.reviewed(entry), casebook.labels())}")


def _left_open(review: Review, names: Mapping[int, str]) -> str:
    """Which organs were not looked at; empty where all were."""
    left = []
    for label, name in names.items():
        count = int(np.count_nonzero(~review.known(label)))
        if count:
            left.append(name if count == review.slices else f"{name} in {count} of {review.slices} slices")
    return f"; not verified, and not learnt from: {', '.join(left)}" if left else ""


def _skip(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    work = _required(work)
    entry = _as_opened(casebook, work)
    _kept(casebook, work)
    casebook.skip(entry)
    return _look(casebook, f"{work.case}: skipped; the work is kept")


def _reopen(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    casebook.reopen(casebook.case(case))
    return _look(casebook, f"{case}: reopened; Open next opens it")


def _roll_back(casebook: Casebook, work: CaseWork | None, case: str, order: str) -> CasebookView:
    from InteractiveSegLib.learning.versions import roll_back

    used = roll_back(casebook, _INTERACTIVE)
    return _look(casebook, f"back to version {used.id}" if used else "back to the shipped network")


def _required(work: CaseWork | None) -> CaseWork:
    if work is None:
        raise InputError("no case is open")
    return work


def _as_opened(casebook: Casebook, work: CaseWork) -> CaseEntry:
    """The case, if it is still as the user last saw it; otherwise ConflictError."""
    entry = casebook.case(work.case)
    if entry.revision != work.revision:
        raise ConflictError(
            f"case {entry.name!r} was changed by another program since it was opened here, and is {entry.state.value} "
            "now; open it again to see what was done"
        )
    return entry


def _labels(masks: Mapping[int, PackedMask], shape_kji: Index) -> NDArray[np.uint8]:
    labels = np.zeros(shape_kji, np.uint8)
    for label, mask in masks.items():
        if mask.box.intersected(shape_kji) != mask.box:
            raise InputError(f"the mask of label {label} reaches outside the image of shape {shape_kji}")
        labels[mask.box.slices][mask.mask_kji] = label
    return labels


def _packed(labels: NDArray[np.integer]) -> dict[int, PackedMask]:
    return {int(value): PackedMask.of(labels == value) for value in np.unique(labels) if value}


ACTIONS: Mapping[str, Callable[[Casebook, CaseWork | None, str, str], CasebookView]] = {
    "look": _just_look,
    "next": _next,
    "open": _open,
    "leave": _leave,
    "release": _release,
    "accept": _accept,
    "skip": _skip,
    "reopen": _reopen,
    "roll back": _roll_back,
}
