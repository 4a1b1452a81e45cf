import math

import numpy as np
import pytest
import torch
from taught_blobs import tiny_automatic

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.case_targets import case_targets
from InteractiveSegLib.learning.image_batches import patch_loss
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.replay import Mixture, reservoir
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.targets import sharpened, soft_target, trust, voxel_weights
from InteractiveSegLib.learning.teacher import teach_steps
from InteractiveSegLib.networks.losses import (
    dice_cross_entropy_of,
    marginal_logits,
    partial_dice_cross_entropy,
    soft_dice_cross_entropy,
)
from InteractiveSegLib.progress import finish
from InteractiveSegLib.training.trainer import warm_cosine


def test_trust_in_masks_grows_over_the_stream_and_the_first_is_believed():
    assert trust(0, 40) == 1
    assert trust(20, 40) == pytest.approx(0.5)
    assert trust(1, 40) == pytest.approx(1 / (1 + math.exp(1.9)))
    assert trust(40, 40) == pytest.approx(0.8808, abs=1e-4) == trust(400, 40)


def test_targets_blend_mask_and_first_answer_but_never_against_a_person():
    mask, first = np.array([[[1, 1, 0, 0]]], bool), np.array([[[0.5, 0.0, 0.25, 1.0]]])
    origins = np.array([[[Origin.PROPAGATED, Origin.PERSON, Origin.NOBODY, Origin.PERSON]]])
    assert soft_target(mask, first, 0.75, origins)[0, 0].tolist() == [0.875, 1.0, 0.0625, 0.0]
    assert soft_target(mask, None, 0.75, origins)[0, 0].tolist() == [1, 1, 0, 0]
    assert voxel_weights(origins, 1.5)[0, 0].tolist() == [1.0, 2.5, 1.0, 2.5]


def test_a_case_speaks_of_all_labels_that_were_known():
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[0, 0], first = 1, np.full(labels.shape, 0.5, np.float32)
    mask = AcceptedMask(labels, np.where(labels > 0, Origin.MODEL, 0), first={1: first})
    volume = Volume(np.zeros(labels.shape), Geometry(labels.shape, np.eye(4)))
    taught = case_targets(volume, mask, (1, 4), 0.8, 1.0)
    assert sorted(taught.targets) == [1, 4]
    assert not taught.targets[4].any()
    assert np.unique(taught.targets[1]).tolist() == pytest.approx([0.1, 0.9])
    assert np.unique(case_targets(volume, mask, (1,), 1.0, 1.0).targets[1]).tolist() == [0, 1]


def test_the_reservoir_keeps_every_case_with_the_same_chance():
    assert reservoir(3, 5, 0) == [0, 1, 2]
    assert reservoir(50, 5, 1) == reservoir(50, 5, 1) != reservoir(50, 5, 2)
    counts = np.zeros(20)
    for seed in range(1500):
        counts[reservoir(20, 5, seed)] += 1
    assert np.abs(counts / 1500 - 0.25).max() < 0.05
    with pytest.raises(InputError, match="capacity 0"):
        reservoir(3, 0, 0)


def test_what_is_kept_changes_by_one_case_at_most_with_each_that_comes():
    for count in range(5, 60):
        before, after = set(reservoir(count, 5, 3)), set(reservoir(count + 1, 5, 3))
        assert after - before <= {count}
        assert len(after) == 5


def test_the_latest_case_has_its_share():
    rng = np.random.default_rng(0)
    drawn = np.bincount([Mixture(0.4).draw(5, rng) for _ in range(5000)], minlength=5) / 5000
    assert drawn == pytest.approx([0.4, 0.15, 0.15, 0.15, 0.15], abs=0.025)
    assert {Mixture(0.0).draw(1, rng) for _ in range(5)} == {0}
    with pytest.raises(InputError, match=r"1\.5"):
        Mixture(1.5)


