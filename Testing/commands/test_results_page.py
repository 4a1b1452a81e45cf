"""``benchmark --page``: the names of the tables, the command above them, and faults that are told before a run."""

import pytest

from InteractiveSegLib.cli import _parser, main
from InteractiveSegLib.commands.results_page import shown_command

FIRST_NAMES = {  # of every task, the options that it needs, and the place that is asked for
    "accuracy": (("--data", "."), "box robot"),
    "speed": ((), "speed"),
    "propagate": (("--data", "."), "propagate dice"),
    "stream": (("--data", "."), "stream interactive"),
    "transfer": (("--data", "."), "transfer"),
    "scribbles": (("--data", "."), "scribbles acdc"),
}


def fails(words, capsys):
    """The error of a command that must not run."""
    assert main(["benchmark", *words, "--quiet"]) == 2
    output, error = capsys.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    return error


@pytest.mark.parametrize("task", FIRST_NAMES)
def test_a_fault_of_the_page_is_told_before_the_run(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    needed, name = FIRST_NAMES[task]
    words = ("--task", task, *needed, "--page", "page.md")
    assert "the page page.md cannot be read: No such file" in fails(words, capsys)
    page = tmp_path / "page.md"
    page.write_text("no marks")
    assert f"page.md has no place for a table of this run; write into it one of <!-- begin {name} -->" in fails(
        words, capsys
    )
    assert f"write into it one of <!-- begin {name} short -->" in fails((*words, "--place", "short"), capsys)
    page.write_text(f"<!-- begin {name} -->")
    assert f"page.md must hold <!-- begin {name} --> once and <!-- end {name} --> once after it" in fails(words, capsys)
    assert "--place short chooses places of a page" in fails(("--task", task, *needed, "--place", "short"), capsys)
    assert page.read_text() == f"<!-- begin {name} -->"
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(("word", "text"), [("4th", "is not a word"), ("a b", "is not a word"), ("a--", "is not a w")])
def test_a_place_is_one_word(word, text, capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "--place", word])
    assert text in capsys.readouterr().err


def test_a_word_that_gives_a_table_the_name_of_another_is_refused(tmp_path, capsys):
    (tmp_path / "page.md").write_text("<!-- begin transfer effort --><!-- end transfer effort -->")
    words = ("--task", "transfer", "--data", ".", "--page", str(tmp_path / "page.md"), "--place", "effort")
    assert "--place effort: transfer effort is the name of another table" in fails(words, capsys)


def test_the_speed_takes_its_place(tmp_path, monkeypatch, capsys):
    def ending(model, seed, device):
        yield from ()
        return f"| {model} {seed} {device} |"

    monkeypatch.setattr("InteractiveSegLib.evaluation.prompted.speed.speed_steps", ending)
    page = tmp_path / "page.md"
    page.write_text("<!-- begin speed slow -->\nold\n<!-- end speed slow -->\n")
    words = ["benchmark", "--task", "speed", "--model", "pnet", "--seed", "2", "--device", "cpu"]
    assert main([*words, "--page", str(page), "--place", "slow"]) == 0
    assert page.read_text() == (
        "<!-- begin speed slow -->\n`interactiveseg benchmark --task speed --model pnet --device cpu --seed 2`\n\n"
        "| pnet 2 cpu |\n<!-- end speed slow -->\n"
    )
    assert capsys.readouterr().out == "| pnet 2 cpu |\n"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("--data /mine", "--data FOLDER --prompts box --rounds 3"),
        ("--data /mine --model my/net --quick", "--data FOLDER --prompts box --model net --quick"),
        ("--data d --methods a/b:fixed,box --model c", "--data FOLDER --methods b:fixed,box --prompts box --rounds 3"),
        (
            "--images i --labels l --datasets d.json --page p --place w --jobs 2 --split all --cap 9 --seed 1",
            "--images FOLDER --labels FOLDER --datasets FILE --prompts box --rounds 3 --cap 9 --seed 1 --split all",
        ),
        ("--task speed --data d", "--task speed"),
        (
            "--task propagate --data d --methods propagate,fill --model pnet --quick",
            "--task propagate --data FOLDER --methods propagate,fill --model pnet --quick",
        ),
        ("--task stream --data d --seeds 3 --cases 9", "--task stream --data FOLDER --cases 9 --seeds 3"),
        (
            "--task transfer --data d --parts random,full --tested 4 --seeds 1",
            "--task transfer --data FOLDER --parts random,full --tested 4",
        ),
        (
            "--task scribbles --data d --folds 0,1 --updates 700 --methods geodesic",
            "--task scribbles --data FOLDER --folds 0,1 --methods geodesic --updates 700",
        ),
    ],
)
def test_the_command_above_a_table_has_what_changes_its_numbers(typed, shown):
    options = _parser().parse_args(["benchmark", *typed.split()])
    assert shown_command(options) == f"interactiveseg benchmark {shown}"
    assert _parser().parse_args(["benchmark", *shown.split()]).run


def test_a_part_of_a_run_has_a_command_of_its_own():
    options = _parser().parse_args(["benchmark", "--task", "stream", "--data", "d", "--only", "two words"])
    assert shown_command(options, parts="effort").endswith("--task stream --data FOLDER --parts effort")
    options = _parser().parse_args(["benchmark", "--data", "d", "--only", "two words"])
    assert "--only 'two words'" in shown_command(options)
