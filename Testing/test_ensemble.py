"""Two networks as one: fitted to an image together, and each left as it was."""

import copy

import pytest
import torch

from InteractiveSegLib.adapt import AdaptSettings, adapt_steps
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.ensemble import Ensemble
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish


def members():
    torch.manual_seed(0)
    return PromptedNetwork((4, 4)).eval(), PNet(channels=6).eval()


def test_a_3d_network_is_refused_beside_the_prompted_one():
    with pytest.raises(InputError, match="2D network beside the prompted one, not a 3D"):
        Ensemble(members()[0], PCNet(channels=2, compressed=2))


def test_the_image_part_and_the_last_convolution_are_the_network():
    prompted, pnet = members()
    ensemble = Ensemble(prompted, pnet)
    image = torch.rand(2, 1, 9, 12)
    with torch.no_grad():
        hidden = ensemble.image_part.features(image)
        torch.testing.assert_close(ensemble.block6.of_image(hidden), pnet(image))
    assert hidden.shape == (2, 6, 9, 12)


def test_fine_tuning_fits_both_parts_and_leaves_the_networks_as_they_were():
    prompted, pnet = members()
    ensemble = Ensemble(prompted, pnet).eval()
    before = copy.deepcopy(ensemble.state_dict())
    features = torch.rand(prompted.feature_channels + 6, 3, 8, 8)
    labels = features[-1] > 0.5  # what the image part alone can tell
    settings = AdaptSettings(updates=60)
    head = finish(adapt_steps(ensemble.block6, features, labels, torch.ones(3, 8, 8), settings, seed=0))

    def right(head):
        logits = head.on_columns(features.flatten(1))[0]
        return ((logits[1] > logits[0]) == labels.flatten()).float().mean()

    assert right(head) > right(ensemble.block6) + 0.2
    assert not torch.equal(head.of_image.weight, ensemble.block6.of_image.weight)
    assert not torch.equal(head.prompted[-1].weight, ensemble.block6.prompted[-1].weight)
    assert all(torch.equal(before[key], value) for key, value in ensemble.state_dict().items())
