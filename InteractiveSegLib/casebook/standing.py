"""How far a study is: cases, organs that were looked at, and what cases cost one after the other."""

from __future__ import annotations

from collections.abc import Mapping

from InteractiveSegLib.casebook.acceptance import stream
from InteractiveSegLib.casebook.case_view import Standing
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import Effort
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError


def standing(casebook: Casebook, efforts: Mapping[int, Effort]) -> Standing:
    """Of all cases. Of those whose rows are damaged there is a note.

    efforts : number of a case -> what it cost
    """
    cases = {case.id: case for case in casebook.cases() if case.state is not State.SKIPPED}
    labels = casebook.labels()
    accepted = [found for found in stream(casebook) if found.case_id in cases]
    verified = partly = 0
    for found in accepted:
        try:
            review = found.reviewed(cases[found.case_id])
        except InputError as error:
            casebook.note(f"{error}; 'casebook check' lists all that is wrong")
            continue
        known = [review.known(label) for label in labels]
        verified += sum(bool(each.all()) for each in known)
        partly += sum(bool(each.any() and not each.all()) for each in known)
    helped = [found.case_id for found in accepted if cases[found.case_id].split != TEST]
    seconds = tuple(efforts[number].active_s for number in helped)
    return Standing(len(cases), len(accepted), len(cases) * len(labels), verified, partly, seconds)
