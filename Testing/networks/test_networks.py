import numpy as np
import pytest
import torch
from torch import nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSixNetwork, inflate
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.predict import feature_steps, foreground_probability, slice_axis
from InteractiveSegLib.progress import finish

SHAPE_KJI = (5, 11, 14)


def small(kind, seed=0):
    """A narrow network in eval mode whose batch norms have seen something."""
    torch.manual_seed(seed)
    return settled(kind(channels=6, compressed=3 if kind is PCNet else None))


def settled(network):
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def image_for(network, shape, seed=0):
    return torch.rand((2, 1, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("network", "convolution"), [(PNet(), nn.Conv2d), (PCNet(), nn.Conv3d)])
def test_five_blocks_hold_thirteen_dilated_convolutions(network, convolution):
    blocks = [[m for m in block.modules() if isinstance(m, convolution)] for block in network.blocks]
    assert [len(block) for block in blocks] == [2, 2, 3, 3, 3]
    axes = network.dimensions
    for block, dilation in zip(blocks, (1, 2, 4, 8, 16), strict=True):
        for layer in block:
            assert layer.kernel_size == (3,) * axes
            assert layer.dilation == layer.padding == (dilation,) * axes
            assert layer.stride == (1,) * axes
            assert layer.out_channels == 64
    assert blocks[0][0].in_channels == 1
    assert not any(isinstance(m, (nn.MaxPool2d, nn.MaxPool3d)) for m in network.modules())


@pytest.mark.parametrize(("network", "concatenated"), [(PNet(), 5 * 64), (PCNet(), 5 * 16), (PNet(8), 40)])
def test_block_six_is_two_1x1_convolutions_with_dropout_on_all_blocks(network, concatenated):
    assert network.feature_channels == concatenated
    layers = list(network.block6)
    convolutions = [m for m in layers if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    assert [m.kernel_size for m in convolutions] == [(1,) * network.dimensions] * 2
    assert convolutions[0].in_channels == concatenated
    assert convolutions[1].out_channels == 2
    assert sum(isinstance(m, (nn.Dropout2d, nn.Dropout3d)) for m in layers) == 2


def test_only_pcnet_compresses_its_blocks():
    assert all(isinstance(m, nn.Identity) for m in PNet().compressions)
    for compression in PCNet().compressions:
        layer = next(m for m in compression.modules() if isinstance(m, nn.Conv3d))
        assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (64, 16, (1, 1, 1))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(PNet, (11, 14)), (PNet, (1, 7)), (PNet, (40, 3)), (PCNet, SHAPE_KJI), (PCNet, (1, 9, 8)), (PCNet, (7, 1, 3))],
)
@torch.no_grad()
def test_the_answer_has_the_shape_of_the_image(kind, shape):
    network = small(kind)
    image = image_for(network, shape)
    assert network(image).shape == (2, 2, *shape)
    assert network.features(image).shape == (2, network.feature_channels, *shape)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (PNet, (1, 2, 8, 8)),
        (PNet, (1, 1, 8, 8, 8)),
        (PNet, (8, 8)),
        (PCNet, (1, 1, 8, 8)),
        (PCNet, (2, 3, 8, 8, 8)),
        (PCNet, (8, 8, 8)),
    ],
)
def test_images_of_other_channels_or_axes_are_refused(kind, shape):
    with pytest.raises(InputError, match=rf"{len(shape)}|{shape[0]}") as refusal:
        small(kind)(torch.zeros(shape))
    assert str(shape) in str(refusal.value)


def test_networks_of_other_dimensions_are_refused():
    with pytest.raises(InputError, match="not 4"):
        BlockSixNetwork(4, 8, None, 0.3)


@pytest.mark.parametrize("kind", [PNet, PCNet])
@torch.no_grad()
def test_block_six_on_the_features_is_the_network(kind):
    network = small(kind)
    image = image_for(network, SHAPE_KJI[-network.dimensions :])
    assert torch.equal(network.block6(network.features(image)), network(image))


