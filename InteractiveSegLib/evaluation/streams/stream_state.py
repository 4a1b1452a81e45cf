"""A simulated stream on disk: the network after every case, the lessons for replay, and the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.lesson_store import LessonStore
from InteractiveSegLib.learning.replay import reservoir
from InteractiveSegLib.learning.settings import DARK, NONE, LearnSettings
from InteractiveSegLib.system.files import replacing


class StreamState:
    """Resumes where it stopped.

    Attributes
    ----------
    network : as left by the cases so far; None before the first
    records : one per case
    """

    def __init__(self, folder: Path, teacher: AutomaticTeacher, learn: LearnSettings) -> None:
        self.folder, self.teacher, self.learn = folder, teacher, learn
        self._store = LessonStore(folder / "lessons")
        self._path = folder / "records.json"
        self.records: list[dict[str, Any]] = json.loads(self._path.read_text()) if self._path.is_file() else []
        self._lessons = {number: self._kept(number) for number in self._replayed_numbers()}
        self.network: AutomaticNetwork | None = self.teacher.load(self._weights() if self.records else None)

    @property
    def done(self) -> int:
        """Number of cases so far."""
        return len(self.records)

    def replayed(self) -> list[ImageLesson]:
        """Lessons for replay with the next case."""
        return [] if self.learn.replay == NONE else list(self._lessons.values())

    def training_folder(self) -> Path:
        """Folder for the checkpoints of the current case."""
        return self.folder / f"training-{self.done}"

    def keep(self, network: AutomaticNetwork, lesson: ImageLesson, record: dict[str, Any]) -> None:
        """Store a finished case. The record is written last."""
        if self.learn.replay == DARK:
            lesson = self.teacher.remembered(lesson, network)
        number = self.done
        packed = self.teacher.pack(lesson)
        self._store.save(number, packed)
        self.network = network
        self._weights(number + 1).mkdir(parents=True, exist_ok=True)
        self.teacher.save(network, self._weights(number + 1), {"cases": number + 1})
        self.records.append(record)
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(self.records))
        kept = self._replayed_numbers()
        stored = self.teacher.unpack(packed)  # rounded as in the file, so that a resumed stream goes on the same way
        self._lessons = {n: stored if n == number else self._lessons[n] for n in kept}
        self._store.prune(kept)

    def _weights(self, cases: int | None = None) -> Path:
        """Two alternating folders: the one in use is never written."""
        return self.folder / f"network-{(self.done if cases is None else cases) % 2}"

    def _replayed_numbers(self) -> list[int]:
        return reservoir(self.done, self.learn.buffer, self.learn.seed)

    def _kept(self, number: int) -> ImageLesson:
        arrays = self._store.load(number)
        if arrays is None:
            raise InputError(f"the lesson {number} in {self.folder} is missing: delete the folder and run again")
        return self.teacher.unpack(arrays)
