"""A model that is a program: the panel asks before it runs, naming the file and its hash."""

from hashlib import sha256

import pytest
import slicer_balls as balls
from tiny_models import Threshold, folder

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def test_the_panel_asks_once_whether_a_program_may_run(person, tmp_path, monkeypatch):
    import slicer

    monkeypatch.setenv("INTERACTIVESEG_CONFIG", str(tmp_path / "settings"))
    model = folder(tmp_path / "model", Threshold()) / "model.ts"
    (tmp_path / "settings" / "trusted-models.txt").unlink()
    asked, answers = [], [False, True]

    def answer(text, **_options):
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", answer)
    balls.in_scene(person)
    person.add_segment()
    balls.box_round(person, 0)
    person.parameters.model = str(model.parent)
    for number in (1, 2):
        person.press("segmentButton")
        person.spin(lambda number=number: len(asked) == number)
        for text in (str(model), sha256(model.read_bytes()).hexdigest()):
            assert text in asked[-1]
        if number == 1:
            person.wait()
            assert person.status.is_error
            assert "--trust-model" in person.status.text
            assert not person.labelmap().any()
    person.wait()
    assert person.labelmap().any(), person.status
    person.press("segmentButton")
    person.wait()
    assert (len(asked), person.status.is_error) == (2, False), person.status
