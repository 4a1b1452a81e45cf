"""What a network must offer to be worked with: a further one is a file of its own and a line in ``architectures``."""

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
        """Two-class logits (1, 2, N) of the features (F, N) of N voxels, wherever they lie, without dropout."""


class Network(Module, Protocol):
    """One network, or several that answer together.

    takes_prompts : it sees the channels of ``cues.encode``, rather than the image alone
    sees_start_masks : a mask to start from changes its answer
    members : the networks that answer, the most telling first; of a single network itself
    """

    takes_prompts: bool
    sees_start_masks: bool

    @property
    def members(self) -> tuple[Member, ...]: ...


class Member(Network, Protocol):
    """A network that answers by itself.

    dimensions : 3, or 2 where it sees one slice at a time
    block6 : ends it
    config : arguments of its class that make the same network; None of a model that comes from elsewhere
    """

    dimensions: int
    block6: Head
    config: Mapping[str, Any] | None

    def feature_steps(self, shown: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
        """What block 6 takes, (B, F, ...) features of the voxels of ``shown``, with reports between which it can end.

        Parameters
        ----------
        shown : (B, C, K, J, I) channels of ``cues.encode``, slices along K, where the network takes prompts; else
            images in [0, 1], (B, 1, K, J, I), or (B, 1, J, I) where it has two dimensions
        spacing_mm : along K, J, I

        Raises
        ------
        InputError : a tensor of another shape.
        """
