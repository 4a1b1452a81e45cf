"""Messages on a byte stream: reassembled however the stream is split, and refused with a message if invalid."""

import json
import struct

import numpy as np
import pytest

from InteractiveSegLib.records.message import MAGIC, Decoder, Message, ProtocolError, encode

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def example():
    arrays = {
        "voxels": np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 7,
        "odd": np.array([True, False, True]),
        "nothing": np.empty((0, 3), np.float32),
        "one": np.float64(np.pi),
    }
    return Message("request", {"id": 3, "text": "Grüße\n", "nested": {"a": [1, 2.5, None, True]}}, arrays)


def assert_same(one, other):
    assert (one.kind, one.fields) == (other.kind, other.fields)
    assert list(one.arrays) == list(other.arrays)
    for name, values in other.arrays.items():
        assert one.arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(one.arrays[name], values)
        assert one.arrays[name].shape == np.shape(values)


def frame(header, body=b"", magic=MAGIC):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return magic + struct.pack("<IQ", len(text), len(body)) + text + body


def header(arrays=(), **changes):
    return {"kind": "k", "fields": {}, "arrays": list(arrays), **changes}


def test_a_message_comes_back_unchanged():
    (found,) = Decoder().feed(encode(example()))
    assert_same(found, example())
    assert not found.arrays["voxels"].flags.writeable


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_of_every_kind_and_byte_order_keep_their_values(dtype, order):
    values = np.array([0, 1, 1, 0, 1]).astype(order + dtype if dtype[-1] != "1" and dtype != "?" else dtype)
    (found,) = Decoder().feed(encode(Message("k", {}, {"a": values})))
    np.testing.assert_array_equal(found.arrays["a"], values)
    assert found.arrays["a"].dtype == values.dtype.newbyteorder("<")


def test_views_that_are_not_contiguous_travel_in_their_own_order():
    values = np.arange(60).reshape(3, 4, 5).transpose(2, 0, 1)[::-1, :, 1:3]
    (found,) = Decoder().feed(encode(Message("k", {}, {"a": values})))
    np.testing.assert_array_equal(found.arrays["a"], values)


def test_two_messages_are_found_wherever_the_stream_is_cut():
    stream = encode(example()) + encode(Message("bare"))
    for cut in range(len(stream) + 1):
        decoder = Decoder()
        found = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:])
        assert [message.kind for message in found] == ["request", "bare"]
        assert_same(found[0], example())
        decoder.end()


def test_messages_are_found_byte_by_byte():
    stream = encode(example()) + encode(Message("bare")) + encode(example())
    decoder = Decoder()
    found = [message for at in range(len(stream)) for message in decoder.feed(stream[at : at + 1])]
    assert len(found) == 3
    assert_same(found[2], example())


def test_a_stream_that_ends_within_a_message_is_noticed_wherever_that_is():
    stream = encode(example())
    for cut in range(1, len(stream)):
        decoder = Decoder()
        assert decoder.feed(stream[:cut]) == []
        with pytest.raises(ProtocolError, match="ended within a message"):
            decoder.end()


def test_what_a_login_prints_first_is_kept_apart_where_it_is_allowed():
    banner = b"Welcome to host\nLast login: \x89IS yesterday\n"
    stream = banner + encode(example())
    for cut in range(len(stream)):
        decoder = Decoder(banner_bytes=100)
        (found,) = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:])
        assert_same(found, example())
        assert decoder.banner == banner
    with pytest.raises(ProtocolError, match="does not begin with a message but with b'Welcome"):
        Decoder().feed(stream)
    with pytest.raises(ProtocolError, match="does not begin with a message"):
        Decoder(banner_bytes=len(banner) - 1).feed(stream)


