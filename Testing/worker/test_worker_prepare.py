"""A worker that was prepared has what a round needs: the voxels travel once, and the masks are the same."""

import numpy as np
from blobs import blob_volume

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.prompts.prompts import Prompts
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
    with BlockingWorker() as worker:
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
