import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.block_six import BlockSix
from InteractiveSegLib.networks.losses import weighted_cross_entropy
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.predict import foreground_probability
from InteractiveSegLib.progress import finish
from InteractiveSegLib.segmenting.adapt import AdaptSettings, _draw, adapt_steps, interaction_weights

SHAPE_KJI = (4, 7, 9)
FAR = 100.0
DEFAULT = AdaptSettings()
WEIGHTS = [
    # probability, first label, fg scribble, bg scribble, mm to fg, mm to bg, weight
    (0.10, 0, 0, 0, FAR, FAR, 1.0),  # sure, in agreement
    (0.90, 1, 0, 0, FAR, FAR, 1.0),
    (0.90, 0, 0, 0, FAR, FAR, 1.0),  # sure, though the energy decided otherwise
    (0.50, 1, 0, 0, FAR, FAR, 0.0),  # unsure
    (0.50, 0, 0, 0, FAR, FAR, 0.0),
    (0.20, 0, 0, 0, FAR, FAR, 1.0),  # at t0 and t1 themselves: sure
    (0.21, 0, 0, 0, FAR, FAR, 0.0),
    (0.69, 1, 0, 0, FAR, FAR, 0.0),
    (0.70, 1, 0, 0, FAR, FAR, 1.0),
    (0.10, 0, 0, 0, 3.9, FAR, 0.0),  # background near a foreground scribble
    (0.10, 0, 0, 0, 4.0, FAR, 1.0),  # at epsilon itself: far
    (0.90, 1, 0, 0, 0.5, FAR, 1.0),  # foreground near a foreground scribble
    (0.90, 1, 0, 0, FAR, 3.9, 0.0),  # foreground near a background scribble
    (0.90, 1, 0, 0, FAR, 4.0, 1.0),
    (0.10, 0, 0, 0, FAR, 0.5, 1.0),  # background near a background scribble
    (0.10, 0, 0, 0, 1.0, 1.0, 0.0),  # near both: one of them contradicts
    (0.90, 1, 0, 0, 1.0, 1.0, 0.0),
    (0.50, 0, 1, 0, 0.0, FAR, 5.0),  # scribbled, whatever the network and the energy say
    (0.10, 0, 1, 0, 0.0, 2.0, 5.0),
    (0.90, 1, 1, 0, 0.0, FAR, 5.0),
    (0.90, 1, 0, 1, FAR, 0.0, 5.0),
    (0.50, 1, 0, 1, 1.0, 0.0, 5.0),
]


def head(features=6, dimensions=3, dropout=0.3, seed=0):
    torch.manual_seed(seed)
    return BlockSix(dimensions, features, 8, dropout)


