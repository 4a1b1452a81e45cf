"""What a session can work with: networks that see the crop round the box, or the prompts too."""

from InteractiveSegLib.networks.block_six import BlockSixNetwork
from InteractiveSegLib.networks.prompted import PromptedNetwork

Network = BlockSixNetwork | PromptedNetwork
"""Both end in ``block6``, which can be fitted to one image."""
