"""Two networks that answer together: one that sees the prompts, and one that sees the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSixNetwork
from InteractiveSegLib.networks.prompted import PromptedNetwork, ResidualHead
from InteractiveSegLib.progress import Steps


class Ensemble(nn.Module):
    """Adds the log-odds of a prompted network and, within a drawn box, of P-Net: they err in different places.

    P-Net's part is computed once a box, up to the 1x1 convolution that ends it. Without a box it does not know which
    object is meant, and is left out.

    Parameters
    ----------
    prompted, image_network : trained; shared, not copied

    Raises
    ------
    InputError : ``image_network`` is not 2D.
    """

    takes_prompts = True

    def __init__(self, prompted: PromptedNetwork, image_network: BlockSixNetwork) -> None:
        super().__init__()
        if image_network.dimensions != 2:
            raise InputError(
                f"the ensemble takes a 2D network beside the prompted one, not a {image_network.dimensions}D"
            )
        self.prompted = prompted
        self.image_part = ImagePart(image_network)
        self.block6 = EnsembleHead(prompted, image_network)

    def feature_steps(self, channels: Tensor, spacing_mm: Sequence[float]) -> Steps[Tensor]:
        """Features of the prompted network; those of ``image_part`` follow them in what ``block6`` takes."""
        return self.prompted.feature_steps(channels, spacing_mm)


class ImagePart(nn.Module):
    """P-Net up to the activations that its last convolution takes."""

    dimensions = 2

    def __init__(self, network: BlockSixNetwork) -> None:
        super().__init__()
        self.network = network

    def features(self, image: Tensor) -> Tensor:
        """(B, hidden channels, J, I) of slices (B, 1, J, I) in [0, 1]."""
        _, first, activation, *_ = self.network.block6
        return activation(first(self.network.features(image)))


class EnsembleHead(nn.Module):
    """The last blocks of both networks, side by side; both can be fitted to one image."""

    def __init__(self, prompted: PromptedNetwork, image_network: BlockSixNetwork) -> None:
        super().__init__()
        self.prompted: ResidualHead = prompted.block6
        self.of_image = image_network.block6[-1]
        self._prompted_channels = prompted.feature_channels

    def on_columns(self, features: Tensor) -> Tensor:
        """Logits (1, 2, N) of the features (F, N) of N voxels: those of the prompted network and, if any, of P-Net."""
        seen, of_image = features[: self._prompted_channels], features[self._prompted_channels :]
        if not len(of_image):
            return self.prompted.on_columns(seen)
        added = torch.addmm(self.of_image.bias[:, None], self.of_image.weight.flatten(1), of_image)
        return self.prompted.on_columns(seen) + added[None]
