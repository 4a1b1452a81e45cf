"""The automatic network: all labels of a study at once, without prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.layers.simplelayers import SkipConnection
from monai.networks.nets import UNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.image_lesson import PatientAxes, on_image_grid, seen
from InteractiveSegLib.networks.attention import SpatialAttention, attached

THICK = 3.0  # slices this many times thicker than the pixel width are processed one by one
_SIZES = (0.85, 1.0, 1.18, 1.35)  # relative to the voxels of the training
_OVERLAP, _OVERLAP_OF_SIZES = 0.5, 0.25  # of windows, and where their borders differ from size to size
_SHY = 2.0  # by which a new label's logit starts below that of the background


class AutomaticNetwork(nn.Module):
    """A compact U-Net of MONAI with a last layer that grows with the labels of the study.

    Parameters
    ----------
    labels : of the outputs after the background, in the order in which they were added
    spacing_mm : of its input voxels, along S, A and R
    widths : feature channels per level
    slices_first : its input is slices in any direction of the patient, as for ``PatientAxes.slices_first``
    window : side in voxels of the sliding window, equal to that of the training patches; 0 processes whole slices, and
        large volumes in windows of 96
    """

    def __init__(
        self,
        labels: Sequence[int],
        spacing_mm: Sequence[float],
        widths: Sequence[int] = (16, 32, 64),
        slices_first: bool = False,
        window: int = 0,
        attention: str = "",
    ) -> None:
        super().__init__()
        if not labels or len(set(labels)) < len(labels) or min(labels) < 1:
            raise InputError(f"labels {tuple(labels)} must be different numbers from 1")
        self.labels = tuple(int(label) for label in labels)
        self.spacing_mm = tuple(float(mm) for mm in spacing_mm)
        self.config: dict[str, Any] = {
            "labels": list(self.labels),
            "spacing_mm": list(self.spacing_mm),
            "widths": list(widths),
            "slices_first": slices_first,
            "window": window,
            "attention": attention,
        }
        self.slices_first, self.window = slices_first, window
        self.axes_of = PatientAxes.slices_first if slices_first else PatientAxes.of
        self.axis = int(np.argmax(self.spacing_mm))
        self.dimensions = self.dimensions_of(self.spacing_mm)
        strides = [2] * (len(widths) - 1)
        self.body = UNet(self.dimensions, 1, widths[0], widths, strides, num_res_units=1, norm="INSTANCE")
        self.head = nn.Conv2d(widths[0], 1 + len(labels), 1) if self.dimensions == 2 else None
        self.head = self.head or nn.Conv3d(widths[0], 1 + len(labels), 1)
        self.multiple = 2 ** (len(widths) - 1)
        self.attention: SpatialAttention | None = None
        if attention:
            self.attention = attached(self.body, attention, torch.zeros(1, 1, *[2 * self.multiple] * self.dimensions))

    @staticmethod
    def dimensions_of(spacing_mm: Sequence[float]) -> int:
        """2 if slices are thick and so processed one by one, otherwise 3."""
        *others, longest = sorted(spacing_mm)
        return 2 if longest >= THICK * others[-1] else 3

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 1 + labels, ...) of images (B, 1, ...) in [0, 1] whose sides are multiples of ``multiple``."""
        return self.head(self.body(image))

    def grown(self, labels: Sequence[int]) -> AutomaticNetwork:
        """A copy with outputs for further labels, which start less likely than background; itself if there are none."""
        new = [label for label in labels if label not in self.labels]
        if not new:
            return self
        config = {**self.config, "labels": [*self.labels, *new]}
        larger = AutomaticNetwork(**config)
        larger.body.load_state_dict(self.body.state_dict())
        if self.attention is not None and larger.attention is not None:
            larger.attention.load_state_dict(self.attention.state_dict())
        with torch.no_grad():
            known = 1 + len(self.labels)
            larger.head.weight[:known], larger.head.bias[:known] = self.head.weight, self.head.bias
            larger.head.weight[known:] = self.head.weight[:1]
            larger.head.bias[known:] = self.head.bias[:1] - _SHY
        return larger.train(self.training)

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """(1 + labels, S, P, Q) of a whole image (S, P, Q) in [0, 1], of any size."""
        if self.dimensions == 2:
            slices = image.movedim(self.axis, 0)[:, None]
            parts = [self._stack_logits(slices[start : start + 8]) for start in range(0, len(slices), 8)]
            return torch.cat(parts).movedim(0, 1).movedim(1, self.axis + 1)
        if not self.window and image.numel() > 96**3:
            return sliding_window_inference(image[None, None], (96, 96, 96), 1, self, overlap=0.25, mode="gaussian")[0]
        return self._stack_logits(image[None, None])[0]

    def _stack_logits(self, stack: Tensor) -> Tensor:
        """Logits (B, C, ...) of a stack (B, 1, ...)."""
        if not self.window:
            return _padded(self, stack, self.multiple)
        return in_windows(self, stack, self.window)

    def probabilities(self, volume: Volume) -> NDArray[np.float32]:
        """(1 + labels, K, J, I) on the image's own grid."""
        axes = self.axes_of(volume.geometry)
        device = next(self.parameters()).device
        soft = self.logits(seen(volume, axes, self.spacing_mm).to(device)).softmax(dim=0).cpu()
        return on_image_grid(soft, axes, volume.geometry)

    def described(self, volume: Volume) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As ``probabilities``, with features (n,) of the whole image, by which images are compared.

        They are those of the deepest level, averaged over the parts in which the network processes the image, each
        weighted by how much of the labels it shows.
        """
        pooled: list[Tensor] = []
        shown: list[Tensor] = []

        def pool(_module: nn.Module, _inputs: Any, found: Tensor) -> None:
            pooled.append(found.flatten(2).mean(dim=2))

        def weigh(_module: nn.Module, _inputs: Any, logits: Tensor) -> None:
            shown.append(1 - logits.softmax(dim=1)[:, 0].flatten(1).mean(dim=1))

        handles = [self._deepest().register_forward_hook(pool), self.register_forward_hook(weigh)]
        try:
            probabilities = self.probabilities(volume)
        finally:
            for handle in handles:
                handle.remove()
        weights = torch.cat(shown).double() + 1e-6  # nothing shown anywhere: all parts alike
        features = (torch.cat(pooled).double() * weights[:, None]).sum(dim=0) / weights.sum()
        return probabilities, features.float().cpu().numpy()

    def _deepest(self) -> nn.Module:
        level = self.body.model
        while isinstance(level, nn.Sequential) and len(level) > 1 and isinstance(level[1], SkipConnection):
            level = level[1].submodule
        return level

    def labelmap(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The most probable label of every voxel, (K, J, I)."""
        return np.array([0, *self.labels], np.uint8)[probabilities.argmax(axis=0)]


