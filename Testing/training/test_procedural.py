"""Procedural training data: reproducible from the seed, and tasks that suit a box."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import DataLoader

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.intensity import normalised
from InteractiveSegLib.training.procedural.procedural import (
    BinaryTasks,
    CropSettings,
    Scene,
    SceneSettings,
    generate_scene,
    object_crops,
    object_slices,
)

SHAPES = [(48, 61), (24, 30, 37), (8, 48, 48)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_scene_follows_from_its_seed(shape):
    first, again, other = (generate_scene(shape, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.groups == again.groups
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("shape", SHAPES)
def test_scenes_have_the_promised_types_and_ranges(shape):
    for seed in range(12):
        scene = generate_scene(shape, np.random.default_rng(seed))
        assert scene.image.shape == scene.labels.shape == shape
        assert scene.image.dtype == np.float32
        assert scene.labels.dtype == np.int16
        assert np.isfinite(scene.image).all()
        assert scene.image.min() >= 0
        assert scene.image.max() <= 1
        assert scene.labels.min() == 0
        assert scene.labels.max() >= 1
        assert all(part >= 1 for group in scene.groups for part in group)


@pytest.mark.parametrize("modes", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_each_machine_shows_every_scene(modes):
    for seed in range(8):
        image = generate_scene((40, 40, 40), np.random.default_rng(seed), SceneSettings(modes=modes)).image
        assert np.isfinite(image).all()
        assert image.std() > 0.01


def test_rings_enclose_cavities_and_parts_touch():
    nested = touching = 0
    for seed in range(25):
        labels = generate_scene((72, 72), np.random.default_rng(seed)).labels
        for label in range(1, labels.max() + 1):
            own = labels == label
            halo = labels[ndimage.binary_dilation(own) & ~own]
            touching += len(np.unique(halo[halo > 0])) > 0
            filled = ndimage.binary_fill_holes(own) & ~own
            nested += bool((labels[filled] > 0).any())
    assert nested > 5
    assert touching > 25


def test_a_crop_without_margin_touches_every_side():
    settings = CropSettings(margin_voxels=(0, 0), fresh_noise=0)
    checked = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = generate_scene((40, 44, 48), rng)
        for _, mask in object_crops(scene, (24, 28, 32), 4, rng, settings):
            for axis in range(3):
                where = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
                assert where[0] <= 3
                assert where[-1] >= mask.shape[axis] - 4
            checked += 1
    assert checked >= 20


def test_margins_leave_background_round_the_object():
    """A cube of 12 voxels, 6 more on each side: half of the crop's length."""
    image = np.random.default_rng(0).normal(0, 0.05, (40, 40, 40)).astype(np.float32)
    labels = np.zeros(image.shape, np.int16)
    labels[14:26, 14:26, 14:26] = 1
    image[labels == 1] += 1
    settings = CropSettings(margin_voxels=(6, 6), margin_part=1)
    for crop, mask in object_crops(Scene(image, labels), (24, 24, 24), 4, np.random.default_rng(1), settings):
        expected = np.zeros((24, 24, 24), np.uint8)
        expected[6:18, 6:18, 6:18] = 1
        assert np.array_equal(mask, expected)
        assert crop[mask == 1].mean() > crop[mask == 0].mean() + 0.5


def test_regions_cut_objects_off_and_hold_more_than_them():
    image = np.full((60, 60), 0.1, np.float32)
    labels = np.zeros(image.shape, np.int16)
    labels[22:42, 20:40] = 1
    image[labels == 1] = 0.9
    drawn = CropSettings(margin_voxels=(0, 0), region=1.0, region_part=(0.5, 4.0), fresh_noise=0)
    parts = [
        mask.mean()
        for seed in range(30)
        for _, mask in object_crops(Scene(image, labels), (40, 40), 1, np.random.default_rng(seed), drawn)
    ]
    assert max(parts) > 0.6
    assert min(parts) < 0.2


def test_an_object_that_the_image_does_not_show_is_no_task():
    image = np.random.default_rng(0).normal(0.5, 0.1, (40, 40, 40)).astype(np.float32)
    labels = np.zeros(image.shape, np.int16)
    labels[10:30, 10:30, 10:30] = 1
    assert object_crops(Scene(image, labels), (24, 24, 24), 4, np.random.default_rng(1)) == []


def test_tiny_objects_are_no_task():
    image = np.zeros((40, 40), np.float32)
    labels = np.zeros(image.shape, np.int16)
    labels[10:15, 10:15] = 1
    image[labels == 1] = 1
    assert object_crops(Scene(image, labels), (24, 24), 4, np.random.default_rng(1)) == []


def test_a_group_is_sometimes_one_task():
    image = np.zeros((40, 40), np.float32)
    labels = np.zeros(image.shape, np.int16)
    labels[10:30, 10:30] = 1
    labels[15:25, 15:25] = 2
    image[labels == 1], image[labels == 2] = 0.5, 1
    scene = Scene(image, labels, ((1, 2),))
    settings = CropSettings(margin_voxels=(0, 0), whole=1)
    assert all(mask.all() for _, mask in object_crops(scene, (32, 32), 5, np.random.default_rng(1), settings))


