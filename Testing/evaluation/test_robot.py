import numpy as np
import pytest
from scipy import ndimage

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.users.error_regions import largest_errors
from InteractiveSegLib.evaluation.users.robot import RobotSettings, correct
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles

SPACING = (3.0, 0.7, 0.5)
STYLES = ("careful", "sloppy", "click")
every_style = pytest.mark.parametrize("style", STYLES)


def drawn(found, truth, style="careful", seed=0, spacing=SPACING, scribbled=None, **settings):
    rng = np.random.default_rng(seed)
    return correct(found, truth, spacing, rng, RobotSettings(style=style, **settings), scribbled)


def marks(correction, label):
    scribbles = correction.scribbles
    return scribbles.indices_kji[scribbles.labels == label]


def ball(shape, centre, radius, spacing=SPACING):
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return np.linalg.norm((grid - centre) * spacing, axis=-1) < radius


def two_objects(seed=0):
    """Truth with two touching objects, and a mask that is wrong about both."""
    rng = np.random.default_rng(seed)
    shape = (12, 40, 61)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), (0, 1, 4, 5))
    noise /= noise.std()
    field = noise[0] - np.abs(np.arange(61) - 30) / 20
    labelled = [np.digitize(values, (0.0, 0.9)).astype(np.uint8) for values in (field + 0.5 * noise[1], field)]
    return tuple(labelled)


def test_what_is_missed_gets_the_label_and_what_is_too_much_the_backgrounds():
    truth = np.zeros((12, 20, 31), np.uint8)
    found = truth.copy()
    truth[2:7, 3:12, 4:15] = 7
    found[8:11, 14:19, 20:30] = 7
    correction = drawn(found, truth)
    assert set(correction.scribbles.labels.tolist()) == {7, BACKGROUND}
    for label, region in ((7, truth), (BACKGROUND, found)):
        assert region[tuple(marks(correction, label).T)].all()
    assert np.ptp(marks(correction, 7), axis=0).min() > 0  # strokes in all three views
    assert correction.strokes == 6


@pytest.mark.parametrize("views", [1, 2, 3])
def test_lines_are_drawn_in_so_many_views_the_finest_pixels_first(views):
    truth = np.zeros((12, 20, 31), np.uint8)
    truth[2:9, 3:12, 4:15] = 7
    correction = drawn(np.zeros_like(truth), truth, thickness_voxels=1.0, views=views)
    assert correction.strokes == views
    assert (np.ptp(marks(correction, 7), axis=0)[0] == 0) == (views == 1)


def test_the_largest_error_is_corrected_first():
    truth = np.zeros((12, 20, 31), np.uint8)
    truth[2:4, 2:4, 2:4] = 1
    truth[6:11, 6:16, 6:20] = 1
    assert (drawn(np.zeros_like(truth), truth).scribbles.indices_kji >= 6).all()


def test_an_object_that_should_not_be_there_at_all_gets_background():
    found, truth = np.zeros((2, 8, 20, 31), np.uint8)
    truth[2:6, 2:8, 2:8] = found[2:6, 2:8, 2:8] = 1
    found[2:6, 12:18, 12:28] = 2
    scribbled = Scribbles([(3, 4, 4)], [1])
    assert set(drawn(found, truth, scribbled=scribbled).scribbles.labels.tolist()) == {BACKGROUND}


def test_what_one_object_has_of_another_is_the_others_to_mark():
    found, truth = np.zeros((2, 8, 20, 31), np.uint8)
    truth[2:6, 4:16, 4:15], truth[2:6, 4:16, 15:26] = 1, 2
    found[truth > 0] = 1
    correction = drawn(found, truth, scribbled=Scribbles([(3, 8, 8)], [1]))
    assert set(correction.scribbles.labels.tolist()) == {2}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("style", ["careful", "click"])
def test_a_careful_hand_stays_in_the_largest_errors(style, seed):
    found, truth = two_objects(seed)
    seen = Scribbles(np.concatenate([np.argwhere(truth == label)[:1] for label in (1, 2)]), [1, 2])
    correction = drawn(found, truth, style, scribbled=seen)
    assert len(correction.scribbles)
    allowed = {label: np.zeros(truth.shape, bool) for label in (1, 2, BACKGROUND)}
    for part in largest_errors(found, truth):
        box = tuple(slice(start, start + n) for start, n in zip(part.corner_kji, part.mask.shape, strict=True))
        allowed[part.label][box] |= part.mask
    for label, region in allowed.items():
        assert region[tuple(marks(correction, label).T)].all()


