"""Creating a casebook and adding images to it, for a window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from InteractiveSegLib.casebook.case_view import CasebookView
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.importing import import_steps
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.worker.requests.casebook_actions import act


def create(folder: Path, organs: str) -> None:
    """Create an empty casebook.

    Parameters
    ----------
    organs : their names, separated by commas, which get the labels 1, 2, ...; may be empty

    Raises
    ------
    InputError : there already is a casebook, or two organs have the same name.
    OutputError : it cannot be written.
    """
    names = [name.strip() for name in organs.split(",") if name.strip()]
    twice = [name for place, name in enumerate(names) if name.casefold() in map(str.casefold, names[:place])]
    if twice:
        raise InputError(f"two organs are called {twice[0]!r}")
    Casebook.created(folder, labels=dict(enumerate(names, 1))).close()


def add_steps(folder: Path, images: Path) -> Steps[CasebookView]:
    """Add the images of a folder. InputError as for ``import_steps``."""
    with Casebook(folder) as casebook:
        imported = yield from import_steps(casebook, images)
    view = act(folder, "look")
    said = f"{counted(len(imported.added), 'image was', 'images were')} added"
    return replace(view, said=said, notes=(*imported.notes, *view.notes))
