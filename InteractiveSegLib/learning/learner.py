"""The streaming learner: trainings on accepted cases, one by one or several at once, and a version after each."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.entries import Acceptance
from InteractiveSegLib.casebook.splits import TRAIN
from InteractiveSegLib.casebook.version_files import weights_checksums
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.case_targets import case_targets
from InteractiveSegLib.learning.judge import JudgeSettings
from InteractiveSegLib.learning.leftovers import candidate_folder, sweep, training_folder
from InteractiveSegLib.learning.lesson_store import LessonStore
from InteractiveSegLib.learning.replay import reservoir
from InteractiveSegLib.learning.settings import DARK, NONE, LearnSettings
from InteractiveSegLib.learning.targets import trust
from InteractiveSegLib.learning.teacher import Teacher, teach_steps
from InteractiveSegLib.learning.uncertainty import UncertaintySettings, uncertainty_steps
from InteractiveSegLib.learning.validation import validated_steps
from InteractiveSegLib.learning.versions import (
    add_version,
    in_use,
    learner_folder,
    prune,
    versions,
)
from InteractiveSegLib.progress import Progress, Steps, titled
from InteractiveSegLib.system.contained_path import contained_path
from InteractiveSegLib.system.files import make_folder
from InteractiveSegLib.system.process_lock import locked_folder
from InteractiveSegLib.training.trainer import TrainingDivergedError

RUNNING, DONE, DROPPED = "running", "done", "dropped"
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Learnt:
    """The result of one training.

    case : its name; of several cases, the first name and the number of others
    version : its number; None if the training was dropped or postponed
    postponed : a file that it needs cannot be read; it is tried again the next time
    """

    case: str
    version: int | None
    used: bool
    reason: str
    postponed: bool = False


@dataclass(frozen=True)
class _Plan:
    """A training as planned at its start; it does not change however often the training is resumed.

    together : numbers of the further acceptances that are new in it
    replayed : numbers of the acceptances that were learnt before
    alpha : trust in the masks
    """

    id: int
    acceptance: Acceptance
    parent: int | None
    settings: LearnSettings
    alpha: float
    replayed: tuple[int, ...]
    together: tuple[int, ...] = ()


class StreamLearner:
    """Learns from the training cases of a casebook, in the order of their acceptance.

    Parameters
    ----------
    teacher : for the kind of network
    uncertainty : how many unfinished cases the version in use predicts when all is learnt
    device : for training
    """

    def __init__(
        self,
        casebook: Casebook,
        teacher: Teacher[Any, Any],
        settings: LearnSettings | None = None,
        judge: JudgeSettings | None = None,
        device: torch.device = _CPU,
        uncertainty: UncertaintySettings | None = None,
    ) -> None:
        self.casebook, self.teacher, self.device = casebook, teacher, device
        self.settings, self.judge = settings or LearnSettings(), judge or JudgeSettings()
        self.uncertainty = uncertainty or UncertaintySettings()
        self.folder = learner_folder(casebook, teacher.name)
        self.store = LessonStore(contained_path(self.folder, "lessons", f"the {teacher.name} network"))

    def steps(self) -> Steps[list[Learnt]]:
        """Learn from every accepted case that was not learnt yet; an interrupted training is resumed.

        A case whose image was moved or has changed, or whose accepted mask is damaged, is postponed, and the others are
        learnt; in replay and validation it is left out with a note. Then the version in use predicts new cases, for
        the worklist's order of uncertainty.

        Raises
        ------
        InputError : another process is learning for this network.
        OutputError : the folder cannot be written, or the disk is full.
        """
        learnt: list[Learnt] = []
        unreadable: set[int] = set()
        held = f"the learner of the {self.teacher.name} network is already running in another process"
        lock = locked_folder(self.folder, held)
        try:
            while (plan := self._next_plan(unreadable)) is not None:
                try:
                    learnt.append((yield from self._training(plan)))
                except InputError as error:  # the image may be available the next time
                    unreadable.add(plan.acceptance.id)
                    case = self.casebook.case_of_id(plan.acceptance.case_id)
                    learnt.append(Learnt(case.name, None, False, f"postponed: {error}", postponed=True))
            if (version := in_use(self.casebook, self.teacher.name)) is not None:
                yield from uncertainty_steps(self.casebook, self.teacher, version, self.uncertainty)
        finally:
            lock.release()
        return learnt

    def waiting(self) -> list[Acceptance]:
        """Acceptances that are still to be learnt, the next one first."""
        done = {row["acceptance_id"]: row["state"] for row in self._trainings()}
        return [found for found in self._taught() if done.get(found.id, RUNNING) == RUNNING]

    def _taught(self) -> Iterator[Acceptance]:
        splits = {case.id: case.split for case in self.casebook.cases()}
        return (found for found in stream(self.casebook) if splits.get(found.case_id) == TRAIN)

    def _trainings(self) -> list[sqlite3.Row]:
        return self.casebook.database.rows("SELECT * FROM training WHERE learner = ? ORDER BY id", [self.teacher.name])

    def _running(self) -> list[sqlite3.Row]:
        return [row for row in self._trainings() if row["state"] == RUNNING]

    def _next_plan(self, unreadable: Collection[int]) -> _Plan | None:
        current = {found.id: found for found in self._taught()}
        for row in self._running():
            if row["acceptance_id"] not in current:
                self._close(row["id"], DROPPED, "the case was reopened before the training ended")
        sweep(self.casebook, self.teacher.name, self.folder, [row["id"] for row in self._running()])
        for row in self._running():
            if row["acceptance_id"] not in unreadable:
                with suppress(TypeError, ValueError, KeyError, AttributeError):
                    return _plan(row, current[row["acceptance_id"]])
                self._forget(row["id"])
        waiting = [found for found in self.waiting() if found.id not in unreadable]
        if not waiting:
            return None
        return self._begun(waiting, [row for row in self._trainings() if row["state"] == DONE], current)

    def _begun(self, waiting: list[Acceptance], done: list[sqlite3.Row], current: dict[int, Acceptance]) -> _Plan:
        """Plan the next training and store the plan."""
        settings, found = self.settings, waiting[0]
        together = [each.id for each in waiting[1 : settings.together]]
        earlier = [done[number]["acceptance_id"] for number in reservoir(len(done), settings.buffer, settings.seed)]
        replayed = [] if settings.replay == NONE else [number for number in earlier if number in current]
        alpha = trust(len(done), settings.expected_cases) if settings.smoothing else 1.0
        parent = in_use(self.casebook, self.teacher.name)
        final = settings.at(len(done), 1 + len(together) + len(replayed))
        plan = {"settings": asdict(final), "alpha": alpha, "replayed": replayed, "together": together}
        with self.casebook.database.writing() as rows:
            cursor = rows.execute(
                "INSERT INTO training (learner, acceptance_id, parent, state, plan) VALUES (?, ?, ?, ?, ?)",
                [self.teacher.name, found.id, parent and parent.id, RUNNING, json.dumps(plan)],
            )
        [row] = self.casebook.database.rows("SELECT * FROM training WHERE id = ?", [cursor.lastrowid])
        return _plan(row, found)

    def _close(self, number: int, state: str, reason: str) -> None:
        with self.casebook.database.writing() as rows:
            rows.execute("UPDATE training SET state = ?, reason = ? WHERE id = ?", [state, reason, number])

    def _forget(self, number: int) -> None:
        """Delete a training whose plan is damaged, so that it starts again."""
        with self.casebook.database.writing() as rows:
            rows.execute("DELETE FROM training WHERE id = ?", [number])
        shutil.rmtree(training_folder(self.folder, number), ignore_errors=True)
        self.casebook.note(f"the plan of training {number} is damaged in the database: the training starts again")

    def _training(self, plan: _Plan) -> Steps[Learnt]:
        case = self.casebook.case_of_id(plan.acceptance.case_id)
        parent = next((v for v in versions(self.casebook, self.teacher.name) if v.id == plan.parent), None)
        settings = plan.settings
        yield Progress(0, settings.updates, f"reading {case.name}")
        if not plan.acceptance.known_labels:
            return self._dropped(plan, case.name, "no label was known when it was accepted: there is nothing to learn")
        volume = self.casebook.volume(case)
        weights = parent.folder if parent else None
        known = {found.id: found for found in self._taught()}
        further = [known[number] for number in plan.together if number in known]
        labels = dict.fromkeys(label for found in (plan.acceptance, *further) for label in found.known_labels)
        network = self.teacher.start(weights, volume, tuple(labels))
        latest = self._lesson(plan.acceptance, plan.alpha, settings, network)
        if latest is None:
            return self._dropped(plan, case.name, "its mask contains nothing that this network could learn")
        new = {plan.acceptance.id: latest, **self._further(further, plan, network)}
        settings = replace(settings, together=len(new))
        lessons = [*new.values(), *self._replayed(plan, network)]
        name = case.name if len(new) == 1 else f"{case.name} and {len(new) - 1} more"
        try:
            taught = yield from titled(
                f"learning from {name}, ",
                teach_steps(
                    self.teacher,
                    network,
                    lessons,
                    settings,
                    settings.seed * 10_007 + plan.acceptance.id,
                    training_folder(self.folder, plan.id),
                    self.device,
                ),
            )
        except TrainingDivergedError as error:
            return self._dropped(plan, case.name, f"the candidate was dropped: {error}")
        if settings.replay == DARK:
            for number, lesson in new.items():
                self.store.save(number, self.teacher.pack(self.teacher.remembered(lesson, taught)))
        candidate = candidate_folder(self.folder, plan.id)
        make_folder(candidate)
        learnt = [found for found in (plan.acceptance, *further) if found.id in new]
        seen = sorted({*(parent.cases if parent else ()), *(found.case_id for found in learnt)})
        self.teacher.save(taught, candidate, {"cases": len(seen), "updates": settings.updates, "seed": settings.seed})
        weights = weights_checksums(candidate)
        verdict, scores = yield from validated_steps(self.casebook, self.teacher, taught, parent, self.judge)
        with self.casebook.database.writing() as rows:
            file = candidate.relative_to(self.casebook.folder).as_posix()
            number = add_version(
                rows, self.teacher.name, plan.parent, verdict.good, file, seen, scores, verdict.reason, weights
            )
            rows.execute("UPDATE training SET state = ?, reason = ? WHERE id = ?", [DONE, verdict.reason, plan.id])
            for found in learnt[1:]:
                rows.execute(
                    "INSERT INTO training (learner, acceptance_id, parent, state, plan, reason)"
                    " SELECT learner, ?, parent, state, plan, reason FROM training WHERE id = ?",
                    [found.id, plan.id],
                )
        prune(self.casebook, self.teacher.name)
        done = [row["acceptance_id"] for row in self._trainings() if row["state"] == DONE]
        self.store.prune({done[n] for n in reservoir(len(done), settings.buffer, settings.seed)})
        return Learnt(name, number, verdict.good, verdict.reason)

    def _dropped(self, plan: _Plan, case: str, reason: str) -> Learnt:
        self._close(plan.id, DROPPED, reason)
        return Learnt(case, None, False, reason)

    def _lesson(self, found: Acceptance, alpha: float, settings: LearnSettings, network: Any) -> Any:
        """A lesson from the store, or from the accepted mask if the store has none that fits the network."""
        kept = self.store.load(found.id)
        if kept is not None:
            lesson = self.teacher.unpack(kept)
            if self.teacher.fits(lesson, network, found.known_labels):
                return lesson
        case = self.casebook.case_of_id(found.case_id)
        accepted = load_accepted(case, found)
        taught = case_targets(self.casebook.volume(case), accepted, found.known_labels, alpha, settings.person_weight)
        lesson = self.teacher.lesson(taught, network)
        if lesson is None:
            return None
        packed = self.teacher.pack(lesson)
        self.store.save(found.id, packed)
        return self.teacher.unpack(packed)  # rounded as when it is read from the store

    def _further(self, found: Sequence[Acceptance], plan: _Plan, network: Any) -> dict[int, Any]:
        """Number of an acceptance -> its lesson; those with nothing to learn from are left for another time."""
        lessons = {}
        for each in found:
            try:
                lesson = self._lesson(each, plan.alpha, plan.settings, network) if each.known_labels else None
            except InputError as error:
                self.casebook.note(f"a case is not learnt with the others: {error}")
                continue
            if lesson is not None:
                lessons[each.id] = lesson
        return lessons

    def _replayed(self, plan: _Plan, network: Any) -> Iterator[Any]:
        trainings = {row["acceptance_id"]: row for row in self._trainings()}
        current = {found.id: found for found in self._taught()}
        for number in plan.replayed:
            if number in current:
                try:
                    alpha = float(json.loads(trainings[number]["plan"])["alpha"])
                    lesson = self._lesson(current[number], alpha, plan.settings, network)
                except (InputError, KeyError, TypeError, ValueError) as error:
                    self.casebook.note(f"an earlier case is not replayed: {error}")
                    continue
                if lesson is not None:
                    yield lesson


def teacher_named(name: str) -> Teacher[Any, Any]:
    """The teacher of this name. InputError if there is none."""
    from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
    from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher

    teachers = {"prompted": PromptedTeacher, "automatic": AutomaticTeacher}
    if name not in teachers:
        raise InputError(f"the learner must be one of {', '.join(teachers)}, not {name!r}")
    return teachers[name]()


def _plan(row: sqlite3.Row, found: Acceptance) -> _Plan:
    plan = json.loads(row["plan"])
    settings = LearnSettings(**plan["settings"])
    together = tuple(int(number) for number in plan.get("together", ()))
    return _Plan(row["id"], found, row["parent"], settings, plan["alpha"], tuple(plan["replayed"]), together)
