import json
import math
from dataclasses import replace

import numpy as np
import pytest
from blobs import noisy
from taught_blobs import QUICK, SHAPE, blob, scribbled, tiny_prompted

from InteractiveSegLib.cli import main
from InteractiveSegLib.commands import stream_command
from InteractiveSegLib.errors import InputError, InteractiveSegError
from InteractiveSegLib.evaluation.data.datasets import Dataset, ScribbleFiles
from InteractiveSegLib.evaluation.statistics import trend
from InteractiveSegLib.evaluation.streams.automatic_stream import (
    AutomaticStreamSettings,
    StreamResult,
    automatic_stream_steps,
)
from InteractiveSegLib.evaluation.streams.effort_stream import CaseCost, EffortStreamSettings, effort_stream_steps
from InteractiveSegLib.evaluation.streams.forgetting import ForgettingSettings, Memory, forgetting_steps
from InteractiveSegLib.evaluation.streams.interactive_stream import (
    InteractiveStreamSettings,
    StreamScore,
    interactive_stream_steps,
)
from InteractiveSegLib.evaluation.streams.slowdown import RoundTimes, SlowdownSettings, slowdown_steps, slowdown_table
from InteractiveSegLib.evaluation.streams.stream_report import (
    automatic_table,
    effort_table,
    forgetting_table,
    interactive_table,
    save_curve,
    save_effort,
)
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings

BLOBS = Dataset("blobs", "blobs", {"blob": (1,)}, scribbles=ScribbleFiles("_scribble.nii.gz", 0, 4), group="^p[0-9]")
OTHERS = Dataset("others", "others", {"thing": (1,)})
QUICKEST = replace(QUICK, updates=2)


