"""The state of a session on one image, and a record that restores it."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.records.message import Message, ProtocolError, encode, whole_messages
from InteractiveSegLib.records.prompt_record import box_fields, mask_of, prompt_record, prompts_of

_LEVEL = 1  # bits and runs compress well, and this level is fast
_MOST_BYTES = 1 << 30


def content_hash(volume: Volume) -> str:
    """Hash of the voxels and their type, independent of their order in memory; takes a second for some hundred
    megabytes.
    """
    digest = hashlib.blake2b(str(volume.array_kji.dtype.newbyteorder("<")).encode(), digest_size=16)
    for part in volume.array_kji:
        digest.update(np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<")))
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class VolumeIdentity:
    """Identifies an image.

    path : where the image was read from, if known
    """

    name: str
    path: str
    geometry: Geometry
    content: str

    @classmethod
    def of(cls, volume: Volume, path: str = "") -> VolumeIdentity:
        """Takes as long as ``content_hash``."""
        return cls(volume.name, path, volume.geometry, content_hash(volume))

    def difference(self, volume: Volume) -> str:
        """A text that says how a volume differs from this one; empty if it is the same image."""
        try:
            self.geometry.require_same(volume.geometry, f"the volume {volume.name!r}")
        except InputError as error:
            return str(error)
        return "" if content_hash(volume) == self.content else f"the volume {volume.name!r} has other voxels"


@dataclass(frozen=True, eq=False)
class SessionState:
    """Everything that would be lost when the program that shows an image dies; immutable, so that it can be written
    later.

    volume : its array must not change; another object counts as another image, and is read completely to identify it
    prompts : boxes, scribbles with edits by hand, start masks, lassos
    masks : label -> mask as it is shown, accepted or not
    settings : JSON values, such as the model, and names and colours of the segments
    path : where the image was read from, if known
    """

    volume: Volume
    prompts: Prompts
    masks: Mapping[int, PackedMask] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, eq=False)
class RecordedState:
    """A session restored from its record; for ``prompts``, ``masks``, ``settings`` see ``SessionState``.

    time : when it was recorded, in seconds since 1970
    """

    volume: VolumeIdentity
    prompts: Prompts
    masks: Mapping[int, PackedMask]
    settings: Mapping[str, Any]
    time: float


def state_record(state: SessionState, identity: VolumeIdentity) -> bytes:
    """A record; InputError or ProtocolError if the state cannot be recorded."""
    prompts, arrays = prompt_record(state.prompts, identity.geometry.shape_kji)
    fields = {
        "time": time.time(),
        "volume": {
            "name": identity.name,
            "path": identity.path,
            "shape": list(identity.geometry.shape_kji),
            "matrix": identity.geometry.ijk_to_ras.tolist(),
            "content": identity.content,
        },
        "prompts": prompts,
        "masks": {str(label): box_fields(mask.box) for label, mask in state.masks.items()},
        "settings": dict(state.settings),
    }
    arrays |= {f"mask/{label}": mask.bits for label, mask in state.masks.items()}
    packed = zlib.compress(encode(Message("session", fields, arrays)), _LEVEL)
    return encode(Message("record", {}, {"packed": np.frombuffer(packed, np.uint8)}))


def last_state(data: bytes) -> RecordedState | None:
    """The last complete state in the bytes of a file of records; None if there is none."""
    for message in reversed(whole_messages(data)):
        try:
            return _state(message)
        except (InputError, ProtocolError, KeyError, TypeError, ValueError, zlib.error):
            continue
    return None


def _state(message: Message) -> RecordedState:
    unpacking = zlib.decompressobj()
    (session,) = whole_messages(unpacking.decompress(message.arrays["packed"].tobytes(), _MOST_BYTES))
    if not unpacking.eof:  # the checksum at the end was not reached
        raise ValueError("the record does not end where its data end")
    fields, volume = session.fields, session.fields["volume"]
    geometry = Geometry(tuple(volume["shape"]), np.array(volume["matrix"]))
    shape = geometry.shape_kji
    return RecordedState(
        VolumeIdentity(volume["name"], volume["path"], geometry, volume["content"]),
        prompts_of(fields["prompts"], session.arrays, shape),
        {int(label): mask_of(box, session.arrays[f"mask/{label}"], shape) for label, box in fields["masks"].items()},
        fields["settings"],
        float(fields["time"]),
    )
