"""Whatever a client sends, the worker answers with a result or an error, or ends with a message; it is never silent."""

import json
import os
import struct
import subprocess
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from blobs import blob_volume, ellipsoid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warm_worker import warm_command

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.records.message import MAGIC, Decoder, Message, ProtocolError, encode
from InteractiveSegLib.records.prompt_record import prompt_record
from InteractiveSegLib.worker import message_channel
from InteractiveSegLib.worker.handshake import hello
from InteractiveSegLib.worker.image_transfer import image_fields, voxels_message
from InteractiveSegLib.worker.message_channel import MessageChannel
from InteractiveSegLib.worker.server import _Server

VOLUME = blob_volume()
bounded = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

numbers = st.one_of(
    st.integers(-3, 30), st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30]), st.floats(allow_nan=False)
)
plain = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=4))
values = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


def frame(header, body=b""):
    """A frame of a header as JSON, or as text of which JSON might be made otherwise."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return MAGIC + struct.pack("<IQ", len(text), len(body)) + text + body


def request_fields():
    scribbles = Scribbles(np.array([[6, 10, 13], [2, 4, 5]]), np.array([1, 255]))
    prompts, arrays = prompt_record(
        Prompts({1: BoundingBox((2, 4, 6), (11, 17, 21))}, scribbles), VOLUME.geometry.shape_kji
    )
    own = {"model": "none", "adapt": False, "device": "cpu", "seed": 0}
    fields = {"id": 1, "kind": "segment", "own": own, "known": [], "prompts": prompts}
    return {**fields, "image": image_fields(VOLUME, 1)}, arrays


def places(value, path=()):
    """Paths to every part of nested fields."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield from places(part, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


FIELDS, ARRAYS = request_fields()
PLACES = [path for path in places(json.loads(json.dumps(FIELDS))) if path and path != ("id",)]


class Kept:
    """A channel that keeps what is sent, and has the voxels that are asked for.

    cancelled : every request is cancelled once it is understood
    """

    def __init__(self, cancelled):
        self.sent, self._cancelled, self._voxels = [], cancelled, []

    def send(self, message):
        encode(message)
        self.sent.append(message)
        if message.kind == "need":
            self._voxels.append(voxels_message(VOLUME, message.fields["identity"], message))

    def is_cancelled(self, _identity):
        return self._cancelled

    def next_voxels(self, _timeout_s):
        return self._voxels.pop(0) if self._voxels else None


def answer_to(message, cancelled=True):
    channel = Kept(cancelled)
    _Server(channel)._answer(message)
    begun, *rest = channel.sent
    assert begun.kind == "begun"
    *_, last = rest
    return last


def assert_in_words(answer):
    """It says what is wrong without a traceback, or the request was understood (and here cancelled at once)."""
    assert answer.kind in ("error", "cancelled", "result")
    if answer.kind == "error":
        assert answer.fields["log"] == "" or answer.fields["type"] == "MemoryError", answer.fields["log"]
        assert answer.fields["text"]


@bounded
@given(kind=values, fields=values, arrays=values, body=st.binary(max_size=16))
def test_any_header_gives_a_message_or_an_error_in_words(kind, fields, arrays, body):
    text = json.dumps({"kind": kind, "fields": fields, "arrays": arrays}).encode()
    with suppress(ProtocolError):
        Decoder().feed(frame(text, body))


@bounded
@given(
    name=values,
    dtype=st.one_of(st.sampled_from(["<f8", "|u1", "|b1", "<i4"]), values),
    shape=st.one_of(st.lists(numbers, max_size=10), values),
    body=st.binary(max_size=64),
)
def test_any_description_of_an_array_gives_a_message_or_an_error_in_words(name, dtype, shape, body):
    with suppress(ProtocolError):
        Decoder().feed(frame({"kind": "k", "fields": {}, "arrays": [[name, dtype, shape]]}, body))


@pytest.mark.parametrize(
    "shape", [[0, 1e30], [0, 10**30], [0, 2**62, 2**62], [2**40, 0, 2**40], [0, -1], [True], ["0"], [None], [[0]]]
)
def test_a_shape_that_no_array_has_is_refused(shape):
    with pytest.raises(ProtocolError, match="array 'a'"):
        Decoder().feed(frame({"kind": "k", "fields": {}, "arrays": [["a", "|u1", shape]]}))


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e999999"])
def test_a_number_that_does_not_fit_is_refused(number):
    with pytest.raises(ProtocolError, match=f"{number} is larger than any number"):
        Decoder().feed(frame(b'{"kind": "k", "fields": {"id": ' + number.encode() + b'}, "arrays": []}'))


@pytest.fixture
def heard(monkeypatch):
    """Send frames to the reading end of a worker after a greeting: its trouble when the stream has ended, and requests.

    The timer by which it ends its process is left out.
    """
    monkeypatch.setattr(message_channel.threading, "Timer", lambda *_: SimpleNamespace(start=lambda: None))

    def heard(*frames):
        source, client = os.pipe()
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            channel = MessageChannel(source, sink)
            os.write(client, encode(hello()) + b"".join(frames))
            os.close(client)
            assert channel.ended.wait(10)
            requests = []
            while (message := channel.requests.get(timeout=10)) is not None:
                requests.append(message)
            return channel.trouble, requests
        finally:
            os.close(source)

    return heard


