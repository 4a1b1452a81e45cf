"""Split of the cases into training, validation and test, fixed when a case is added."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from InteractiveSegLib.errors import InputError

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitSettings:
    """Shares of the patients that are set aside. A casebook keeps those that it was created with.

    validation, test : 0 to 1, together below 1
    seed : another seed sets other patients aside
    """

    validation: float = 0.15
    test: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.validation >= 0 and self.test >= 0 and self.validation + self.test < 1):
            raise InputError(
                f"the shares for validation and test must be 0 or more and leave some for training, not "
                f"{self.validation} and {self.test}"
            )


def split_of(patient: str, settings: SplitSettings) -> str:
    """``train``, ``validation`` or ``test``, by a hash of the patient alone, independent of other cases."""
    digest = hashlib.sha256(f"{settings.seed}/{patient}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < settings.validation:
        return VALIDATION
    return TEST if place < settings.validation + settings.test else TRAIN
