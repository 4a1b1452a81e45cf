"""Lassos: which voxels are inside, what they mark, and which curves are refused."""

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.prompts.lasso import Lasso, area, largest_loop
from InteractiveSegLib.prompts.scribbles import BACKGROUND

SHAPE_KJI = (10, 20, 31)
CUBES = Geometry(SHAPE_KJI, np.eye(4))


def box_outline(low, high):
    (a, b), (c, d) = low, high
    return np.array([(a, b), (a, d), (c, d), (c, b)], float)


def circle(middle, radius, sides=48):
    angles = np.arange(sides) * 2 * np.pi / sides
    return np.array(middle) + radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def marked(lasso, label=3, geometry=CUBES):
    marks, extent, note = lasso.marks(label, geometry)
    return marks.to_labelmap(geometry.shape_kji), extent, note


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_the_section_holds_the_voxel_centres_within(shift, reverse):
    outline = np.roll(box_outline((2.5, 3.5), (6.4, 9.6)), shift, axis=0)
    section = Lasso(0, 4, outline[::-1] if reverse else outline).section(SHAPE_KJI)
    expected = np.zeros((20, 31), bool)
    expected[3:7, 4:10] = True
    np.testing.assert_array_equal(section, expected)


def test_a_concave_section_is_what_the_even_odd_rule_says():
    outline = np.array([(1.5, 1.5), (1.5, 20.5), (15.5, 20.5), (15.5, 11.5), (4.5, 11.5), (4.5, 9.5), (15.5, 1.5)])
    section = Lasso(0, 0, outline).section(SHAPE_KJI)
    rows, columns = np.mgrid[:20, :31]
    odd = np.zeros((20, 31), bool)
    for (y0, x0), (y1, x1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > rows) != (y1 > rows)) & (columns > x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    assert not odd[8, 11]
    np.testing.assert_array_equal(section, odd)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_marks_lie_in_the_slice_across_the_axis(axis):
    labelmap, extent, note = marked(Lasso(axis, 7, box_outline((2.5, 3.5), (6.4, 9.6))))
    slices = np.moveaxis(labelmap, axis, 0)
    assert slices[7].any()
    assert not np.delete(slices, 7, axis=0).any()
    start, stop = np.insert([3, 4], axis, 7), np.insert([7, 10], axis, 8)
    assert (extent, note) == (BoundingBox(tuple(start.tolist()), tuple(stop.tolist())), "")


def test_the_middle_is_the_object_and_the_ring_outside_is_background():
    labelmap, _, _ = marked(Lasso(0, 4, box_outline((3.5, 3.5), (8.5, 18.5))))
    section = labelmap[4]
    ring = np.zeros_like(section)
    ring[3:10, 3:20] = BACKGROUND
    ring[4:9, 4:19] = 0
    np.testing.assert_array_equal(section == BACKGROUND, ring == BACKGROUND)
    assert (section[6, 6:17] == 3).all()  # the midline of 5 x 15 voxels, 3 deep
    assert not section[4:9, 4].any()
    assert not section[4, 4:19].any()
    assert not section[8, 4:19].any()


def test_of_a_circle_the_rim_stays_unmarked():
    labelmap, extent, _ = marked(Lasso(0, 4, circle((9.0, 15.0), 6.9)))
    rows, columns = np.nonzero(labelmap[4] == 3)
    distance = np.hypot(rows - 9, columns - 15)
    assert distance.min() == 0
    assert 2 <= distance.max() <= 4.5
    assert extent.shape_kji == (1, 13, 13)


def test_the_middle_is_measured_in_mm():
    """Pixels of 4 mm x 1 mm: 5 rows and 15 columns are 20 mm x 15 mm, so the ridge runs along the rows."""
    thick = Geometry(SHAPE_KJI, np.diag([1.0, 4.0, 1.0, 1.0]))
    labelmap, _, _ = marked(Lasso(0, 4, box_outline((3.5, 3.5), (8.5, 18.5))), geometry=thick)
    assert (labelmap[4, 5:8, 11] == 3).all()
    assert not (labelmap[4, 6, 4:7] == 3).any()


def test_a_lasso_round_one_voxel_marks_it_and_its_neighbours():
    labelmap, extent, _ = marked(Lasso(2, 30, box_outline((4.6, 8.6), (5.4, 9.4))))
    assert labelmap[5, 9, 30] == 3
    assert np.count_nonzero(labelmap == BACKGROUND) == 8
    assert np.count_nonzero(labelmap) == 9
    assert extent == BoundingBox((5, 9, 30), (6, 10, 31))


def test_a_lasso_that_leaves_the_image_is_cut_and_reported():
    labelmap, extent, note = marked(Lasso(0, 0, box_outline((-5, 25.5), (4.5, 1e6))))
    assert extent == BoundingBox((0, 0, 26), (1, 5, 31))
    assert note == "the lasso of label 3 reached outside the image and was cut at its border"
    assert (labelmap[0, :6, 25] == BACKGROUND).all()
    assert (labelmap[0, 5, 25:] == BACKGROUND).all()
    assert np.count_nonzero(labelmap == BACKGROUND) == 6 + 5
    assert marked(Lasso(0, 0, box_outline((-0.5, -0.5), (4.5, 30.5))))[2] == ""


def test_a_lasso_round_the_whole_slice_marks_its_middle_alone():
    labelmap, extent, note = marked(Lasso(0, 9, box_outline((-3, -3), (40, 50))))
    assert set(np.unique(labelmap)) == {0, 3}
    assert extent == BoundingBox((9, 0, 0), (10, 20, 31))
    assert "cut" in note


@pytest.mark.parametrize(
    ("index", "outline", "text"),
    [
        (10, box_outline((2, 2), (5, 5)), r"the lasso \(i 2.0 to 5.0, j 2.0 to 5.0, k 10\) lies outside the image"),
        (
            -1,
            box_outline((2, 2), (5, 5)),
            r"the lasso \(i .*, j .*, k -1\) lies outside the image of shape \(31, 20, 10\)",
        ),
        (4, box_outline((20, 2), (25, 5)), r"j 20.0 to 25.0, .*outside"),
        (4, box_outline((2, -5), (5, -1)), r"i -5.0 to -1.0, .*\) lies outside"),
        (4, box_outline((2.1, 2.1), (2.9, 2.9)), r"i 2.1 to 2.9, j 2.1 to 2.9, k 4\) encloses no voxel centre"),
        (4, [(2, 2), (5, 5), (8, 8)], "encloses no voxel centre"),
    ],
)
def test_a_lasso_without_a_voxel_of_the_image_is_refused_with_its_place(index, outline, text):
    with pytest.raises(InputError, match=text):
        Lasso(0, index, outline).marks(1, CUBES)


@pytest.mark.parametrize(
    ("axis", "index", "outline", "text"),
    [
        (3, 0, box_outline((2, 2), (5, 5)), "axis is 0, 1 or 2 .* not 3"),
        (1.0, 0, box_outline((2, 2), (5, 5)), "axis is an integer, not 1.0"),
        (0, 0.5, box_outline((2, 2), (5, 5)), "index is an integer, not 0.5"),
        (0, 0, [], "at least 3 different points, not 0"),
        (0, 0, [(1, 1), (5, 5)], "at least 3 different points, not 2"),
        (0, 0, [(1, 1), (5, 5), (5, 5), (1, 1)], "at least 3 different points, not 2"),
        (0, 0, [(1, 1, 1), (5, 5, 5), (1, 5, 5)], r"of shape \(N, 2\), not \(3, 3\)"),
        (0, 0, [(1, 1), (5, np.nan), (1, 5)], "finite array indices, not nan"),
        (0, 0, [(1, 1), (5, -np.inf), (1, 5)], "finite array indices, not -inf"),
        (0, 0, [(1, 1), (5, 1e300), (1, 5)], r"finite array indices, not 1e\+300"),
        (0, 0, [(1, 1), (5, "x"), (1, 5)], "must be numbers"),
        (0, 0, [(1, 1), (5,), (1, 5)], "must be numbers"),
        (0, 0, [(2, 2), (8, 8), (2, 8), (8, 2)], r"crosses itself near \(.*\) \(i, j\)"),
        (1, 0, [(2, 2), (8, 8), (2, 8), (8, 2)], r"\(i, k\)"),
        (0, 0, [(0, 0), (0, 8), (4, 4), (8, 8), (8, 0), (4, 4)], "crosses itself"),
        (0, 0, [(0, 0), (0, 9), (3, 9), (3, 5), (0, 5), (0, 3), (3, 3)], "crosses itself"),
    ],
)
def test_a_curve_that_is_no_lasso_is_refused(axis, index, outline, text):
    with pytest.raises(InputError, match=text):
        Lasso(axis, index, outline)


def test_a_point_that_is_given_twice_counts_once_and_the_outline_is_kept_as_it_was():
    outline = np.array([(1.0, 1.0), (1.0, 6.0), (1.0, 6.0), (6.0, 6.0), (1.0, 1.0)])
    lasso = Lasso(0, 0, outline)
    assert sorted(map(tuple, lasso.outline.tolist())) == [(1, 1), (1, 6), (6, 6)]
    outline[:] = 0
    assert lasso.outline.max() == 6
    with pytest.raises(ValueError, match="read-only"):
        lasso.outline[0, 0] = 3


def test_many_small_sides_on_a_straight_line_do_not_cross():
    sides = np.linspace(2, 15, 500)
    straight = np.stack([sides, 0.37 * sides], axis=1)
    assert len(Lasso(0, 0, np.concatenate([straight, [(3, 20)]])).outline) == 501


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_curve_lies_in_the_slice_in_which_it_is_flattest(axis):
    flat = circle((6.0, 8.0), 3.0, 12)
    wobble = 4.3 + 0.45 * np.cos(np.arange(12))
    lasso = Lasso.through(np.insert(flat, axis, wobble, axis=1))
    assert (lasso.axis, lasso.index) == (axis, 4)
    np.testing.assert_array_equal(lasso.outline, flat)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (np.array([(2, 2, 2), (2, 9, 9), (3.5, 9, 2), (3.5, 2, 9)]), r"reaches over 1\.50 slices along k"),
        (np.array([(2, 9, 2), (9, 7, 9), (2, 7, 9.0)]), r"over 2\.00 slices along j"),
        (np.empty((0, 3)), "at least 3 different points, not 0"),
        (np.array([(2, 2, 2), (2, 9, 9)]), "at least 3 different points, not 2"),
        (np.array([(2, 2), (2, 9), (9, 9)]), r"of shape \(N, 3\), not \(3, 2\)"),
        (np.array([(2, 2, 2), (2, 9, np.nan), (2, 9, 2)]), "finite array indices, not nan"),
    ],
)
def test_points_of_no_slice_are_refused(points, text):
    with pytest.raises(InputError, match=text):
        Lasso.through(points)


