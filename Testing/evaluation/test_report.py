"""The tables of a benchmark against numbers worked out by hand, its plots and its pictures."""

import csv
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from blobs import SHAPE_KJI, ellipsoid, noisy
from matplotlib import image as png

from InteractiveSegLib.errors import OutputError
from InteractiveSegLib.evaluation.data.datasets import Dataset
from InteractiveSegLib.evaluation.prompted import showcase
from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Outcome, Unit, write_csv
from InteractiveSegLib.evaluation.prompted.panels import Panel, case_means, dataset_means, panels, reference
from InteractiveSegLib.evaluation.prompted.plots import _course, save_plots
from InteractiveSegLib.evaluation.prompted.report import report
from InteractiveSegLib.evaluation.prompted.showcase import save_showcase
from InteractiveSegLib.evaluation.prompted.trial import Score, TrialSettings
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.progress import finish

NAN = math.nan
ONE_ROUND = TrialSettings(rounds=1, cap=1)


def score(dataset, case, dice, *, object="liver", method="net", user="robot", person=0, round=1, **more):
    other = {
        "surface_dice": 0.5,
        "hd95_mm": 4.0,
        "calibration_error": NAN,
        "strokes": 3 * round,
        "length_mm": 10.0 * round,
        "seconds": 0.5,
        "stages": "looking=0.4000;fitting=0.1000",
        "peak_mb": 100.0,
    }
    return Score(dataset, case, object, method, user, person, round, dice, **{**other, **more})


def table(text, title, number=0):
    """The rows of a table below a title, as lists of cells; the first one is the header."""
    section = text.partition(f"### {title}\n")[2].partition("\n###")[0]
    block = [block for block in section.split("\n\n") if block.strip().startswith("|")][number]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()]
    return [rows[0], *rows[2:]]


def made(*scores, methods=("net",), users=("robot",), notes=(), trial=ONE_ROUND):
    return report(Outcome(tuple(scores), tuple(notes)), BenchmarkSettings(methods, users, trial=trial))


UNEQUAL = (
    score("A", "1", 0.9),
    score("A", "1", 0.5, object="spleen"),
    score("A", "2", 0.5),
    score("B", "1", 0.3),
)


def test_means_are_over_objects_then_cases_then_datasets():
    assert case_means(UNEQUAL, "dice") == {
        "net": {("A", "1", 0): pytest.approx(0.7), ("A", "2", 0): 0.5, ("B", "1", 0): 0.3}
    }
    assert dataset_means(UNEQUAL, "dice") == {"net": pytest.approx(0.45)}  # (0.6 + 0.3) / 2; all four give 0.55
    rows = table(made(*UNEQUAL), "Box and 1 round of scribbles (user: robot)")
    assert rows[0] == ["Dice (95 % interval)", "cases", "net"]
    assert rows[1][:2] == ["A", "2"]
    assert rows[1][2] == "0.600 (0.50-0.70)"
    assert rows[2] == ["B", "1", "0.300 (0.30-0.30)"]
    assert rows[3] == ["mean over datasets", "", "0.450"]


def test_what_is_not_defined_is_left_out_of_a_mean():
    scores = [
        score("A", "1", 0.8, calibration_error=0.1),
        score("A", "1", 0.6, object="spleen", calibration_error=NAN),
        score("A", "2", 0.4, calibration_error=NAN),
        score("A", "1", 0.4, method="box", peak_mb=NAN),
    ]
    assert case_means(scores, "calibration_error")["net"]["A", "1", 0] == 0.1
    assert dataset_means(scores, "calibration_error")["net"] == 0.1
    assert math.isnan(dataset_means(scores, "calibration_error")["box"])
    rows = table(made(*scores, methods=("net", "box")), "Box and 1 round of scribbles (user: robot)", 1)
    assert rows == [
        ["mean over datasets", "net", "box"],
        ["Dice", "0.550", "0.400"],
        ["NSD 2 mm", "0.500", "0.500"],
        ["HD95 mm", "4.000", "4.000"],
        ["ECE", "0.100", ""],
        ["seconds", "0.500", "0.500"],
        ["peak MB", "100", ""],
    ]


