"""Tiny TorchScript models, in a folder with a card or in a MONAI bundle."""

import json
from hashlib import sha256

import torch
from torch import nn
from torch.nn import functional as F

from InteractiveSegLib.networks import script_model
from InteractiveSegLib.networks.model_trust import trust

CARD = {"channels": ["image"], "spatial_axes": 3, "outputs": 1}


class Threshold(nn.Module):
    """Bright is foreground; one logit. Learnt, so that there is a weight to keep."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(channels, 1, 1)
        nn.init.constant_(self.convolution.weight, 20.0)
        nn.init.constant_(self.convolution.bias, -10.0)

    def forward(self, x):
        return self.convolution(x)


class TwoLogits(Threshold):
    def forward(self, x):
        bright = self.convolution(x)
        return torch.cat([1 - bright, 1 + bright], dim=1)


class Strided(Threshold):
    """As U-Nets do: fails where a side is odd."""

    def forward(self, x):
        coarse = F.interpolate(F.avg_pool3d(x, 2), scale_factor=2.0)
        return self.convolution(torch.stack([x, coarse]).mean(dim=0))


def tiny(body, arguments="x"):
    """A model without weights; a class of its own, which TorchScript would otherwise share."""
    module = type("Tiny", (torch.jit.ScriptModule,), {})()
    module.define(f"def forward(self, {arguments}):\n    {body}\n")
    return module


def scripted(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.script(model).save(str(path))
    return path


def trusted(path):
    """A model as it is, after a person has said that it may run."""
    trust(sha256(path.read_bytes()).hexdigest(), str(path))
    return path


def folder(path, model=None, card=CARD):
    trusted(scripted(model or Threshold(), path / "model.ts"))
    (path / "model.json").write_text(card if isinstance(card, str) else json.dumps(card))
    return path


def end_idle_model():
    """The next model has a process of its own."""
    idle, script_model._Process._idle = script_model._Process._idle, None
    if idle is not None:
        idle.end()


def bundle(path, model=None, inputs=None, outputs=1, **others):
    trusted(scripted(model or Threshold(), path / "models" / "model.ts"))
    formats = {
        "inputs": {"image": {"num_channels": 1, **(inputs or {})}},
        "outputs": {"pred": {"num_channels": outputs}},
    }
    (path / "configs").mkdir()
    (path / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": formats, **others}))
    return path
