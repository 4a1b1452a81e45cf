"""A prepared worker has what a round needs: voxels are sent once, features computed once, and masks are the same."""

from dataclasses import replace

import numpy as np
from blobs import blob_volume
from warm_worker import warm_worker_command

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.segmenting import box_look, object_crop
from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
from InteractiveSegLib.worker import client as client_module
from InteractiveSegLib.worker.blocking import BlockingWorker
from InteractiveSegLib.worker.requests.prepare_request import PrepareRequest
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest


def test_a_prepared_round_sends_no_voxels_and_gives_the_same_mask(monkeypatch):
    sent, voxels_message = [], client_module.voxels_message

    def noted(volume, identity, request):
        message = voxels_message(volume, identity, request)
        sent.append(message.arrays["voxels"].size)
        return message

    monkeypatch.setattr(client_module, "voxels_message", noted)
    request = SegmentRequest(adapt=False)
    volume, prompts = blob_volume(), Prompts({1: BoundingBox((2, 4, 5), (11, 17, 21))})
    with BlockingWorker(warm_worker_command()) as worker:
        worker.client.set_image(volume)
        worker.client.prompts = prompts
        assert worker.run(PrepareRequest(request)) is None
        assert sum(sent) > 9 * 13 * 16
        del sent[:]
        prepared = worker.run(request)
        assert sent == []
        worker.client.set_image(blob_volume())
        worker.client.prompts = prompts
        fresh = worker.run(request)
        assert sum(sent) > 0
    np.testing.assert_array_equal(prepared.labelmap(volume.array_kji.shape), fresh.labelmap(volume.array_kji.shape))


def test_the_request_to_prepare_travels_whole():
    request = PrepareRequest(SegmentRequest(model="pnet", smoothness=2.0, rounds=1))
    assert PrepareRequest.from_message(request.to_message()) == request


def test_what_the_networks_made_of_a_box_is_there_for_the_round(monkeypatch):
    """Fine-tuning takes no pass over the image but that with the scribbles, and gives the same mask."""
    looked = []
    for module, name in ((object_crop, "feature_steps"), (box_look, "prompted_feature_steps")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, real=real: looked.append(1) or real(*given))
    prompts = Prompts({1: BoundingBox((2, 4, 5), (11, 17, 21))})
    marked = replace(prompts, scribbles=Scribbles(np.array([(6, 10, i) for i in range(9, 18)]), np.ones(9, int)))
    network = load_network("ensemble")
    prepared, fresh = (ImageSegmenter(blob_volume(), network) for _ in range(2))
    finish(prepared.look_steps(prompts))
    assert len(looked) == 3  # twice at the box, once at the image
    found = finish(prepared.round_steps(marked))
    assert len(looked) == 3
    expected = finish(fresh.round_steps(marked))
    assert len(looked) == 6
    np.testing.assert_array_equal(found.objects[1].mask, expected.objects[1].mask)


def test_few_marks_without_a_box_leave_nothing_to_look_at_before():
    prompts = Prompts(scribbles=Scribbles(np.array([(6, 10, 12)]), np.ones(1, int)))
    segmenter = ImageSegmenter(blob_volume(), load_network("ensemble"))
    assert list(segmenter.look_steps(prompts)) == []