@every_style
@pytest.mark.parametrize("seed", range(4))
def test_marks_do_not_contradict_each_other_nor_earlier_rounds(style, seed):
    found, truth = two_objects(seed)
    scribbled = Scribbles.none()
    for turn in range(3):
        correction = drawn(found, truth, style, seed=turn, scribbled=scribbled, spill_voxels=4.0, wander_voxels=6.0)
        assert correction.scribbles.contradictions == 0
        spilt = wrong_marks(scribbled, truth)
        scribbled = scribbled.merged(correction.scribbles)
        assert scribbled.contradictions <= spilt  # only what was spilt before is painted over
        found = np.where(ndimage.binary_dilation(scribbled.to_labelmap(truth.shape) > 0), truth, found)


def wrong_marks(scribbled, truth):
    should = truth[tuple(scribbled.indices_kji.T)]
    return np.count_nonzero(np.where(scribbled.labels == BACKGROUND, 0, scribbled.labels) != should)


def test_a_sloppy_hand_spills_a_voxel_or_two_but_stays_mostly_inside():
    truth = np.zeros((9, 50, 61), np.uint8)
    truth[2:7, 10:16, 8:53] = 1
    inside, total = 0, 0
    distance = ndimage.distance_transform_edt(truth == 0, (1, 1, 1))
    for seed in range(20):
        points = tuple(drawn(np.zeros_like(truth), truth, "sloppy", seed, (1, 1, 1)).scribbles.indices_kji.T)
        assert distance[points].max() <= 2
        inside += np.count_nonzero(truth[points])
        total += len(points[0])
    assert 0.75 * total < inside < total


def test_a_sloppy_hand_lifts_the_brush():
    truth = np.zeros((1, 20, 301), np.uint8)
    truth[0, 8:12, 5:296] = 1
    whole = drawn(np.zeros_like(truth), truth)
    broken = drawn(np.zeros_like(truth), truth, "sloppy")
    assert whole.strokes == 1 < broken.strokes


@every_style
def test_the_same_seed_draws_the_same_and_another_not_where_chance_takes_part(style):
    found, truth = two_objects()
    first, again, other = (drawn(found, truth, style, seed) for seed in (3, 3, 4))
    assert first.scribbles.equals(again.scribbles)
    assert (first.strokes, first.length_mm) == (again.strokes, again.length_mm)
    assert first.scribbles.equals(other.scribbles) == (style != "sloppy")


def test_a_click_lies_deepest_inside_in_mm():
    truth = ball((11, 40, 61), (5, 18, 27), 8.0).astype(np.uint8)
    truth[5, 18, 30:] = 1  # a long thin tail moves the centroid, not the deepest point
    correction = drawn(np.zeros_like(truth), truth, "click", thickness_voxels=0.9)
    assert correction.scribbles.indices_kji.tolist() == [[5, 18, 27]]


def test_a_click_is_a_disc_of_the_brush_in_the_slices_with_the_smallest_pixels():
    truth = ball((11, 40, 61), (5, 18, 27), 8.0).astype(np.uint8)
    correction = drawn(np.zeros_like(truth), truth, "click", thickness_voxels=3.0)
    rows, columns = np.mgrid[-3:4, -3:4]
    near = (rows * 0.7) ** 2 + (columns * 0.5) ** 2 <= 0.75**2
    expected = np.stack([np.full(near.sum(), 5), 18 + rows[near], 27 + columns[near]], axis=1)
    assert correction.scribbles.indices_kji.tolist() == expected.tolist()
    assert (correction.strokes, correction.length_mm) == (1, pytest.approx(1.5))  # three voxels of 0.5 mm


def test_a_click_in_a_large_part_is_sought_on_a_coarser_grid():
    truth = np.zeros((120, 130, 140), np.uint8)
    truth[1:119, 3:125, 5:139] = 1
    point = drawn(np.zeros_like(truth), truth, "click", spacing=(1, 1, 1), thickness_voxels=0.9).scribbles.indices_kji
    depth = np.minimum(point - (0, 2, 4), (119, 125, 139) - point).min()
    assert depth >= 59 - 2


def test_the_length_of_a_line_in_mm_worked_out_by_hand():
    truth = np.zeros((1, 9, 61), np.uint8)
    truth[0, 4, 10:51] = 1  # 40 steps, of which four fifths are drawn: 32
    for spacing, length in (((1, 1, 1), 32.0), (SPACING, 32 * 0.5), ((1, 0.7, 2.0), 32 * 2.0)):
        correction = drawn(np.zeros_like(truth), truth, spacing=spacing)
        assert (correction.strokes, correction.length_mm) == (1, pytest.approx(length))
    upright = drawn(np.zeros_like(truth).swapaxes(1, 2), truth.swapaxes(1, 2))
    assert upright.length_mm == pytest.approx(32 * 0.7)