def test_methods_are_compared_with_the_first_network_on_the_cases_they_share():
    cases = [("A", "1"), ("A", "2"), ("B", "1"), ("B", "2"), ("B", "3")]
    scores = [score(*case, 0.9 + 0.02 * n) for n, case in enumerate(cases)]
    scores += [score(*case, 0.5, method="box") for case in cases]
    scores += [score(*case, 0.8, method="grow") for case in cases[:3]]  # it failed on the others
    scores += [score("C", "1", 0.1, method="grow")]
    rows = table(made(*scores, methods=("box", "net", "grow")), "Box and 1 round of scribbles (user: robot)")
    # five differences of one sign: 2 / 2^5; three of them: 2 / 2^3
    assert rows[-1] == ["p against net", "", "0.062", "", "0.25"]
    assert rows[-2] == ["mean over datasets", "", "0.500", "0.935", "0.567"]  # grow: of 0.8, 0.8 and 0.1
    assert reference(("box", "net", "grow")) == "net"
    assert reference(("grow", "box")) == "grow"


def test_efforts_count_the_rounds_until_all_objects_are_good_and_the_cap_for_failures():
    course = {
        "1": [(0.70, 0.95), (0.86, 0.95), (0.92, 0.95)],  # 0.85 after one round, 0.90 after two
        "2": [(0.99, 0.99), (0.99, 0.84), (0.99, 0.99)],  # with the box alone
        "3": [(0.10, 0.99), (0.20, 0.99), (0.30, 0.99), (0.40, 0.99), (0.85, 0.85)],  # 0.85 at the cap, 0.90 never
    }
    scores = [
        score("A", case, dice, object=name, round=number)
        for case, rounds in course.items()
        for number, pair in enumerate(rounds)
        for name, dice in zip(("liver", "spleen"), pair, strict=True)
    ]
    rows = table(made(*scores, trial=TrialSettings(rounds=2, cap=4)), "Rounds to a Dice of 0.85 and 0.90")
    assert rows[0] == ["user", "Dice", "method", "rounds (cap 4)", "failed", "mm drawn"]
    assert [row[:3] for row in rows[1:]] == [["robot", "0.85", "net"], ["robot", "0.90", "net"]]
    assert rows[1][3].startswith("1.7 (")  # (1 + 0 + 4) / 3
    assert rows[2][3].startswith("2.0 (")  # (2 + 0 + 4) / 3
    assert [row[4:] for row in rows[1:]] == [["0 %", "17"], ["33 %", "20"]]  # 10 mm a round
    assert "### Rounds to" not in made(*scores, trial=TrialSettings(rounds=2, cap=2))


def test_panels_are_the_box_alone_once_and_every_user_after_the_rounds_that_all_make():
    def shown(users, rounds=3):
        return list(panels(BenchmarkSettings(("box",), users, trial=TrialSettings(rounds, 20))))

    assert shown(("robot", "clicks", "human")) == [
        Panel("robot", 0),
        Panel("robot", 3),
        Panel("clicks", 3),
        Panel("human", 0, "none"),
    ]
    assert shown(("human",)) == [Panel("human", 0, "none")]
    assert shown(("human", "sloppy"), 0) == [Panel("sloppy", 0), Panel("human", 0, "none")]
    assert [panel.title for panel in shown(("robot", "human"), 1)] == [
        "The box alone",
        "Box and 1 round of scribbles (user: robot)",
        "Scribbles of people, without a box",
    ]
    assert Panel("clicks", 3).title == "Box and 3 rounds of scribbles (user: clicks)"


def test_every_panel_has_its_own_scores():
    scores = [
        score("A", "1", 0.5, round=0),
        score("A", "1", 0.8),
        score("A", "1", 0.9, round=2),  # beyond the rounds
        score("A", "1", 0.6, user="clicks", round=0),
        score("A", "1", 0.7, user="clicks"),
        score("A", "1", 0.3, user="human", round=0),
        score("A", "1", 0.5, user="human", person=1, round=0),
    ]
    text = made(*scores, users=("robot", "clicks", "human"), trial=TrialSettings(1, 2))
    titles = ("The box alone", "Box and 1 round of scribbles (user: robot)")
    titles += ("Box and 1 round of scribbles (user: clicks)", "Scribbles of people, without a box")
    assert [table(text, title)[2][2] for title in titles] == ["0.500", "0.800", "0.700", "0.400"]
    assert table(text, titles[3])[1][:2] == ["A", "2"]  # two people on one case
    assert [row[0:2] + row[4:] for row in table(text, "Objects")[1:]] == [
        ["robot", "0", "0.500"],
        ["robot", "1", "0.800"],
        ["clicks", "1", "0.700"],
        ["human", "0", "0.400"],
    ]


