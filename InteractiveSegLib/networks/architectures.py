"""The architectures whose weights are read and written, by the name in the file."""

from __future__ import annotations

from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.prompted import PromptedNetwork

ARCHITECTURES: dict[str, type[Member]] = {"pnet": PNet, "pcnet": PCNet, "prompted": PromptedNetwork}
