"""One object of an accepted case as the network that sees prompts learns from it."""

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
from InteractiveSegLib.segmenting.object_crop import encoded_steps, object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.settings import BifsegSettings

_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class ObjectLesson:
    """The surroundings of one object on its working grid, slices along the first axis.

    image : (S, P, Q) float32 in [0, 1]
    target : (S, P, Q) float32, how much of each voxel is the object
    weight : (S, P, Q) float32, how much each voxel counts
    channels : (C, S, P, Q) float16, the prompts that were given as the network saw them; None where there were none
    spacing_mm : along the three axes
    """

    image: NDArray[np.float32]
    target: NDArray[np.float32]
    weight: NDArray[np.float32]
    channels: NDArray[np.float16] | None
    spacing_mm: tuple[float, float, float]

    def arrays(self) -> dict[str, NDArray]:
        """What ``numpy.savez`` stores; ``from_arrays`` is the way back."""
        given = {} if self.channels is None else {"channels": self.channels}
        kept = {"image": self.image, "target": self.target, "weight": self.weight}
        return {
            **{name: array.astype(np.float16) for name, array in kept.items()},
            "spacing": np.array(self.spacing_mm),
            **given,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> ObjectLesson:
        """InputError where an array is missing."""
        if missing := {"image", "target", "weight", "spacing"} - set(arrays):
            raise InputError(f"a stored object lacks {', '.join(sorted(missing))}")
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
    """An object with the very input that a session gives the network for these prompts.

    Parameters
    ----------
    target_kji : (K, J, I) on the image's grid, how much of each voxel is the object
    weight_kji : (K, J, I), how much each voxel counts
    prompts : all of the image; an object without a prompt of its own is looked for round its own voxels, and one that
        few marks show in a margin round these, since no region has to be searched where the truth is known
    network : in eval mode; scribbles in a drawn box correct its answer to the box

    Raises
    ------
    InputError : arrays of another shape than the image's, or an object that has neither a voxel nor a prompt.
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
    target, weight = target * inside, weight * inside  # nothing is looked for beyond the box
    axis, channels = slice_axis(image.shape, grid.spacing_kji_mm), None
    if prompted:
        own = ObjectPrompts.of(prompts, label, box, grid, _CPU)
        start = own.start
        if start is None and own.box_drawn and own.is_scribbled:
            features = finish(encoded_steps(crop, [network], box, settings.cues)).box_features
            start = corrected_answer(network, features, own, settings)
        given = sliced_channels(image, grid.spacing_kji_mm, own.shown(start), settings.cues)
        channels = given.channels.numpy().astype(np.float16)
    spacing = (grid.spacing_kji_mm[axis], *np.delete(grid.spacing_kji_mm, axis).tolist())
    parts = (np.ascontiguousarray(np.moveaxis(part.numpy(), axis, 0)) for part in (image, target, weight))
    return ObjectLesson(*parts, channels, spacing)
