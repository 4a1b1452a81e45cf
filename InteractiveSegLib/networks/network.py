"""What a session can work with: networks that see the crop round the box, or the prompts too."""

from InteractiveSegLib.networks.block_six import BlockSix, BlockSixNetwork
from InteractiveSegLib.networks.ensemble import Ensemble, EnsembleHead, ImagePart
from InteractiveSegLib.networks.external import ExternalNetwork, LogOddsHead
from InteractiveSegLib.networks.prompted import PromptedNetwork

Network = BlockSixNetwork | PromptedNetwork | Ensemble | ExternalNetwork
"""All end in ``block6``, which can be fitted to one image."""

Head = BlockSix | EnsembleHead | LogOddsHead
"""Block 6: has ``on_columns``."""


def sees_start_masks(network: Network) -> bool:
    """Whether a mask to start from changes the network's answer."""
    if isinstance(network, ExternalNetwork):
        return "start mask" in network.card.channels
    return network.takes_prompts


def image_part(network: Network, box_drawn: bool) -> BlockSixNetwork | ImagePart | None:
    """What looks at the image alone, so that its features hold for every prompt in a box; None where nothing does.

    box_drawn : the box comes from the user; round scribbles alone it says little of where the object ends
    """
    if isinstance(network, Ensemble):
        return network.image_part if box_drawn else None
    return network if isinstance(network, BlockSixNetwork) else None


def classical_feature(network: Network) -> int | None:
    """Which of the features is the classical answer that block 6 adds to the log-odds; None where it adds none."""
    if isinstance(network, Ensemble):
        network = network.prompted
    return network.feature_channels - 1 if isinstance(network, PromptedNetwork) else None
