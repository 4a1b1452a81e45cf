"""Starting a study from labelled images: their folders, the organs of their labels, and the training on them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.file_pairs import file_pairs
from InteractiveSegLib.system.files import replacing
from InteractiveSegLib.worker.job import Job, JobCallbacks, JobError
from InteractiveSegLib.worker.requests.source_request import SourceRequest, SourceView
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.igniting_process import IgnitingProcess, Source, sentence

_SETTING = "InteractiveSeg/LabelledImages"


class Igniting:
    """Checks labelled images in the worker, and trains a network on them in a process of its own.

    Parameters
    ----------
    casebook : folder of the open one; None if none is open
    on_end : called when starting masks may have been added

    Attributes
    ----------
    images, labels : the folders that were chosen; None before
    source : what was found in them; None until they have been checked
    text : progress of the check, its notes, or why it failed
    names : label of the source -> organ of the study; None while none is chosen, "" if the label is not used
    process : of the training, which may be for another casebook than the open one
    """

    def __init__(self, controller: Controller, casebook: Callable[[], Path | None], on_end: Callable[[], None]) -> None:
        self._controller, self._casebook, self._on_end = controller, casebook, on_end
        self.images: Path | None = None
        self.labels: Path | None = None
        self.source: SourceView | None = None
        self.text = ""
        self.is_error = False
        self.names: dict[int, str | None] = {}
        self.process = IgnitingProcess(self._on_process)
        self._check: Job | None = None
        self._chosen: dict[tuple[Path | None, ...], dict[int, str | None]] = {}

    @property
    def is_checking(self) -> bool:
        return self._check is not None

    @property
    def obstacle(self) -> str:
        """Why the training cannot start; empty if it can."""
        if self._casebook() is None:
            return _("Open a casebook first.")
        if self.process.is_running:
            return self.other_study or _("The training is already running.")
        if self.images is None or self.labels is None:
            return _("Choose the folders of images and labelmaps first.")
        if self.source is None:
            return _("Wait until the images have been checked.") if self.is_checking else self.text
        missing = [label for label, name in self.names.items() if name is None]
        if missing:
            return _("Choose what label {label} is in the study.").format(label=missing[0])
        if not any(self.names.values()):
            return _("No label is used: choose an organ for at least one.")
        return ""

    @property
    def other_study(self) -> str:
        """A sentence while the training is for another casebook than the open one; otherwise empty."""
        folder = self.process.casebook
        if not self.process.is_running or folder == self._casebook():
            return ""
        return _("A training is running for another study, {name}.").format(name=folder.name)

    @property
    def status_text(self) -> str:
        """Progress or outcome of the training, with the name of the study if it is not the open one."""
        process = self.process
        text = f"\u26a0 {process.text}" if process.is_error else process.text
        is_other = process.casebook is not None and process.casebook != self._casebook()
        return _("In the study {name}: {text}").format(name=process.casebook.name, text=text) if is_other else text

    def choose_images(self, folder: Path) -> None:
        """Choose the folder of images; if it contains their labelmaps, too, it is also chosen for these."""
        if self.labels in (None, self.images):
            self.labels = folder if _has_pairs(folder) else None
        self.images = folder
        self._store_choice()
        self.check()

    def choose_labels(self, folder: Path) -> None:
        self.labels = folder
        self._store_choice()
        self.check()

    def recall(self) -> None:
        """If no folder is chosen, restore the last choice from the application's settings."""
        if self.images is not None or self.labels is not None:
            return
        casebook, self.images, self.labels, names = _stored_choice()
        if names:
            self._chosen[(casebook, self.images, self.labels)] = names
        self.check()

    def check(self) -> None:
        """Have the worker check the images, once both folders are chosen."""
        casebook, job = self._casebook(), self._check
        self.source, self.names, self.text, self.is_error, self._check = None, {}, "", False, None
        if job is not None:
            job.cancel()
        if casebook is None or self.images is None or self.labels is None:
            self.text = _("Choose the other folder, too.") if self.images or self.labels else ""
            self._controller.changed()
            return
        request = SourceRequest(str(casebook), str(self.images), str(self.labels))

        def if_current(tell: Callable) -> Callable:
            return lambda what: tell(what) if self._check is asked else None

        callbacks = JobCallbacks(
            progress=if_current(lambda progress: self._tell(f"{sentence(progress.text)} ...")),
            result=if_current(self._on_source),
            error=if_current(self._on_check_failed),
            stopped=if_current(lambda _how: self._on_check_failed(_("The images were not checked."))),
        )
        self.text = _("Checking the images ...")
        asked = self._check = self._controller.client.submit(request, callbacks)
        self._controller.changed()

    def name(self, label: int, name: str | None) -> None:
        """Choose the organ of a label of the source; "" if the label is not used, None for no choice."""
        self.names[label] = name
        self._chosen.setdefault(self._place, {})[label] = name
        self._store_choice()
        self._controller.changed()

    def start(self) -> None:
        """Train a network and give cases starting masks. InputError if something is missing."""
        if self.obstacle:
            raise InputError(self.obstacle)
        path = Path(tempfile.mkdtemp(prefix="InteractiveSeg-", dir=slicer.app.temporaryPath)) / "labels.json"
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(names_for_file(self.names, self.source.study)), "utf-8")
        self.process.start(self._casebook(), Source(self.images, self.labels, path))

    def stop(self) -> None:
        self.process.stop()

    def close(self) -> None:
        """Called when the window closes; the training resumes when it is started again."""
        self.process.stop(wait=True)

    @property
    def _place(self) -> tuple[Path | None, ...]:
        """What the chosen names belong to: the casebook and both folders."""
        return (self._casebook(), self.images, self.labels)

    def _store_choice(self) -> None:
        folders = [None if folder is None else str(folder) for folder in self._place]
        names = list(self._chosen.get(self._place, {}).items())
        qt.QSettings().setValue(_SETTING, json.dumps([*folders, names]))

    def _on_source(self, source: SourceView) -> None:
        self._check, self.source = None, source
        chosen, organs = self._chosen.get(self._place, {}), ("", *source.study.values())
        self.names = proposed_names(source.images_with, source.study)
        for label in self.names:
            if label in chosen and (not source.study or chosen[label] in organs):
                self.names[label] = chosen[label]
        by_number = any(label in source.study and label not in chosen for label in self.names)
        check = [_("Labels were matched by number: check the table.")] if by_number else []
        self._tell(" ".join([*check, *(f"{sentence(note)}." for note in source.notes)]))

    def _on_check_failed(self, error: JobError | str) -> None:
        self._check = None
        self.is_error = True
        self._tell(f"{sentence(str(error))}.")

    def _tell(self, text: str) -> None:
        self.text = text
        self._controller.changed()

    def _on_process(self, ended: bool) -> None:
        if ended:
            self._on_end()
        self._controller.changed()