def test_a_user_without_scores_has_no_panel():
    assert "people" not in made(score("A", "1", 0.5), users=("robot", "human"))


def test_objects_are_averaged_over_the_cases_that_have_them():
    text = made(*UNEQUAL, score("A", "1", 0.2, method="box"), methods=("net", "box"))
    assert table(text, "Objects") == [
        ["user", "round", "dataset", "object (Dice)", "net", "box"],
        ["robot", "1", "A", "liver", "0.700", "0.200"],
        ["robot", "1", "A", "spleen", "0.500", "nan"],
        ["robot", "1", "B", "liver", "0.300", "nan"],
    ]


def test_the_seconds_of_a_stage_are_a_mean_over_rounds_and_not_over_objects():
    scores = [
        score("A", "1", 0.5, stages="looking=0.4000;fine-tuning=2.0000", round=0),
        score("A", "1", 0.5, stages="looking=0.4000;fine-tuning=2.0000", object="spleen", round=0),
        score("A", "1", 0.5, stages="fine-tuning=4.0000"),
        score("A", "1", 0.5, stages="", method="box"),
    ]
    rows = table(made(*scores, methods=("net", "box")), "Seconds by stage")
    assert rows == [
        ["method", "stage", "seconds a round"],
        ["net", "looking", "0.200"],
        ["net", "fine-tuning", "3.000"],
    ]


def test_notes_stand_at_the_end_and_only_where_there_are_some():
    text = made(*UNEQUAL, notes=("A: 3: net: it is cut short", "A: small."))
    assert text.endswith("### Notes\n\n- A: 3: net: it is cut short\n- A: small.\n")
    assert "Notes" not in made(*UNEQUAL)
    assert made(*UNEQUAL).startswith("Every mean is over cases, of the mean over the objects of a case; split: report.")


def test_a_run_in_which_all_failed_still_has_a_report_and_no_plots(tmp_path):
    assert made(notes=("A: 3: net: it is cut short",)).endswith("- A: 3: net: it is cut short\n")
    assert save_plots([], BenchmarkSettings(("net",), ("robot", "human")), tmp_path) == []


