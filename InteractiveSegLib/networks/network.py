"""What a session can work with: networks that see the crop round the box, or the prompts too."""

from InteractiveSegLib.networks.block_six import BlockSix, BlockSixNetwork
from InteractiveSegLib.networks.ensemble import Ensemble
from InteractiveSegLib.networks.external import ExternalNetwork, LogOddsHead
from InteractiveSegLib.networks.prompted import PromptedNetwork

Member = BlockSixNetwork | PromptedNetwork | ExternalNetwork
"""All end in ``block6``, which can be fitted to one image."""

Network = Member | Ensemble

Head = BlockSix | LogOddsHead
"""Block 6: has ``on_columns``."""


def members(network: Network) -> tuple[Member, ...]:
    """The networks that answer, one or several."""
    return network.members if isinstance(network, Ensemble) else (network,)


def sees_start_masks(network: Network) -> bool:
    """Whether a mask to start from changes the network's answer."""
    if isinstance(network, ExternalNetwork):
        return "start mask" in network.card.channels
    return network.takes_prompts