@pytest.mark.parametrize("kind", ["request", "cancel"])
@pytest.mark.parametrize("identity", [[1], {"a": 1}, None, "1", 1.5, True, -1, 2**64, 10**30])
def test_an_id_that_is_none_is_told_and_ends_the_worker(heard, kind, identity):
    trouble, requests = heard(encode(Message(kind, {"id": identity})))
    assert f"a {kind} has an id from 0 to 2**63 - 1, not" in trouble
    assert requests == []


@pytest.mark.parametrize("cut", [1, 9, 20, 25, -1])
def test_a_stream_that_ends_within_a_frame_is_reported(heard, cut):
    whole = encode(Message("request", {"id": 1}))
    trouble, requests = heard(whole, whole[:cut])
    assert "ended within a message" in trouble
    assert len(requests) == 1


@bounded
@given(data=st.one_of(st.binary(max_size=80), values.map(lambda value: frame(json.dumps(value).encode()))))
def test_bytes_that_are_no_frame_are_told_and_end_the_worker(heard, data):
    trouble, requests = heard(data)
    assert bool(trouble) == bool(data)
    assert requests == []


@bounded
@given(place=st.sampled_from(PLACES), value=values)
def test_a_request_with_one_field_changed_is_answered_in_words(place, value):
    assert_in_words(answer_to(Message("request", changed(FIELDS, place, value), ARRAYS)))


@bounded
@given(fields=st.dictionaries(st.sampled_from([*FIELDS, "work", "x"]), values, max_size=6))
def test_a_request_of_anything_is_answered_in_words(fields):
    assert_in_words(answer_to(Message("request", {**fields, "id": 1})))


@bounded
@given(
    kind=st.sampled_from(["segment", "prepare", "propagate", "suggest", "casebook", "source"]),
    own=st.dictionaries(
        st.sampled_from(["model", "seed", "rounds", "sigma", "annotated", "method", "preset", "settings", "proposed"])
        | st.sampled_from(["prediction", "before", "folder", "action", "name", "order", "work", "shape_kji"]),
        values,
        max_size=6,
    ),
)
def test_settings_of_anything_are_answered_in_words(kind, own):
    assert_in_words(answer_to(Message("request", {**FIELDS, "kind": kind, "own": own}, ARRAYS)))


SLICES = {f"own/slice/{number}": ellipsoid()[index].astype(np.uint8) for number, index in enumerate((4, 8))}
OWN = {"annotated": [[0, 4], [0, 8]], "method": "shape", "preset": "mr", "seed": 0}
GUIDANCE = {"settings": {"count": 3, "axes": [0, 1, 2], "enough": 0.005, "reach": 8}, "proposed": [[0, 5]]}
PREDICTED = {"prediction": {"1": [[2, 4, 6], [11, 17, 21]]}, "before": {}}
ADVISED = {**OWN, **GUIDANCE, **PREDICTED}


def advice(own):
    arrays = {**ARRAYS, **SLICES, "own/prediction/1": np.full((9, 13, 15), 0.3, np.float32)}
    return answer_to(Message("request", {**FIELDS, "kind": "suggest", "own": own}, arrays), cancelled=False)


def test_slices_are_suggested_where_nothing_is_changed():
    assert advice(ADVISED).kind == "result"


@bounded
@given(place=st.sampled_from([path for path in places(ADVISED) if path]), value=st.one_of(numbers, values))
def test_a_suggestion_with_one_field_changed_is_worked_out_or_answered_in_words(place, value):
    assert_in_words(advice(changed(ADVISED, place, value)))


@bounded
@given(
    name=st.sampled_from(["first", "length", "label"]),
    dtype=st.sampled_from([np.uint8, np.int64, np.uint64, np.float32, np.bool_]),
    runs=st.lists(st.sampled_from([0, 1, 5, 2**31, 2**62, 2**63 - 1]), max_size=4),
)
def test_runs_of_scribbles_of_anything_are_answered_in_words(name, dtype, runs):
    array = np.array(runs, np.uint64).astype(dtype)
    assert_in_words(answer_to(Message("request", FIELDS, {**ARRAYS, f"scribbles/{name}": array})))


@pytest.mark.parametrize(
    "data",
    [
        encode(Message("cancel", {"id": [1]})),
        frame(b'{"kind": "request", "fields": {"id": 1e400}, "arrays": []}'),
        frame({"kind": "request", "fields": {"id": 1}, "arrays": [["a", "|u1", [0, 1e30]]]}),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_the_process_says_what_it_did_not_understand_and_fails(data):
    command = warm_command("odd_worker", "quick")
    done = subprocess.run(command, input=encode(hello()) + data, capture_output=True, timeout=60)
    messages = Decoder().feed(done.stdout)
    assert messages[-1].kind == "fatal"
    assert "cannot be understood" in messages[-1].fields["text"]
    assert done.returncode == 1
