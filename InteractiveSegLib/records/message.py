"""Messages on a byte stream: a JSON header and arrays as raw bytes, free of any transport.

A frame is, little-endian::

    magic (8 bytes) | header length (uint32) | body length (uint64) | header (UTF-8 JSON) | body

The header is ``{"kind": str, "fields": object, "arrays": [[name, dtype, shape], ...]}``; the body contains the arrays
one after the other, C-contiguous. The magic reveals a stream that was cut or converted in text mode.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InteractiveSegError

MAGIC = b"\x89ISEG\r\n\x1a"
_LENGTHS = struct.Struct("<IQ")
_PREFIX = len(MAGIC) + _LENGTHS.size
_MAX_HEADER = 1 << 22
_MAX_BODY = 1 << 30
_MAX_ARRAYS = 4096
_MAX_AXES = 8
_DTYPES = frozenset(["|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"])


class ProtocolError(InteractiveSegError):
    """Bytes that are not a message, or a message that cannot be sent or understood."""


@dataclass(frozen=True, eq=False)
class Message:
    """The unit sent over the stream.

    kind : such as "request"
    fields : what JSON can hold
    arrays : name -> array of bool, integers or floating-point numbers of up to 8 bytes; those received are read-only
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray] = field(default_factory=dict)


def encode(message: Message) -> bytes:
    """The frame of a message.

    Raises
    ------
    ProtocolError : fields that JSON cannot hold, an array of another type, or a message beyond the limits.
    """
    given = {name: np.asarray(values) for name, values in message.arrays.items()}
    length = sum(values.nbytes for values in given.values())
    if length > _MAX_BODY or len(given) > _MAX_ARRAYS:
        raise ProtocolError(f"the message {message.kind!r} is too large: {len(given)} arrays of {length} bytes")
    plain = {name: _plain(name, values) for name, values in given.items()}
    listed = [[name, values.dtype.str, list(values.shape)] for name, values in plain.items()]
    try:
        text = json.dumps({"kind": message.kind, "fields": dict(message.fields), "arrays": listed}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"the message {message.kind!r} holds what JSON cannot hold: {error}") from error
    header = text.encode()
    if len(header) > _MAX_HEADER:
        raise ProtocolError(f"the message {message.kind!r} is too large: its header has {len(header)} bytes")
    parts = [values.reshape(-1).view(np.uint8).data for values in plain.values()]
    return b"".join([MAGIC, _LENGTHS.pack(len(header), length), header, *parts])


