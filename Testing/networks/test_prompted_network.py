import pytest
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSix
from InteractiveSegLib.networks.checkpoint import load_network, save_network
from InteractiveSegLib.networks.cues import CHANNELS, ShownPrompts, encode
from InteractiveSegLib.networks.predict import classical_answer, foreground_probability, prompted_feature_steps
from InteractiveSegLib.networks.prompted import PromptedNetwork, _convolved, _strides
from InteractiveSegLib.progress import finish

COUNT = len(CHANNELS)
CUBES = (1.0, 1.0, 1.0)
THICK = (4.0, 1.0, 1.0)
SHAPES = [
    ((12, 10, 14), CUBES),
    ((5, 20, 31), THICK),
    ((20, 31, 5), (0.7, 0.5, 3.0)),
    ((1, 11, 14), CUBES),
    ((9, 1, 13), CUBES),
    ((3, 5, 7), CUBES),
    ((1, 4, 4), CUBES),
    ((1, 1, 3), CUBES),
    ((2, 2, 2), CUBES),
]


def small(widths=(4, 4, 4), seed=0):
    """A narrow network in eval mode."""
    torch.manual_seed(seed)
    return PromptedNetwork(widths).eval()


def looked_through(network, seed=1):
    """The same network with slices that see their neighbours."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for level in [*network.down, *network.up]:
            weight = level.through.conv.weight
            weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    return network


def channels_of(shape_kji, count=2, seed=0):
    return torch.rand((count, COUNT, *shape_kji), generator=torch.Generator().manual_seed(seed))


def drawn(shape_kji):
    """An image, the inside of a box, and marks of both kinds."""
    image = torch.rand(shape_kji, generator=torch.Generator().manual_seed(3))
    box, foreground, background = torch.zeros(3, *shape_kji, dtype=torch.bool)
    box[1:-1, 1:-2, 2:] = True
    foreground[2, 2:4, 3], background[3, 1, 1:5] = True, True
    return image, box, foreground, background


def other_objects(shape_kji):
    """Marks on two other objects."""
    one, other = torch.zeros(2, *shape_kji, dtype=torch.bool)
    one[0, 5:7, 11], other[4, 1, 5:7] = True, True
    return [one, other]


@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
@torch.no_grad()
def test_the_answer_has_the_shape_of_the_image(shape, spacing):
    network = looked_through(small())
    channels = channels_of(shape)
    logits = network(channels, spacing)
    assert logits.shape == (2, 2, *shape)
    assert torch.isfinite(logits).all()
    features = finish(network.feature_steps(channels, spacing))
    assert features.shape == (2, network.feature_channels, *shape)
    assert network.feature_channels == 4


@torch.no_grad()
def test_one_voxel_is_an_image_for_the_default_network():
    assert PromptedNetwork().eval()(channels_of((1, 1, 1), 1), CUBES).shape == (1, 2, 1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((10, 20, 31), (1.0, 1.0, 1.0), [2, 2, 2]),
        ((10, 20, 31), (1.5, 1.0, 1.0), [2, 2, 2]),  # still as good as cubes
        ((10, 20, 31), (1.6, 1.0, 1.0), [1, 2, 2]),
        ((10, 20, 31), (4.0, 1.0, 1.0), [1, 2, 2]),
        ((10, 10, 16), (4.0, 2.0, 2.0), [1, 2, 2]),
        ((10, 5, 8), (4.0, 4.0, 4.0), [2, 2, 2]),
        ((20, 31, 10), (1.0, 1.4, 3.0), [2, 2, 1]),
        ((20, 31, 10), (1.0, 4.0, 3.0), [2, 1, 1]),
        ((1, 20, 31), (1.0, 3.0, 3.0), [1, 2, 2]),  # a single slice has no spacing along k
        ((1, 20, 31), (9.0, 1.0, 2.0), [1, 2, 1]),
        ((2, 20, 31), (1.0, 2.0, 2.0), [1, 2, 2]),  # nor have two slices, which are never pooled
        ((1, 2, 3), (1.0, 1.0, 1.0), [1, 1, 2]),
        ((2, 2, 2), (1.0, 1.0, 1.0), [1, 1, 1]),
        ((1, 1, 1), (1.0, 1.0, 1.0), [1, 1, 1]),
    ],
)
def test_an_axis_is_pooled_once_the_others_are_as_coarse(shape, spacing, expected):
    assert _strides(shape, spacing) == expected


@pytest.mark.parametrize(
    ("spacing", "seen"),
    [
        ((2.0, 2.0, 2.0), [(6, 20, 31), (3, 10, 16), (2, 5, 8), (2, 3, 4)]),
        ((2.0, 0.5, 0.5), [(6, 20, 31), (6, 10, 16), (6, 5, 8), (3, 3, 4)]),
        ((9.0, 0.5, 0.5), [(6, 20, 31), (6, 10, 16), (6, 5, 8), (6, 3, 4)]),
        ((0.5, 0.5, 2.0), [(6, 20, 31), (3, 10, 31), (2, 5, 31), (2, 3, 16)]),
    ],
)
@torch.no_grad()
def test_thick_slices_are_pooled_last(spacing, seen):
    network, shapes = small((4, 4, 4, 4)), []
    for level in network.down:
        level.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape[2:])))
    network(channels_of((6, 20, 31), 1), spacing)
    assert shapes == seen


@torch.no_grad()
def test_spacing_in_other_units_gives_the_same():
    network, channels = looked_through(small()), channels_of((6, 9, 14))
    assert torch.equal(network(channels, (2.0, 0.5, 0.5)), network(channels, (8.0, 2.0, 2.0)))
    assert not torch.allclose(network(channels, (2.0, 0.5, 0.5)), network(channels, (0.5, 2.0, 0.5)))


@torch.no_grad()
def test_a_single_slice_is_a_volume_with_nothing_beyond_it():
    level, x = looked_through(small()).down[1], channels_of((1, 11, 14))[:, :4]
    torch.testing.assert_close(level(x), level.through(level.within(x)))


@pytest.mark.parametrize("kernel", [(1, 3, 3), (3, 3, 3)], ids=str)
@pytest.mark.parametrize("shape", [shape for shape, _ in SHAPES])
def test_convolutions_without_gradients_go_another_way_to_the_same(monkeypatch, shape, kernel):
    asked, real = [], torch.mkldnn_convolution
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda *given: asked.append(given) or real(*given))
    weight = torch.randn((6, 4, *kernel), generator=torch.Generator().manual_seed(2))
    given = channels_of(shape, 1)[:, :4]
    for x in (given, given.to(memory_format=torch.channels_last_3d), given.transpose(3, 4)):
        expected = _convolved(x, weight)
        with torch.no_grad():
            found = _convolved(x, weight)
            assert _convolved(x.bfloat16(), weight.bfloat16()).dtype == torch.bfloat16
        assert found.shape == (1, 6, *x.shape[2:])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(asked) == 3 * torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("spacing", [THICK, CUBES], ids=["thick", "cubes"])
@torch.no_grad()
def test_an_untrained_network_sees_a_stack_of_equal_slices_as_one_of_them(spacing):
    """Nothing comes through the slices yet, and equal slices have the norms of one."""
    network = small((4, 4, 4, 4))
    channels = channels_of((1, 11, 14))
    one, stack = network(channels, spacing), network(channels.expand(-1, -1, 6, -1, -1), spacing)
    torch.testing.assert_close(stack, one.expand(-1, -1, 6, -1, -1), rtol=1e-4, atol=1e-5)
    seen = looked_through(network)(channels.expand(-1, -1, 6, -1, -1), spacing)
    assert not torch.allclose(seen[:, :, 0], seen[:, :, 3], atol=1e-2)


@torch.no_grad()
def test_an_image_is_seen_alike_whatever_lies_beside_it_in_the_batch():
    network, channels = looked_through(small()), channels_of((5, 9, 14), 3)
    channels[1] *= 100
    for one, expected in zip(channels, network(channels, THICK), strict=True):
        torch.testing.assert_close(network(one[None], THICK)[0], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_classical_answer_alone_of_all_channels_is_not_looked_at():
    network, channels = small(), channels_of((3, 9, 14))
    expected = network(channels, CUBES)
    for index, name in enumerate(CHANNELS):
        others = channels.clone()
        others[:, index] = 1 - others[:, index]
        assert torch.equal(network(others, CUBES), expected) == (name == "classical answer"), name


@torch.no_grad()
def test_block_six_on_columns_is_block_six_on_the_grid():
    network = small()
    features = finish(network.feature_steps(channels_of((3, 9, 14), 1), CUBES))
    expected = network.block6(features)
    columns = network.block6.on_columns(features[0].flatten(1))
    assert columns.shape == (1, 2, 3 * 9 * 14)
    torch.testing.assert_close(columns.reshape(expected.shape), expected)
    some = torch.tensor([3, 300, 7])
    torch.testing.assert_close(network.block6.on_columns(features[0].flatten(1)[:, some]), columns[:, :, some])


@torch.no_grad()
def test_the_same_seed_gives_the_same_network_and_answer():
    channels = channels_of((5, 9, 14))
    one, again, other = (small(seed=seed)(channels, THICK) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_dropout_is_in_training_alone():
    network, channels = small(), channels_of((3, 9, 14))
    assert torch.equal(network(channels, CUBES), network(channels, CUBES))
    network.train()
    answers = [network(channels, CUBES) for _ in range(8)]
    assert not all(torch.equal(answers[0], answer) for answer in answers)


@torch.no_grad()
def test_features_are_reported_level_by_level():
    network, seen = small(), []
    levels = [*network.down, *reversed(network.up)]
    for index, level in enumerate(levels):
        level.register_forward_hook(lambda *_, index=index: seen.append(index))
    steps = network.feature_steps(channels_of((3, 9, 14)), CUBES)
    for index in range(5):
        progress = next(steps)
        assert (progress.done, progress.total) == (index, 5)
        assert seen == list(range(index))


def test_a_network_comes_back_exactly(tmp_path):
    network = looked_through(small((4, 8, 4)))
    save_network(network, tmp_path / "own.safetensors", {"steps": 3})
    again = load_network(tmp_path)
    assert type(again) is PromptedNetwork
    assert again.config == network.config == {"widths": [4, 8, 4], "dropout": 0.1}
    assert not again.training
    expected = network.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())
    with torch.no_grad():
        assert torch.equal(again(channels_of((5, 9, 14)), THICK), network(channels_of((5, 9, 14)), THICK))


@pytest.mark.parametrize("widths", [(), (8,), (4, 6), (2, 4), (0, 4), (4, -4)])
def test_widths_that_cannot_be_are_refused(widths):
    with pytest.raises(InputError, match="at least two multiples of 4") as refusal:
        PromptedNetwork(widths)
    assert str(widths) in str(refusal.value)


@pytest.mark.parametrize("shape", [(1, COUNT - 1, 3, 9, 14), (1, 1, 3, 9, 14), (COUNT, 3, 9, 14), (1, COUNT, 9, 14)])
def test_other_channels_or_axes_are_refused(shape):
    with pytest.raises(InputError, match="expected") as refusal:
        small()(torch.zeros(shape), CUBES)
    assert str(shape) in str(refusal.value)


@pytest.mark.parametrize("axis", [0, 1, 2])
@torch.no_grad()
def test_slices_are_looked_at_along_their_own_axis(axis):
    """A volume whose slices lie along another axis gives the features of the one turned to k."""
    network, given, others = looked_through(small()), drawn((5, 9, 14)), other_objects((5, 9, 14))
    spacing_mm = (3.0, 0.75, 0.5)
    single = [values[None] for values in (*given, *others)]
    cues = encode(single[0], spacing_mm, ShownPrompts(*single[1:4], other_objects=single[4:]))
    expected = finish(network.feature_steps(cues, spacing_mm))[0]
    turned_mm = [0.75, 0.5]
    turned_mm.insert(axis, 3.0)
    turned = [values.movedim(0, axis) for values in (*given, *others)]
    found = finish(
        prompted_feature_steps(network, turned[0], turned_mm, ShownPrompts(*turned[1:4], other_objects=turned[4:]))
    ).features
    torch.testing.assert_close(found.movedim(axis + 1, 1), expected, rtol=1e-4, atol=1e-5)
    assert found.stride(0) == 1  # those of a voxel lie side by side


@torch.no_grad()
def test_a_mask_to_start_from_is_seen():
    network, given = small(), drawn((5, 9, 14))

    def features(*start):
        return finish(prompted_feature_steps(network, given[0], THICK, ShownPrompts(*given[1:], *start))).features

    start = given[1].float()
    assert not torch.allclose(features(start), features())
    assert torch.equal(features(torch.zeros_like(start)), features())


@pytest.mark.parametrize("axis", [0, 1, 2])
@torch.no_grad()
def test_the_classical_answer_comes_with_the_features(axis):
    image, *marks = (values.movedim(0, axis) for values in (*drawn((5, 9, 14)), *other_objects((5, 9, 14))))
    spacing_mm = [0.75, 0.5]
    spacing_mm.insert(axis, 3.0)
    seen = finish(prompted_feature_steps(small(), image, spacing_mm, ShownPrompts(*marks[:3], other_objects=marks[3:])))
    expected = classical_answer(image, spacing_mm, ShownPrompts(*marks[:3], other_objects=marks[3:]))
    torch.testing.assert_close(seen.classical, expected, rtol=1e-4, atol=1e-3)
    assert not torch.allclose(seen.classical, classical_answer(image, spacing_mm, ShownPrompts(*marks[:3])), atol=0.1)


@torch.no_grad()
def test_the_classical_answer_is_the_last_of_the_cues():
    given, others = drawn((5, 9, 14)), other_objects((5, 9, 14))
    single = [values[None] for values in (*given, *others)]
    expected = encode(single[0], THICK, ShownPrompts(*single[1:4], other_objects=single[4:]))[
        0, CHANNELS.index("classical answer")
    ]
    assert torch.equal(classical_answer(given[0], THICK, ShownPrompts(*given[1:], other_objects=others)), expected)
    without = encode(single[0], THICK, ShownPrompts(*single[1:4]))[0, CHANNELS.index("classical answer")]
    assert torch.equal(classical_answer(given[0], THICK, ShownPrompts(*given[1:])), without)
    assert not torch.allclose(expected, without, atol=0.1)


@torch.no_grad()
def test_a_classical_answer_is_added_to_that_of_a_network_that_does_not_know_it():
    torch.manual_seed(5)
    head = BlockSix(3, 6, 4, dropout=0.0).eval()
    features = torch.randn(6, 2, 3, 5)
    classical = torch.linspace(-4, 4, 30).reshape(2, 3, 5)
    alone, both = foreground_probability(head, features), foreground_probability(head, features, classical)
    torch.testing.assert_close(both.logit() - alone.logit(), classical, rtol=1e-3, atol=1e-3)


def test_gradients_stay_on_for_the_caller_between_reports():
    given = drawn((5, 9, 14))
    for _ in prompted_feature_steps(small(), given[0], THICK, ShownPrompts(*given[1:])):
        assert torch.is_grad_enabled()
    assert not finish(prompted_feature_steps(small(), given[0], THICK, ShownPrompts(*given[1:]))).features.requires_grad