def test_scores_survive_their_csv(tmp_path):
    scores = [*UNEQUAL, score('with "quotes", commas', "Fall_ä", 1 / 3, calibration_error=0.1, peak_mb=NAN)]
    write_csv(scores, tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = {name: type(value) for name, value in asdict(scores[0]).items()}
    assert repr([Score(**{name: kinds[name](cell) for name, cell in row.items()}) for row in rows]) == repr(scores)


def test_a_csv_into_a_folder_that_is_gone_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*scores.csv: No such file"):
        write_csv(UNEQUAL, tmp_path / "gone" / "scores.csv")


def test_the_course_of_the_plots_ends_at_the_numbers_of_the_tables():
    start = [replace(entry, round=0, dice=entry.dice / 2, seconds=3.0) for entry in UNEQUAL]
    beyond = [replace(entry, round=2, dice=1.0) for entry in UNEQUAL[:1]]
    rounds, dice, seconds = _course(
        [*start, *UNEQUAL, *beyond], BenchmarkSettings(("net",), ("robot",), trial=ONE_ROUND)
    )
    assert rounds == [0, 1]
    assert dice == pytest.approx([0.225, 0.45])
    assert seconds == pytest.approx([3.0, 3.5])


def shows_something(path):
    return np.ptp(png.imread(path)[..., :3]) > 0.5


def test_the_plots_are_pictures_of_courses_and_of_spreads(tmp_path):
    scores = [
        score("A", str(case), 0.1 * case + 0.2 * number, method=method, user=user, round=number, seconds=seconds)
        for case in range(5)
        for number in range(2)
        for method, seconds in (("net", 1.5), ("box", 0.0))
        for user in ("robot", "clicks")
    ]
    scores += [score("A", "1", 0.5, user="human", person=person, round=0) for person in range(2)]
    settings = BenchmarkSettings(("net", "box", "grow"), ("robot", "clicks", "human"), trial=ONE_ROUND)
    written = save_plots(scores, settings, tmp_path)
    names = ["rounds_robot", "rounds_clicks", "spread_robot_0", "spread_robot_1", "spread_clicks_1", "spread_human_0"]
    assert [path.name for path in written] == [f"{name}.png" for name in names]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert all(shows_something(path) for path in written)


@pytest.fixture
def drawn(monkeypatch):
    """The pictures of the showcase as arguments, instead of files."""
    calls = []
    monkeypatch.setattr(showcase, "save_overlay", lambda *words: calls.append(words))
    return calls


def blob_case(root, name, shift):
    blob = ellipsoid(centre_kji=(6, 10, 9 + shift))
    grid = Geometry(SHAPE_KJI, np.eye(4))
    labels = blob.astype(np.uint8)
    labels[10:13, 15:18, 1:4] = 2
    (root / "set").mkdir(exist_ok=True)
    write_image(root / "set" / f"{name}_image.nii.gz", noisy(blob), grid)
    write_image(root / "set" / f"{name}_label.nii.gz", labels, grid)
    return labels


def keep(root, unit, labelmap):
    (root / "trials").mkdir(exist_ok=True)
    np.savez_compressed(root / "trials" / f"{unit.name}.npz", labelmap=labelmap)


SET = Dataset("My set", "set", {"liver": (1,), "cyst": (2,)})


def test_the_showcase_has_the_best_the_median_and_the_worst_case_at_the_object_they_missed_most(tmp_path, drawn):
    settings = BenchmarkSettings(("box", "net"), ("robot",), trial=ONE_ROUND)
    scores = []
    for shift, (name, dice) in enumerate({"a": 0.9, "b": 0.6, "c": 0.2, "d": 0.7}.items()):
        keep(tmp_path, Unit(SET, name, "robot", "net"), blob_case(tmp_path, name, shift))
        scores += [score("My set", name, dice), score("My set", name, dice - 0.1, object="cyst")]
        scores += [score("My set", name, 1.0, round=0), score("My set", name, 1.0, method="box")]
    finish(save_showcase(scores, (SET,), tmp_path, tmp_path, settings))
    folder = tmp_path / "cases"
    assert [(words[0], words[6]) for words in drawn] == [
        (folder / "My-set_robot_worst.png", "My set, c, worst: Dice 0.150 (cyst 0.100)"),
        (folder / "My-set_robot_median.png", "My set, d, median: Dice 0.650 (cyst 0.600)"),
        (folder / "My-set_robot_best.png", "My set, a, best: Dice 0.850 (cyst 0.800)"),
    ]
    _, _, mask, prompts, at, truth, _ = drawn[0]
    assert prompts.is_empty
    assert (mask == truth).all()
    assert np.argwhere(mask).min(axis=0).tolist() == [10, 15, 1] == list(at)


@pytest.mark.parametrize(("cases", "ranks"), [("a", ["worst"]), ("ab", ["worst", "best"])])
def test_few_cases_are_shown_once_each(tmp_path, drawn, cases, ranks):
    for shift, name in enumerate(cases):
        keep(tmp_path, Unit(SET, name, "robot", "net"), blob_case(tmp_path, name, shift))
    scores = [score("My set", name, 0.1 * number) for number, name in enumerate(cases)]
    finish(save_showcase(scores, (SET,), tmp_path, tmp_path, BenchmarkSettings(("net",), ("robot",), trial=ONE_ROUND)))
    assert [words[0].stem.rpartition("_")[2] for words in drawn] == ranks


def test_of_several_people_the_one_whose_mask_is_kept_is_shown(tmp_path, drawn):
    keep(tmp_path, Unit(SET, "a", "human", "net"), blob_case(tmp_path, "a", 0))
    scores = [score("My set", "a", dice, user="human", person=n, round=0) for n, dice in enumerate((0.1, 0.9, 0.5))]
    finish(save_showcase(scores, (SET,), tmp_path, tmp_path, BenchmarkSettings(("net",), ("human",))))
    assert [words[6] for words in drawn] == ["My set, a, worst: Dice 0.500 (liver 0.500)"]


def test_the_showcase_writes_pictures_where_there_are_masks(tmp_path):
    keep(tmp_path, Unit(SET, "a", "robot", "net"), blob_case(tmp_path, "a", 0))
    settings = BenchmarkSettings(("net",), ("robot",), trial=ONE_ROUND)
    (written,) = finish(save_showcase([score("My set", "a", 0.5)], (SET,), tmp_path, tmp_path, settings))
    assert written == tmp_path / "cases" / "My-set_robot_worst.png"
    assert shows_something(written)
    none = replace(settings, methods=("box",))
    assert finish(save_showcase([score("My set", "a", 0.5, method="box")], (SET,), tmp_path, tmp_path, none)) == []
