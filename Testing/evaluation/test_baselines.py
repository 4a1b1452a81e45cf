"""The classical methods: on images with an obvious answer, on awkward ones, and on real hearts."""

import sys

import numpy as np
import pytest
import SimpleITK

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.evaluation.baselines import classical
from InteractiveSegLib.evaluation.baselines import grab_cut as cutting
from InteractiveSegLib.evaluation.baselines.classical import geodesic_mixtures, nearest_scribble, random_walker
from InteractiveSegLib.evaluation.baselines.grab_cut import grab_cut
from InteractiveSegLib.evaluation.baselines.grow_from_seeds import grow_from_seeds
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.image.working_grid import GridSettings, working_grid
from InteractiveSegLib.prompts.scribbles import BACKGROUND

ISOTROPIC = (1.0, 1.0, 1.0)
METHODS = [grow_from_seeds, nearest_scribble, geodesic_mixtures, random_walker]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


@pytest.fixture(autouse=True)
def _slicer_where_it_is_needed(request):
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("method") is grow_from_seeds:
        pytest.importorskip("slicer")


def noise(shape, seed=0, scale=0.02):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def three_bands(shape=(6, 12, 30)):
    """Columns 0-5 dark, 6-16 bright, 17-29 between, each marked by one short stroke off its middle."""
    truth = np.zeros(shape, np.uint8)
    truth[:, :, 6:17], truth[:, :, 17:] = 7, 3
    seeds = np.zeros(shape, np.uint8)
    seeds[2, 4:7, 1], seeds[2, 4:7, 8], seeds[2, 4:7, 27] = BACKGROUND, 7, 3
    return np.choose(np.searchsorted([0, 3, 7], truth), [0.0, 0.5, 1.0]).astype(np.float32) + noise(shape), seeds, truth


def ball(shape=(16, 30, 28), centre=(8, 14, 13), radius=5.0):
    grid = np.indices(shape)
    return sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) <= radius**2


@every_method
def test_three_bands_are_split_at_their_edges(method):
    image, seeds, truth = three_bands()
    result = method(image, seeds, ISOTROPIC)
    assert result.dtype == np.uint8
    assert set(np.unique(result)) == {0, 3, 7}
    assert (result != truth).mean() < 0.01


@every_method
def test_scribbles_keep_their_labels_against_the_image(method):
    image, seeds, _ = three_bands()
    seeds[4, 9, 24] = 7  # one voxel in the middle of another band
    result = method(image, seeds, ISOTROPIC)
    assert (result[seeds > 0] == np.where(seeds == BACKGROUND, 0, seeds)[seeds > 0]).all()


@every_method
@pytest.mark.parametrize("spacing", [ISOTROPIC, (10.0, 1.5, 1.5), (1.5, 1.5, 10.0)])
def test_slices_without_scribbles_are_labelled_too(method, spacing):
    image, seeds, truth = three_bands()
    result = method(image, seeds, spacing)
    assert (result[5] != truth[5]).mean() < 0.05


@every_method
def test_turning_the_volume_turns_the_result(method):
    image, seeds, _ = three_bands((4, 12, 30))
    upright = method(image, seeds, (5.0, 1.0, 1.5))
    turned = method(image.transpose(2, 0, 1), seeds.transpose(2, 0, 1), (1.5, 5.0, 1.0))
    assert (turned.transpose(1, 2, 0) != upright).mean() < 0.02


