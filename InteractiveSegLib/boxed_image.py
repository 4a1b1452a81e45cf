"""The surroundings of a box as networks see them, and what these make of them before anything is marked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.cues import CueSettings
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.geometry import Volume
from InteractiveSegLib.intensity import normalised
from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.packed_mask import PackedMask
from InteractiveSegLib.predict import PromptedFeatures, feature_steps, prompted_feature_steps, slice_axis
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts import BoundingBox
from InteractiveSegLib.working_grid import GridSettings, WorkingGrid, working_grid


@dataclass(frozen=True, eq=False)
class BoxedImage:
    """What is computed once a box: the crop on the working grid and the features of the frozen blocks.

    image : (K, J, I) float32 in [0, 1]
    not_finite : voxels of the crop that were NaN or infinite and count as the darkest finite value
    features : (F, K, J, I) float32, of the network that looks at the image alone; None where none has looked yet
    of_box : what the network that sees prompts makes of the box alone, if it was drawn; None where it was not asked
    """

    grid: WorkingGrid
    image: Tensor
    not_finite: int
    features: Tensor | None = None
    of_box: PromptedFeatures | None = None

    @property
    def bytes(self) -> int:
        """Memory that the image and what networks made of it take."""
        return sum(held.nbytes for held in (self.image, self.features, self.of_box) if held is not None)


def shown_box(grid: WorkingGrid, box: BoundingBox) -> Tensor:
    """A drawn box as networks are shown it, (K, J, I) bool on the working grid.

    A box that leaves nothing out, such as that of a whole image, says nothing of what is not the object. The outermost
    rows and columns of the slices then count as outside; the object may reach there all the same.
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


def start_on_grid(start: PackedMask, box: BoundingBox, grid: WorkingGrid) -> Tensor:
    """The part of a mask to start from that lies in an object's box, (K, J, I) in [0, 1] on the working grid."""
    mask = np.zeros(grid.crop.shape_kji, np.float32)
    mask[box.counted_from(grid.crop).slices] = start.within(box)
    return grid.averaged(torch.from_numpy(mask))


def crop_intensities(volume: Volume, crop: BoundingBox) -> tuple[NDArray[np.float32], int]:
    """The crop (K, J, I) in [0, 1], and how many of its voxels are not finite (they count as the darkest finite one).

    Raises
    ------
    InputError : no voxel of the crop is finite.
    """
    values = volume.array_kji[crop.slices]
    wide = values.dtype.itemsize >= 4  # float32 would lose the low bits of large values
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:  # and so would float64
        values = values.astype(np.uint64) - values.min().astype(np.uint64)
    values = values.astype(np.float64 if wide else np.float32)
    finite = np.isfinite(values)
    missing = int(values.size - np.count_nonzero(finite))
    if missing == values.size:
        raise InputError(f"all {values.size} voxels of the image in the box are NaN or infinite")
    if missing:
        values[~finite] = values[finite].min()
    if wide:
        _bring_to_float32_range(values)
    return normalised(values), missing


def _bring_to_float32_range(values: NDArray[np.float64]) -> None:
    """Shift and scale so that float32 keeps the low bits of all but far outliers, such as a padding of -1e30."""
    low, middle, high = np.percentile(values.reshape(-1)[:: max(1, values.size // 20_000)], (0.5, 50, 99.5))
    if high <= low:  # nearly constant: the outliers may be all there is to see
        low, high = values.min(), values.max()
    with np.errstate(over="ignore"):
        values -= middle
        values /= max(high - low, np.finfo(np.float64).tiny)
    np.clip(values, -1e6, 1e6, out=values)


def boxed_image(volume: Volume, box: BoundingBox, settings: GridSettings, device: torch.device) -> BoxedImage:
    """The surroundings of a box that lies within the image, cropped and resampled; without features."""
    grid = working_grid(box, volume.geometry, settings)
    intensities, not_finite = crop_intensities(volume, grid.crop)
    return BoxedImage(grid, grid.averaged(torch.from_numpy(intensities)).to(device), not_finite)


def encoded_steps(
    boxed: BoxedImage, networks: Sequence[Member], drawn: BoundingBox | None, cues: CueSettings
) -> Steps[BoxedImage]:
    """The same with what the networks make of it before anything is marked, as far as that lacks.

    Parameters
    ----------
    drawn : the box, for networks that start from the answer to it; None where there is none, or a mask to start from
    """
    for network in networks:
        if not network.takes_prompts:
            if boxed.features is None:
                features = yield from feature_steps(network, boxed.image, boxed.grid.spacing_kji_mm)
                boxed = replace(boxed, features=features)
        elif drawn is not None and boxed.of_box is None:
            inside = shown_box(boxed.grid, drawn).to(boxed.image.device)
            nothing = torch.zeros_like(inside)
            of_box = yield from prompted_feature_steps(
                network, boxed.image, boxed.grid.spacing_kji_mm, inside, nothing, nothing, settings=cues
            )
            boxed = replace(boxed, of_box=of_box)
    return boxed
