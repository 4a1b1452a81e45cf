"""Scenes from label maps: their shapes, for all orientations, spacings and numbers of labels in the files."""

import numpy as np
import pytest
import SimpleITK

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.training.procedural.mapped_scenes import LabelMapFolder, MappedSceneSettings
from InteractiveSegLib.training.procedural.procedural import BinaryTasks, SceneSettings

RADII = {3: 17, 70: 12, 900: 6}  # of balls in each other, by label
SIDE = 44
PLAIN = SceneSettings(
    modes=(1, 0, 0), noise=(0.001, 0.002), blur_voxels=(0, 0), bias=(0, 0), texture=(0, 0), low_contrast=0
)


def balls(dtype=np.int16, thick=1):
    distance = np.linalg.norm(np.indices((SIDE,) * 3) - SIDE // 2, axis=0)
    labels = np.zeros(distance.shape, dtype)
    for label, radius in RADII.items():
        labels[distance <= radius] = label
    return labels[::thick]


def folder_with(path, labels, spacing_ijk=(1.0, 1.0, 1.0)):
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing(spacing_ijk)
    (path / "deep").mkdir(exist_ok=True)
    SimpleITK.WriteImage(image, str(path / "deep" / "map.nii.gz"))
    return path


def settings(**changed):
    return MappedSceneSettings(
        **{"merged": 0.0, "tissue": 0.0, "bent": 0.0, "step": (1.0, 1.0), "uneven": 0.0} | changed
    )


@pytest.mark.parametrize("shape", [(48, 61), (24, 30, 37), (8, 48, 48)])
def test_a_scene_follows_from_its_seed_and_keeps_its_promises(tmp_path, shape):
    maps = LabelMapFolder(folder_with(tmp_path, balls()))
    for seed in range(6):
        scene, again = (maps.scene(shape, np.random.default_rng(seed), SceneSettings()) for _ in range(2))
        assert np.array_equal(scene.image, again.image)
        assert np.array_equal(scene.labels, again.labels)
        assert scene.groups == again.groups
        assert scene.image.shape == scene.labels.shape == shape
        assert (scene.image.dtype, scene.labels.dtype) == (np.float32, np.int16)
        assert 0 <= scene.image.min() < scene.image.max() <= 1
        assert all(1 <= part <= len(RADII) for group in scene.groups for part in group)


@pytest.mark.parametrize("thick", [1, 3])
def test_shapes_are_those_of_the_map_in_mm(tmp_path, thick):
    maps = LabelMapFolder(folder_with(tmp_path, balls(thick=thick), (1.0, 1.0, thick)), settings())
    sizes = np.array([(balls() == label).sum() for label in RADII])
    for seed in range(4):
        labels = maps.scene((90, 90, 90), np.random.default_rng(seed), PLAIN).labels
        found = np.sort(np.bincount(labels.ravel())[1:])
        np.testing.assert_allclose(found, np.sort(sizes), rtol=0.15)


def test_coarser_steps_show_the_map_smaller(tmp_path):
    fine, coarse = (
        LabelMapFolder(folder_with(tmp_path, balls()), settings(step=(step, step)))
        .scene((60, 60, 60), np.random.default_rng(1), PLAIN)
        .labels
        for step in (1.0, 2.0)
    )
    assert (fine > 0).sum() == pytest.approx(8 * (coarse > 0).sum(), rel=0.2)


def test_neighbours_are_merged_and_the_rest_is_painted_as_tissue(tmp_path):
    folder = folder_with(tmp_path, balls())
    merged = LabelMapFolder(folder, settings(merged=1.0))
    assert merged.scene((60, 60, 60), np.random.default_rng(0), PLAIN).labels.max() == 2
    air, tissue = (
        LabelMapFolder(folder, settings(tissue=part)).scene((80, 80, 80), np.random.default_rng(3), PLAIN)
        for part in (0.0, 1.0)
    )
    assert np.median(air.image[air.labels == 0]) < 0.2
    assert any(
        np.median(scene.image[scene.labels == 0]) > 0.3
        for scene in (
            LabelMapFolder(folder, settings(tissue=1.0)).scene((60, 60, 60), np.random.default_rng(seed), PLAIN)
            for seed in range(4)
        )
    )
    assert set(np.unique(tissue.labels)) <= {0, 1, 2, 3}


def test_tasks_are_drawn_from_label_maps(tmp_path):
    maps = LabelMapFolder(folder_with(tmp_path, balls()))
    for dimensions, voxels in ((2, 48**2), (3, 20**3)):
        item = BinaryTasks(dimensions, 3, 2, 0, voxels, maps=maps)[1]
        assert item["image"].shape == item["label"].shape
        assert item["label"].flatten(1).any(dim=1).any()


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (balls(np.float32) + np.float32(0.5), "values that are not labels, such as 0.5"),
        (-balls(), "values that are not labels"),
        (np.zeros((4, 5, 6), np.uint8), "has 0 labels"),
        (np.arange(300, dtype=np.int16).reshape(3, 10, 10), "has 299 labels"),
    ],
)
def test_files_that_are_no_label_maps_are_named(tmp_path, labels, text):
    maps = LabelMapFolder(folder_with(tmp_path, labels))
    with pytest.raises(InputError, match=f"map.nii.gz.* {text}"):
        maps.scene((20, 20, 20), np.random.default_rng(0), SceneSettings())


def test_folders_without_label_maps_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds no label maps"):
        LabelMapFolder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        LabelMapFolder(tmp_path / "notes.txt")
