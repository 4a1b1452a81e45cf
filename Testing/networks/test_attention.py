"""Attention put on layers of networks from outside."""

import copy
import math

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.networks.attention import AttentiveNetwork, SpatialAttention


def unet(dimensions):
    return UNet(dimensions, 1, 2, (4, 8, 8), (2, 2), norm="INSTANCE")


def basic(dimensions):
    return BasicUNet(dimensions, 1, 2, (4, 4, 4, 4, 8, 4))


def automatic(dimensions):
    return AutomaticNetwork([1, 3], (8.0, 1.0, 1.0) if dimensions == 2 else (1.0, 1.0, 1.0), (4, 8, 8)).body


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    ("make", "layer", "cells"),
    [(unet, "model.1.submodule.0", 8), (basic, "down_2", 8), (automatic, "model.1.submodule.0", 8)],
)
def test_it_goes_on_any_layer_of_any_network(dimensions, make, layer, cells):
    image = torch.rand(2, 1, *[32] * dimensions)
    torch.manual_seed(0)
    backbone = make(dimensions)
    plain = backbone(image)
    network = AttentiveNetwork(backbone, layer, image)
    network.train()
    assert not torch.equal(network(image), plain)
    found = network.attention.latest
    n = cells**dimensions
    assert found.cells == (cells,) * dimensions
    assert found.attention.shape == (2, n, n)
    assert torch.allclose(found.attention, found.attention.transpose(1, 2))
    assert found.attention.mean().item() == pytest.approx(1 / n, rel=1e-5)
    assert 0 < found.similarity.min() <= found.similarity.max() < 1
    with torch.no_grad():  # what it adds to the layer is nothing
        for part in (network.attention.out, network.attention.narrow):
            part.weight.zero_()
            part.bias.zero_()
    assert torch.equal(network(image), plain)


def test_cells_that_are_alike_have_a_similarity_that_can_be_worked_out():
    attention = SpatialAttention(3, 2).train()
    attention(torch.ones(1, 3, 2, 5))
    found = attention.latest
    assert torch.allclose(found.attention, torch.full((1, 10, 10), 0.1))
    assert torch.allclose(found.similarity, torch.full((1, 10, 10), 0.5))  # sigmoid(1 * 10 * 0.1 - 1)


def test_what_is_attended_to_is_worked_out_by_hand():
    attention = SpatialAttention(2, 2).train()
    with torch.no_grad():
        for part in (attention.query, attention.key):
            part.weight.copy_(torch.eye(2))
            part.bias.zero_()
    attention(torch.tensor([[[[3.0, 1.0]], [[1.0, 3.0]]]]))  # (1, -1) and (-1, 1) after the layer norm
    other = 1 / (1 + math.exp(4 / math.sqrt(2)))  # scores of 2 and -2, divided by the root of 2
    expected = torch.tensor([[[1 - other, other], [other, 1 - other]]])
    assert torch.allclose(attention.latest.attention, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("sides", "most", "cells"), [((32, 16), 128, (16, 8)), ((8, 12, 4), 60, (4, 6, 2)), ((1, 40), 10, (1, 10))]
)
def test_large_layers_are_pooled(sides, most, cells):
    attention = SpatialAttention(4, len(sides), most).train()
    features = torch.rand(1, 4, *sides)
    assert attention(features).shape == features.shape
    assert attention.latest.cells == cells


def test_where_memory_runs_out_it_pools_further_and_says_so(monkeypatch):
    attention = SpatialAttention(4, 2)
    whole = attention._attended

    def small(features):
        if math.prod(attention._cells(features.shape[2:])) > 64:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory")
        return whole(features)

    monkeypatch.setattr(attention, "_attended", small)
    assert attention(torch.rand(1, 4, 16, 16)).shape == (1, 4, 16, 16)
    assert attention.notes == [
        "there was not enough memory for attention on the layer of 16 x 16: it attends to 64 cells at most from here on"
    ]


def test_an_error_that_is_not_of_memory_stays_one():
    with pytest.raises(RuntimeError, match="size"):
        SpatialAttention(4, 2)(torch.rand(1, 5, 8, 8))


def test_a_layer_that_does_not_exist_is_named_with_those_like_it():
    with pytest.raises(InputError, match=r"BasicUNet has no layer 'dwn_2' .*down_2"):
        AttentiveNetwork(basic(2), "dwn_2", torch.rand(1, 1, 32, 32))


def test_a_layer_without_a_grid_is_refused():
    backbone = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten())
    with pytest.raises(InputError, match=r"layer '1' returns a tensor of 2 dimensions"):
        AttentiveNetwork(backbone, "1", torch.rand(1, 1, 8, 8))


def test_a_copy_attends_with_its_own_weights():
    image = torch.rand(1, 1, 32, 32)
    network = AttentiveNetwork(unet(2), "model.1.submodule.0", image).train()
    network(image)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        copied.attention.out.bias.add_(1)
    before = network(image)
    assert not torch.equal(copied(image), before)
    assert copied.attention.latest is not network.attention.latest