@pytest.fixture
def data(tmp_path):
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 1.2, 1.0]))
    for folder, count in (("blobs", 6), ("others", 3)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(count):
            seed = number + 10 * (folder == "others")
            start = tmp_path / "data" / folder / f"p{number}_frame"
            write_image(f"{start}_image.nii.gz", noisy(blob(seed), seed), geometry)
            write_labelmap(f"{start}_label.nii.gz", blob(seed).astype(np.uint8), geometry)
            marks = scribbled(blob(seed)).scribbles.to_labelmap(SHAPE)
            drawn = np.select([marks == 255, marks == 1], [0, 1], 4).astype(np.uint8)
            write_labelmap(f"{start}_scribble.nii.gz", drawn, geometry)
    return tmp_path / "data"


def test_patients_are_streamed_and_others_tested_and_a_stopped_run_is_resumed(tmp_path, data):
    start = tiny_prompted(tmp_path).initial
    settings = InteractiveStreamSettings(after=(0, 1, 3), tested=2, start=str(start), learn=QUICKEST)
    steps = interactive_stream_steps(BLOBS, data, tmp_path / "out", settings)
    for _ in range(12):
        next(steps)
    steps.close()
    reports = []
    scores = finish(interactive_stream_steps(BLOBS, data, tmp_path / "out", settings), reports.append)
    assert len({report.text for report in reports}) < 60
    tested = {score.case for score in scores}
    assert len(tested) == 2
    assert "p3_frame" not in tested  # of the split for tuning
    assert {(score.method, score.after) for score in scores} == {
        ("mixtures", 0),
        *((method, after) for method in ("network", "network, fine-tuned") for after in (0, 1, 3)),
    }
    assert len(scores) == 14
    table = interactive_table(scores)
    assert table.splitlines()[2].startswith("| mixtures ")
    assert "network, 3 patients accepted" in table
    with pytest.raises(InputError, match="6 patients, but 9 are needed"):
        finish(interactive_stream_steps(BLOBS, data, tmp_path / "x", replace(settings, after=(7,), tested=2)))
    with pytest.raises(InputError, match="no scribbles of people"):
        finish(interactive_stream_steps(OTHERS, data, tmp_path / "x", settings))


def test_the_automatic_stream_is_compared_with_offline_training_of_as_many_updates(tmp_path, data, monkeypatch):
    settings = AutomaticStreamSettings(
        streamed=3,
        tested=2,
        after=(1, 3),
        learn=QUICKEST,
        propagate=PropagateSettings(method="shape"),
        widths=(4, 8),
    )
    steps = automatic_stream_steps(BLOBS, data, tmp_path / "out", settings)
    while (tmp_path / "out" / "online" / "records.json").exists() is False:
        next(steps)
    steps.close()
    result = finish(automatic_stream_steps(BLOBS, data, tmp_path / "out", settings))
    assert [record["updates"] for record in result.records] == [8, 8, 8]
    assert result.records[0]["before"] is None
    assert all(0 < record["effort"] <= 0.38 for record in result.records)
    assert sorted(result.curve) == [1, 3]
    log = (tmp_path / "out" / "offline" / "losses.csv").read_text().splitlines()
    assert len(log) == 24
    assert "| 0    | " in automatic_table([result])
    save_curve([result], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="6 cases, but 12 are needed"):
        finish(automatic_stream_steps(BLOBS, data, tmp_path / "x", replace(settings, streamed=10)))


def test_forgetting_is_measured_after_every_stage_for_every_way_of_replay(tmp_path, data):
    settings = ForgettingSettings(2, 2, 1, 2, (4, 8), replace(QUICKEST, smoothing=False, buffer=2))
    found = finish(forgetting_steps(BLOBS, OTHERS, data, tmp_path / "out", settings))
    assert [memory.replay for memory in found] == ["reservoir", "dark", "none"]
    assert all(len(memory.first) == 3 for memory in found)
    records = json.loads((tmp_path / "out" / "none" / "records.json").read_text())
    assert ["first" in record for record in records] == [False, True, False, True, True]
    with pytest.raises(InputError, match="too few"):
        finish(forgetting_steps(BLOBS, OTHERS, data, tmp_path / "x", replace(settings, first=5)))


def test_effort_is_what_a_robot_needs_until_the_mask_is_good(tmp_path, data):
    start = str(tiny_prompted(tmp_path).initial)
    settings = EffortStreamSettings(3, 0.9, 2, start, learn=QUICKEST)
    steps = effort_stream_steps(BLOBS, data, tmp_path / "out", settings)
    next(steps)
    next(steps)
    steps.close()
    costs = finish(effort_stream_steps(BLOBS, data, tmp_path / "out", settings))
    assert len({cost.case for cost in costs}) == 3
    assert all(cost.rounds <= 2 and (cost.strokes > 0) == (cost.rounds > 0) for cost in costs)
    fixed = finish(effort_stream_steps(BLOBS, data, tmp_path / "fixed", replace(settings, learning=False)))
    assert [cost.case for cost in fixed] == [cost.case for cost in costs]
    assert not list((tmp_path / "fixed").rglob("version-*"))
    assert list((tmp_path / "out").rglob("version-*"))
    assert fixed[0] == costs[0]


@pytest.mark.slow
def test_rounds_are_timed_alone_and_beside_a_learner_that_trains(tmp_path, data):
    settings = SlowdownSettings(1, 3, 1, str(tiny_prompted(tmp_path).initial))
    times = finish(slowdown_steps(BLOBS, data, tmp_path / "out", settings))
    assert (len(times.alone), len(times.loaded)) == (3, 3)
    [training] = (tmp_path / "out").glob("casebook/learning/prompted/training-*")
    assert len((training / "losses.csv").read_text().splitlines()) >= 25
    with pytest.raises(InputError, match="6 cases, but 9 are needed"):
        finish(slowdown_steps(BLOBS, data, tmp_path / "x", replace(settings, learnt=8)))
    table = slowdown_table(RoundTimes("a", (1.0, 2.0, 6.0), (2.0, 3.0, 9.0)))
    assert "1.50 times as long (a," in table


@pytest.mark.slow
def test_a_learner_that_ends_is_reported(tmp_path, data, monkeypatch):
    monkeypatch.setattr("InteractiveSegLib.evaluation.streams.slowdown._UPDATES", 0)
    settings = SlowdownSettings(1, 1, 1, str(tiny_prompted(tmp_path).initial))
    with pytest.raises(InteractiveSegError, match=r"ended before it trained: .*'0' is not a whole number"):
        finish(slowdown_steps(BLOBS, data, tmp_path / "out", settings))


def test_a_series_that_falls_is_told_from_one_that_does_not():
    assert trend([9, 8, 6, 5, 3, 1]) == pytest.approx((-1.0, 1 / 720))
    tau, p = trend([1, 2, 3, 4, 5, 6])
    assert (tau, p > 0.99) == (pytest.approx(1.0), True)
    assert np.isnan(trend([2, 2, 2])).all()
    assert np.isnan(trend([2, 1])).all()


def cells(table):
    """Of the first row."""
    return [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]


def test_tables_say_what_was_measured(tmp_path):
    scores = [
        StreamScore(case, name, method, after, value, 1.0)
        for method, after, value in (("mixtures", 0, 0.8), ("network", 0, 0.7), ("network", 2, 0.9))
        for case in ("a", "b")
        for name in ("one", "two")
    ]
    lines = interactive_table(scores).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "mixtures",
        "network, 0 patients accepted",
        "network, 2 patients accepted",
    ]
    assert "0.900" in lines[4]
    memory = Memory("none", (0.8, 0.55, 0.7), 0.6)
    assert memory.lost == pytest.approx(0.25)
    assert cells(forgetting_table([memory], "A", "B")) == ["none", "0.800", "0.550", "0.700", "+0.250", "0.600"]
    costs = [CaseCost(f"c{n}", 2, 12 - n, 3.0, 0.5 + 0.01 * n, 0.9, 7) for n in range(9)]
    slower = [replace(cost, strokes=20) for cost in costs]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in effort_table(costs, slower).splitlines()[2:]]
    title, surely = "strokes until the mask is good", f"{1 / math.factorial(9):.3g}"
    assert rows[0] == [title, "learning", "11.0", "5.0", "-1.00", surely]
    assert rows[1] == [title, "not learning", "20.0", "20.0", "+nan", "nan"]
    assert rows[2] == [title, "difference", "-9.0", "-15.0", "-1.00", surely]
    assert rows[6] == ["Dice from the box alone", "learning", "0.510", "0.570", "+1.00", surely]
    assert len(effort_table(costs, []).splitlines()) == 5
    save_effort(costs, costs, tmp_path / "effort.png")
    assert (tmp_path / "effort.png").read_bytes().startswith(b"\x89PNG")
    result = StreamResult([{"effort": 0.3, "mask": 0.95}], {1: 0.5, 2: 0.75}, 0.8, 3)
    assert cells(automatic_table([result])) == [
        "3",
        "0.500",
        "0.750",
        "0.800",
        "-0.050",
        "30.0 %",
        "0.950",
    ]