class Decoder:
    """Finds the messages in a stream that arrives in arbitrary pieces.

    Parameters
    ----------
    banner_bytes : maximum bytes before the first message, such as the output of a login; kept in ``banner``

    After a ``ProtocolError`` the stream has no more messages: every further call raises the error again.
    """

    def __init__(self, banner_bytes: int = 0) -> None:
        self.banner = b""
        self._banner_bytes = banner_bytes
        self._lead: bytearray | None = bytearray()  # of the first message; afterwards None
        self._buffer, self._filled, self._header_length = bytearray(_PREFIX), 0, -1
        self._error: ProtocolError | None = None

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete.

        Raises
        ------
        ProtocolError : the bytes are not a message.
        """
        if self._error is not None:
            raise self._error
        try:
            return list(self._messages(data))
        except ProtocolError as error:
            self._error = error
            raise

    def end(self) -> None:
        """ProtocolError if the stream ends within a message."""
        if self._error is None and (self._filled or self._header_length >= 0 or self._lead):
            raise ProtocolError("the stream ended within a message")

    def _messages(self, data: bytes) -> Iterator[Message]:
        if self._lead is not None:
            data = self._after_banner(data)
        view = memoryview(data)
        while view:
            taken = min(len(view), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            view = view[taken:]
            while self._filled == len(self._buffer):  # a message may have no body
                if self._header_length < 0:
                    self._header_length, length = _lengths(self._buffer)
                    self._buffer = bytearray(self._header_length + length)
                else:
                    yield _message(self._buffer, self._header_length)
                    self._buffer, self._header_length = bytearray(_PREFIX), -1
                self._filled = 0

    def _after_banner(self, data: bytes) -> bytes:
        """The bytes that belong to messages, once the first has begun; none before."""
        self._lead += data
        start = self._lead.find(MAGIC)
        if start < 0 and len(self._lead) < self._banner_bytes + len(MAGIC):
            return b""
        if not 0 <= start <= self._banner_bytes:
            raise ProtocolError(f"the stream does not begin with a message but with {bytes(self._lead[:60])!r}")
        self.banner, rest = bytes(self._lead[:start]), bytes(self._lead[start:])
        self._lead = None
        return rest


def whole_messages(data: bytes) -> list[Message]:
    """The messages at the beginning of a file, up to where it was cut or damaged."""
    found = []
    with suppress(ProtocolError):
        for message in Decoder()._messages(data):
            found.append(message)
    return found


def _plain(name: str, values: NDArray) -> NDArray:
    if values.dtype.kind not in "buif" or values.dtype.itemsize > 8:
        raise ProtocolError(f"the array {name!r} is of {values.dtype}; only plain numbers of up to 8 bytes can be sent")
    if values.ndim > _MAX_AXES:
        raise ProtocolError(f"the array {name!r} has {values.ndim} axes; {_MAX_AXES} are allowed")
    return np.asarray(values, dtype=values.dtype.newbyteorder("<"), order="C")


def _lengths(prefix: bytearray) -> tuple[int, int]:
    if not prefix.startswith(MAGIC):
        raise ProtocolError(f"expected the beginning of a message, not {bytes(prefix[: len(MAGIC)])!r}")
    header, body = _LENGTHS.unpack_from(prefix, len(MAGIC))
    if header > _MAX_HEADER or body > _MAX_BODY:
        raise ProtocolError(f"a message claims a header of {header} and a body of {body} bytes, which is too much")
    return header, body


def _message(frame: bytearray, header_length: int) -> Message:
    try:
        header = json.loads(frame[:header_length].decode(), parse_constant=_refuse, parse_float=_finite)
        kind, fields, listed = header["kind"], header["fields"], header["arrays"]
        layout = [(name, dtype, tuple(shape)) for name, dtype, shape in listed]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"the header of a message cannot be read: {error}") from error
    if not isinstance(kind, str) or not isinstance(fields, dict) or len(layout) > _MAX_ARRAYS:
        raise ProtocolError("the header of a message holds no kind, fields or arrays")
    arrays: dict[str, NDArray] = {}
    position = header_length
    for name, dtype, shape in layout:
        sides = all(type(side) is int and 0 <= side <= _MAX_BODY for side in shape) and len(shape) <= _MAX_AXES
        named = isinstance(name, str) and name not in arrays and isinstance(dtype, str)
        if not named or dtype not in _DTYPES or not sides:
            raise ProtocolError(f"the message {kind!r} announces the array {name!r} of {dtype!r} {shape}")
        count = math.prod(shape)
        stop = position + count * np.dtype(dtype).itemsize
        if stop > len(frame):
            raise ProtocolError(f"the array {name!r} of the message {kind!r} is cut short")
        try:
            values = np.frombuffer(frame, dtype, count, position).reshape(shape)
        except ValueError as error:  # sides, next to a 0, that no array can have
            raise ProtocolError(f"the array {name!r} of the message {kind!r} cannot be {shape}: {error}") from error
        values.flags.writeable = False
        arrays[name], position = values, stop
    if position != len(frame):
        raise ProtocolError(f"the message {kind!r} has {len(frame) - position} bytes more than its arrays")
    return Message(kind, fields, arrays)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(word: str) -> float:
    value = float(word)
    if math.isinf(value):
        raise ValueError(f"{word} is larger than any number of 8 bytes")
    return value