def test_text_that_never_becomes_a_message_is_refused_and_not_kept_for_ever():
    decoder, line = Decoder(banner_bytes=1000), b"command not found " * 10
    assert [decoder.feed(line) for _ in range(5)] == [[]] * 5
    with pytest.raises(ProtocolError, match="does not begin"):
        decoder.feed(line)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame(header(), magic=MAGIC.replace(b"\r\n", b"\n") + b"x"), "does not begin with a message"),
        (frame(b"{"), "header of a message cannot be read"),
        (frame(b"\xff\xfe"), "header of a message cannot be read"),
        (frame(b"[" * 100_000), "header of a message cannot be read"),
        (frame(b'{"kind": "k", "fields": {"x": NaN}, "arrays": []}'), "NaN is not JSON"),
        (frame([1]), "header of a message cannot be read"),
        (frame({"kind": "k"}), "header of a message cannot be read: 'fields'"),
        (frame(header(kind=7)), "no kind, fields or arrays"),
        (frame(header(fields=[])), "no kind, fields or arrays"),
        (frame(header([["a", "|O", [1]]]), bytes(8)), "announces the array 'a' of '|O'"),
        (frame(header([["a", "<M8[ns]", [1]]]), bytes(8)), "announces the array"),
        (frame(header([["a", "<f16", [1]]]), bytes(16)), "announces the array"),
        (frame(header([["a", ["<f4"], [1]]]), bytes(4)), "announces the array"),
        (frame(header([["a", "|u1", [-1]]])), "announces the array"),
        (frame(header([["a", "|u1", [1.0]]]), bytes(1)), "announces the array"),
        (frame(header([["a", "|u1", [1] * 9]]), bytes(1)), "announces the array"),
        (frame(header([["a", "|u1", [1]], ["a", "|u1", [1]]]), bytes(2)), "announces the array"),
        (frame(header([["a", "|u1", 5]]), bytes(5)), "header of a message cannot be read"),
        (frame(header([["a", "|u1"]]), bytes(5)), "header of a message cannot be read"),
        (frame(header([["a", "<f8", [2**40, 2**40]]]), bytes(8)), "announces the array"),
        (frame(header([["a", "<f8", [2]]]), bytes(15)), "cut short"),
        (frame(header([["a", "<f8", [2]]]), bytes(17)), "1 bytes more than its arrays"),
        (MAGIC + struct.pack("<IQ", 10, 1 << 60), "too much"),
        (MAGIC + struct.pack("<IQ", 1 << 31, 10), "too much"),
    ],
)
def test_bytes_that_are_no_message_are_refused_with_a_message_and_nothing_follows(data, text):
    decoder = Decoder()
    with pytest.raises(ProtocolError, match="(?s)" + text.replace("|", r"\|").replace("[", r"\[")):
        decoder.feed(data)
    with pytest.raises(ProtocolError):
        decoder.feed(encode(Message("fine")))


def test_a_message_after_a_whole_one_must_begin_where_that_ended():
    decoder = Decoder()
    with pytest.raises(ProtocolError, match="expected the beginning of a message"):
        decoder.feed(encode(Message("a")) + b"a line that a library printed\n" + encode(Message("b")))


def test_random_changes_of_a_message_are_refused_or_give_another_message_but_never_another_error():
    rng, original = np.random.default_rng(5), encode(example())
    refused = 0
    for _ in range(2000):
        data = bytearray(original)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        try:
            Decoder().feed(bytes(data))
        except ProtocolError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Message("k", {"x": float("nan")}), "JSON cannot hold"),
        (Message("k", {"x": {1, 2}}), "JSON cannot hold"),
        (Message("k", {}, {"a": np.array(["text"])}), "the array 'a' is of <U4"),
        (Message("k", {}, {"a": np.array([None])}), "the array 'a' is of object"),
        (Message("k", {}, {"a": np.zeros(2, np.complex64)}), "complex64"),
        (Message("k", {}, {"a": np.zeros([1] * 9)}), "9 axes"),
        (Message("k", {"x": "y" * (1 << 23)}), "too large"),
        (Message("k", {}, {"a": np.broadcast_to(np.uint8(0), (1 << 31,))[: (1 << 30) + 1]}), "too large"),
    ],
)
def test_what_cannot_travel_is_refused_before_it_is_sent(message, text):
    with pytest.raises(ProtocolError, match=text):
        encode(message)