def test_the_ends_of_a_lasso_that_overlap_are_left_out():
    angles = np.linspace(0.1, 2 * np.pi + 0.5, 60)
    radii = 10 * np.interp(angles, [0, 2 * np.pi, 2 * np.pi + 0.5], [1, 0.95, 1.1])
    outline, left_out = largest_loop(radii[:, None] * np.column_stack([np.sin(angles), np.cos(angles)]))
    assert 0 < left_out < 0.05 * area(outline)
    assert area(outline) == pytest.approx(np.pi * 100, rel=0.1)
    Lasso(0, 4, outline + 12)  # does not cross itself


def test_of_a_figure_of_eight_the_larger_loop_remains():
    outline, left_out = largest_loop(np.array([(0, 0), (10, 10), (0, 10), (10, 0), (20, -30), (-10, -30)], float))
    assert left_out > 0
    assert area(outline) > left_out
    Lasso(0, 4, outline)


@pytest.mark.parametrize("outline", [[(0, 0), (5, 5)], [(0, 0), (5, 5), (10, 10)], [(0, 0), (9, 0), (3, 0), (7, 0)]])
def test_a_line_that_goes_to_and_fro_is_no_loop(outline):
    remains, left_out = largest_loop(np.array(outline, float))
    assert left_out == area(remains) == 0


def test_a_simple_curve_stays_as_it_is():
    outline = np.array(box_outline((2, 2), (5, 5)), float)
    assert largest_loop(outline) == (pytest.approx(outline), 0.0)
