"""One user, one method, one image: prompts in rounds, and what the masks score."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import Case
from InteractiveSegLib.evaluation.prompted.methods import Segmentation, segmenter
from InteractiveSegLib.evaluation.users.robot import Correction, RobotSettings, correct, jittered_box
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.metrics import calibration_error, dice, hd95_mm, surface_dice
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles

ROBOTS = {
    "robot": RobotSettings(),
    "sloppy": RobotSettings("sloppy"),
    "clicks": RobotSettings("click"),
    "short": RobotSettings(longest_voxels=20.0, views=1),
}
HUMAN = "human"
USERS = (*ROBOTS, HUMAN)


@dataclass(frozen=True)
class TrialSettings:
    """How long a user goes on.

    rounds : of corrections that every robot user makes
    cap : rounds after which a robot gives up; between ``rounds`` and ``cap`` it stops when every object is good enough
    enough : the Dice that is good enough
    seed, device : as in ``ImageSession``
    """

    rounds: int = 3
    cap: int = 3
    enough: float = 0.9
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.rounds <= self.cap:
            raise InputError(f"rounds {self.rounds} must lie between 0 and the cap of {self.cap}")


@dataclass(frozen=True)
class Score:
    """How good one object is after a round.

    person : number of the person whose scribbles were replayed; 0 for a robot
    round : 0 is the box alone, or a person's scribbles
    strokes, length_mm : drawn so far, for all objects of the image
    seconds : of the round, for all objects of the image
    stages : ``name=seconds`` separated by semicolons
    peak_mb : largest memory of the process so far in the round; nan where the system does not tell
    """

    dataset: str
    case: str
    object: str
    method: str
    user: str
    person: int
    round: int
    dice: float
    surface_dice: float
    hd95_mm: float
    calibration_error: float
    strokes: int
    length_mm: float
    seconds: float
    stages: str
    peak_mb: float


def trial(
    case: Case, method: str, user: str, person: int, settings: TrialSettings
) -> tuple[list[Score], NDArray[np.uint8]]:
    """Scores of every round and object, and the labelmap after the last of the ``settings.rounds`` rounds.

    robot, sloppy, clicks, short : a box with jitter, then corrections of the method's own errors
    human : the scribbles of a person, all at once and without a box

    Raises
    ------
    InputError : the case has no scribbles of that person, or they mark no object.
    """
    attempt = segmenter(method, case.volume, settings.seed, torch.device(settings.device))
    if user == HUMAN:
        if person >= len(case.scribbles):
            raise InputError(f"{case.name} has scribbles of {len(case.scribbles)} people, none of number {person}")
        prompts = Prompts(scribbles=Scribbles.from_labelmap(case.scribbles[person]))
        if not prompts.labels:
            raise InputError(f"the scribbles of person {person} mark no object")
        _reset_peak()
        found = attempt.segment(prompts)
        return list(_scores(case, method, user, person, 0, prompts, found, 0, 0.0)), found.labelmap
    # the draws depend on the case and the round alone, so every method meets the same user
    robot = ROBOTS[user]
    name = zlib.crc32(f"{case.dataset}/{case.name}/{user}".encode())
    rng = np.random.default_rng([settings.seed, name])
    boxes = {number: jittered_box(case.truth == number, rng, robot) for number in case.objects}
    prompts, drawn = Prompts(boxes), Correction(Scribbles.none(), 0, 0.0)
    scores: list[Score] = []
    strokes, length_mm = 0, 0.0
    spacing = case.volume.geometry.spacing_kji_mm
    kept = np.zeros_like(case.truth)
    for number in range(settings.cap + 1):
        _reset_peak()
        found = attempt.segment(prompts)
        latest = list(_scores(case, method, user, person, number, prompts, found, strokes, length_mm))
        scores += latest
        if number <= settings.rounds:
            kept = found.labelmap
        enough = number >= settings.rounds and all(score.dice >= settings.enough for score in latest)
        if enough or number == settings.cap:
            break
        rng = np.random.default_rng([settings.seed, name, number])
        drawn = correct(found.labelmap, case.truth, spacing, rng, robot, prompts.scribbles)
        prompts = prompts.with_scribbles(drawn.scribbles)
        strokes, length_mm = strokes + drawn.strokes, length_mm + drawn.length_mm
    return scores, kept


def _scores(
    case: Case,
    method: str,
    user: str,
    person: int,
    number: int,
    prompts: Prompts,
    found: Segmentation,
    strokes: int,
    length_mm: float,
) -> Iterator[Score]:
    spacing = case.volume.geometry.spacing_kji_mm
    stages = ";".join(f"{name}={seconds:.4f}" for name, seconds in found.stages.items())
    peak = _peak_mb()
    for value, name in case.objects.items():
        mask, truth = found.labelmap == value, case.truth == value
        calibration = float("nan")
        if value in found.probabilities:
            near = prompts.boxes.get(value, BoundingBox.of_mask(truth)).slices
            calibration = calibration_error(found.probabilities[value][near], truth[near])
        yield Score(
            case.dataset,
            case.name,
            name,
            method,
            user,
            person,
            number,
            dice(mask, truth),
            surface_dice(mask, truth, spacing),
            hd95_mm(mask, truth, spacing),
            calibration,
            strokes,
            length_mm,
            sum(found.stages.values()),
            stages,
            peak,
        )


def _reset_peak() -> None:
    """Let the system count the peak from here on; only Linux can."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def _peak_mb() -> float:
    if sys.platform != "linux":
        return float("nan")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")