@pytest.mark.parametrize("kind", [PNet, PCNet])
@torch.no_grad()
def test_block_six_on_columns_is_block_six_on_the_grid(kind):
    network = small(kind)
    shape = SHAPE_KJI[-network.dimensions :]
    features = network.features(image_for(network, shape)[:1])
    expected = network.block6(features)
    columns = network.block6.on_columns(features[0].flatten(1))
    assert columns.shape == (1, 2, expected[0, 0].numel())
    torch.testing.assert_close(columns.reshape(expected.shape), expected)
    some = torch.tensor([3, 50, 7])
    torch.testing.assert_close(network.block6.on_columns(features[0].flatten(1)[:, some]), columns[:, :, some])


@pytest.mark.parametrize("kind", [PNet, PCNet])
@torch.no_grad()
def test_an_image_is_seen_alike_whatever_lies_beside_it_in_the_batch(kind):
    network = small(kind)
    image = image_for(network, SHAPE_KJI[-network.dimensions :])
    image[1] *= 100
    both = network(image)
    for one, expected in zip(image, both, strict=True):
        torch.testing.assert_close(network(one[None])[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [PNet, PCNet])
@torch.no_grad()
def test_features_are_reported_block_by_block(kind):
    network = small(kind)
    steps = network.feature_steps(image_for(network, SHAPE_KJI[-network.dimensions :]))
    seen = []
    hooks = [
        block.register_forward_hook(lambda *_, index=index: seen.append(index))
        for index, block in enumerate(network.blocks)
    ]
    for index in range(5):
        progress = next(steps)
        assert (progress.done, progress.total) == (index, 5)
        assert seen == list(range(index))
    for hook in hooks:
        hook.remove()


def test_slices_lie_along_the_axis_of_the_thickest():
    assert slice_axis((4, 5, 6), (3.0, 0.7, 0.5)) == 0
    assert slice_axis((4, 5, 6), (0.5, 3.0, 0.7)) == 1
    assert slice_axis((4, 5, 6), (0.5, 0.7, 3.0)) == 2
    assert slice_axis((4, 5, 6), (1.0, 1.0, 1.0)) == 0
    assert slice_axis((4, 5, 6), (0.5, 1.0, 1.0)) == 1
    assert slice_axis((4, 5, 6), (1.0 - 1e-6, 1.0 - 1e-16, 1.0)) == 0
    assert slice_axis((4, 5, 6), (1.0, 1.0, 1.001)) == 2
    assert slice_axis((4, 5, 1), (3.0, 1.0, 1.0)) == 2


@pytest.mark.parametrize(("spacing_mm", "axis"), [((3.0, 0.7, 0.5), 0), ((0.7, 3.0, 0.5), 1), ((0.7, 0.5, 3.0), 2)])
@torch.no_grad()
def test_a_2d_network_sees_an_image_slice_by_slice(spacing_mm, axis):
    network, shape_kji = small(PNet), (10, 11, 14)  # more slices than are looked at at once
    image = torch.rand(shape_kji, generator=torch.Generator().manual_seed(2))
    features = finish(feature_steps(network, image, spacing_mm))
    assert features.shape == (30, *shape_kji)
    assert features.stride(0) == 1  # those of a voxel lie side by side
    probability = foreground_probability(network.block6, features)
    assert probability.shape == shape_kji
    for index in range(shape_kji[axis]):
        one = network(image.select(axis, index)[None, None]).softmax(dim=1)[0, 1]
        torch.testing.assert_close(probability.select(axis, index), one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@torch.no_grad()
def test_a_2d_network_sees_a_single_slice_as_such_whatever_its_thickness(axis):
    network, shape_kji = small(PNet), [11, 14]
    shape_kji.insert(axis, 1)
    image = torch.rand(shape_kji, generator=torch.Generator().manual_seed(2))
    probability = foreground_probability(network.block6, finish(feature_steps(network, image, (1.0, 1.0, 1.0))))
    one = network(image.squeeze(axis)[None, None]).softmax(dim=1)[0, 1]
    torch.testing.assert_close(probability.squeeze(axis), one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_3d_network_sees_an_image_as_a_whole():
    network = small(PCNet)
    image = torch.rand(SHAPE_KJI, generator=torch.Generator().manual_seed(2))
    features = finish(feature_steps(network, image, (1.0, 1.0, 1.0)))
    expected = network(image[None, None]).softmax(dim=1)[0, 1]
    torch.testing.assert_close(foreground_probability(network.block6, features), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [PNet, PCNet])
def test_gradients_stay_on_for_the_caller_between_reports(kind):
    steps = feature_steps(small(kind), torch.zeros(SHAPE_KJI), (1.0, 1.0, 1.0))
    for _ in steps:
        assert torch.is_grad_enabled()
    assert not finish(feature_steps(small(kind), torch.zeros(SHAPE_KJI), (1.0, 1.0, 1.0))).requires_grad


@pytest.mark.parametrize("compressed", [3, None])
@torch.no_grad()
def test_an_inflated_network_does_slice_by_slice_what_the_2d_one_does(compressed):
    torch.manual_seed(0)
    flat, network = settled(PNet(6, compressed)), settled(PCNet(6, compressed))
    before = {key: value.clone() for key, value in flat.state_dict().items()}
    image = image_for(network, SHAPE_KJI)
    assert not torch.allclose(network(image)[:, :, 2], flat(image[:, :, 2]), atol=1e-2)
    inflate(flat, network)
    logits = network(image)
    for index in range(SHAPE_KJI[0]):
        torch.testing.assert_close(logits[:, :, index], flat(image[:, :, index]), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in flat.state_dict().items())


@torch.no_grad()
def test_an_inflated_network_can_learn_from_the_neighbouring_slices():
    network = PCNet(4, 2)
    inflate(PNet(4, 2), network)
    weight = network.blocks[0][1].conv.weight
    assert weight.requires_grad
    assert weight[:, :, 1].all()
    assert not weight[:, :, [0, 2]].any()
    with torch.enable_grad():
        network(image_for(network, SHAPE_KJI)).square().sum().backward()
    assert weight.grad[:, :, 0].any()


@pytest.mark.parametrize(
    ("flat", "network"),
    [
        (PNet(4, 2), PNet(4, 2)),
        (PCNet(4, 2), PCNet(4, 2)),
        (PCNet(4, 2), PNet(4, 2)),
        (PNet(4, 2), PCNet(5, 2)),
        (PNet(4, 2), PCNet(4, 3)),
        (PNet(4, None), PCNet(4, 4)),
        (PNet(4, 2, 0.1), PCNet(4, 2, 0.2)),
    ],
)
def test_networks_that_differ_by_more_than_a_dimension_are_not_inflated(flat, network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=rf"^{flat.dimensions}D .* cannot be inflated to {network.dimensions}D "):
        inflate(flat, network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_published_width_is_the_default():
    assert PNet().config == {"channels": 64, "compressed": None, "dropout": 0.3}
    assert PCNet().config == {"channels": 64, "compressed": 16, "dropout": 0.3}
    assert sum(np.prod(p.shape) for p in PNet(4).block6.parameters()) == 20 * 4 + 4 + 4 * 2 + 2


@pytest.mark.parametrize("name", ["pnet", "pcnet", "prompted"])
def test_shipped_weights_are_laid_out_channels_last_once_loaded(name):
    """Convolutions of an image of one channel go by the layout of their weights; the other one takes twice as long."""
    weights = [weight for weight in load_network(name).parameters() if weight.ndim > 3 and weight.shape[1] > 1]
    assert weights
    for weight in weights:
        layout = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
        assert weight.is_contiguous(memory_format=layout)