def toy(features=6):
    """Features of which the first two tell the label: (features, labels, weights)."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(SHAPE_KJI, dtype=torch.bool)
    labels[1:3, 2:6, 3:8] = True
    values = 0.15 * torch.randn(features, *SHAPE_KJI, generator=generator)
    values[0] += labels
    values[1] -= labels.float()
    return values, labels, torch.ones(SHAPE_KJI)


def adapted(block6, features, labels, weights, settings=DEFAULT, seed=0, added=None):
    return finish(adapt_steps(block6, features, labels, weights, settings, seed, added))


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("row", WEIGHTS)
def test_weights_are_those_worked_out_by_hand(row):
    probability, first, foreground, background, to_foreground, to_background, weight = row
    one = (1, 1, 1)
    found = interaction_weights(
        torch.full(one, probability),
        torch.full(one, bool(first)),
        torch.full(one, bool(foreground)),
        torch.full(one, bool(background)),
        torch.tensor([to_foreground, to_background]).reshape(2, *one),
        AdaptSettings(scribble_weight=5.0),
    )
    assert found.item() == weight


def test_weights_of_a_grid_are_those_of_its_voxels():
    columns = [torch.tensor(column).reshape(2, 11) for column in zip(*WEIGHTS, strict=True)]
    probability, first, foreground, background, to_foreground, to_background, expected = columns
    distance = torch.stack([to_foreground, to_background])
    found = interaction_weights(
        probability, first.bool(), foreground.bool(), background.bool(), distance, AdaptSettings(scribble_weight=5.0)
    )
    assert torch.equal(found, expected)


def test_the_settings_move_the_weights():
    settings = AdaptSettings(scribble_weight=7.0, unsure_above=0.4, unsure_below=0.45, contradiction_mm=1.0)
    probability = torch.tensor([0.3, 0.42, 0.1, 0.1, 0.1])
    no = torch.zeros(5, dtype=torch.bool)
    foreground = torch.tensor([False, False, False, False, True])
    distance = torch.tensor([[9.0, 9.0, 2.0, 0.9, 0.0], [9.0] * 5])
    found = interaction_weights(probability, no, foreground, no, distance, settings)
    assert found.tolist() == [1, 0, 1, 0, 7]


def test_the_loss_is_that_worked_out_by_hand():
    # probabilities of the label: 1/2, 3/4 and 1/10
    logits = torch.tensor([[[0.0, 0.0, math.log(9)], [0.0, math.log(3), 0.0]]])
    labels = torch.tensor([[0, 1, 1]])
    expected = (1 * math.log(2) + 5 * math.log(4 / 3) + 0.5 * math.log(10)) / 6.5
    assert weighted_cross_entropy(logits, labels, torch.tensor([[1.0, 5.0, 0.5]])).item() == pytest.approx(expected)
    alone = weighted_cross_entropy(logits, labels, torch.tensor([[0.0, 3.0, 0.0]])).item()
    assert alone == pytest.approx(math.log(4 / 3))


def test_a_loss_without_any_weight_is_refused():
    with pytest.raises(InputError, match="no voxel has a weight"):
        weighted_cross_entropy(torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3))


@pytest.mark.parametrize("training", [True, False])
def test_the_head_passed_in_is_not_changed(training):
    block6 = head().train(training)
    before = {key: value.clone() for key, value in block6.state_dict().items()}
    fitted = adapted(block6, *toy())
    assert all(torch.equal(before[key], value) for key, value in block6.state_dict().items())
    assert all(parameter.grad is None for parameter in block6.parameters())
    assert block6.training is training
    assert not fitted.training
    assert not same_weights(fitted, block6)


def test_an_update_stopped_early_does_not_change_the_head():
    block6 = head()
    before = {key: value.clone() for key, value in block6.state_dict().items()}
    steps = adapt_steps(block6, *toy(), AdaptSettings(), seed=0)
    next(steps)
    steps.close()
    assert all(torch.equal(before[key], value) for key, value in block6.state_dict().items())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_same_seed_gives_the_same_weights_and_dropout_is_off(dimensions):
    block6 = head(dimensions=dimensions, dropout=0.9).train()
    settings = AdaptSettings(max_voxels=40)
    torch.manual_seed(11)
    one = adapted(block6, *toy(), settings, seed=5)
    torch.manual_seed(12)  # dropout would follow this one
    assert same_weights(one, adapted(block6, *toy(), settings, seed=5))
    assert not same_weights(one, adapted(block6, *toy(), settings, seed=6))


def test_the_random_numbers_of_others_are_left_alone():
    block6, image = head(), toy()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    adapted(block6, *image, AdaptSettings(max_voxels=40))
    assert torch.equal(torch.rand(1), expected)


def test_the_loss_falls():
    texts = [progress.text for progress in adapt_steps(head(), *toy(), AdaptSettings(updates=30), seed=0)]
    losses = [float(text.split()[-1]) for text in texts]
    assert len(losses) == 30
    assert losses[-1] < 0.6 * losses[0]
    assert all(later <= earlier for earlier, later in pairwise(losses))


def test_scribbled_voxels_get_the_label_of_their_scribble():
    features, truth, _ = toy()
    wrong = torch.zeros(SHAPE_KJI, dtype=torch.bool)  # the network says: nothing there
    foreground, background = torch.zeros(2, *SHAPE_KJI, dtype=torch.bool)
    foreground[1, 3, 3:8], background[0, 1:6, 1] = True, True
    probability = torch.full(SHAPE_KJI, 0.05)
    distance = torch.stack([torch.where(truth, 0.0, FAR), torch.where(truth, FAR, 0.0)])
    weights = interaction_weights(probability, wrong, foreground, background, distance, AdaptSettings())
    labels = foreground
    block6 = head()
    with torch.no_grad():
        block6[4].bias.copy_(torch.tensor([2.0, -2.0]))
    assert (foreground_probability(block6.eval(), features) < 0.5).all()
    after = foreground_probability(adapted(block6, features, labels, weights, AdaptSettings(updates=60)), features)
    assert (after[foreground] > 0.5).all()
    assert (after[background] < 0.5).all()
    assert (after[truth] > 0.5).float().mean() > 0.95  # and so do those that look like it
    assert (after[~truth] < 0.5).float().mean() > 0.95


def test_without_any_weight_the_head_comes_back_as_a_copy():
    features, labels, _ = toy()
    block6 = head()
    fitted = adapted(block6, features, labels, torch.zeros(SHAPE_KJI))
    assert fitted is not block6
    assert same_weights(fitted, block6)


def test_the_look_of_voxels_without_weight_teaches_nothing():
    features, labels, weights = toy()
    weights[:, :3] = 0
    other_features = features.clone()
    other_features[:, :, :3] = 99.0
    block6 = head()
    assert same_weights(adapted(block6, features, labels, weights), adapted(block6, other_features, labels, weights))


def test_a_draw_of_voxels_keeps_all_scribbles_and_the_shares_of_the_labels():
    weights = torch.zeros(10, 20, 31)
    weights[2:, 3:] = 1.0
    labels = torch.zeros(10, 20, 31, dtype=torch.bool)
    labels[:4] = True  # half of it has no weight
    settings = AdaptSettings(max_voxels=500, scribble_weight=5.0)
    weights[5, 5:9, 4] = 5.0
    chosen, drawn = _draw(weights, labels, settings, seed=4)
    assert chosen.numel() == 500
    assert chosen.unique().numel() == 500
    flat = weights.flatten()
    assert (flat[chosen] > 0).all()
    assert set(torch.nonzero(flat == 5).flatten().tolist()) <= set(chosen.tolist())
    assert (drawn[flat[chosen] == 5] == 5).all()
    light = flat[chosen] == 1
    of_object = labels.flatten()[chosen]
    assert drawn[light & of_object].sum().item() == pytest.approx(4 * 20 * 31, rel=1e-5)
    assert drawn[light & ~of_object].sum().item() == pytest.approx(6 * 20 * 31 - 4, rel=1e-5)
    everything, _ = _draw(weights, labels, AdaptSettings(scribble_weight=5.0), seed=4)
    assert torch.equal(everything.sort().values, torch.nonzero(flat).flatten())


def test_scribbles_never_crowd_out_the_other_voxels():
    weights = torch.full((4, 50), 5.0)
    weights[2:] = 1.0
    chosen, _ = _draw(weights, weights > 1, AdaptSettings(max_voxels=60, scribble_weight=5.0), seed=0)
    assert torch.count_nonzero(weights.flatten()[chosen] == 5) == 100
    assert torch.count_nonzero(weights.flatten()[chosen] == 1) == 30


def test_a_draw_of_voxels_favours_none():
    weights = torch.ones(6, 5, 10)
    values = torch.arange(300.0)
    settings = AdaptSettings(max_voxels=30)
    means = []
    for seed in range(200):
        chosen, drawn = _draw(weights, weights > 2, settings, seed)
        means.append((values[chosen] * drawn).sum() / drawn.sum())
    # 30 of 300 without replacement: standard error of one draw 15.0, of the mean of 200 draws 1.06
    assert torch.stack(means).mean().item() == pytest.approx(values.mean().item(), abs=4.0)


@pytest.mark.parametrize(
    ("network", "shape_kji"),
    [
        (PNet(channels=32), (1, 20, 24)),
        (PNet(channels=64), (1, 16, 16)),
        (PCNet(channels=16, compressed=8), (6, 10, 12)),
        (PCNet(channels=64, compressed=16), (4, 5, 6)),
    ],
)
def test_an_update_costs_a_twentieth_of_a_pass_through_the_network(network, shape_kji):
    image = torch.rand(shape_kji)[None, None]
    if network.dimensions == 2:
        image = image[:, :, 0]
    network.eval()
    labels = torch.zeros(shape_kji, dtype=torch.bool)
    with FlopCounterMode(display=False) as whole:
        loss = nn.functional.cross_entropy(network(image), labels.reshape(1, *image.shape[2:]).long())
        loss.backward()
    with torch.no_grad():
        features = network.features(image)[0].reshape(-1, *shape_kji)
    updates = 4
    with FlopCounterMode(display=False) as cached:
        adapted(network.block6, features, labels, torch.ones(shape_kji), AdaptSettings(updates=updates))
    assert 0 < cached.get_total_flops() / updates <= whole.get_total_flops() / 20


def test_the_head_outweighs_what_is_wrong_in_the_log_odds_added_to_it():
    features, labels, weights = toy()
    wrong = torch.where(labels, -6.0, 6.0)
    settings = AdaptSettings(updates=200, learning_rate=0.05)

    def right(added):
        fitted = adapted(head(), features, labels, weights, settings, added=added)
        return ((foreground_probability(fitted, features, wrong) > 0.5) == labels).float().mean()

    assert right(wrong) > 0.95
    assert right(None) < 0.9  # one that does not know of them says no more than the labels need


def test_scribbles_met_with_the_added_log_odds_are_not_met_less_well_after_fitting():
    features, labels, weights = toy()
    weights = weights.clone()
    weights[1, 3] = AdaptSettings().scribble_weight
    added = torch.where(labels, 3.0, -3.0)
    block6 = head()

    def loss(fitted):
        probability = foreground_probability(fitted.eval(), features, added)[1, 3]
        return torch.nn.functional.binary_cross_entropy(probability, labels[1, 3].float())

    for seed in range(5):
        assert loss(adapted(block6, features, labels, weights, seed=seed, added=added)) <= loss(block6) + 1e-6