def in_windows(network: Callable[[Tensor], Tensor], stack: Tensor, side: int) -> Tensor:
    """Logits (B, C, ...) of a stack (B, 1, ...) of any size, averaged over windows that overlap; those of slices also
    over several sizes of the slice, as what a network finds depends on how large it sees an object.

    side : of a window, in voxels
    """
    if stack.ndim > 4:
        return _windowed(network, stack, side, _OVERLAP)
    found = []
    for size in _SIZES:
        sides = [max(1, round(n * size)) for n in stack.shape[2:]]
        view = stack if size == 1 else interpolate(stack, sides, mode="bilinear", antialias=True)
        logits = _windowed(network, view, side, _OVERLAP_OF_SIZES)
        found.append(logits if size == 1 else interpolate(logits, stack.shape[2:], mode="bilinear"))
    return torch.stack(found).mean(dim=0)


def _windowed(network: Callable[[Tensor], Tensor], stack: Tensor, side: int, overlap: float) -> Tensor:
    sides = [side] * (stack.ndim - 2)
    return sliding_window_inference(
        stack, sides, 4, network, overlap=overlap, mode="gaussian", padding_mode="replicate"
    )


def _padded(network: AutomaticNetwork, stack: Tensor, multiple: int) -> Tensor:
    """Logits of a stack (B, 1, ...) whose sides need not be multiples of what the network requires."""
    sides = stack.shape[2:]
    room = [math.ceil(n / multiple) * multiple - n for n in sides]
    padding = [side for extra in reversed(room) for side in (0, extra)]
    found = network(pad(stack, padding, mode="replicate"))
    return found[(..., *(slice(0, n) for n in sides))]
