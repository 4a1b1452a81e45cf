"""A worker process propagates annotated slices and suggests the next ones exactly as this process would."""

import numpy as np
import pytest
from moving_shapes import SHAPE_KJI, image_of, slices_of, volume_of, wandering_disc
from stopwatch import Stopwatch
from warm_worker import warm_worker_command

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate import registration
from InteractiveSegLib.propagate.guidance import CHANGE, GuidanceSettings
from InteractiveSegLib.propagate.propagate_result import SHADES
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps
from InteractiveSegLib.propagate.slice_pool import SlicePool
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.segmenting.segment_result import WorkingProbability
from InteractiveSegLib.worker.blocking import BlockingWorker
from InteractiveSegLib.worker.job import JobCallbacks
from InteractiveSegLib.worker.requests.propagate_request import PropagateRequest
from InteractiveSegLib.worker.requests.request_context import RequestContext, WholeImage
from InteractiveSegLib.worker.requests.slices_request import SlicesToPropagate
from InteractiveSegLib.worker.requests.suggest_request import SuggestRequest

needs_elastix = pytest.mark.skipif(not registration.has_elastix(), reason="itk-elastix is not installed")
ALONG_K = GuidanceSettings(1, (0,))


@pytest.fixture(scope="module")
def worker():
    with BlockingWorker(warm_worker_command()) as worker:
        yield worker


@pytest.fixture(scope="module")
def wandering():
    truth = wandering_disc()
    return volume_of(image_of(truth)), truth


@needs_elastix
def test_a_worker_propagates_as_this_process_does(worker, wandering):
    volume, truth = wandering
    worker.client.set_image(volume)
    result = worker.run(PropagateRequest(SlicesToPropagate(tuple(slices_of(truth, (0, 6, 12))))))
    settings = PropagateSettings(registration=registration.RegistrationSettings(seed=0))
    with SlicePool(1) as pool:
        proxy = finish(propagate_steps(volume, slices_of(truth, (0, 6, 12)), settings, pool=pool))
    whole = BoundingBox.whole(SHAPE_KJI)
    np.testing.assert_array_equal(result.masks[1].within(whole), proxy.labelmap() == 1)
    assert result.box == proxy.box
    np.testing.assert_allclose(result.confidence / SHADES, proxy.confidence.astype(float), atol=0.006)
    assert result.residual[6 - proxy.box.start_kji[0]].max() == 0
    assert result.residual.max() > 0
    np.testing.assert_array_equal(result.slice_confidence[0], proxy.slice_confidence[0])
    assert result.notes == ()


@needs_elastix
def test_a_further_slice_and_a_suggestion_are_quick_and_the_same_as_in_a_fresh_process(worker, wandering):
    volume, truth = wandering
    worker.client.set_image(volume)
    slices = SlicesToPropagate(tuple(slices_of(truth, (0, 6, 12))))
    worker.run(PropagateRequest(SlicesToPropagate(tuple(slices_of(truth, (0, 12))))))
    texts = []
    again = worker.run(PropagateRequest(slices), lambda progress: texts.append(progress.text))
    assert "registering" not in " ".join(texts[1:])
    advice = worker.run(SuggestRequest(slices, ALONG_K))
    with BlockingWorker(warm_worker_command()) as fresh:
        fresh.client.set_image(volume)
        first = fresh.run(SuggestRequest(slices, ALONG_K))
        other = fresh.run(PropagateRequest(slices))
    assert advice == first
    np.testing.assert_array_equal(again.confidence, other.confidence)


def test_what_was_proposed_is_not_proposed_again(worker, wandering):
    volume, truth = wandering
    worker.client.set_image(volume)
    slices = SlicesToPropagate(tuple(slices_of(truth, (0, 12))), "shape")
    proposed = []
    for _ in range(4):
        advice = worker.run(SuggestRequest(slices, ALONG_K, tuple(proposed)))
        proposed.append((advice.suggestions[0].axis, advice.suggestions[0].index))
    assert len(set(proposed)) == 4
    assert not {(0, 0), (0, 12)} & set(proposed)


def test_the_network_s_rounds_have_their_say(worker, wandering):
    volume, truth = wandering
    worker.client.set_image(volume)
    crop = BoundingBox((2, 4, 4), (12, 44, 40))
    after = truth[crop.slices].astype(np.float32)
    before = after.copy()
    before[7, :20] = 1 - before[7, :20]
    last, earlier = ({1: WorkingProbability(crop, values)} for values in (after, before))
    slices = SlicesToPropagate(tuple(slices_of(truth, range(13))), "shape")
    advice = worker.run(SuggestRequest(slices, GuidanceSettings(1, (1,)), (), last, earlier))
    assert advice.suggestions[0].reason == CHANGE


def test_what_cannot_be_propagated_is_an_input_error(worker, wandering):
    volume, truth = wandering
    worker.client.set_image(volume)
    with pytest.raises(InputError, match="no annotated slice"):
        worker.run(PropagateRequest(SlicesToPropagate(())))
    with pytest.raises(InputError, match="k slice 2 is annotated twice"):
        worker.run(PropagateRequest(SlicesToPropagate(tuple(slices_of(truth, (2, 2))))))


@pytest.mark.parametrize("wrong", [{"method": "magic"}, {"preset": "us"}, {"seed": -1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SlicesToPropagate((), **wrong)


@pytest.mark.parametrize("request_kind", [PropagateRequest, SuggestRequest])
def test_a_message_that_is_no_request_is_refused(request_kind):
    with pytest.raises(InputError, match=r"these are not valid annotated slices|not a valid request for suggestions"):
        request_kind.from_message(Message(request_kind.kind, {"annotated": [[0, 1]]}))


@needs_elastix
def test_a_propagation_is_cancelled_within_a_second(worker):
    truth = np.broadcast_to(wandering_disc((60, 160, 150)), (60, 160, 150))
    worker.client.set_image(volume_of(image_of(truth)))
    progress, stopped = [], []
    job = worker.client.submit(
        PropagateRequest(SlicesToPropagate(tuple(slices_of(truth, (0, 30, 59))))),
        JobCallbacks(progress=progress.append, stopped=stopped.append),
    )
    assert worker.loop.run_until(lambda: any("registering" in each.text for each in progress), 60)
    with Stopwatch() as took:
        job.cancel()
        assert worker.wait(job, 15)
    assert took.seconds < 1
    assert stopped == ["cancelled"]


def test_the_same_is_done_without_a_worker(wandering):
    volume, truth = wandering
    bench = RequestContext(WholeImage(volume))
    result = finish(PropagateRequest(SlicesToPropagate(tuple(slices_of(truth, (0, 12))), "shape")).steps(bench))
    assert sorted(result.masks) == [1]
    assert result.geometry(volume.geometry).shape_kji == result.box.shape_kji
