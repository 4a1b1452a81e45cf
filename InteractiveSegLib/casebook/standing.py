"""How far a study is: cases, organs that were looked at, and what cases cost one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from InteractiveSegLib.casebook.acceptance import stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import Effort
from InteractiveSegLib.casebook.splits import TEST
from InteractiveSegLib.casebook.states import State
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted

_LATELY = 5


@dataclass(frozen=True)
class Standing:
    """Skipped cases count nowhere.

    cases, accepted : how many there are, and how many of them are accepted
    organs, verified : organs of all cases, and those of accepted ones that were looked at in every slice
    partly : organs of accepted cases that were looked at in some slices
    seconds : active time of each accepted case, in the order of acceptance, without those of the test split, which are
        annotated without help
    """

    cases: int = 0
    accepted: int = 0
    organs: int = 0
    verified: int = 0
    partly: int = 0
    seconds: tuple[float, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Text for a person."""
        partly = f", {self.partly} in part" if self.partly else ""
        lines = [
            f"{self.accepted} of {counted(self.cases, 'case', 'cases')} accepted, "
            f"{self.verified} of {counted(self.organs, 'organ', 'organs')} verified{partly}"
        ]
        if self.seconds:
            lately = f"median {median(self.seconds[-_LATELY:]):.0f} s a case"
            first = f"{median(self.seconds[:_LATELY]):.0f} s of the first {_LATELY}"
            lines.append(f"{lately} of the last {_LATELY}, {first}" if len(self.seconds) > _LATELY else lately)
        return tuple(lines)


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