def test_several_latest_cases_share_what_one_would_have():
    rng = np.random.default_rng(0)
    drawn = np.bincount([Mixture(0.4, 2).draw(5, rng) for _ in range(5000)], minlength=5) / 5000
    assert drawn == pytest.approx([0.2] * 5, abs=0.025)
    drawn = np.bincount([Mixture(0.4, 4).draw(4, rng) for _ in range(4000)], minlength=4) / 4000  # there are no others
    assert drawn == pytest.approx([0.25] * 4, abs=0.03)
    with pytest.raises(InputError, match="number of latest cases, 0, must be at least 1"):
        Mixture(0.5, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"replay": "all"},
        {"rate": "slow"},
        {"updates": 0},
        {"learning_rate": 0.0},
        {"person_weight": -1.0},
        {"sharpness": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        LearnSettings(**wrong)


def test_propagated_labels_are_made_surer_without_another_decision():
    given = np.array([[0.5, 0.3, 0.1, 0.0, 1.0, 0.4], [0.0, 0.3, 0.1, 0.0, 0.0, 0.2]])
    found = sharpened(given, 2.0)
    assert found.dtype == np.float32
    some = [0.5, 0.36 / 0.52, 0.04 / 0.68, 0.0, 1.0, 0.36 / 0.52]
    assert found.sum(axis=0) == pytest.approx(some, abs=1e-6)
    assert found[0] == pytest.approx(np.array(some) * [1.0, 0.5, 0.5, 0.0, 1.0, 0.8], abs=1e-6)
    assert sharpened(given, 1.0) == pytest.approx(given)
    rng = np.random.default_rng(0)
    soft = rng.dirichlet([1, 1, 1], 200).T[:2]
    sure = sharpened(soft, 4.0)
    assert ((sure.sum(axis=0) > 0.5) == (soft.sum(axis=0) > 0.5)).all()
    assert (sure.argmax(axis=0) == soft.argmax(axis=0)).all()
    assert ((sure > 0) & (sure < 1)).mean() > 0.9  # never thresholded


def test_an_annealed_rate_falls_over_the_expected_stream_and_not_within_a_training():
    settings = LearnSettings(learning_rate=0.01, rate="annealed", expected_cases=4)
    found = [settings.at(place, 1) for place in (0, 1, 2, 4, 9)]
    assert [each.learning_rate for each in found] == pytest.approx([0.01, 0.00853553, 0.005, 0.0005, 0.0005])
    assert {each.rate for each in found} == {"steady"}
    assert LearnSettings().at(3, 5) == LearnSettings()


def test_a_training_takes_more_updates_the_more_cases_take_part():
    settings = LearnSettings(updates=20, updates_per_case=3)
    assert [settings.at(0, cases).updates for cases in (1, 5)] == [23, 35]
    assert settings.at(0, 5).at(1, 5).updates == 35  # as planned
    with pytest.raises(InputError, match="updates_per_case -1"):
        LearnSettings(updates_per_case=-1)


@pytest.mark.parametrize(("rate", "expected"), [("falling", warm_cosine), ("steady", lambda done: 1.0)])
def test_a_training_has_the_rate_that_was_asked_for(tmp_path, monkeypatch, rate, expected):
    used = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: used.append(self.param_groups[0]["lr"]))
    lesson = ImageLesson(np.ones((6, 8, 8), np.float32), (1,), np.ones((1, 6, 8, 8)), np.ones((6, 8, 8), np.float32))
    network = AutomaticNetwork([1], (1.0, 1.0, 1.0), (4, 8))
    settings = LearnSettings(updates=3, learning_rate=0.5, rate=rate)
    finish(teach_steps(tiny_automatic(), network, [lesson], settings, 0, tmp_path, torch.device("cpu")))
    assert used == pytest.approx([0.5 * expected(step / 3) for step in range(3)])


def test_the_soft_loss_is_what_one_gets_by_hand():
    logits = torch.log(torch.tensor([[[0.8, 0.5], [0.2, 0.5]]]))  # (1, 2, 2)
    targets = torch.tensor([[[0.75, 0.0], [0.25, 1.0]]])
    weights = torch.tensor([[1.0, 3.0]])
    entropy = -(0.75 * math.log(0.8) + 0.25 * math.log(0.2) + 3 * math.log(0.5)) / 4
    dice = 2 * (0.2 * 0.25 + 3 * 0.5) / (0.2 + 0.25 + 3 * 1.5)
    assert soft_dice_cross_entropy(logits, targets, weights).item() == pytest.approx(entropy + 1 - dice)
    with pytest.raises(InputError, match="no voxel has a weight"):
        soft_dice_cross_entropy(logits, targets, torch.zeros(1, 2))


