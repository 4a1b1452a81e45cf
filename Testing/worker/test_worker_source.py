"""What a worker tells of labelled images that a study could start from."""

import numpy as np
import pytest
from casebook_cases import casebook_of

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.progress import finish
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.worker.requests.request_context import RequestContext
from InteractiveSegLib.worker.requests.source_request import SourceRequest

SHAPE = (3, 4, 5)
GEOMETRY = Geometry(SHAPE, np.eye(4))


def told(book, folder):
    """A request and its result, both by way of messages."""
    request = SourceRequest.from_message(SourceRequest(str(book), str(folder), str(folder)).to_message())
    result = finish(request.steps(RequestContext()))
    return request.result_of(request.result_message(result))


def source(folder, *masks):
    for number, labels in enumerate(masks):
        mask = np.zeros(SHAPE, np.int16)
        mask.ravel()[: len(labels)] = labels
        write_image(folder / f"s{number}_image.nrrd", np.full(SHAPE, number, np.int16), GEOMETRY)
        write_labelmap(folder / f"s{number}_label.nrrd", mask, GEOMETRY)


@pytest.fixture
def book(tmp_path):
    with casebook_of(tmp_path, 1) as casebook:
        casebook.name_label(1, "liver")
    return tmp_path / "book"


def test_the_labels_of_all_images_are_counted(book, tmp_path):
    source(tmp_path, [200, 500], [200], [0])
    (tmp_path / "alone_image.nrrd").write_bytes((tmp_path / "s0_image.nrrd").read_bytes())
    found = told(book, tmp_path)
    assert (found.images, dict(found.images_with), dict(found.study)) == (3, {200: 2, 500: 1}, {1: "liver"})
    assert "alone_image.nrrd" in found.notes[0]


def test_labelmaps_without_labels_are_refused(book, tmp_path):
    source(tmp_path, [0])
    with pytest.raises(InputError, match="are empty: there is nothing to learn from them"):
        told(book, tmp_path)


def test_messages_that_are_no_requests_are_refused():
    for fields in ({"casebook": "a"}, {"casebook": "a", "images": 3, "labels": "b"}):
        with pytest.raises(InputError, match="request for a source"):
            SourceRequest.from_message(Message("source", fields))
