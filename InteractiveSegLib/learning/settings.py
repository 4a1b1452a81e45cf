"""How a network learns from a stream of accepted cases."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from InteractiveSegLib.errors import InputError

RESERVOIR, DARK, NONE = REPLAYS = ("reservoir", "dark", "none")
FALLING, STEADY, ANNEALED = RATES = ("falling", "steady", "annealed")
_LEAST_RATE = 0.05  # share of the initial rate after the expected stream


@dataclass(frozen=True)
class LearnSettings:
    """One training per case, or one for several cases.

    updates : optimiser steps of a training
    updates_per_case : further ones for every case that is new or replayed in it
    together : maximum number of accepted cases per training
    learning_rate : initial value
    rate : "falling" decays to 0 along half a cosine in every training; "steady" is constant; "annealed" is constant
        within a training and decays along half a cosine over the expected stream
    averaging : decay of the running average of the weights; 0 uses the last weights
    replay : "reservoir" mixes earlier cases into every training; "dark" also keeps the network close to its predictions
        on them when they were new (Buzzega et al., NeurIPS 2020); "none" learns from the latest cases alone
    buffer : maximum number of earlier cases kept for replay
    latest : share of the batches from the cases that are new in a training, if there are others
    dark_share : weight of the squared distance to the earlier predictions, in logits
    expected_cases : length of the stream, over which trust in the masks grows and the rate is annealed
    smoothing : blend targets with the network's first prediction where no person decided
    sharpness : of propagated masks as targets; the log-odds of propagation are too small by about this factor
    person_weight : additional weight of voxels that a person decided on
    seed : for all random choices
    """

    updates: int = 150
    updates_per_case: int = 0
    together: int = 1
    learning_rate: float = 2e-3
    rate: str = FALLING
    averaging: float = 0.97
    replay: str = RESERVOIR
    buffer: int = 24
    latest: float = 0.5
    dark_share: float = 0.05
    expected_cases: int = 40
    smoothing: bool = True
    sharpness: float = 4.0
    person_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replay not in REPLAYS:
            raise InputError(f"replay must be one of {', '.join(REPLAYS)}, not {self.replay!r}")
        if self.rate not in RATES:
            raise InputError(f"rate must be one of {', '.join(RATES)}, not {self.rate!r}")
        for name in ("updates", "together", "buffer", "expected_cases"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1")
        if self.updates_per_case < 0:
            raise InputError(f"updates_per_case {self.updates_per_case} must be at least 0")
        if not (self.learning_rate > 0 and self.sharpness > 0 and self.person_weight >= 0 and self.dark_share >= 0):
            raise InputError(
                f"learning_rate {self.learning_rate} and sharpness {self.sharpness} must be above 0, person_weight "
                f"{self.person_weight} and dark_share {self.dark_share} 0 or more"
            )

    def at(self, place: int, cases: int) -> LearnSettings:
        """Settings for the training of case number ``place`` (from 0) of the stream, in which so many cases take part.

        Its number of updates and its rate are final.
        """
        updates = self.updates + self.updates_per_case * cases
        if self.rate != ANNEALED:
            return replace(self, updates=updates, updates_per_case=0)
        done = min(place / self.expected_cases, 1.0)
        factor = max(_LEAST_RATE, 0.5 * (1 + math.cos(math.pi * done)))
        return replace(
            self, updates=updates, updates_per_case=0, learning_rate=self.learning_rate * factor, rate=STEADY
        )


# Rounds are so short that a falling rate and a long average would halve what they learn.
ROUND_SETTINGS = LearnSettings(updates=16, rate=STEADY, averaging=0.8, latest=0.25, buffer=48, smoothing=False)