def _stored_choice() -> tuple[Path | None, Path | None, Path | None, dict[int, str | None]]:
    """The casebook, the folders of images and labelmaps, and the names of labels chosen last; nothing if unreadable."""
    try:
        *folders, names = json.loads(slicer.util.settingsValue(_SETTING, ""))
        casebook, images, labels = (None if folder is None else Path(folder) for folder in folders)
        return casebook, images, labels, {int(label): name for label, name in names}
    except (ValueError, TypeError):
        return None, None, None, {}


def _has_pairs(folder: Path) -> bool:
    """Whether a folder holds images with their labelmaps."""
    try:
        return bool(file_pairs(folder, folder).pairs)
    except InputError:
        return False


def proposed_names(labels: Mapping[int, int] | list[int], study: Mapping[int, str]) -> dict[int, str | None]:
    """Label of the source -> organ: that of the same number in the study; a study without organs gets new names."""
    return {label: study.get(label) if study else f"label {label}" for label in labels}


def names_for_file(names: Mapping[int, str | None], study: Mapping[int, str]) -> dict[str, str]:
    """The table for ``casebook ignite --names``; labels that are not used get names that the study does not have."""
    taken = set(study.values())

    def unused(label: int) -> str:
        name = f"not used {label}"
        while name in taken:
            name += "'"
        return name

    return {str(label): name or unused(label) for label, name in names.items()}