def test_a_diagonal_line_is_as_long_as_its_hypotenuses():
    truth = np.zeros((1, 60, 60), np.uint8)
    steps = np.arange(10, 51)
    truth[0, steps, steps] = 1
    truth[0, steps[:-1], steps[1:]] = 1  # faces are shared, as parts require
    assert drawn(np.zeros_like(truth), truth).length_mm == pytest.approx(32 * np.hypot(0.7, 0.5), rel=0.03)


def test_lines_across_thick_slices_are_measured_in_mm():
    truth = np.zeros((21, 9, 9), np.uint8)
    truth[5:16, 4, 4] = 1  # 10 steps of 3 mm, of which 8 are drawn in two views; the third sees one voxel
    correction = drawn(np.zeros_like(truth), truth, smallest_voxels=0, thickness_voxels=1.0)
    assert correction.strokes == 3
    assert correction.length_mm == pytest.approx(2 * 24 + 0.5)


def test_a_stroke_has_a_longest_length():
    truth = np.zeros((1, 20, 301), np.uint8)
    truth[0, 8:12, 5:296] = 1
    assert drawn(np.zeros_like(truth), truth).length_mm == pytest.approx(100 * 0.5)


def test_the_brush_is_a_disc_in_the_slice_and_not_across_slices():
    truth = np.zeros((1, 21, 61), np.uint8)
    truth[0, 5:16, 5:56] = 1
    for thickness, rows in ((1.0, 1), (3.0, 3), (5.0, 5)):
        points = drawn(np.zeros_like(truth), truth, spacing=(1, 1, 1), thickness_voxels=thickness)
        assert np.ptp(points.scribbles.indices_kji[:, 1]) + 1 == rows
    thick = np.repeat(truth, 9, axis=0)
    flat = drawn(np.zeros_like(thick), thick, spacing=(1, 1, 1)).scribbles.indices_kji
    assert {4} == set(flat[(flat[:, 1] != 10) & (flat[:, 2] != 30)][:, 0].tolist())


def test_a_line_follows_a_bent_part():
    truth = np.zeros((1, 60, 60), np.uint8)
    truth[0, 10:50, 10:16] = 1
    truth[0, 44:50, 10:50] = 1
    points = drawn(np.zeros_like(truth), truth, spacing=(1, 1, 1)).scribbles.indices_kji
    assert truth[tuple(points.T)].all()
    assert points[:, 1].min() < 20
    assert points[:, 2].max() > 40


def test_a_ring_gets_an_open_curve_round_most_of_it():
    rows, columns = np.mgrid[-30:31, -30:31]
    radius = np.hypot(rows, columns)
    truth = ((radius > 17) & (radius < 23))[None].astype(np.uint8)
    correction = drawn(np.zeros_like(truth), truth, spacing=(1, 1, 1), longest_voxels=1000.0)
    assert truth[tuple(correction.scribbles.indices_kji.T)].all()
    assert 0.7 * 40 * np.pi < correction.length_mm < 0.9 * 40 * np.pi


def test_a_round_part_gets_a_line_and_not_only_a_dot():
    truth = ball((1, 61, 61), (0, 30, 30), 20.0, (1, 1, 1)).astype(np.uint8)
    correction = drawn(np.zeros_like(truth), truth, spacing=(1, 1, 1))
    assert 15 < correction.length_mm < 32


@every_style
@pytest.mark.parametrize("axis", range(3))
def test_an_image_of_one_slice_has_one_view(style, axis):
    truth = np.zeros((40, 61), np.uint8)
    truth[5:30, 8:50] = 1
    truth, spacing = np.expand_dims(truth, axis), np.ones(3)
    correction = drawn(np.zeros_like(truth), truth, style, spacing=spacing, lift_every_voxels=1e6)
    assert correction.strokes == 1
    if style == "click":
        assert np.delete(correction.scribbles.indices_kji.mean(axis=0), axis)[0] == 17


@pytest.mark.parametrize("shape", [(1, 1, 30), (1, 30, 1), (30, 1, 1)])
def test_an_image_of_one_line_can_be_drawn_on(shape):
    truth = np.zeros(30, np.uint8)
    truth[5:25] = 1
    correction = drawn(np.zeros(shape, np.uint8), truth.reshape(shape), spacing=(1, 1, 1))
    assert (correction.strokes, correction.length_mm) == (1, pytest.approx(0.8 * 19))


