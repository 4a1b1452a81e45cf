import numpy as np
import pytest
from casebook_cases import box_mask, casebook_of
from taught_blobs import QUICK, accept_blob, blob_casebook, tiny_prompted

from InteractiveSegLib.casebook.acceptance import load_accepted, stream
from InteractiveSegLib.casebook.case_view import CaseWork
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import STROKE, Event
from InteractiveSegLib.casebook.entries import ConflictError
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.worker.requests.casebook_actions import ACTIONS, act
from InteractiveSegLib.worker.requests.casebook_request import CasebookRequest
from InteractiveSegLib.worker.requests.request_context import RequestContext


def done(folder, action, work=None, **more):
    """A request and its result, both by way of messages, as between window and worker."""
    shape = None if work is None else (6, 12, 17)
    request = CasebookRequest(str(folder), action, work, shape, **more)
    request = CasebookRequest.from_message(request.to_message())
    result = finish(request.steps(RequestContext()))
    return request.result_of(request.result_message(result))


@pytest.fixture
def study(tmp_path):
    casebook_of(tmp_path).close()
    return tmp_path / "book"


def worked_on(opened):
    scribbles = Scribbles(np.array([[2, 4, 6], [0, 0, 0]]), np.array([1, 255]))
    mask, proposed = box_mask(), box_mask()
    proposed[1] = 0
    return CaseWork(
        opened.name,
        opened.revision,
        Prompts({1: BoundingBox((0, 0, 0), (5, 9, 9))}, scribbles),
        {1: PackedMask.of(mask)},
        {1: PackedMask.of(proposed)},
        (Event(STROKE, 10.0, {"length_mm": 4.0, "slices": [[0, 2]]}), Event(STROKE, 12.0, {"length_mm": 1.0})),
    )


def test_a_case_is_opened_worked_on_and_accepted(study):
    view = done(study, "look")
    assert [(row.name, row.state) for row in view.rows] == [(f"case{n}", "new") for n in range(3)]
    assert (view.version, view.model, view.waiting, view.opened) == ("as shipped", "", 0, None)
    view = done(study, "next")
    opened = view.opened
    assert (opened.name, "added first" in opened.reason, view.rows[0].state) == ("case0", True, "in work")
    with Casebook(study) as casebook:
        volume = casebook.volume(casebook.case("case0"))
    assert np.array_equal(opened.volume.array_kji, volume.array_kji)
    assert opened.volume.geometry.difference_mm(volume.geometry) < 1e-6
    view = done(study, "accept", worked_on(opened))
    assert (view.rows[0].state, view.rows[0].effort.strokes, view.rows[0].effort.drawn_mm) == ("accepted", 2, 5.0)
    assert (view.waiting, view.said, view.labels) == (1, "case0: accepted", {1: "label 1"})
    with Casebook(study) as casebook:
        [found] = stream(casebook)
        kept = load_accepted(casebook.case("case0"), found)
    assert np.array_equal(kept.labels, box_mask())
    assert kept.origins[2, 4, 6] == kept.origins[0, 0, 0] == kept.origins[1, 4, 6] == Origin.PERSON
    assert kept.origins[3, 4, 6] == Origin.MODEL
    assert kept.prompts.scribbles.equals(worked_on(opened).prompts.scribbles)


def test_work_that_was_left_is_there_when_the_case_is_opened_again(study):
    work = worked_on(done(study, "next").opened)
    assert done(study, "leave", work).rows[0].state == "new"
    opened = done(study, "open", case="case0").opened
    assert np.array_equal(opened.masks[1].within(BoundingBox.whole((6, 12, 17))), box_mask() > 0)
    assert dict(opened.prompts.boxes) == dict(work.prompts.boxes)


def test_a_reopened_case_shows_what_was_accepted(study):
    opened = done(study, "next").opened
    done(study, "accept", worked_on(opened))
    view = done(study, "reopen", case="case0")
    assert view.said == "case0: reopened; Open next opens it"
    again = done(study, "next").opened
    assert (again.name, again.reason) == ("case0", "it was reopened to be corrected")
    assert again.masks[1].voxels == np.count_nonzero(box_mask())


def test_what_another_program_did_meanwhile_is_not_overwritten(study):
    opened = done(study, "next").opened
    act(study, "accept", worked_on(opened))
    with pytest.raises(ConflictError, match="'case0' was changed by another program"):
        act(study, "accept", worked_on(opened))
    with pytest.raises(ConflictError):
        act(study, "skip", worked_on(opened))


def test_skipping_keeps_the_work_and_the_end_is_reported(study):
    for _ in range(3):
        view = done(study, "skip", worked_on(done(study, "next").opened))
    assert view.said == "case2: skipped; the work is kept"
    view = done(study, "next")
    assert (view.opened, view.said) == (None, "nothing is left to do: no case is new or reopened")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"action": "burn"}, "has no action 'burn'"),
        ({"action": "accept"}, "no case is open"),
        ({"action": "open", "case": "x"}, "has no case 'x'"),
        ({"action": "roll back"}, "nothing to roll back"),
    ],
)
def test_what_makes_no_sense_is_refused(study, words, text):
    with pytest.raises(InputError, match=text):
        done(study, **words)


def test_messages_that_are_no_requests_are_refused():
    assert set(ACTIONS) >= {"look", "next", "accept"}
    with pytest.raises(InputError, match="not a valid casebook request"):
        CasebookRequest.from_message(Message("casebook", {"place": "here"}))


def test_the_version_in_use_is_told_and_can_be_rolled_back(tmp_path):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        finish(StreamLearner(casebook, tiny_prompted(tmp_path), QUICK).steps())
    view = act(tmp_path / "book", "look")
    assert view.version.startswith("version 1, learnt from 1 case; used without a check")
    assert (view.model.endswith("version-1"), view.waiting) == (True, 0)
    view = act(tmp_path / "book", "roll back")
    assert (view.version, view.model, view.said) == ("as shipped", "", "back to the shipped network")
