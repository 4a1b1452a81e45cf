"""What --help shows: every option, every default, and correct examples."""

import argparse
import shlex

import pytest

from InteractiveSegLib.cli import _parser
from InteractiveSegLib.commands.command_examples import EXAMPLES
from InteractiveSegLib.commands.prompt_options import with_joined_boxes


def parsers(parser=None, words=()):
    """Words of every command, and its parser."""
    parser = parser or _parser()
    yield " ".join(words), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, (*words, name))


PARSERS = dict(parsers())
every_command = pytest.mark.parametrize("command", sorted(PARSERS))


@every_command
def test_every_option_says_what_it_is_and_its_default(command):
    parser = PARSERS[command]
    text = " ".join(parser.format_help().split())
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        assert action.help, f"{command} {action.dest} has no help"
        nothing = action.default in (None, argparse.SUPPRESS) or action.default is False or action.default == []
        if action.option_strings and not nothing:
            assert f"(default: {action.default})" in text, f"{command} {action.dest}"


@every_command
def test_every_command_that_a_person_types_has_examples(command):
    assert command in EXAMPLES or command in ("", "worker")
    for example in EXAMPLES.get(command, ()):
        assert f"  interactiveseg {example}" in PARSERS[command].format_help()


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_every_example_can_be_typed(example):
    assert _parser().parse_args(with_joined_boxes(shlex.split(example))).run


def test_no_example_is_of_a_command_that_is_not_there():
    assert set(EXAMPLES) <= set(PARSERS)
