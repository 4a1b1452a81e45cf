"""``interactiveseg train``."""

from __future__ import annotations

import argparse
from pathlib import Path

from InteractiveSegLib.commands.terminal import (
    add_common,
    add_label_names,
    add_training_images,
    add_training_steps,
    count_or_none,
    say,
    shown,
    shown_in_lines,
)
from InteractiveSegLib.device import device_named


def add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train a network from procedural images, or from scribbles",
        description="Train one of the networks that come with InteractiveSeg from procedural images, or a network of "
        "your own from scribbles. Run it again with the same folder to resume.",
    )
    networks = command.add_subparsers(required=True, metavar="NETWORK")
    for name, what in (
        ("prompted", "the network that sees the prompts"),
        ("pnet", "the network that looks at slices"),
        ("pcnet", "the network that looks at volumes"),
    ):
        _add_procedural(networks, name, what)
    _add_scribbles(networks)


def _add_procedural(networks: argparse._SubParsersAction, name: str, what: str) -> None:
    command = networks.add_parser(
        name,
        help=f"{what}, from procedural images",
        description=f"Train {what}, from procedural images. Run it again with the same folder to resume.",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="checkpoints and weights")
    command.add_argument("--steps", type=int, help="number of optimiser steps (default: as for the shipped weights)")
    command.add_argument(
        "--label-maps",
        type=Path,
        metavar="FOLDER",
        help="continue the training of the prompted network on shapes from these label maps, with few marks",
    )
    command.add_argument("--workers", type=int, default=0, help="number of processes that generate images")
    add_common(command)
    command.set_defaults(run=_train, network=name)


def _add_scribbles(networks: argparse._SubParsersAction) -> None:
    command = networks.add_parser(
        "scribbles",
        help="a network of your own, from images on which people scribbled",
        description="Train a network from scribbles alone. It then marks other images without any prompt: segment "
        "--model FOLDER. Slices that are thick are looked at one by one, other images as volumes. Run it again with "
        "the same folder to resume.",
    )
    add_training_images(command)
    command.add_argument(
        "--scribbles",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="labelmaps named like the images, perhaps with _scribble; it may be the same folder",
    )
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="the model, its card and checkpoints"
    )
    command.add_argument("--background", type=int, default=255, metavar="VALUE", help="value that marks background")
    command.add_argument("--unmarked", type=int, default=0, metavar="VALUE", help="value of unmarked voxels")
    add_label_names(command)
    command.add_argument(
        "--patient",
        metavar="REGEX",
        help="images in whose names it matches the same text are of one patient, such as 'patient[0-9]+'",
    )
    command.add_argument(
        "--validation",
        type=count_or_none,
        metavar="N",
        help="number of patients on whom the checkpoint is chosen, drawn at random (default: a fifth, at least one; "
        "none if there are fewer than three)",
    )
    command.add_argument(
        "--masks",
        type=Path,
        metavar="FOLDER",
        help="full masks, by which the checkpoint is chosen where a validation case has one; nothing else uses them",
    )
    add_training_steps(command, 12_000)
    command.add_argument(
        "--crf",
        type=float,
        default=0.1,
        metavar="WEIGHT",
        help="weight of the CRF term, by which similar neighbours should agree; 0 turns it off",
    )
    command.add_argument(
        "--attentive",
        type=float,
        default=0.1,
        metavar="WEIGHT",
        help="weight of the term by which what the network's attention finds similar should agree; 0 turns it off",
    )
    command.add_argument(
        "--attention", metavar="LAYER", help="layer of the network that gets attention; none leaves it out"
    )
    add_common(command)
    command.set_defaults(run=_train_scribbles)


def _train(options: argparse.Namespace) -> None:
    from InteractiveSegLib.training.recipes import train_steps

    steps = train_steps(
        options.network,
        options.output,
        steps=options.steps,
        seed=options.seed,
        workers=options.workers,
        device=device_named(options.device),
        label_maps=options.label_maps,
    )
    print(shown(steps, options))


def _train_scribbles(options: argparse.Namespace) -> None:
    from InteractiveSegLib.learning.scribble_folder import ScribbleSource, folder_steps
    from InteractiveSegLib.learning.scribble_objective import ScribbleLossSettings
    from InteractiveSegLib.learning.scribble_set import ScribbleValues
    from InteractiveSegLib.learning.scribble_training import MIDDLE, ScribbleSettings
    from InteractiveSegLib.learning.source_set import read_names

    attention = options.attention or (MIDDLE if options.attentive else "none")
    settings = ScribbleSettings(
        steps=options.steps,
        loss=ScribbleLossSettings(crf=options.crf, attentive=options.attentive),
        attention="" if attention == "none" else attention,
        seed=options.seed,
    )
    source = ScribbleSource(
        options.images,
        options.scribbles,
        options.masks,
        ScribbleValues(options.background, options.unmarked),
        options.patient,
        options.validation,
        None if options.names is None else read_names(options.names),
    )
    found = shown_in_lines(folder_steps(source, options.output, settings, device_named(options.device)), options)
    say(options, *found.notes)
    trained = found.training
    chosen = f"validation Dice {trained.score:.3f}" if trained.curve else "no validation"
    print(f"{found.model}\tstep {trained.step}\t{chosen}")
