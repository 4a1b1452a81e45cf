"""``benchmark --task scribbles``: one training a variant and fold, scored on patients that were never seen."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.data.patient_folds import Fold, patient_folds
from InteractiveSegLib.evaluation.data.scribbled_cases import ScribbledCase
from InteractiveSegLib.evaluation.scribbles.scribble_masks import masks_dice, scribble_masks
from InteractiveSegLib.evaluation.scribbles.scribble_pictures import save_attention, save_cases
from InteractiveSegLib.evaluation.scribbles.variants import ENSEMBLE, SCRIBBLES, Variant
from InteractiveSegLib.image.metrics import dice, hd95_mm
from InteractiveSegLib.learning.automatic_network import THICK, AutomaticNetwork
from InteractiveSegLib.learning.held_out import HeldOut, largest_parts
from InteractiveSegLib.learning.scribble_lesson import ScribbleLesson, scribble_lesson
from InteractiveSegLib.learning.scribble_set import spacing_of
from InteractiveSegLib.learning.scribble_training import ScribbleSettings, require_same, training_steps
from InteractiveSegLib.progress import Progress, Steps, titled
from InteractiveSegLib.system.files import make_folder, replacing

_RESULT = "result.json"


@dataclass(frozen=True)
class ScribbleBenchmarkSettings:
    """What is compared.

    variants : in the order of the table
    folds : numbers of the folds, from 0, of ``of``
    of, validation : folds by patient, and validation patients in each
    method : of ``segmenter``, that makes masks of the scribbles
    training : of every variant
    """

    variants: tuple[Variant, ...]
    folds: tuple[int, ...] = (0,)
    of: int = 5
    validation: int = 7
    method: str = "ensemble"
    training: ScribbleSettings = field(default_factory=ScribbleSettings)

    def __post_init__(self) -> None:
        if wrong := [fold for fold in self.folds if not 0 <= fold < self.of]:
            raise InputError(f"fold {wrong[0]} does not exist: they are numbered from 0 to {self.of - 1}")


@dataclass(frozen=True)
class FoldResult:
    """What came of one training.

    scores : rows of case, patient, object, dice, hd95_mm, and all_parts_dice: before objects lose all but their largest
        part
    curve : step -> Dice on the validation patients
    step, validation : of the checkpoint that was chosen
    seconds, processor_seconds : of the training and the looks at validation cases; of runs after a kill, the last part
    taught_by : mean Dice of the masks that were learnt from against the experts'; nan for scribbles
    """

    variant: str
    fold: int
    updates: int
    step: int
    validation: float
    curve: Mapping[int, float]
    largest_part: tuple[int, ...]
    seconds: float
    processor_seconds: float
    taught_by: float
    scores: tuple[Mapping[str, Any], ...]

    @classmethod
    def load(cls, path: Path) -> FoldResult:
        kept = json.loads(path.read_text("utf-8"))
        kept["curve"] = {int(step): score for step, score in kept["curve"].items()}
        return cls(**{**kept, "scores": tuple(kept["scores"]), "largest_part": tuple(kept["largest_part"])})

    def save(self, path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)), "utf-8")


def scribble_benchmark_steps(
    cases: Sequence[ScribbledCase], folds: Sequence[Fold], output: Path, settings: ScribbleBenchmarkSettings
) -> Steps[list[FoldResult]]:
    """Train and score every variant on every fold; what is finished in the folder is not repeated.

    folds : those of ``settings.folds``

    Raises
    ------
    InputError : results in the folder are of another training.
    """
    results = []
    jobs = [(fold, variant) for fold in range(len(folds)) for variant in settings.variants]
    for number, (place, variant) in enumerate(jobs):
        fold = settings.folds[place]
        folder = output / f"fold-{fold}" / variant.name
        title = f"{variant.name}, fold {fold} ({number + 1} of {len(jobs)})"
        kept = folder / _RESULT
        require_same(folder / "training", _key(folds[place], variant, settings))
        if kept.is_file():
            result = FoldResult.load(kept)
        else:
            steps = _fold_steps(cases, folds[place], fold, variant, folder, output, settings)
            result = yield from titled(f"{title}: ", steps)
            result.save(kept)
        results.append(result)
    return results


def fixed_fold(cases: Sequence[ScribbledCase], validation: int) -> Fold:
    """The fold of a set of which some patients were scribbled on and others outlined in full.

    The first outlined ones, in the order of their numbers, are for validation.
    """
    train = sorted({case.patient for case in cases if case.scribbles is not None and case.truth is None})
    outlined = sorted({case.patient for case in cases if case.truth is not None}, key=lambda name: (len(name), name))
    if not train or len(outlined) <= validation:
        raise InputError(
            f"{len(train)} scribbled and {len(outlined)} outlined patients: there must be some of the first, and more "
            f"than {validation} of the second"
        )
    return Fold(tuple(train), tuple(outlined[:validation]), tuple(outlined[validation:]))


def folds_of(cases: Sequence[ScribbledCase], settings: ScribbleBenchmarkSettings) -> list[Fold]:
    """Those of ``settings.folds``."""
    made = patient_folds(sorted({case.patient for case in cases}), settings.of, settings.validation)
    return [made[number] for number in settings.folds]


def _fold_steps(
    cases: Sequence[ScribbledCase],
    fold: Fold,
    number: int,
    variant: Variant,
    folder: Path,
    output: Path,
    settings: ScribbleBenchmarkSettings,
) -> Steps[FoldResult]:
    make_folder(folder)
    train = [case for case in cases if case.patient in fold.train and case.scribbles is not None]
    if variant.learns_from not in (SCRIBBLES, ENSEMBLE):
        train = [case for case in train if case.truth is not None]
    if not train:
        raise InputError(f"no case has what {variant.name} learns from")
    labels = sorted({label for case in cases for label in case.objects})
    own = variant.settings(replace(settings.training, seed=settings.training.seed + number))
    spacing, slices_first = spacing_of([(case.volume, case.marks) for case in train], THICK, own.patches.sides[1])
    network = own.network(labels, spacing, slices_first)
    masks: dict[str, NDArray[np.uint8]] = {}
    if variant.learns_from == ENSEMBLE:
        name = f"masks-{settings.method.replace(':', '-')}-seed-{settings.training.seed}"
        masks = yield from scribble_masks(train, settings.method, output / name, settings.training.seed)
    lessons = [_lesson(case, variant, masks, network, labels) for case in train]
    held_out = [
        HeldOut.of_mask(case.volume, case.truth, (0, *labels))
        for case in cases
        if case.patient in fold.validation and case.truth is not None
    ]
    began = time.process_time()
    trained = yield from training_steps(network, lessons, held_out, own, folder / "training", torch.device("cpu"))
    spent = time.process_time() - began
    tested = [case for case in cases if case.patient in fold.test and case.truth is not None]
    scores, found = [], {}
    for place, case in enumerate(tested):
        yield Progress(place, len(tested), f"scoring {case.name}")
        answer = trained.network.labelmap(trained.network.probabilities(case.volume))
        found[case.name] = largest_parts(answer, trained.largest_part)
        scores += _scores(case, found[case.name], answer)
    save_cases(tested, found, scores, folder)
    if trained.network.attention is not None:
        save_attention(trained.network, tested[0], folder / "attention.png")
    return FoldResult(
        variant.name,
        number,
        own.steps,
        trained.step,
        trained.score,
        trained.curve,
        trained.largest_part,
        round(trained.seconds, 1),
        round(spent, 1),
        masks_dice(train, masks),
        tuple(scores),
    )


def _lesson(
    case: ScribbledCase,
    variant: Variant,
    masks: Mapping[str, NDArray[np.uint8]],
    network: AutomaticNetwork,
    labels: Sequence[int],
) -> ScribbleLesson:
    if variant.learns_from == SCRIBBLES:
        return scribble_lesson(case.volume, case.marks, network, [label for label in labels if label in case.marks])
    labelled = masks[case.name] if variant.learns_from == ENSEMBLE else case.truth
    return scribble_lesson(case.volume, {label: labelled == label for label in (0, *labels)}, network, labels)


def _scores(case: ScribbledCase, found: NDArray[np.integer], answer: NDArray[np.integer]) -> list[dict[str, Any]]:
    spacing = case.volume.geometry.spacing_kji_mm
    rows = []
    for label, name in case.objects.items():
        mask, truth = found == label, case.truth == label
        rows.append(
            {
                "case": case.name,
                "patient": case.patient,
                "object": name,
                "dice": float(dice(mask, truth)),
                "hd95_mm": float(hd95_mm(mask, truth, spacing)),
                "all_parts_dice": float(dice(answer == label, truth)),
            }
        )
    return rows


def _key(fold: Fold, variant: Variant, settings: ScribbleBenchmarkSettings) -> str:
    """What a training depends on, apart from the images."""
    method = settings.method if variant.learns_from == ENSEMBLE else ""
    facts = [asdict(fold), asdict(variant.settings(settings.training)), variant.learns_from, method]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