@every_style
@pytest.mark.parametrize("extent", [(1, 1, 1), (1, 1, 2), (1, 1, 5), (2, 2, 2), (1, 3, 3), (1, 1, 12)])
def test_strokes_do_not_fill_a_part_of_more_than_a_voxel(style, extent):
    truth = np.zeros((9, 20, 31), np.uint8)
    box = tuple(slice(4, 4 + side) for side in extent)
    truth[box] = 1
    correction = drawn(np.zeros_like(truth), truth, style)
    filled = np.count_nonzero(truth[tuple(correction.scribbles.indices_kji.T)])
    assert 1 <= filled <= max(1, np.prod(extent) - 1)
    assert correction.length_mm > 0


def test_a_tiny_error_is_left_alone_beside_a_larger_one_and_corrected_when_it_is_all_there_is():
    truth = ball((9, 40, 61), (4, 20, 30), 9.0).astype(np.uint8)
    found = truth.copy()
    found[0, 0, :2] = 1
    scribbled = Scribbles([(4, 20, 30)], [1])
    alone = drawn(found, truth, scribbled=scribbled)
    assert (alone.strokes, marks(alone, BACKGROUND).shape) == (1, (1, 3))
    found[4, 20:25, 25:35] = 0
    assert set(drawn(found, truth, scribbled=scribbled).scribbles.labels.tolist()) == {1}


@every_style
def test_agreement_needs_no_stroke(style):
    _, truth = two_objects()
    correction = drawn(truth, truth, style, scribbled=Scribbles([(0, 0, 0), (0, 0, 1)], [1, 2]))
    assert (len(correction.scribbles), correction.strokes, correction.length_mm) == (0, 0, 0.0)


@every_style
def test_two_empty_labelmaps_need_no_stroke(style):
    empty = np.zeros((3, 4, 5), np.uint8)
    assert drawn(empty, empty, style).strokes == 0


@every_style
def test_an_object_without_a_mark_is_shown_to_the_tool(style):
    truth = np.zeros((9, 40, 61), np.uint8)
    truth[2:7, 5:20, 5:56], truth[2:7, 20:35, 5:56] = 1, 2
    correction = drawn(truth, truth, style, scribbled=Scribbles([(4, 10, 10), (0, 0, 0)], [1, BACKGROUND]))
    assert set(correction.scribbles.labels.tolist()) == {2}
    points = correction.scribbles.indices_kji
    assert set(points[:, 0].tolist()) == {4}  # in the middle slice of those with the smallest pixels
    assert abs(points[:, 1].mean() - 27) < 2


def test_a_mark_of_this_round_is_enough_to_show_an_object():
    truth = np.zeros((9, 40, 61), np.uint8)
    truth[2:7, 5:35, 5:56] = 1
    found = truth.copy()
    found[2:7, 5:12] = 0
    assert (marks(drawn(found, truth), 1)[:, 1] < 12).all()


def test_inputs_are_not_changed():
    found, truth = two_objects()
    before = found.copy(), truth.copy()
    drawn(found, truth, "sloppy")
    assert np.array_equal(before[0], found)
    assert np.array_equal(before[1], truth)


LABELS = np.zeros((3, 4, 5), np.uint8)


