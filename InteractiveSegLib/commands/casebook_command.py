"""``interactiveseg casebook``: a study as a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from InteractiveSegLib.commands.casebook_action import action_of, add_case, opened
from InteractiveSegLib.commands.casebook_list import json_list, table_list
from InteractiveSegLib.commands.casebook_next import add_next, add_status
from InteractiveSegLib.commands.ignite_command import add_ignite
from InteractiveSegLib.commands.review_options import add_review, review_of
from InteractiveSegLib.commands.terminal import PARTLY_DONE, add_json, one_voice, say, shown
from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.wording.plain_text import printable

_FORMS = ("nifti", "seg.nrrd", "dicom")


def add_casebook(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "casebook",
        help="manage a study: cases, accepted masks, effort",
        description="A casebook is the folder of a study: references to the images, prompts and masks, who drew what, "
        "the effort, and the networks trained on it.",
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")
    for add in (
        _add_init,
        _add_add,
        add_ignite,
        _add_list,
        add_next,
        add_status,
        _add_accept,
        _add_moves,
        _add_export,
        _add_check,
    ):
        add(actions)


def _add_init(actions: argparse._SubParsersAction) -> None:
    action = action_of(actions, "init", "create an empty casebook", _init)
    action.add_argument("--validation", type=float, default=0.15, metavar="SHARE", help="of the patients")
    action.add_argument("--test", type=float, default=0.15, metavar="SHARE", help="of the patients")
    action.add_argument("--seed", type=int, default=0, help="for the choice of these patients")
    action.add_argument(
        "--pseudonyms",
        action="store_true",
        help="number the cases, and hash every patient with a secret",
    )
    action.add_argument("--label", action="append", default=[], type=_named, metavar="N=NAME", help="name of a label")


def _add_add(actions: argparse._SubParsersAction) -> None:
    action = action_of(
        actions,
        "add",
        "add images",
        _add,
        "Add images without copying them: files, or folders of NIfTI, NRRD, MHA files and DICOM series. A hash of the "
        "patient decides permanently whether a case is for training, validation or test.",
    )
    action.add_argument("images", type=Path, nargs="+", metavar="IMAGES", help="files or folders")
    action.add_argument("--pattern", default="*", metavar="GLOB", help="of file names, such as '*_image.nii.gz'")
    action.add_argument("--patient", metavar="REGEX", help="files with the same match in their names are one patient's")
    action.add_argument("--split", choices=("train", "validation", "test"), help="instead of the one by hash")


def _add_list(actions: argparse._SubParsersAction) -> None:
    action = action_of(actions, "list", "show the cases, their states and the effort", _list)
    add_json(action)


def _add_accept(actions: argparse._SubParsersAction) -> None:
    action = action_of(
        actions,
        "accept",
        "accept a mask for a case, or a part of it",
        _accept,
        "Accept a mask for a case. With --verified or --not-there only those organs and slices count: the rest is not "
        "learnt from and is exported only on request.",
    )
    add_case(action)
    action.add_argument(
        "mask",
        type=Path,
        metavar="MASK",
        nargs="?",
        help="labelmap on the grid of the image; by default the case's present mask: its starting mask, or the one "
        "accepted before",
    )
    add_review(action)
    action.add_argument("--scribbles", type=Path, metavar="FILE", help="labelmap of the scribbles that led to it")
    action.add_argument("--absent", action="store_true", help="the image shows none of the objects")


def _add_moves(actions: argparse._SubParsersAction) -> None:
    for name, text in (("skip", "leave a case out"), ("reopen", "reopen an accepted or skipped case")):
        action = action_of(actions, name, text, _move)
        add_case(action)
        action.set_defaults(move=name)


def _add_export(actions: argparse._SubParsersAction) -> None:
    action = action_of(actions, "export", "export accepted masks or the effort", _export)
    action.add_argument("output", type=Path, metavar="OUTPUT", help="folder of the masks; file of the effort")
    action.add_argument("--form", choices=_FORMS, default="nifti", help="of the masks")
    action.add_argument("--effort", action="store_true", help="a table (.csv) or a plot (.png) of the effort instead")
    action.add_argument(
        "--with-unverified",
        action="store_true",
        help="export unverified parts, too: the rest of partly accepted masks, and starting masks",
    )
    action.add_argument("--overwrite", action="store_true", help="replace files that exist already")


def _add_check(actions: argparse._SubParsersAction) -> None:
    action = action_of(
        actions,
        "check",
        "check that everything is present and undamaged",
        _check,
        "Check the database, every image and every file, and list what is damaged, missing, changed or left over. "
        "The exit code is 3 if something is left to be done.",
    )
    action.add_argument("--repair", action="store_true", help="make the repairs that lose nothing")


def _named(word: str) -> tuple[int, str]:
    number, equals, name = word.partition("=")
    if not (equals and number.isdigit() and 1 <= int(number) <= 254 and name.strip()):
        raise argparse.ArgumentTypeError(f"{word!r} is not a label from 1 to 254 and its name, such as 1=liver")
    return int(number), name.strip()


def _init(options: argparse.Namespace) -> None:
    from InteractiveSegLib.casebook.casebook import Casebook
    from InteractiveSegLib.casebook.splits import SplitSettings

    splits = SplitSettings(options.validation, options.test, options.seed)
    with Casebook.created(options.casebook, splits, dict(options.label), options.pseudonyms) as casebook:
        print(casebook.folder)


def _add(options: argparse.Namespace) -> None:
    from InteractiveSegLib.casebook.importing import ImportSettings, import_steps

    settings = ImportSettings(options.pattern, options.patient, options.split)
    with opened(options) as casebook:
        for place in options.images:
            with one_voice():
                imported = shown(import_steps(casebook, place, settings), options)
            for entry in imported.added:
                print(f"{printable(entry.name)}\t{entry.split}")
            say(options, *imported.notes)


def _list(options: argparse.Namespace) -> None:
    with opened(options) as casebook:
        print(json_list(casebook) if options.json else table_list(casebook))


def _accept(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept
    from InteractiveSegLib.casebook.from_files import accepted_from_files
    from InteractiveSegLib.casebook.left_work import left_work
    from InteractiveSegLib.casebook.review import SliceState
    from InteractiveSegLib.casebook.states import State

    named = bool(options.verified or options.not_there)
    if options.absent and (named or options.mask is not None):
        raise InputError("--absent means that the image shows no object: give neither MASK nor organs")
    if options.mask is None and not (options.absent or named):
        raise InputError("give the MASK, or --absent if the image shows no object")
    with opened(options) as casebook:
        entry = casebook.case(options.case)
        notes: list[str] = []
        left = left_work(casebook, entry)
        if options.mask is None and not options.absent:
            if left is None:
                raise InputError(f"case {entry.name!r} has no mask yet: give the MASK")
            if options.scribbles is not None:
                raise InputError("--scribbles belong to a MASK: give it as well")
            read = AcceptedMask(left.labels, left.origins, left.prompts)
        else:
            with one_voice():
                read = accepted_from_files(entry, options.mask, options.scribbles, notes, left)
        read = replace(read, review=review_of(casebook, entry, read.labels, left, options))
        is_new = entry.state is State.NEW
        if is_new:
            entry = casebook.begin(entry)
        try:
            found = accept(casebook, entry, read)
        except InteractiveSegError:
            if is_new:
                casebook.give_back(entry)
            raise
        print(f"{printable(entry.name)}\taccepted\tlabels {', '.join(map(str, found.labels)) or 'none'}")
        if named:
            review = found.reviewed(entry)
            open_slices = review.counts()[SliceState.UNVERIFIED]
            say(options, f"{open_slices} of {review.slices * len(review.states)} slices of organs are not verified yet")
        say(options, *notes)


def _move(options: argparse.Namespace) -> None:
    with opened(options) as casebook:
        moved = getattr(casebook, options.move)(casebook.case(options.case))
        print(f"{printable(moved.name)}\t{moved.state.value}")


def _export(options: argparse.Namespace) -> int:
    with opened(options) as casebook:
        if not options.effort:
            from InteractiveSegLib.casebook.exporting import export_steps

            steps = export_steps(casebook, options.output, options.form, options.overwrite, options.with_unverified)
            exported = shown(steps, options)
            for path in exported.files:
                print(path)
            say(options, *exported.notes, *exported.left_out)
            return PARTLY_DONE if exported.left_out else 0
        from InteractiveSegLib.casebook.effort_report import save_effort_plot, write_effort_csv
        from InteractiveSegLib.casebook.exporting import require_exportable

        writers = {".csv": write_effort_csv, ".png": save_effort_plot}
        if options.output.suffix not in writers:
            raise InputError(f"{options.output}: the effort is written as {' or '.join(writers)}")
        say(options, *require_exportable(casebook, [options.output], options.overwrite))
        writers[options.output.suffix](casebook, options.output)
        print(options.output)
        return 0


def _check(options: argparse.Namespace) -> int:
    from InteractiveSegLib.casebook.casebook import Casebook
    from InteractiveSegLib.casebook.checking import check_steps

    with Casebook(options.casebook) as casebook:
        if casebook.splits_are_known:  # otherwise that is among the findings
            say(options, *casebook.notes)
        with one_voice():
            findings = shown(check_steps(casebook, options.repair), options)
        count = len(casebook.cases())
    for found in findings:
        how = "repaired" if found.is_repaired else "with --repair"
        print(f"{found.text} ({how}: {found.remedy})" if found.remedy else found.text)
    if not findings:
        one, many = "case with its image, masks and prompts is", "cases with their images, masks and prompts are"
        say(options, f"{counted(count, one, many)} complete and unchanged")
    return 0 if all(found.is_repaired for found in findings) else PARTLY_DONE
