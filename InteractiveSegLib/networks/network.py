"""What a network must provide: another network is a file of its own and a line in ``architectures``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor, device
from torch.nn import Parameter

from InteractiveSegLib.progress import Steps

Self = TypeVar("Self")


class Module(Protocol):
    """What is used of ``torch.nn.Module``."""

    training: bool

    def parameters(self) -> Iterator[Parameter]: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...

    def eval(self: Self) -> Self: ...

    def to(self: Self, device: device) -> Self: ...

    def cpu(self: Self) -> Self: ...


class Head(Module, Protocol):
    """Block 6: the last block, which can be fitted to one image."""

    def on_columns(self, features: Tensor) -> Tensor:
        """Two-class logits (1, 2, N) of the features (F, N) of N arbitrary voxels, without dropout."""


class Network(Module, Protocol):
    """One network, or several that answer together.

    takes_prompts : it sees the channels of ``cues.encode``, rather than only the image
    sees_start_masks : a mask to start from changes its answer
    members : the networks that answer, the most important first; a single network has itself
    """

    takes_prompts: bool
    sees_start_masks: bool

    @property
    def members(self) -> tuple[Member, ...]: ...


class Member(Network, Protocol):
    """A single network.

    dimensions : 3, or 2 if it sees one slice at a time
    block6 : the last block
    config : arguments of its class that create the same network; None for a model from elsewhere
    """

    dimensions: int
    block6: Head
    config: Mapping[str, Any] | None

    def feature_steps(self, shown: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
        """The input of block 6: (B, F, ...) features of the voxels of ``shown``, in steps that can be cancelled.

        Parameters
        ----------
        shown : (B, C, K, J, I) channels of ``cues.encode``, slices along K, if the network takes prompts; otherwise
            images in [0, 1], (B, 1, K, J, I), or (B, 1, J, I) for a 2D network
        spacing_mm : along K, J, I

        Raises
        ------
        InputError : a tensor of another shape.
        """
