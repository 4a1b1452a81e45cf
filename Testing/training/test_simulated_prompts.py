"""Prompts drawn at random on known objects, the batches made from them, and the loss with self-correction."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from blobs import ellipsoid

from InteractiveSegLib.networks.cues import CHANNELS, ShownPrompts, encode
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.training.procedural.procedural import BinaryTasks
from InteractiveSegLib.training.prompted_tasks import PromptedTasks, few_prompts, session_logits, session_loss
from InteractiveSegLib.training.simulated_prompts import against, draw_box, draw_scribbles, error_regions, spoiled

SEEDS = range(60)
SHAPE_KJI = (10, 20, 31)
OBJECT = ellipsoid(SHAPE_KJI, (5, 8, 17), (3.4, 6.2, 9.3))
RING = ellipsoid((1, 24, 31), (0, 11, 14), (1, 9.5, 12)) & ~ellipsoid((1, 24, 31), (0, 11, 14), (1, 5, 7))
DOT = np.zeros(SHAPE_KJI, bool)
DOT[4, 0, 30] = True
FULL = np.ones((3, 9, 14), bool)
REGIONS = {"stack": OBJECT, "ring in a slice": RING, "one voxel": DOT, "full": FULL, "thin": OBJECT[:, :, 17:18]}

every_region = pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS.keys())


def rng(seed):
    return np.random.default_rng([seed, 5])


def spans(mask):
    """First index and one beyond the last along each axis."""
    indices = np.argwhere(mask)
    return indices.min(axis=0), indices.max(axis=0) + 1


def blob_batch(shape_kji=(4, 12, 15), seed=0, step=0):
    """Two bright blobs with a scribble on each, one beside it and one on another object."""
    centre = [(n - 1) / 2 for n in shape_kji]
    blobs = [ellipsoid(shape_kji, centre, [max(1, r * n) for n in shape_kji]) for r in (0.25, 0.35)]
    noise = np.random.default_rng(seed).normal(0, 0.1, (2, *shape_kji))
    label = np.stack(blobs)
    foreground, background, other = np.zeros((3, *label.shape), bool)
    middle = [n // 2 for n in shape_kji]
    foreground[:, middle[0], middle[1], middle[2] - 1 : middle[2] + 2] = True
    background[:, middle[0], 0, 2:12] = True
    other[:, middle[0], -1, 4:9] = True
    arrays = {
        "image": np.clip(0.3 + 0.4 * label + noise, 0, 1).astype(np.float32),
        "label": label.astype(np.float32),
        "box": np.ones_like(label),
        "foreground": foreground,
        "background": background,
        "other": other,
        "start": np.zeros(label.shape, np.float32),
    }
    batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {**batch, "spacing": torch.tensor((2.0, 1.0, 1.0)), "seed": torch.tensor((seed, step))}


def fresh(seed=0):
    torch.manual_seed(seed)
    return PromptedNetwork((4, 4), dropout=0.0)


class Constant(torch.nn.Module):
    """Finds all of an image or nothing, and keeps what it was shown."""

    def __init__(self, found):
        super().__init__()
        self.found, self.seen = found, []

    def forward(self, channels, spacing):
        self.seen.append(channels)
        odds = torch.full_like(channels[:, 0], 1.0 if self.found else -1.0)
        return torch.stack([-odds, odds], dim=1)


# scribbles


@every_region
@pytest.mark.parametrize("everywhere", [False, True])
def test_strokes_lie_in_the_region(region, everywhere):
    for seed in SEEDS:
        marks = draw_scribbles(region, rng(seed), everywhere)
        assert marks.dtype == bool
        assert marks.shape == region.shape
        assert marks.any()
        assert not (marks & ~region).any()


def test_strokes_are_thin_and_differ():
    drawn = [draw_scribbles(OBJECT, rng(seed)) for seed in SEEDS]
    assert np.mean([marks.sum() for marks in drawn]) < 0.15 * OBJECT.sum()
    assert len({marks.tobytes() for marks in drawn}) > 50


def test_strokes_everywhere_are_in_every_slice_that_shows_the_region_and_no_other():
    shown = OBJECT.any(axis=(1, 2))
    assert 0 < shown.sum() < len(shown)
    for seed in SEEDS:
        assert (draw_scribbles(OBJECT, rng(seed), everywhere=True).any(axis=(1, 2)) == shown).all()


def test_strokes_in_a_few_slices_run_along_all_axes():
    flat = dict.fromkeys(range(3), 0)
    for seed in SEEDS:
        marks = draw_scribbles(OBJECT, rng(seed))
        slices = [np.count_nonzero(marks.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        for axis in range(3):
            flat[axis] += slices[axis] == 1 < max(slices)
    assert min(flat.values()) >= 3


def test_strokes_are_repeated_by_the_seed():
    assert np.array_equal(draw_scribbles(OBJECT, rng(3)), draw_scribbles(OBJECT, rng(3)))


@pytest.mark.parametrize("everywhere", [False, True])
def test_on_nothing_nothing_is_drawn(everywhere):
    assert not draw_scribbles(np.zeros(SHAPE_KJI, bool), rng(0), everywhere).any()


# boxes


@every_region
def test_a_box_moves_each_side_by_a_tenth_inwards_or_two_outwards(region):
    start, stop = spans(region)
    length = stop - start
    for seed in SEEDS:
        box = draw_box(region, rng(seed))
        low, high = spans(box)
        assert box.sum() == np.prod(high - low)  # it is a box
        assert (low >= np.maximum(0, start - np.rint(0.2 * length))).all()
        assert (low <= start + np.rint(0.1 * length)).all()
        assert (high <= np.minimum(region.shape, stop + np.rint(0.2 * length))).all()
        assert (high >= stop - np.rint(0.1 * length)).all()


def test_a_box_keeps_most_of_the_object_and_is_not_always_the_same():
    boxes = [draw_box(OBJECT, rng(seed)) for seed in SEEDS]
    kept = [np.count_nonzero(box & OBJECT) / OBJECT.sum() for box in boxes]
    assert min(kept) > 0.8
    assert np.mean(kept) > 0.97
    assert min(kept) < 1
    assert len({box.tobytes() for box in boxes}) > 30


@pytest.mark.parametrize("shape", [(1, 40, 48), (8, 40, 48), (20, 40, 48)])
def test_beyond_the_ends_of_an_object_there_is_a_box_all_the_same(shape):
    smaller = sum(not draw_box(np.zeros(shape, bool), rng(seed)).all() for seed in SEEDS)
    assert smaller > 50


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 5), (2, 2, 2)])
def test_nothing_in_a_tiny_image_has_all_of_it_as_its_box(shape):
    assert draw_box(np.zeros(shape, bool), rng(0)).all()


# background, errors and masks to start from


@every_region
def test_the_background_never_touches_the_object(region):
    for seed in SEEDS:
        outside = against(region, rng(seed))
        assert not (outside & region).any()
        assert outside.any() == (~region).any()


def test_the_background_is_sometimes_the_hole_alone():
    hole = ellipsoid(RING.shape, (0, 11, 14), (1, 5, 7))
    drawn = [against(RING, rng(seed)) for seed in SEEDS]
    assert any(np.array_equal(outside, hole) for outside in drawn)
    assert any(np.array_equal(outside, ~RING) for outside in drawn)


def test_error_regions_are_the_largest_of_both_kinds():
    found, truth = np.zeros((2, 3, 4, 9), bool)
    truth[1, 1, :4], truth[0, 3, 8] = True, True  # missed: three in a row and one far off
    found[1, 1, 3], found[1, 1, 4:6], found[2, 3, 0] = True, True, True  # too much: two in a row and one
    missed, excess = error_regions(found, truth)
    assert np.argwhere(missed).tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 2]]
    assert np.argwhere(excess).tolist() == [[1, 1, 4], [1, 1, 5]]


def test_a_perfect_answer_has_no_errors():
    assert not any(region.any() for region in error_regions(OBJECT, OBJECT.copy()))


def test_a_spoiled_mask_differs_yet_overlaps():
    before = OBJECT.copy()
    masks = [spoiled(OBJECT, rng(seed)) for seed in SEEDS]
    assert np.array_equal(OBJECT, before)
    assert all((mask & OBJECT).any() for mask in masks)
    assert sum(not np.array_equal(mask, OBJECT) for mask in masks) > 50
    dices = [2 * (mask & OBJECT).sum() / (mask.sum() + OBJECT.sum()) for mask in masks]
    assert 0.5 < np.mean(dices) < 0.97


def test_an_empty_object_is_spoiled_and_bounded_too():
    nothing = np.zeros(SHAPE_KJI, bool)
    for seed in SEEDS:
        assert spoiled(nothing, rng(seed)).shape == SHAPE_KJI
        assert against(nothing, rng(seed)).all()


# batches


@pytest.mark.parametrize(("dimensions", "max_voxels"), [(2, 40**2), (3, 20**3)])
def test_a_batch_holds_prompts_that_go_with_its_objects(dimensions, max_voxels):
    tasks = PromptedTasks(BinaryTasks(dimensions, 3, 8, seed=4, max_voxels=max_voxels))
    assert len(tasks) == 8
    kinds, others = set(), 0
    for number in range(8):
        item = tasks[number]
        shape = item["image"].shape
        assert shape[0] == 3
        assert shape[1] == 1 if dimensions == 2 else 1 < shape[1] == min(shape[1:])
        for name in ("image", "label", "start"):
            assert (item[name].shape, item[name].dtype) == (shape, torch.float32)
        for name in ("box", "foreground", "background", "other"):
            assert (item[name].shape, item[name].dtype) == (shape, torch.bool)
        assert item["spacing"].shape == (3,)
        assert item["spacing"][0] >= 1
        assert item["spacing"][1:].tolist() == [1, 1]
        assert item["seed"].tolist() == [4, number]
        truth = item["label"] > 0.5
        assert not (item["foreground"] & ~truth).any()
        assert not ((item["background"] | item["other"]) & truth).any()
        assert not (item["background"] & item["other"]).any()
        marked_at_all = item["foreground"].flatten(1).any(dim=1)
        assert not item["other"][~marked_at_all & truth.flatten(1).any(dim=1)].any()  # a box alone is a box alone
        others += int(item["other"].flatten(1).any(dim=1).sum())
        assert 0 <= item["start"].min() <= item["start"].max() <= 1
        kinds |= {
            (not box.all(), bool(marks.any())) for box, marks in zip(item["box"], item["foreground"], strict=True)
        }
    assert len(kinds) > 1
    assert 0 < others < 24


@pytest.mark.parametrize("shape_kji", [SHAPE_KJI, (1, 12, 15)], ids=["stack", "single slice"])
def test_few_marks_are_clicks_or_one_stroke_and_mostly_without_a_box(shape_kji):
    truth = ellipsoid(shape_kji, tuple(n // 2 for n in shape_kji), tuple(max(1, n // 3) for n in shape_kji))
    counts, boxes = [], 0
    for seed in range(60):
        box, foreground, background, other, start = few_prompts(truth, rng(seed))
        assert foreground.any()
        assert not (foreground & ~truth).any()
        assert not (background & truth).any()
        assert not other.any()
        assert not start.any()
        on_slices = [foreground.any(axis=tuple({0, 1, 2} - {axis})).sum() for axis in range(3)]
        assert foreground.sum() <= 3 or min(on_slices) == 1
        counts.append(int(foreground.sum()))
        boxes += not box.all()
    assert min(counts) == 1
    assert max(counts) > 3
    assert 0 < boxes < 30


def test_without_the_object_few_marks_are_beside_it():
    nothing = np.zeros(SHAPE_KJI, bool)
    for seed in SEEDS:
        _, foreground, background, *_ = few_prompts(nothing, rng(seed))
        assert not foreground.any()
        assert background.any()


def test_people_who_begin_with_few_marks_correct_the_largest_error_alone():
    batch = PromptedTasks(BinaryTasks(3, 2, 2, seed=4, max_voxels=20**3), few=[1.0])[0]
    assert batch["few"].all()
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, channels, spacing):
            seen.append(channels[:, 3:5] == 1)  # where a geodesic distance is 0
            return torch.stack([torch.ones_like(channels[:, 0]), torch.zeros_like(channels[:, 0])], dim=1)

    session_logits(Watched(), batch, (0, 1))
    (before, after) = (marks.flatten(2).sum(dim=2) for marks in seen)
    assert (after[:, 0] > before[:, 0]).all()  # all is missed, so that is what is marked
    assert (after[:, 1] == before[:, 1]).all()


def test_several_kinds_of_tasks_take_turns():
    flat, solid = BinaryTasks(2, 1, 5, 4, 40**2), BinaryTasks(3, 1, 3, 4, 20**3)
    mixed = PromptedTasks(flat, solid)
    assert len(mixed) == 3
    assert [mixed[number]["image"].shape[1] == 1 for number in range(3)] == [True, False, True]
    assert torch.equal(mixed[1]["foreground"], PromptedTasks(solid)[1]["foreground"])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_shortest_side_is_that_of_the_slices_and_they_are_thick(axis):
    bright = np.moveaxis(ellipsoid((4, 14, 18), (2, 6, 8), (2, 4, 5)), 0, axis)[None, None]

    class Flat:
        seed, dimensions = 2, 3

        def __getitem__(self, n):
            return {name: torch.from_numpy(bright.astype(np.float32)) for name in ("image", "label")}

    item = PromptedTasks(Flat())[0]
    assert item["image"].shape == (1, 4, 14, 18)
    assert torch.equal(item["label"], item["image"])
    assert torch.equal(item["image"][0], torch.from_numpy(bright[0, 0]).movedim(axis, 0).float())
    assert 0.7 * 4 <= item["spacing"][0] <= 1.4 * 4  # 16 pixels to 4 slices


@pytest.mark.parametrize(("dimensions", "max_voxels"), [(2, 40**2), (3, 20**3)])
def test_an_item_depends_on_seed_and_number_alone(dimensions, max_voxels):
    one, again, other = (
        PromptedTasks(BinaryTasks(dimensions, 1, length, seed, max_voxels)) for length, seed in ((4, 6), (9, 6), (4, 7))
    )
    item = one[2]
    assert all(torch.equal(value, again[2][name]) for name, value in item.items())
    assert item["image"].shape != other[2]["image"].shape or not torch.equal(item["image"], other[2]["image"])


# the loss


@pytest.mark.parametrize("shape_kji", [(4, 12, 15), (1, 12, 15)], ids=["stack", "single slice"])
def test_the_loss_is_finite_and_repeated_by_the_seed(shape_kji):
    losses = []
    for step in (0, 0, 1, 2, 3, 4):
        network = fresh().train()
        loss = session_loss(network, blob_batch(shape_kji, step=step))
        assert network.training
        assert torch.isfinite(loss)
        losses.append(loss.item())
    assert losses[0] == losses[1]
    assert len(set(losses)) > 1  # some go round once more, and see what was corrected


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_the_loss_has_gradients_in_every_parameter_however_often_it_is_corrected(mixed_precision):
    for step in range(6):
        network = fresh().train()
        with torch.autocast("cpu", torch.bfloat16, mixed_precision, cache_enabled=False):
            loss = session_loss(network, blob_batch(step=step))
        assert loss.dtype == torch.float32
        loss.backward()
        for name, parameter in network.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.any(), name


def test_the_loss_does_not_change_its_batch():
    batch = blob_batch()
    before = {name: value.clone() for name, value in batch.items()}
    for step in range(6):
        session_loss(fresh().train(), {**batch, "seed": torch.tensor((0, step))})
    assert all(torch.equal(value, batch[name]) for name, value in before.items())


def test_marks_on_another_object_are_shown_as_a_kind_of_their_own():
    network, batch = Constant(found=False), blob_batch()
    session_loss(network, batch)
    given = [batch[name] for name in ("image", "box", "foreground", "background", "start")]
    spacing = batch["spacing"].tolist()
    assert torch.equal(
        network.seen[0], encode(given[0], spacing, ShownPrompts(*given[1:], other_objects=[batch["other"]]))
    )
    given[3] = given[3] | batch["other"]
    plain = encode(given[0], spacing, ShownPrompts(*given[1:]))
    classical = CHANNELS.index("classical answer")
    assert not torch.allclose(network.seen[0][:, classical], plain[:, classical], atol=0.1)


@pytest.mark.parametrize(("found", "corrected"), [(False, 0), (True, 1)], ids=["misses all", "finds all"])
def test_a_correction_marks_what_the_network_got_wrong(found, corrected):
    """A network that finds nothing is shown more of the object, one that finds all more of the background."""
    distances = [CHANNELS.index(f"distance {kind}") for kind in ("foreground", "background")]
    batch, rounds = blob_batch(), []
    wrong = (batch["label"] > 0.5) != found
    for step in range(40):
        network = Constant(found)
        session_loss(network, {**batch, "seed": torch.tensor((0, step))})
        rounds.append(len(network.seen) - 1)
        shown = [[channels[:, index] == 1 for index in distances] for channels in network.seen]  # marks are at 0
        for before, after in pairwise(shown):
            assert not (before[corrected] & ~after[corrected]).any()
            added = after[corrected] & ~before[corrected]
            assert not (added & ~wrong).any()
            assert torch.equal(before[1 - corrected], after[1 - corrected])
        if rounds[-1]:
            assert (shown[1][corrected] & ~shown[0][corrected]).flatten(1).any(dim=1).all()
    assert set(rounds) == {0, 1, 2}
    assert [rounds.count(n) / 40 for n in range(3)] == pytest.approx([0.4, 0.35, 0.25], abs=0.15)


def test_how_often_errors_are_corrected_can_be_chosen():
    network = Constant(found=False)
    session_loss(network, blob_batch(), corrected=(0, 0, 0, 0, 1))
    assert len(network.seen) == 5


def test_what_was_found_is_sometimes_where_the_next_round_starts():
    batch, start = blob_batch(), CHANNELS.index("start mask")
    carried = []
    for step in range(40):
        network = Constant(found=True)
        session_loss(network, {**batch, "seed": torch.tensor((0, step))})
        for channels in network.seen[1:2]:
            assert channels[:, start].flatten(1).std(dim=1).eq(0).all()  # all of it or nothing
            carried += channels[:, start].amax(dim=(1, 2, 3)).tolist()
    assert set(carried) == {0, 1}
    assert np.mean(carried) == pytest.approx(0.4, abs=0.2)


def test_training_lowers_the_loss():
    network = fresh().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(20):
        loss = session_loss(network, blob_batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
