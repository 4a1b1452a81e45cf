"""Patches augmented to look as if they came from another scanner."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from InteractiveSegLib.learning.strong_augmentation import AugmentationSettings, AugmentedBatches, mirrored_axes


class Squares(Dataset):
    """A bright block off the middle, which is label 1; label 2 is known in the first half alone."""

    def __init__(self, shape):
        self.shape = shape

    def __len__(self):
        return 6

    def __getitem__(self, n):
        block = torch.zeros(2, *self.shape)
        block[(slice(None), *(slice(side // 4, side // 2) for side in self.shape))] = 1
        targets = torch.stack([1 - block, block, torch.zeros_like(block)], dim=1)
        known = torch.ones_like(targets, dtype=torch.bool)
        known[:, 2, self.shape[0] // 2 :] = False
        return {
            "image": 0.2 + 0.6 * block[:, None],
            "targets": targets,
            "known": known,
            "weight": torch.ones(2, *self.shape),
            "dark": torch.zeros_like(targets),
            "remembered": torch.zeros(2, 3, dtype=torch.bool),
        }


@pytest.mark.parametrize("often", [0.0, 1.0])
def test_intensities_are_changed_as_often_as_asked_for(often):
    settings = AugmentationSettings(inverted=0, shifted=3, often=often)
    changed = AugmentedBatches(Squares((32, 24)), 0, settings, 3)
    ends = torch.tensor([[part.min(), part.max()] for n in range(6) for part in changed[n]["image"]])
    as_they_were = torch.isclose(ends, torch.tensor([0.2, 0.8]), atol=1e-3).all(dim=1)
    assert as_they_were.all() if often == 0 else as_they_were.sum() < len(ends) / 2


@pytest.mark.parametrize(("shape", "axis"), [((32, 24), 0), ((16, 24, 16), None)])
def test_patches_are_a_function_of_their_number_and_their_marks_move_with_them(shape, axis):
    settings = AugmentationSettings(inverted=0, shifted=3, mirrored=(1, 2))
    plain = Squares(shape)
    one, other, third = (AugmentedBatches(plain, axis, settings, seed) for seed in (3, 3, 4))
    changed, apart = [], []
    for number in range(6):
        item, again = one[number], other[number]
        assert item.keys() == plain[number].keys()
        assert all(torch.equal(item[name], again[name]) for name in item)
        assert all(item[name].shape == plain[number][name].shape for name in item)
        assert (item["image"].min(), item["image"].max()) >= (0, 0)
        assert item["image"].max() <= 1
        counted = item["weight"] > 0.5
        assert torch.allclose(item["targets"].sum(dim=1)[counted], torch.tensor(1.0))
        assert not (item["targets"] * ~item["known"])[:, 1:].any()
        changed.append(not torch.equal(item["targets"], plain[number]["targets"]))
        apart.append(not torch.equal(item["image"], third[number]["image"]))
        inside, outside = (
            item["image"][:, 0][counted & (item["targets"][:, 1] > 0.9)],
            item["image"][:, 0][counted & (item["targets"][:, 1] < 0.1)],
        )
        assert inside.mean() > outside.mean() + 0.1  # a mark that was turned otherwise than its image would not be
    assert any(changed)
    assert any(apart)


def test_dark_and_bright_change_places():
    item = AugmentedBatches(Squares((32, 24)), 0, AugmentationSettings(inverted=1), 0)[1]
    inside = item["targets"][:, 1] > 0.9
    assert item["image"][:, 0][inside].mean() < item["image"][:, 0][item["targets"][:, 0] > 0.9].mean() - 0.1


def test_a_patch_is_mirrored_only_along_the_named_axes():
    def middles(axis, mirrored):
        settings = AugmentationSettings(turned_degrees=0, scaled=0, shifted=0, mirrored=mirrored)
        data = AugmentedBatches(Squares((32, 32)), axis, settings, 0)
        found = [np.argwhere(each[1].numpy() > 0.9).mean(axis=0) for n in range(6) for each in data[n]["targets"]]
        return (np.array(found) > 15.5).mean(axis=0) > 0.2  # its middle is at 11.5, and mirrored at 19.5

    assert middles(0, ()).tolist() == [False, False]
    assert middles(0, (2,)).tolist() == [False, True]  # a slice across S has the axes A and R
    assert middles(2, (0,)).tolist() == [True, False]
    assert middles(0, (0,)).tolist() == [False, False]  # the axis across the slice is not seen


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["liver", "spleen"], (2,)),
        (["anterior", "posterior hippocampus"], (2,)),
        (["kidney_left", "kidney_right"], ()),
        (["Left Ventricle", "myocardium"], ()),
        (["LV", "myo"], ()),
        (["L kidney"], ()),
        (["cleft", "bright spot"], (2,)),
    ],
)
def test_left_and_right_are_mirrored_unless_an_organ_is_named_after_its_side(names, expected):
    assert mirrored_axes(names) == expected


def test_objects_are_moved_by_up_to_the_shift():
    def middles(shifted):
        settings = AugmentationSettings(turned_degrees=0, scaled=0, shifted=shifted)
        data = AugmentedBatches(Squares((64, 64)), 0, settings, 0)
        return np.array(
            [np.argwhere(each[1].numpy() > 0.9).mean(axis=0) for n in range(6) for each in data[n]["targets"]]
        )

    assert np.ptp(middles(12), axis=0).min() > 8
    assert np.abs(middles(12) - middles(0)).max() < 16
