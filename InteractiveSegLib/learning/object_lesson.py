"""One object of an accepted case as a lesson of the prompted network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.networks.predict import slice_axis, sliced_channels
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.object_roi import MARGIN, object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.bifseg import corrected_answer
from InteractiveSegLib.segmenting.box_look import BoxLooks, starts_from_box
from InteractiveSegLib.segmenting.object_crop import object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.settings import BifsegSettings

_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class ObjectLesson:
    """The surroundings of one object on its working grid, slices along the first axis.

    image : (S, P, Q) float32 in [0, 1]
    target : (S, P, Q) float32, share of each voxel covered by the object
    weight : (S, P, Q) float32, weight of each voxel
    channels : (C, S, P, Q) float16, a person's prompts as the network saw them; None if there were none
    spacing_mm : along the three axes
    """

    image: NDArray[np.float32]
    target: NDArray[np.float32]
    weight: NDArray[np.float32]
    channels: NDArray[np.float16] | None
    spacing_mm: tuple[float, float, float]

    def arrays(self) -> dict[str, NDArray]:
        """Arrays for ``numpy.savez``; inverse of ``from_arrays``."""
        given = {} if self.channels is None else {"channels": self.channels}
        kept = {"image": self.image, "target": self.target, "weight": self.weight}
        return {
            **{name: array.astype(np.float16) for name, array in kept.items()},
            "spacing": np.array(self.spacing_mm),
            **given,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> ObjectLesson:
        """Inverse of ``arrays``. InputError if an array is missing."""
        if missing := {"image", "target", "weight", "spacing"} - set(arrays):
            raise InputError(f"a stored object has no {', '.join(sorted(missing))}")
        kept = (arrays[name].astype(np.float32) for name in ("image", "target", "weight"))
        return cls(*kept, arrays.get("channels"), tuple(arrays["spacing"].tolist()))


def object_lesson(
    volume: Volume,
    target_kji: NDArray[np.floating],
    weight_kji: NDArray[np.floating],
    prompts: Prompts,
    label: int,
    network: Member,
) -> ObjectLesson:
    """An object with exactly the input that a session gives the network for these prompts.

    Parameters
    ----------
    target_kji : (K, J, I) on the image's grid, share of each voxel covered by the object
    weight_kji : (K, J, I), weight of each voxel
    prompts : all of the image; an object without prompts is cropped round its voxels, and one with only a few marks in
        a margin round these: no region has to be searched if the truth is known, nor is there a coarse answer to start
        from
    network : in eval mode; scribbles in a drawn box correct its prediction for the box

    Raises
    ------
    InputError : arrays of another shape than the image's, or an object with neither voxels nor prompts.
    """
    for name, array in (("target", target_kji), ("weight", weight_kji)):
        if array.shape != volume.geometry.shape_kji:
            raise InputError(
                f"the {name} of label {label} has the shape {array.shape}, not {volume.geometry.shape_kji}"
            )
    settings = BifsegSettings.for_network(network)
    prompted = label in prompts.labels
    box = (
        object_roi(prompts, label, volume.geometry)[0]
        if prompted
        else volume.geometry.surrounded(BoundingBox.of_mask(target_kji > 0.5), MARGIN)
    )
    crop = object_crop(volume, box, settings.grid, _CPU)
    grid, image = crop.grid, crop.image
    target, weight = (
        grid.averaged(torch.from_numpy(array[grid.crop.slices].astype(np.float32)))
        for array in (target_kji, weight_kji)
    )
    inside = grid.inside(box)
    target, weight = target * inside, weight * inside  # the object does not extend beyond the box
    axis, channels = slice_axis(image.shape, grid.spacing_kji_mm), None
    if prompted:
        own = ObjectPrompts.of(prompts, label, box, grid, _CPU)
        found = None
        if own.is_scribbled and starts_from_box(prompts, label, network):
            looks = BoxLooks(volume, settings)
            boxed = finish(looks.boxed_steps(crop, prompts, label, network, _CPU))
            found = corrected_answer(network, boxed.box_features, own, settings)
        given = sliced_channels(image, grid.spacing_kji_mm, own.shown(found), settings.cues)
        channels = given.channels.numpy().astype(np.float16)
    spacing = (grid.spacing_kji_mm[axis], *np.delete(grid.spacing_kji_mm, axis).tolist())
    parts = (np.ascontiguousarray(np.moveaxis(part.numpy(), axis, 0)) for part in (image, target, weight))
    return ObjectLesson(*parts, channels, spacing)
