"""The surroundings of a box as networks see them, and the networks' features before anything is marked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.intensity import crop_intensities
from InteractiveSegLib.image.working_grid import GridSettings, WorkingGrid, working_grid
from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.networks.predict import PromptedFeatures, feature_steps, slice_axis
from InteractiveSegLib.progress import Steps


@dataclass(frozen=True, eq=False)
class ObjectCrop:
    """What is computed once per box: the crop on the working grid and the features of the frozen blocks.

    image : (K, J, I) float32 in [0, 1]
    not_finite : voxels of the crop that were NaN or infinite and are treated as the darkest finite value
    features : (F, K, J, I) float32, of the network that sees only the image; None if not computed yet
    box_features : of the network that sees prompts, from a drawn box alone (``box_look``); None if not computed
    beside : the boxes of other objects that they take into account
    """

    grid: WorkingGrid
    image: Tensor
    not_finite: int
    features: Tensor | None = None
    box_features: PromptedFeatures | None = None
    beside: frozenset[BoundingBox] = frozenset()

    @property
    def bytes(self) -> int:
        """Memory of the image and the features."""
        return sum(held.nbytes for held in (self.image, self.features, self.box_features) if held is not None)


def shown_box(grid: WorkingGrid, box: BoundingBox) -> Tensor:
    """A drawn box as networks are shown it, (K, J, I) bool on the working grid.

    A box that leaves nothing out, such as that of a whole image, does not tell what background looks like. The
    outermost rows and columns of the slices then count as outside; the object may still reach there.
    """
    inside = grid.inside(box)
    if not inside.all():
        return inside
    across = slice_axis(grid.shape_kji, grid.spacing_kji_mm)
    for axis, size in enumerate(grid.shape_kji):
        if axis != across and size > 2:
            inside.select(axis, 0).fill_(False)
            inside.select(axis, size - 1).fill_(False)
    return inside


def object_crop(volume: Volume, box: BoundingBox, settings: GridSettings, device: torch.device) -> ObjectCrop:
    """The surroundings of a box within the image, cropped and resampled, without features."""
    grid = working_grid(box, volume.geometry, settings)
    intensities, not_finite = crop_intensities(volume, grid.crop)
    return ObjectCrop(grid, grid.averaged(torch.from_numpy(intensities)).to(device), not_finite)


def encoded_steps(crop: ObjectCrop, networks: Sequence[Member]) -> Steps[ObjectCrop]:
    """The same crop with the features of the network that sees only the image, if it is one of ``networks`` and they
    are still missing.
    """
    for network in networks:
        if not network.takes_prompts and crop.features is None:
            features = yield from feature_steps(network, crop.image, crop.grid.spacing_kji_mm)
            crop = replace(crop, features=features)
    return crop
