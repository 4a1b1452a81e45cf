"""Sending an image: its description with every request, its voxels on demand, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox, remainder, slabs
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.records.message import Message, ProtocolError
from InteractiveSegLib.records.prompt_record import box_fields, box_of

_PIECE_BYTES = 1 << 22  # so that one does not block either side for long
_UNDER_WAY = 2


def image_fields(volume: Volume, identity: int) -> dict[str, Any]:
    """The part sent with every request: everything but the voxels."""
    return {
        "identity": identity,
        "shape": list(volume.geometry.shape_kji),
        "matrix": volume.geometry.ijk_to_ras.tolist(),
        "dtype": _travelling(volume.array_kji.dtype).str,
        "name": volume.name,
    }


def voxels_message(volume: Volume, identity: int, request: Message) -> Message:
    """The answer to a message that asks for the voxels of a box."""
    box = box_of(request.fields["box"], volume.geometry.shape_kji)
    part = volume.array_kji[box.slices]
    voxels = np.ascontiguousarray(part, dtype=_travelling(part.dtype))
    return Message("voxels", {"identity": identity, "box": request.fields["box"]}, {"voxels": voxels})


class ArrivingImage:
    """The image on the worker's side. Memory is taken only by what has arrived.

    Parameters
    ----------
    fields : of ``image_fields``
    ask : sends a message to the client
    receive : waits for the next message with voxels, for a moment; None if none came

    Raises
    ------
    InputError : the fields are not those of an image.
    """

    def __init__(
        self, fields: Mapping[str, Any], ask: Callable[[Message], None], receive: Callable[[], Message | None]
    ) -> None:
        try:
            self.identity = fields["identity"]
            geometry = Geometry(tuple(fields["shape"]), np.array(fields["matrix"]))
            empty = np.zeros(geometry.shape_kji, np.dtype(str(fields["dtype"])))
            self.volume = Volume(empty, geometry, str(fields["name"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"a request describes its image incorrectly: {error}") from error
        self._ask, self._receive = ask, receive
        self._held: list[BoundingBox] = []

    def fetch(self, box: BoundingBox) -> Steps[None]:
        """Ask for the part of the box that has not arrived, and wait for it."""
        bytes_a_voxel = self.volume.array_kji.dtype.itemsize
        missing = [
            piece for part in remainder(box, self._held) for piece in slabs(part, max(1, _PIECE_BYTES // bytes_a_voxel))
        ]
        asked = 0
        for done, piece in enumerate(missing):
            while asked < min(len(missing), done + _UNDER_WAY):
                self._ask(Message("need", {"identity": self.identity, "box": box_fields(missing[asked])}))
                asked += 1
            while not self._has_arrived(piece):
                yield Progress(done, len(missing), "receiving the image")

    def _has_arrived(self, piece: BoundingBox) -> bool:
        """Wait a moment for a piece; pieces come in the order in which they were asked for."""
        message = self._receive()
        if message is None or message.fields.get("identity") != self.identity:
            return False
        box = box_of(message.fields.get("box"), self.volume.geometry.shape_kji)
        voxels: NDArray = message.arrays.get("voxels", np.empty(0))
        if voxels.shape != box.shape_kji or voxels.dtype != self.volume.array_kji.dtype:
            raise ProtocolError(f"voxels {voxels.dtype} {voxels.shape} were sent for a box of {box.shape_kji}")
        self.volume.array_kji[box.slices] = voxels
        self._held.append(box)
        return box == piece


def _travelling(dtype: np.dtype) -> np.dtype:
    """The type in which voxels are sent: their own, little-endian; longer floats as doubles."""
    return np.dtype(np.float64) if dtype.itemsize > 8 else dtype.newbyteorder("<")
