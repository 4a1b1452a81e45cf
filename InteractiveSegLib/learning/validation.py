"""Checking a trained candidate on the accepted validation cases."""

from __future__ import annotations

from typing import Any

import numpy as np

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import Acceptance
from InteractiveSegLib.casebook.splits import VALIDATION
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.judge import JudgeSettings, Verdict, judged
from InteractiveSegLib.learning.teacher import Teacher
from InteractiveSegLib.learning.versions import Version, keep_scores
from InteractiveSegLib.progress import Progress, Steps


def validated_steps(
    casebook: Casebook, teacher: Teacher[Any, Any], candidate: Any, parent: Version | None, settings: JudgeSettings
) -> Steps[tuple[Verdict, dict[int, dict[int, float]]]]:
    """The verdict on a candidate, and its scores: acceptance -> label -> Dice.

    parent : the version that it started from; its scores are stored with it

    Raises
    ------
    InputError : no validation case can be read, though there are some.
    """
    splits = {case.id: case.split for case in casebook.cases()}
    held_out = [found for found in stream(casebook) if splits.get(found.case_id) == VALIDATION]
    held_out = held_out[: settings.cases]
    before = teacher.load(parent.folder if parent else None)
    known = dict(parent.scores) if parent else {}
    after: dict[int, dict[int, float]] = {}
    unreadable = ""
    for number, found in enumerate(held_out):
        yield Progress(number, len(held_out), "checking the candidate on validation cases")
        try:
            after[found.id] = _scores(casebook, teacher, candidate, found)
        except InputError as error:
            unreadable = str(error)
            casebook.note(f"a validation case is left out: {error}")
            continue
        if before is not None and found.id not in known:
            known[found.id] = _scores(casebook, teacher, before, found)
    if unreadable and not after:
        raise InputError(f"no validation case can be read to check the candidate: {unreadable}")
    if parent is not None:
        keep_scores(casebook, parent, known)
    known = {number: known[number] for number in after if number in known}
    return judged(known, after, settings, casebook.labels()), after


def _scores(casebook: Casebook, teacher: Teacher[Any, Any], network: Any, found: Acceptance) -> dict[int, float]:
    case = casebook.case_of_id(found.case_id)
    accepted = load_accepted(case, found)
    labels = teacher.answer(network, casebook.volume(case), accepted, found.id)
    review = found.reviewed(case)
    scores = {
        label: dice((labels == label) & where, (accepted.labels == label) & where)
        for label, where in ((label, review.known_kji(label)) for label in found.labels)
    }
    return {label: value for label, value in scores.items() if np.isfinite(value)}
