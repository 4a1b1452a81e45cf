"""The propagated mask combined with the network: better where the propagation is uncertain, unchanged where known."""

import numpy as np
import pytest
import torch
from moving_shapes import dice, disc, image_of, slices_of, volume_of, wandering_disc

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.slices.combination import (
    CombinationSettings,
    annotated_voxels,
    combine_steps,
    slices_away,
)
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps
from InteractiveSegLib.segmenting.adapt import SoftAdaptSettings, soft_adapt_steps

BETWEEN = [index for index in range(13) if index not in (0, 6, 12)]


@pytest.fixture(scope="module")
def network():
    return load_network("prompted").eval()


@pytest.fixture(scope="module")
def case():
    """A volume, its truth, and a mask made from shapes alone, which misses where the disc goes."""
    truth = wandering_disc()
    volume = volume_of(image_of(truth))
    return volume, truth, finish(propagate_steps(volume, slices_of(truth, (0, 6, 12)), PropagateSettings("shape")))


def test_the_network_puts_right_what_the_propagation_is_unsure_of(case, network):
    volume, truth, proxy = case
    combined = finish(combine_steps(volume, proxy, network))
    before, after = (dice(mask.labelmap()[BETWEEN] > 0, truth[BETWEEN]) for mask in (proxy, combined))
    assert after > before + 0.02
    assert combined.confidence is proxy.confidence


def test_of_an_ensemble_the_network_that_sees_masks_is_asked(case, network):
    volume, _, proxy = case
    alone, together = (finish(combine_steps(volume, proxy, each)) for each in (network, load_network("ensemble")))
    np.testing.assert_array_equal(alone.probabilities, together.probabilities)


def test_annotated_slices_stay_exact_along_every_axis(case, network):
    volume, truth, _ = case
    rough = truth.copy()
    rough[6, 10:14, 30:36] = True
    annotated = slices_of(rough, (0, 6, 12)) + slices_of(rough, (20, 30), axis=2)
    proxy = finish(propagate_steps(volume, annotated, PropagateSettings("shape")))
    labels = finish(combine_steps(volume, proxy, network)).labelmap()
    np.testing.assert_array_equal(labels[[0, 6, 12]], rough[[0, 6, 12]])
    np.testing.assert_array_equal(labels[:, :, [20, 30]], rough[:, :, [20, 30]])
    drawn = annotated_voxels(proxy)
    assert drawn[6 - proxy.box.start_kji[0]].all()
    assert drawn.mean() < 0.5


def test_where_the_propagation_is_certain_the_network_has_no_say(case, network):
    volume, _, proxy = case
    certain = type(proxy)(**{**vars(proxy), "confidence": np.ones_like(proxy.confidence)})
    combined = finish(combine_steps(volume, certain, network))
    sure = np.abs(proxy.probabilities.astype(float) - 0.5) < 0.49
    np.testing.assert_allclose(combined.probabilities[sure], proxy.probabilities[sure], atol=0.01)


def test_the_same_seed_gives_the_same_mask_and_leaves_the_network_alone(case, network):
    volume, _, proxy = case
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    one, other = (finish(combine_steps(volume, proxy, network, seed=3)).probabilities for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_several_labels_share_a_voxel_and_none_is_lost_at_their_border(network):
    outer = wandering_disc()
    centres = [np.argwhere(plane).mean(axis=0) for plane in outer]
    labels = outer.astype(np.uint8) + np.stack([disc(centre, 4) for centre in centres])
    volume = volume_of(image_of(labels))
    proxy = finish(propagate_steps(volume, slices_of(labels, (0, 3, 6, 9, 12)), PropagateSettings("shape")))
    combined = finish(combine_steps(volume, proxy, network))
    assert combined.probabilities.astype(float).sum(axis=0).max() <= 1.01
    for label in (1, 2):
        assert dice(combined.labelmap() == label, labels == label) > 0.85


def test_a_network_that_does_not_look_at_masks_is_refused(case):
    volume, _, proxy = case
    with pytest.raises(InputError, match="does not take masks as input"):
        next(combine_steps(volume, proxy, load_network("pnet").eval()))


@pytest.mark.parametrize("name", ["trust", "reach"])
def test_shares_must_be_positive(name):
    with pytest.raises(InputError, match=f"{name} must be positive, not 0"):
        CombinationSettings(**{name: 0})


def test_the_distance_is_to_the_nearest_annotated_slice_of_any_axis(case):
    volume, truth, _ = case
    annotated = slices_of(truth, (0, 6, 12)) + slices_of(truth, (20,), axis=1) + slices_of(truth, (14, 30), axis=2)
    proxy = finish(propagate_steps(volume, annotated, PropagateSettings("shape")))
    k, j, i = np.ogrid[tuple(slice(*span) for span in zip(proxy.box.start_kji, proxy.box.stop_kji, strict=True))]
    along_k = np.minimum(np.minimum(k, abs(k - 6)), 12 - k)
    expected = np.minimum(np.minimum(along_k, abs(j - 20)), np.minimum(abs(i - 14), abs(i - 30)))
    found = np.stack([slices_away(proxy, index) for index in range(proxy.box.shape_kji[0])])
    np.testing.assert_array_equal(found, expected)


def test_near_to_an_annotated_slice_the_network_counts_less(case, network):
    volume, _, proxy = case
    near, far = (finish(combine_steps(volume, proxy, network, CombinationSettings(reach=reach))) for reach in (60, 1))
    changes = [np.abs(mask.probabilities.astype(float) - proxy.probabilities).sum() for mask in (near, far)]
    assert 0 < changes[0] < 0.5 * changes[1]


class Line(torch.nn.Module):
    """A head that weighs one feature."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(()))

    def on_columns(self, features):
        return torch.stack([torch.zeros_like(features[0]), self.slope * features[0]])[None]


def test_a_head_learns_the_soft_mask_where_it_is_sure_of_it():
    feature = torch.linspace(-3, 3, 200)[None]
    wrong_half = torch.arange(200) % 2 == 0
    target = torch.where(wrong_half, torch.sigmoid(-2 * feature[0]), torch.sigmoid(2 * feature[0]))
    settings = SoftAdaptSettings(updates=300, learning_rate=0.05)
    none = torch.zeros(200, dtype=torch.bool)
    head = finish(soft_adapt_steps(Line(), feature, target, (~wrong_half).float(), none, settings, 0))
    assert head.slope.item() == pytest.approx(2, abs=0.1)
    told = finish(soft_adapt_steps(Line(), feature, target, (~wrong_half).float(), wrong_half, settings, 0))
    assert told.slope.item() < -1