@pytest.mark.parametrize(
    ("found", "truth", "spacing", "text"),
    [
        (LABELS[:2], LABELS, (1, 1, 1), r"\(2, 4, 5\).*\(3, 4, 5\)"),
        (LABELS.astype(float), LABELS, (1, 1, 1), "float64"),
        (LABELS, LABELS[0], (1, 1, 1), r"\(4, 5\)"),
        (LABELS, LABELS + 255, (1, 1, 1), "255"),
        (LABELS, LABELS, (1, 0, 1), r"\(1, 0, 1\)"),
        (LABELS, LABELS, (1, 1), r"\(1, 1\)"),
    ],
)
def test_what_cannot_be_corrected_is_refused(found, truth, spacing, text):
    with pytest.raises(InputError, match=text):
        correct(found, truth, spacing, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("style", "artist"),
        ("thickness_voxels", 0),
        ("share", 1.5),
        ("wander_voxels", -1),
        ("arc_share", -1),
        ("views", 4),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(InputError, match=str(value)):
        RobotSettings(**{setting: value})


@pytest.mark.parametrize("style", ["careful", "click"])
def test_one_error_a_round_is_the_largest_of_each_object_once_the_object_is_marked(style):
    found, truth = np.zeros((2, 12, 40, 61), np.uint8)
    truth[2:5, 2:20, 2:9], truth[2:8, 2:20, 30:40] = 1, 2
    found[2:5, 2:20, 2:8], found[8:11, 2:20, 2:9] = 1, 1  # of object 1 less is missed than is too much
    seen = Scribbles([(3, 4, 4), (3, 4, 32)], [1, 2])
    one = drawn(found, truth, style, scribbled=seen, one_error=True, views=1)
    assert one.strokes == 2
    assert (marks(one, BACKGROUND)[:, 0] >= 8).all()
    assert len(marks(one, 1)) == 0
    assert (truth[tuple(marks(one, 2).T)] == 2).all()
    assert drawn(found, truth, style, scribbled=seen, views=1).strokes == 3


def test_the_first_mark_is_on_the_object_even_where_more_is_too_much():
    found, truth = np.zeros((2, 12, 40, 61), np.uint8)
    truth[2:9, 12:19, 12:19] = 1
    found[:, 2:38, 2:58] = 1
    for seen, label in ((None, 1), (Scribbles([(5, 15, 15)], [1]), BACKGROUND)):
        one = drawn(found, truth, "click", scribbled=seen, one_error=True, thickness_voxels=1.0)
        assert one.scribbles.labels.tolist() == [label]
    assert drawn(found, truth, "click", one_error=True, thickness_voxels=1.0).scribbles.indices_kji.tolist() == [
        [5, 15, 15]
    ]


def test_a_click_is_where_the_largest_error_is_deepest_in_mm_and_not_in_voxels():
    truth = np.zeros((12, 40, 61), np.uint8)
    truth[2:5, 2:32, 2:32] = 1  # 9 mm thick, wide
    truth[3, 32, 20] = truth[3, 33:40, 14:27] = 1  # 3 mm thick
    one = drawn(np.zeros_like(truth), truth, "click", one_error=True, thickness_voxels=1.0)
    ((k, j, i),) = one.scribbles.indices_kji
    depth = ndimage.distance_transform_edt(np.pad(truth, 1), SPACING)[1:-1, 1:-1, 1:-1]
    assert depth[k, j, i] == depth.max() == 6.0
    assert abs(j - 16.5) < 1
    assert abs(i - 16.5) < 1


@pytest.mark.parametrize(("share", "distance"), [(0.05, 4.0), (0.2, 6.0)])  # of 15 mm, in pixels of 0.5 mm
def test_an_arc_goes_half_round_an_object_beside_its_first_line_alone(share, distance):
    truth = np.zeros((12, 60, 81), np.uint8)
    truth[ball(truth.shape, (5, 30, 40), 7.5)] = 1
    settings = {"one_error": True, "views": 1, "arc_share": share, "thickness_voxels": 1.0}
    first = drawn(np.zeros_like(truth), truth, **settings)
    assert first.strokes == 2
    assert {5} == set(first.scribbles.indices_kji[:, 0].tolist())
    away = ndimage.distance_transform_edt(truth[5] == 0, SPACING[1:])[tuple(marks(first, BACKGROUND)[:, 1:].T)]
    assert np.abs(away - distance * 0.5).max() < 0.7  # the finer side of a pixel is 0.5 mm
    angles = np.unwrap(np.sort(np.arctan2(*((marks(first, BACKGROUND)[:, 1:] - (30, 40)) * SPACING[1:]).T)))
    gap = max(np.diff(angles).max(), 2 * np.pi - np.ptp(angles))
    assert 0.85 * np.pi < gap < 1.15 * np.pi  # the half that is left out
    outline = 2 * np.pi * (7.5 + distance * 0.5)
    assert first.length_mm - outline / 2 == pytest.approx(0.8 * 0.75 * 15, rel=0.1)  # and a line in the ball
    assert drawn(np.zeros_like(truth), truth, scribbled=first.scribbles, **settings).strokes == 1
    other = drawn(np.zeros_like(truth), truth, seed=1, **settings)
    assert not other.scribbles.equals(first.scribbles)


def test_an_arc_keeps_off_other_objects_and_off_the_border_of_the_image():
    truth = np.zeros((6, 40, 61), np.uint8)
    truth[2:5, 0:20, 10:30], truth[2:5, 0:20, 30:50] = 1, 2
    one = drawn(np.zeros_like(truth), truth, one_error=True, views=1, arc_share=0.1)
    assert one.strokes == 4
    assert (truth[tuple(marks(one, BACKGROUND).T)] == 0).all()
    truth[:] = 1
    assert set(drawn(np.zeros_like(truth), truth, one_error=True, views=1, arc_share=0.1).scribbles.labels) == {1}