def test_slices_follow_the_object_through_its_box():
    areas = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for image, mask in object_slices(generate_scene((20, 48, 48), rng), (40, 44), 6, rng):
            assert image.shape == mask.shape == (40, 44)
            assert image.min() >= 0
            assert image.max() <= 1
            areas.append(mask.mean())
    areas = np.array(areas)
    assert 0 < (areas == 0).mean() < 0.15
    assert (areas > 0.3).mean() > 0.08


@pytest.mark.parametrize(("dimensions", "sides"), [(2, (40, 128)), (3, (8, 56))])
def test_batches_keep_to_their_bounds(dimensions, sides):
    limit = 30**3 if dimensions == 3 else 64**2
    tasks = BinaryTasks(dimensions, batch_size=2, length=10, seed=0, max_voxels=limit)
    shapes = set()
    for n in range(len(tasks)):
        image, label = tasks[n]["image"], tasks[n]["label"]
        assert image.shape == label.shape
        assert image.shape[:2] == (2, 1)
        assert image.dtype == label.dtype == torch.float32
        shape = image.shape[2:]
        assert len(shape) == dimensions
        assert all(sides[0] <= side <= sides[1] and side % 4 == 0 for side in shape)
        assert np.prod(shape) <= limit
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(label.unique().tolist()) <= {0.0, 1.0}
        if dimensions == 3:
            assert (label.flatten(1).sum(1) > 0).all()
        shapes.add(tuple(shape))
    assert len(shapes) > 6


def test_some_volumes_are_flat():
    tasks = BinaryTasks(3, batch_size=1, length=60, seed=0, max_voxels=20**3)
    shapes = [tasks._crop_shape(np.random.default_rng(n)) for n in range(60)]
    assert any(shape[0] <= 16 < shape[1] for shape in shapes)


def test_a_batch_is_the_same_whoever_draws_it():
    tasks = BinaryTasks(2, batch_size=2, length=6, seed=3, max_voxels=48**2)
    alone = [tasks[n] for n in range(6)]
    fresh = BinaryTasks(2, batch_size=2, length=6, seed=3, max_voxels=48**2)[4]
    assert torch.equal(alone[4]["image"], fresh["image"])
    for workers in (1, 2):
        for one, other in zip(alone, DataLoader(tasks, batch_size=None, num_workers=workers), strict=True):
            assert torch.equal(one["image"], other["image"])
            assert torch.equal(one["label"], other["label"])
    assert not torch.equal(
        alone[0]["image"].flatten()[:900],
        BinaryTasks(2, 2, 6, seed=4, max_voxels=48**2)[0]["image"].flatten()[:900],
    )


def test_a_data_set_ends():
    with pytest.raises(IndexError):
        BinaryTasks(2, 1, 3, 0)[3]


def test_a_constant_crop_becomes_zeros():
    for value in (0.0, -7.5, 1e6):
        scaled = normalised(np.full((9, 8, 7), value))
        assert scaled.dtype == np.float32
        assert not scaled.any()


def test_normalised_clips_at_the_percentiles():
    crop = np.linspace(-100, 900, 1001, dtype=np.float32)  # percentiles 0.5 and 99.5: -95 and 895
    scaled = normalised(crop)
    assert scaled[0] == 0
    assert scaled[-1] == 1
    assert scaled[500] == pytest.approx((400 + 95) / 990, abs=1e-5)
    assert np.array_equal(crop, np.linspace(-100, 900, 1001, dtype=np.float32))


def test_normalised_of_a_large_crop_is_near_that_of_all_voxels():
    crop = np.random.default_rng(0).gamma(2, 50, (64, 64, 64)).astype(np.float32)
    low, high = np.percentile(crop, (0.5, 99.5))
    assert np.abs(normalised(crop) - np.clip((crop - low) / (high - low), 0, 1)).max() < 0.05


def test_a_crop_that_cannot_be_normalised_is_refused():
    with pytest.raises(InputError, match="1 voxels"):
        normalised(np.array([0.0, np.nan, 1.0]))
    with pytest.raises(InputError, match="no voxels"):
        normalised(np.zeros((0, 3)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"objects": (5, 3)},
        {"objects": (0, 3)},
        {"noise": (0.0, 0.1)},
        {"blur_voxels": (-1, 1)},
        {"modes": (0, 0, 0)},
        {"air": 1.5},
    ],
)
def test_scene_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SceneSettings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin_voxels": (5, 1)},
        {"margin_part": -1},
        {"region": -1},
        {"region_part": (2, 1)},
        {"whole": 2},
        {"fresh_noise": -0.1},
    ],
)
def test_crop_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        CropSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"dimensions": 4}, {"batch_size": 0}, {"length": 0}, {"seed": -1}, {"max_voxels": 1000}]
)
def test_a_data_set_that_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        BinaryTasks(**{"dimensions": 3, "batch_size": 2, "length": 5, "seed": 0, "max_voxels": 40**3, **wrong})


def test_shapes_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="scene of shape"):
        generate_scene((20,), rng)
    with pytest.raises(InputError, match="crops of shape"):
        object_crops(generate_scene((20, 20), rng), (8, 8, 8), 1, rng)
    with pytest.raises(InputError, match="slices of shape"):
        object_slices(generate_scene((20, 20), rng), (8, 8), 1, rng)