def test_a_stream_can_be_shortened():
    settings = AutomaticStreamSettings().shortened(12)
    assert (settings.streamed, settings.after, settings.learn.expected_cases) == (12, (1, 2, 5, 10, 12), 12)
    assert settings.shortened(50) == settings
    assert AutomaticStreamSettings().shortened(80) == AutomaticStreamSettings()


def test_the_command_runs_the_parts_that_are_asked_for(tmp_path, data, capsys, monkeypatch):
    monkeypatch.setattr(stream_command, "_listed", lambda word: BLOBS)
    real = EffortStreamSettings

    def small(**given):
        quickest = replace(QUICKEST, seed=given["learn"].seed)
        return real(2, 0.9, 1, str(tiny_prompted(tmp_path).initial), given["learning"], quickest)

    monkeypatch.setattr("InteractiveSegLib.evaluation.streams.effort_stream.EffortStreamSettings", small)
    words = ["benchmark", "--task", "stream", "--data", str(data), "-o", str(tmp_path / "out"), "--quiet"]
    page = tmp_path / "page.md"
    page.write_text("<!-- begin stream effort --><!-- end stream effort -->\n")
    assert main([*words, "--parts", "interactive", "--page", str(page)]) == 2
    assert "has no place for a table of this run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--parts", "effort", "--page", str(page)]) == 0
    command = "`interactiveseg benchmark --task stream --data FOLDER --parts effort`"
    assert page.read_text().startswith(f"<!-- begin stream effort -->\n{command}\n\n| a case")
    assert "### Effort a case along a stream of hippocampi" in capsys.readouterr().out
    assert (tmp_path / "out" / "effort" / "effort.png").is_file()
    assert main([*words, "--parts", "effort", "--cases", "1"]) == 0
    costs = (tmp_path / "out" / "effort" / "prompted-seed-0" / "learning" / "costs.json").read_text()
    assert len(json.loads(costs)) == 2  # what was done is kept
    assert main([*words, "--parts", "effort", "--seed", "1", "--cases", "1"]) == 0
    other = (tmp_path / "out" / "effort" / "prompted-seed-1" / "learning" / "costs.json").read_text()
    assert [cost["case"] for cost in json.loads(other)] != [cost["case"] for cost in json.loads(costs)][:1]
    assert main([*words, "--parts", "effort,all"]) == 2
    assert "--parts all: there are interactive" in capsys.readouterr().err
    assert main(["benchmark", "--task", "stream"]) == 2
    assert "name the images: --data FOLDER" in capsys.readouterr().err