@every_method
@pytest.mark.parametrize("kind", ["constant", "nan", "one slice", "one row", "integers", "all marked"])
def test_awkward_images_are_labelled(method, kind):
    image, seeds, _ = three_bands()
    if kind == "constant":
        image = np.full_like(image, 7.5)
    elif kind == "nan":
        image[:, :, :4] = np.nan  # counts as dark, which that band is
    elif kind == "one slice":
        image, seeds = image[2:3], seeds[2:3]
    elif kind == "one row":
        image, seeds = image[2:3, 5:6], seeds[2:3, 5:6]
    elif kind == "integers":
        image = (image * 1000).astype(np.int16)
    else:
        seeds = np.where(np.arange(seeds.shape[2]) < 9, BACKGROUND, 7) * np.ones(seeds.shape, np.uint8)
        seeds = seeds.astype(np.uint8)
    result = method(image, seeds, (6.0, 1.0, 1.0))
    assert result.shape == image.shape
    assert set(np.unique(result)) == {int(value) % BACKGROUND for value in np.unique(seeds[seeds > 0])}
    assert (result[seeds > 0] == (seeds % BACKGROUND)[seeds > 0]).all()
    assert np.array_equal(result, method(image, seeds, (6.0, 1.0, 1.0)))


@every_method
def test_one_label_alone_is_refused(method):
    image, seeds, _ = three_bands()
    seeds[seeds == 7] = 0
    seeds[seeds == 3] = BACKGROUND
    with pytest.raises(InputError, match="255"):
        method(image, seeds, ISOTROPIC)


@every_method
def test_seeds_of_another_shape_are_refused(method):
    image, seeds, _ = three_bands()
    with pytest.raises(InputError, match="do not match"):
        method(image, seeds[:-1], ISOTROPIC)


