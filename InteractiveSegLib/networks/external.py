"""Models from elsewhere: TorchScript, with a card that describes their input and output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.cues import CHANNELS
from InteractiveSegLib.networks.model_card import ModelCard
from InteractiveSegLib.networks.script_model import ScriptLimits, ScriptModel
from InteractiveSegLib.progress import Progress, Stage, Steps, finish

_CLASSICAL = CHANNELS.index("classical answer")
_PACE = 5.0  # Adam moves a parameter by the learning rate at most; so few parameters need longer steps
_CLASSICAL_PACE = 20.0  # the classical answer rises by a fifth a voxel of distance
_SIDES_TRIED = (16, 17, 19)  # uneven: an axis taken for another, a shape fixed by tracing or a stride shows


class ExternalNetwork(nn.Module):
    """A TorchScript model with the interface of ``PromptedNetwork``; only a head on its log-odds adapts to an image.

    The model itself is frozen, and runs in a process of its own. It sees the channels its card names, padded at the far
    ends by repeating the border if its sides must be multiples of a number.

    Parameters
    ----------
    model : asked with one float32 tensor
    card : describes its input and output
    """

    takes_prompts = True
    dimensions = 3
    config = None

    def __init__(self, model: ScriptModel, card: ModelCard) -> None:
        super().__init__()
        self.card = card
        self.model = model
        self.feature_channels = 2
        self.block6 = LogOddsHead()

    @property
    def sees_start_masks(self) -> bool:
        return "start mask" in self.card.channels

    @property
    def members(self) -> tuple[ExternalNetwork]:
        return (self,)

    def feature_steps(self, channels: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
        """The model's log-odds and the classical answer (B, 2, K, J, I) of encoded prompts (B, C, K, J, I).

        Parameters
        ----------
        channels : all those of ``cues.encode``
        spacing_mm : not used; for the same interface as ``PromptedNetwork``

        Raises
        ------
        InputError : not the channels of ``cues.encode``; or the model fails, or does not return what its card promises.
        """
        if channels.ndim != 5 or channels.shape[1] != len(CHANNELS):
            raise InputError(f"expected (B, {len(CHANNELS)}, K, J, I), got {tuple(channels.shape)}")
        yield Progress.of(Stage.NETWORK, 0, 1)
        wanted = channels[:, [CHANNELS.index(name) for name in self.card.channels]]
        sides = wanted.shape[2:]
        padding = [extra for side in reversed(sides) for extra in (0, -side % self.card.multiple_of)]
        if any(padding):
            wanted = F.pad(wanted, padding, mode="replicate")
        if self.card.slices_last:
            wanted = wanted.transpose(2, 4)
        logits = yield from self._answer_steps(wanted.contiguous())
        if self.card.slices_last:
            logits = logits.transpose(2, 4)
        logits = logits[:, :, : sides[0], : sides[1], : sides[2]]
        odds = logits if self.card.outputs == 1 else logits[:, 1:] - logits[:, :1]
        return torch.cat([odds, channels[:, _CLASSICAL : _CLASSICAL + 1]], dim=1)

    def forward(self, channels: Tensor, spacing_mm: Sequence[float]) -> Tensor:
        """Two-class logits (B, 2, K, J, I)."""
        return self.block6(finish(self.feature_steps(channels, spacing_mm)))

    def _answer_steps(self, given: Tensor) -> Steps[Tensor]:
        """What the model returns, checked against its card."""
        path, shape = self.card.model, tuple(given.shape)
        expected = (shape[0], self.card.outputs, *shape[2:])
        told, answer = yield from self.model.answer_steps(given, expected)
        if told["kind"] == "device memory":
            raise torch.OutOfMemoryError(told.get("text"))
        if told["kind"] != "answer":
            raise InputError(
                f"the model {path} fails on an input of {shape}, with {len(self.card.channels)} channels and sides a "
                f"multiple of {self.card.multiple_of} as its card says: {told.get('text')}"
            )
        sides = told.get("shape")
        found = tuple(sides) if isinstance(sides, list) else f"a {told.get('type')}"
        if found != expected:
            raise InputError(f"the model {path} returns {found} for an input of {shape}; its card promises {expected}")
        if answer is None:
            raise InputError(f"the model {path} returns {told.get('dtype')}; logits are floating-point numbers")
        if not torch.isfinite(answer).all():
            count = int((~torch.isfinite(answer)).sum())
            raise InputError(f"the model {path} returns {count} NaN or infinite values for an input of {shape}")
        return answer


class LogOddsHead(nn.Module):
    """Block 6 of a model from elsewhere: initially exactly the answer of the model.

    Gain and bias shift the log-odds; a share of the classical answer adds the scribbles to a model that sees none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, 2, ...) of features (B, 2, ...)."""
        odds = self.gain * features[:, 0] + _PACE * self.bias + _CLASSICAL_PACE * self.share * features[:, 1]
        return torch.stack([torch.zeros_like(odds), odds], dim=1)

    def on_columns(self, features: Tensor) -> Tensor:
        """Logits (1, 2, N) of the features (2, N) of N voxels, wherever they lie."""
        return self(features[None])


def load_external(card: ModelCard, sha256: str, limits: ScriptLimits | None = None) -> ExternalNetwork:
    """The model of a card, in eval mode, tested once on a small image of zeros.

    Parameters
    ----------
    sha256 : of the model, which may run

    Raises
    ------
    InputError : the file is cut short, not TorchScript, or uses operators unknown to this PyTorch; or the model does
        not accept what its card names, does not return what it promises, or takes more time or memory than its limits.
    """
    network = ExternalNetwork(ScriptModel(card.model, sha256, limits), card).eval()
    multiple = card.multiple_of
    zeros = torch.zeros(1, len(CHANNELS), *(-(-side // multiple) * multiple for side in _SIDES_TRIED))
    finish(network.feature_steps(zeros, (1.0, 1.0, 1.0)))
    return network
