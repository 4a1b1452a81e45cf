"""One user, one method, one image: prompts in rounds, and the scores of the masks."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.datasets import Case
from InteractiveSegLib.evaluation.prompted.methods import Segmentation, segmenter
from InteractiveSegLib.evaluation.users.drawn_boxes import loose_box, slice_box
from InteractiveSegLib.evaluation.users.flawed_masks import flawed_mask
from InteractiveSegLib.evaluation.users.robot import Correction, RobotSettings, correct, jittered_box
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.metrics import calibration_error, dice, hd95_mm, surface_dice
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles

ROBOTS = {
    "robot": RobotSettings(),
    "sloppy": RobotSettings("sloppy"),
    "clicks": RobotSettings("click", thickness_voxels=1.0, one_error=True),
    "strokes": RobotSettings(views=1, one_error=True, arc_share=0.1),
    "short": RobotSettings(longest_voxels=20.0, views=1),
}
HUMAN = "human"
USERS = (*ROBOTS, HUMAN)

BOX, NONE, SLICE_BOX, LOOSE_BOX, MASK = PROMPTS = ("box", "none", "slice-box", "loose-box", "mask")


@dataclass(frozen=True)
class TrialSettings:
    """How long a user continues.

    rounds : of corrections by every robot user
    cap : rounds after which a robot gives up; between ``rounds`` and ``cap`` it stops when every object is good enough
    enough : Dice that is good enough
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
    round : interactions so far; 0 is the box alone, or a person's scribbles
    strokes, length_mm : drawn so far, for all objects of the image
    seconds : of the round, for all objects of the image
    stages : ``name=seconds`` separated by semicolons
    peak_mb : peak memory of the process so far in the round; nan if the system does not report it
    prompted : what a robot drew before the first round, one of ``PROMPTS``; a person's scribbles come without any box
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
    prompted: str = BOX


def trial(
    case: Case, method: str, user: str, person: int, settings: TrialSettings, prompted: str = BOX
) -> tuple[list[Score], NDArray[np.uint8]]:
    """Scores of every round and object, and the labelmap after the last of the ``settings.rounds`` rounds.

    For every object, a robot draws what ``prompted`` says, then in each round corrects the method's own errors. A round
    in which it finds nothing to correct leaves the mask unchanged.

    user
        robot, sloppy : strokes on both the largest missed part and the largest superfluous part of every object, in
            three views
        short : one short stroke each on these two parts, of every object
        clicks : one voxel for every object, at the deepest point (in mm) of its largest error; the first is on the
            object
        strokes : one line for every object, along the middle of its largest error, in the slice that shows most of it;
            the first is on the object, and if no box is drawn, an arc goes half round it on the same slice
        human : the scribbles of a person, all at once and without a box
    prompted
        box : the object's own box, jittered (``jittered_box``)
        loose-box : a box that is larger by 10 to 30 % on every side (``loose_box``)
        slice-box : a box drawn only on the object's largest slice, with a guessed depth (``slice_box``)
        none : nothing; there is no round 0, and the first round marks the objects themselves
        mask : a mask with errors (``flawed_mask``) to start from, which is also what is scored in round 0

    Raises
    ------
    InputError : the case has no scribbles of that person, or they mark no object.
    """
    attempt = segmenter(method, case.volume, settings.seed, torch.device(settings.device))
    if user == HUMAN:
        if person >= len(case.scribbles):
            raise InputError(f"{case.name} has scribbles of {len(case.scribbles)} people, not of person {person}")
        prompts = Prompts(scribbles=Scribbles.from_labelmap(case.scribbles[person]))
        if not prompts.labels:
            raise InputError(f"the scribbles of person {person} mark no object")
        _reset_peak()
        found = attempt.segment(prompts)
        return list(_scores(case, method, user, person, 0, prompts, found, 0, 0.0, NONE)), found.labelmap
    # the draws depend only on case and round, so every method meets the same user
    robot = ROBOTS[user] if prompted == NONE else replace(ROBOTS[user], arc_share=0.0)
    shown = case.objects if prompted == MASK else ()
    name = zlib.crc32(f"{case.dataset}/{case.name}/{user}".encode())
    rng = np.random.default_rng([settings.seed, name])
    prompts, given = _drawn_first(prompted, case, rng, robot)
    scores: list[Score] = []
    strokes, length_mm = 0, 0.0
    spacing = case.volume.geometry.spacing_kji_mm
    kept, found = np.zeros_like(case.truth), Segmentation(given)
    for number in range(settings.cap + 1):
        drawn = Correction(Scribbles.none(), 0, 0.0)
        if number:
            rng = np.random.default_rng([settings.seed, name, number - 1])
            drawn = correct(found.labelmap, case.truth, spacing, rng, robot, prompts.scribbles, shown)
            prompts = prompts.with_scribbles(drawn.scribbles)
            strokes, length_mm = strokes + drawn.strokes, length_mm + drawn.length_mm
        elif prompted == NONE:
            continue
        _reset_peak()
        unchanged = not drawn.strokes and (number > 0 or prompted == MASK)
        found = replace(found, stages={}) if unchanged else attempt.segment(prompts)
        latest = list(_scores(case, method, user, person, number, prompts, found, strokes, length_mm, prompted))
        scores += latest
        if number <= settings.rounds:
            kept = found.labelmap
        if number >= settings.rounds and all(score.dice >= settings.enough for score in latest):
            break
    return scores, kept


def _drawn_first(
    prompted: str, case: Case, rng: np.random.Generator, robot: RobotSettings
) -> tuple[Prompts, NDArray[np.uint8]]:
    """What is drawn before the first round, and the labelmap (K, J, I) that is there then."""
    given = np.zeros_like(case.truth)
    if prompted == NONE:
        return Prompts(), given
    if prompted != MASK:
        return Prompts({number: _box(prompted, case, number, rng, robot) for number in case.objects}), given
    for number in case.objects:
        flawed = flawed_mask(case.truth == number, case.volume.geometry.spacing_kji_mm, rng)
        given[flawed & (given == 0)] = number
    masks = {number: given == number for number in case.objects}
    return Prompts(start_masks={number: PackedMask.of(mask) for number, mask in masks.items() if mask.any()}), given


def _box(prompted: str, case: Case, number: int, rng: np.random.Generator, robot: RobotSettings) -> BoundingBox:
    truth = case.truth == number
    if prompted == SLICE_BOX:
        return slice_box(truth, case.volume.geometry.spacing_kji_mm, rng, robot)
    return loose_box(truth, rng) if prompted == LOOSE_BOX else jittered_box(truth, rng, robot)


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
    prompted: str,
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
            prompted,
        )


def _reset_peak() -> None:
    """Reset the system's record of the peak; only possible on Linux."""
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