def test_with_hard_targets_and_equal_weights_it_is_the_loss_of_the_shipped_training():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 2, 5, 6, 7), (torch.rand(2, 1, 5, 6, 7) < 0.4).float()
    targets = torch.cat([1 - labels, labels], dim=1)
    found = soft_dice_cross_entropy(logits, targets, torch.ones(2, 5, 6, 7))
    assert found.item() == pytest.approx(dice_cross_entropy_of(logits, labels).item(), abs=1e-4)


def test_an_object_that_is_absent_has_no_dice_to_lose():
    logits = torch.zeros(1, 3, 4)
    targets = torch.zeros(1, 3, 4)
    targets[0, 0] = 1
    assert soft_dice_cross_entropy(logits, targets, torch.ones(1, 4)).item() == pytest.approx(math.log(3))


def test_a_class_that_a_mask_does_not_know_counts_as_background():
    logits = torch.log(torch.tensor([[[0.5], [0.2], [0.3]]]))
    found = marginal_logits(logits, torch.tensor([[[True], [True], [False]]])).softmax(dim=1)[0, :, 0]
    assert found.tolist() == pytest.approx([0.8, 0.2, 0.0])
    assert marginal_logits(logits, torch.ones(1, 3, 1, dtype=torch.bool)) is logits


@pytest.mark.parametrize(
    ("known", "weights", "expected"),
    [  # probabilities (0.5, 0.2, 0.3) of background and two organs; the first voxel is organ 1, the second background
        # both voxels known: cross-entropy -(ln 0.2 + ln 0.5) / 2, Dice of organ 1 = 2 * 0.2 / (1 + 0.4)
        (((1, 1), (1, 1)), (1, 1), -(math.log(0.2) + math.log(0.5)) / 2 + 1 - 0.4 / 1.4),
        # organ 2 unknown in both: the background has 0.8
        (((1, 1), (0, 0)), (1, 1), -(math.log(0.2) + math.log(0.8)) / 2 + 1 - 0.4 / 1.4),
        # organ 2 unknown in the second voxel alone
        (((1, 1), (1, 0)), (1, 1), -(math.log(0.2) + math.log(0.8)) / 2 + 1 - 0.4 / 1.4),
        # organ 1 known in the first voxel alone, nothing known in the second, which is ignored: Dice = 2 * 0.2 / 1.2
        (((1, 0), (1, 0)), (1, 0), -math.log(0.2) + 1 - 0.4 / 1.2),
        # organ 1 unknown in the second: background and it have 0.7 there, and its Dice is that of the first voxel
        (((1, 0), (1, 1)), (1, 1), -(math.log(0.2) + math.log(0.7)) / 2 + 1 - 0.4 / 1.2),
    ],
)
def test_what_is_not_known_of_a_voxel_carries_no_loss(known, weights, expected):
    logits = torch.log(torch.tensor([0.5, 0.2, 0.3])).reshape(1, 3, 1).repeat(1, 1, 2)
    targets = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]])
    spread = torch.tensor([[(1, 1), *known]]).bool()
    found = partial_dice_cross_entropy(logits, targets, spread, torch.tensor([weights]).float())
    assert found.item() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(InputError, match="nothing to learn from"):
        partial_dice_cross_entropy(logits, targets, spread, torch.zeros(1, 2))


def test_an_organ_that_is_not_known_has_no_gradient_of_its_own_against_the_background():
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    targets = torch.zeros(1, 3, 4)
    targets[:, 0] = 1
    known = torch.ones(1, 3, 4, dtype=torch.bool)
    known[:, 2] = False
    partial_dice_cross_entropy(logits, targets, known, torch.ones(1, 4)).backward()
    assert torch.allclose(logits.grad[:, 0], logits.grad[:, 2])  # both make the same background likelier
    assert (logits.grad[:, 1] > 0).all()


def test_dark_replay_adds_the_squared_distance_to_what_was_answered():
    batch = {
        "image": torch.zeros(1, 1, 2, 2),
        "targets": torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2),
        "known": torch.ones(1, 2, 2, 2, dtype=torch.bool),
        "weight": torch.tensor([[[1.0, 1.0], [1.0, 0.0]]]),
        "dark": torch.full((1, 2, 2, 2), 3.0),
        "remembered": torch.tensor([[True, False]]),
    }

    def network(image):
        return torch.ones(1, 2, *image.shape[2:])

    plain, dark = (patch_loss(share)(network, batch).item() for share in (0.0, 0.5))
    assert dark - plain == pytest.approx(0.5 * 4)
