"""Two networks that answer together: one that sees the prompts, and one that sees only the image."""

from torch import nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSixNetwork
from InteractiveSegLib.networks.prompted import PromptedNetwork


class Ensemble(nn.Module):
    """A prompted network and P-Net, which is fitted to the image separately; the mean of their log-odds is the answer.

    They make different errors: one has learnt what scribbles mean, the other learns most from this image.

    Parameters
    ----------
    prompted, image_network : trained; shared, not copied

    Raises
    ------
    InputError : ``image_network`` is not 2D, so it would need another grid.
    """

    takes_prompts = sees_start_masks = True

    def __init__(self, prompted: PromptedNetwork, image_network: BlockSixNetwork) -> None:
        super().__init__()
        if image_network.dimensions != 2:
            raise InputError(
                f"the ensemble takes a 2D network beside the prompted one, not a {image_network.dimensions}D one"
            )
        self.prompted, self.image_network = prompted, image_network

    @property
    def members(self) -> tuple[PromptedNetwork, BlockSixNetwork]:
        return self.prompted, self.image_network