@pytest.mark.parametrize(
    ("method", "module", "package"),
    [
        (grow_from_seeds, "slicer", "slicer-core"),
        (geodesic_mixtures, "sklearn.mixture", "scikit-learn"),
        (random_walker, "skimage", "scikit-image"),
    ],
)
def test_a_missing_package_is_named(method, module, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    image, seeds, _ = three_bands()
    with pytest.raises(MissingPackageError, match=package):
        method(image, seeds, ISOTROPIC)


def test_thicker_slices_change_which_scribble_is_nearest():
    seeds = np.zeros((3, 1, 9), np.uint8)
    seeds[0, 0, 4], seeds[2, 0, 0] = 1, 2
    constant = np.zeros(seeds.shape, np.float32)
    assert nearest_scribble(constant, seeds, ISOTROPIC)[2, 0, 3] == 1  # root of 1 + 4 (over a diagonal) against 3
    assert nearest_scribble(constant, seeds, (4.0, 1.0, 1.0))[2, 0, 3] == 2


def test_mixtures_decide_where_distance_is_misled():
    """A bright disc apart from the marked one, nearer to the background's scribble."""
    image = noise((1, 20, 40), scale=0.01)
    image[0, 5:15, 3:13] = 1
    image[0, 5:15, 22:36] = 1
    seeds = np.zeros(image.shape, np.uint8)
    seeds[0, 10, 5:11], seeds[0, 2, 16:38] = 1, BACKGROUND
    mixed = geodesic_mixtures(image, seeds, ISOTROPIC)
    assert mixed[0, 5:15, 3:13].all()
    assert not mixed[0, :, 14:21].any()


def test_the_potts_energy_is_minimal_for_three_labels_on_a_line():
    """Three voxels, borders at price 1: of the 27 labellings 0 0 2 costs 0.4 + 1.1, the least."""
    import torch

    cost = torch.tensor([[0.0, 0.4, 3.0], [3.0, 0.0, 3.0], [3.0, 3.0, 0.1]])[:, None, None, :]
    weights = (torch.ones(0, 1, 3), torch.ones(1, 0, 3), torch.ones(1, 1, 2))
    assert classical._potts(cost, weights).flatten().tolist() == [0, 0, 2]
    assert classical._potts(cost, [weight * 0.1 for weight in weights]).flatten().tolist() == [0, 1, 2]


def test_the_nearest_point_of_the_simplex():
    import torch

    points = classical._onto_simplex(torch.tensor([[2.0, 0.5, 0.4], [0.0, 0.5, 0.4], [-1.0, -2.0, 0.4]]))
    expected = torch.tensor([[1.0, 0.5, 1 / 3], [0.0, 0.5, 1 / 3], [0.0, 0.0, 1 / 3]])
    torch.testing.assert_close(points, expected)


@pytest.mark.parametrize("spacing", [ISOTROPIC, (6.0, 1.0, 1.0)], ids=["in 3D", "slice by slice"])
def test_the_random_walker_works_on_a_bounded_grid(spacing, monkeypatch):
    truth = np.where(ball((24, 48, 50), (12, 24, 25), 9.0), 4, 0).astype(np.uint8)
    image = truth / 4 + noise(truth.shape, scale=0.05)
    seeds = np.zeros(truth.shape, np.uint8)
    seeds[:, 4:44, 3], seeds[5:20, 24, 23:28] = BACKGROUND, 4
    seeds[12, 40, 40], seeds[12, 40, 41], seeds[12, 41, 40:42] = 9, 2, BACKGROUND  # side by side
    fine = random_walker(image, seeds, spacing)
    shapes, solved = [], classical._solved
    monkeypatch.setattr(classical, "_WALK_VOXELS", 8_000 if spacing == ISOTROPIC else 1_000)
    monkeypatch.setattr(classical, "_solved", lambda image, *rest: shapes.append(image.shape) or solved(image, *rest))
    coarse = random_walker(image, seeds, spacing)
    assert shapes
    assert max(np.prod(shape) for shape in shapes) <= classical._WALK_VOXELS
    assert dice(coarse == 4, fine == 4) > 0.9
    assert dice(coarse == 4, truth == 4) > 0.9
    assert (coarse[seeds > 0] == (seeds % BACKGROUND)[seeds > 0]).all()


def test_every_label_keeps_a_seed_on_a_coarser_grid():
    seeds = np.zeros((4, 4, 8), np.uint8)
    seeds[0, 0, :2], seeds[1, 1, :2], seeds[:, :, 6] = (BACKGROUND, 9), (2, 5), 3
    geometry = classical.crop_geometry(seeds.shape, ISOTROPIC)
    grid = working_grid(BoundingBox.whole(seeds.shape), geometry, GridSettings(16, margin_voxels=0))
    marks = classical._working_seeds(seeds, grid)
    assert marks.shape == (2, 2, 4)
    assert set(np.unique(marks)) == {0, 2, 3, 5, 9, BACKGROUND}
    assert marks[0, 0, 0] == 9
    assert (marks[:, :, 3] == 3).all()


def test_grab_cut_finds_a_ball_in_its_box():
    truth = ball()
    image = truth + noise(truth.shape, scale=0.1)
    box = (slice(2, 15), slice(7, 22), slice(6, 21))
    mask = grab_cut(image, box, np.zeros(truth.shape, np.uint8), ISOTROPIC)
    assert mask.dtype == bool
    assert dice(mask, truth) > 0.98
    assert np.array_equal(mask, grab_cut(image, box, np.zeros(truth.shape, np.uint8), ISOTROPIC))


def test_grab_cut_keeps_to_the_box_and_to_the_scribbles():
    truth = ball() | ball(centre=(8, 14, 23), radius=3.0)
    image = truth + noise(truth.shape, scale=0.1)
    seeds = np.zeros(truth.shape, np.uint8)
    seeds[8, 14, 11:14], seeds[8, 9, 7], seeds[2, 2, 2] = BACKGROUND, 5, 5
    mask = grab_cut(image, (slice(2, 15), slice(7, 22), slice(6, 19)), seeds, ISOTROPIC)
    assert mask[8, 9, 7]
    assert mask[2, 2, 2]
    assert not mask[8, 14, 11:14].any()
    assert not mask[:, :, 19:].any()


def test_grab_cut_works_on_a_bounded_grid(monkeypatch):
    truth = ball((24, 48, 48), (12, 24, 24), 9.0)
    image = truth + noise(truth.shape, scale=0.1)
    shapes = []
    cut = cutting._cut
    monkeypatch.setattr(cutting, "_CUT_VOXELS", 12_000)
    monkeypatch.setattr(cutting, "_cut", lambda image, *rest: shapes.append(image.numel()) or cut(image, *rest))
    mask = grab_cut(image, (slice(2, 22), slice(14, 35), slice(14, 35)), np.zeros(truth.shape, np.uint8), ISOTROPIC)
    assert shapes[0] <= 12_000
    assert dice(mask, truth) > 0.85


@pytest.mark.parametrize("kind", ["constant", "nan", "one slice", "integers", "all of the box is background"])
def test_grab_cut_takes_awkward_images(kind):
    truth = ball()
    image, box = truth + noise(truth.shape), (slice(2, 15), slice(7, 22), slice(6, 21))
    seeds = np.zeros(truth.shape, np.uint8)
    if kind == "constant":
        image[:] = 3
    elif kind == "nan":
        image[:2] = np.nan
    elif kind == "one slice":
        image, seeds, box, truth = image[8:9], seeds[8:9], (slice(0, 1), *box[1:]), truth[8:9]
    elif kind == "integers":
        image = (image * 100).astype(np.int16)
    else:
        seeds[box] = BACKGROUND
    mask = grab_cut(image, box, seeds, (3.0, 1.0, 1.0))
    if kind == "all of the box is background":
        assert not mask.any()
    elif kind == "constant":
        assert mask.sum() <= 13 * 15 * 15
    else:
        assert dice(mask, truth) > 0.95


@pytest.mark.parametrize(
    ("box", "match"),
    [
        ((slice(0, 16), slice(0, 30), slice(0, 28)), "fills"),
        ((slice(0, 17), slice(3, 9), slice(3, 9)), "outside the crop"),
        ((slice(4, 4), slice(3, 9), slice(3, 9)), "no voxel"),
    ],
)
def test_grab_cut_refuses_a_box_without_inside_or_outside(box, match):
    image = noise((16, 30, 28))
    with pytest.raises(InputError, match=match):
        grab_cut(image, box, np.zeros(image.shape, np.uint8), ISOTROPIC)


def test_grab_cut_refuses_two_objects():
    image, seeds, _ = three_bands()
    with pytest.raises(InputError, match="one object"):
        grab_cut(image, (slice(1, 5), slice(2, 9), slice(3, 9)), seeds, ISOTROPIC)


@pytest.fixture(scope="module")
def hearts(shared_data):
    """Image, scribbles and truth of two tuning volumes, cropped to the heart, with their spacing."""
    folder, found = shared_data / "acdc_cardiac", []
    for case in ("patient004_frame01", "patient009_frame13"):
        parts = [SimpleITK.ReadImage(str(folder / f"{case}_{name}.nii.gz")) for name in ("image", "scribble", "label")]
        image, drawn, truth = (SimpleITK.GetArrayFromImage(part) for part in parts)
        seeds = np.choose(drawn, [BACKGROUND, 1, 2, 3, 0]).astype(np.uint8)
        heart = np.argwhere((seeds > 0) & (seeds != BACKGROUND))[:, 1:]
        low, high = np.maximum(heart.min(axis=0) - 20, 0), heart.max(axis=0) + 21
        crop = (slice(None), slice(low[0], high[0]), slice(low[1], high[1]))
        found.append((image[crop], seeds[crop], truth[crop], parts[0].GetSpacing()[::-1]))
    return found


@every_method
def test_real_hearts_are_found_from_expert_scribbles(method, hearts):
    floor = {grow_from_seeds: 0.70, nearest_scribble: 0.76, geodesic_mixtures: 0.79}.get(method, 0.74)
    scores = []
    for image, seeds, truth, spacing in hearts:
        result = method(image, seeds, spacing)
        scores += [dice(result == label, truth == label) for label in (1, 2, 3)]
    assert np.mean(scores) > floor
