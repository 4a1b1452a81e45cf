"""How a network learns from a stream of accepted cases."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from InteractiveSegLib.errors import InputError

RESERVOIR, DARK, NONE = REPLAYS = ("reservoir", "dark", "none")
FALLING, STEADY, ANNEALED = RATES = ("falling", "steady", "annealed")
_LEAST_RATE = 0.05  # of the first one, when the expected stream is over


@dataclass(frozen=True)
class LearnSettings:
    """One training a case, or one for several cases.

    updates : optimiser steps of a training
    together : accepted cases that one training learns, at most
    learning_rate : of the first steps
    rate : "falling" takes it to 0 with half a cosine in every training; "steady" leaves it; "annealed" leaves it within
        a training and lets it fall with half a cosine over the expected stream
    averaging : decay of the running average of the weights; 0 takes the last ones
    replay : "reservoir" mixes earlier cases into every training; "dark" also holds the network to what it answered on
        them when they were new (Buzzega et al., NeurIPS 2020); "none" learns from the latest case alone
    buffer : earlier cases that are kept for replay, at most
    latest : part of the batches that come from the cases that are new in a training, while there are others
    dark_share : weight of the squared distance to the earlier answers, in logits
    expected_cases : length of the stream, over which trust in the masks grows, and over which the rate is annealed
    smoothing : targets are blended with the network's first answer, where no person decided
    sharpness : of propagated masks as targets; the log-odds that propagation gives are too small by about this factor
    person_weight : a voxel on which a person decided counts so much more than others
    seed : of all random choices
    """

    updates: int = 150
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
        if not (self.learning_rate > 0 and self.sharpness > 0 and self.person_weight >= 0 and self.dark_share >= 0):
            raise InputError(
                f"learning_rate {self.learning_rate} and sharpness {self.sharpness} must be above 0, person_weight "
                f"{self.person_weight} and dark_share {self.dark_share} not below"
            )

    def at(self, place: int) -> LearnSettings:
        """Those of the training of case number ``place`` (from 0) of the stream."""
        if self.rate != ANNEALED:
            return self
        done = min(place / self.expected_cases, 1.0)
        factor = max(_LEAST_RATE, 0.5 * (1 + math.cos(math.pi * done)))
        return replace(self, learning_rate=self.learning_rate * factor, rate=STEADY)


# Rounds are so short that a falling rate and a long average would leave them half of what they learn.
ROUND_SETTINGS = LearnSettings(updates=16, rate=STEADY, averaging=0.8, latest=0.25, buffer=48, smoothing=False)
