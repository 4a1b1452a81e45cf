import time

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles

SHAPE_KJI = (10, 20, 31)


def test_a_box_from_ijk_is_the_box_in_kji():
    box = BoundingBox.from_ijk(1, 2, 3, 11, 8, 5)
    assert (box.start_kji, box.stop_kji) == ((3, 2, 1), (5, 8, 11))
    assert box.shape_kji == (2, 6, 10)
    assert box.size == 120
    assert np.zeros(SHAPE_KJI)[box.slices].shape == (2, 6, 10)


def test_equal_boxes_are_equal_whatever_integers_they_came_from():
    assert BoundingBox(np.array([1, 2, 3]), [4, 5, 6]) == BoundingBox((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize("stop", [(3, 8, 11), (2, 8, 11), (5, 8), (5.0, 8, 11)])
def test_an_empty_or_reversed_or_unfit_box_is_refused(stop):
    with pytest.raises(InputError):
        BoundingBox((3, 2, 1), stop)


def test_a_box_is_intersected_with_the_image():
    assert BoundingBox((-2, 5, 25), (4, 50, 40)).intersected(SHAPE_KJI) == BoundingBox((0, 5, 25), (4, 20, 31))


def test_a_box_that_lies_outside_the_image_is_refused_with_both_named():
    with pytest.raises(InputError, match=r"\(0, 0, 10\).*outside the image.*\(31, 20, 10\)"):
        BoundingBox((10, 0, 0), (12, 5, 5)).intersected(SHAPE_KJI)


def test_boxes_expand_and_unite():
    box = BoundingBox((3, 2, 1), (5, 8, 11))
    assert box.expanded((1, 2, 3)) == BoundingBox((2, 0, -2), (6, 10, 14))
    assert box.union(BoundingBox((4, 0, 5), (9, 3, 6))) == BoundingBox((3, 0, 1), (9, 8, 11))
    with pytest.raises(InputError):
        box.expanded((-1, 0, 0))


def test_a_box_contains_its_start_and_not_its_stop():
    inside = BoundingBox((3, 2, 1), (5, 8, 11)).contains(np.array([[3, 2, 1], [4, 7, 10], [5, 7, 10], [3, 1, 1]]))
    assert inside.tolist() == [True, True, False, False]


def test_the_box_of_a_mask_is_its_smallest():
    mask = np.zeros(SHAPE_KJI, bool)
    mask[2, 4, 9] = mask[7, 5, 30] = True
    assert BoundingBox.of_mask(mask) == BoundingBox((2, 4, 9), (8, 6, 31))
    assert BoundingBox.of_mask(np.ones(SHAPE_KJI)) == BoundingBox.whole(SHAPE_KJI)
    with pytest.raises(InputError, match="empty"):
        BoundingBox.of_mask(np.zeros(SHAPE_KJI))


def test_a_box_is_counted_from_the_corner_of_another():
    box = BoundingBox((3, 2, 1), (5, 8, 11))
    assert box.counted_from(BoundingBox((1, 4, 0), (9, 9, 9))) == BoundingBox((2, -2, 1), (4, 4, 11))
    assert box.counted_from(box) == BoundingBox.whole(box.shape_kji)


def test_equal_scribbles_are_equal_arrays_in_any_order_of_drawing():
    one = Scribbles(np.array([[1, 2, 3], [0, 9, 9], [1, 2, 0]]), np.array([1, 255, 2]))
    other = Scribbles(np.array([[1, 2, 0], [1, 2, 3], [0, 9, 9], [1, 2, 3]]), np.array([2, 1, 255, 1]))
    assert one.equals(other)
    assert one.indices_kji.tolist() == [[0, 9, 9], [1, 2, 0], [1, 2, 3]]
    assert one.labels.tolist() == [255, 2, 1]
    assert (one.indices_kji.dtype, one.labels.dtype) == (np.int32, np.uint8)
    assert other.contradictions == 0
    assert not one.equals(Scribbles.none())


def test_of_contradicting_marks_the_later_wins_and_voxels_are_counted_once():
    indices = np.array([[0, 0, 1], [0, 0, 2], [0, 0, 1], [0, 0, 1], [0, 0, 3], [0, 0, 3]])
    scribbles = Scribbles(indices, np.array([1, 1, 255, 2, 4, 4]))
    assert scribbles.labels.tolist() == [2, 1, 4]
    assert scribbles.contradictions == 1


def test_later_scribbles_are_merged_on_top():
    first = Scribbles(np.array([[0, 0, 1], [0, 0, 2]]), np.array([1, 1]))
    merged = first.merged(Scribbles(np.array([[0, 0, 2], [5, 0, 0]]), np.array([BACKGROUND, 3])))
    assert merged.labels.tolist() == [1, 255, 3]
    assert merged.contradictions == 1
    assert first.labels.tolist() == [1, 1]
    assert merged.object_labels() == (1, 3)


@pytest.mark.parametrize(
    ("indices", "labels", "text"),
    [
        ([[0, 0, 0]], [0], "between 1 and 255, not 0"),
        ([[0, 0, 0]], [256], "not 256"),
        ([[0, 0, 0]], [1, 2], "1 indices_kji but 2 labels"),
        ([[0.0, 0, 0]], [1], "integers"),
        ([[0, 0]], [1], "integers of shape"),
        ([[0, 0, 2**31]], [1], "2147483648"),
        ([[0, 0, 0]], [1.0], "scribble labels"),
    ],
)
def test_marks_that_are_no_marks_are_refused(indices, labels, text):
    with pytest.raises(InputError, match=text):
        Scribbles(np.array(indices), np.array(labels))


def test_a_labelmap_of_scribbles_comes_back():
    labelmap = np.zeros(SHAPE_KJI, np.uint8)
    labelmap[3, 4, 5], labelmap[9, 19, 30], labelmap[0, 0, 0] = 1, 255, 7
    for dtype in (np.uint8, np.int16, np.float32, np.int64):
        scribbles = Scribbles.from_labelmap(labelmap.astype(dtype))
        assert len(scribbles) == 3
        np.testing.assert_array_equal(scribbles.to_labelmap(SHAPE_KJI), labelmap)
    assert len(Scribbles.from_labelmap(np.zeros(SHAPE_KJI))) == 0


@pytest.mark.parametrize("value", [1.5, -1, 256, np.nan, np.inf])
def test_a_labelmap_of_other_values_is_refused_with_the_value(value):
    with pytest.raises(InputError, match=str(value)):
        Scribbles.from_labelmap(np.full((1, 2, 2), value))


def test_edits_are_the_voxels_that_changed():
    before = np.zeros(SHAPE_KJI, np.uint8)
    before[3, 4, 5:9] = 1
    after = before.astype(np.int64)
    after[3, 4, 5], after[3, 4, 6], after[9, 19, 30], after[0, 0, 0] = 0, 2, 254, 1
    edits = Scribbles.from_edits(before, after)
    assert edits.indices_kji.tolist() == [[0, 0, 0], [3, 4, 5], [3, 4, 6], [9, 19, 30]]
    assert edits.labels.tolist() == [1, BACKGROUND, 2, 254]
    assert len(Scribbles.from_edits(after, after)) == 0
    turned = Scribbles.from_edits(np.asfortranarray(before), np.asfortranarray(after))
    assert turned.equals(edits)
    assert Scribbles.from_edits(before == 1, before > 1).labels.tolist() == [BACKGROUND] * 4


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (np.full(SHAPE_KJI, 255), "labels 1 to 254, not 255"),
        (np.full(SHAPE_KJI, -1), "not -1"),
        (np.full(SHAPE_KJI, 1.0), "float64"),
        (np.zeros((10, 20, 30), np.uint8), r"\(10, 20, 31\) and uint8 \(10, 20, 30\)"),
        (np.zeros((20, 31), np.uint8), r"uint8 \(20, 31\)"),
    ],
)
def test_edits_to_what_is_no_labelmap_are_refused(after, text):
    with pytest.raises(InputError, match=text):
        Scribbles.from_edits(np.zeros(SHAPE_KJI, np.uint8), after)


def test_a_million_edits_take_a_second_or_two():
    before = np.zeros((120, 120, 120), np.uint8)
    after = before.copy()
    after[10:110, 10:110, 10:110] = 1
    started = time.process_time()
    edits = Scribbles.from_edits(before, after)
    merged = edits.merged(Scribbles.from_edits(after, before))
    assert time.process_time() - started < 5
    assert (len(edits), merged.contradictions) == (10**6, 10**6)


def test_scribbles_outside_the_image_are_refused():
    scribbles = Scribbles(np.array([[0, 20, 0], [9, 19, 30], [0, 0, -1]]), np.array([1, 1, 1]))
    for refuse in (scribbles.require_inside, scribbles.to_labelmap):
        with pytest.raises(InputError, match=r"2 of 3 .*outside.*\(-1, 0, 0\)"):
            refuse(SHAPE_KJI)


def test_for_one_label_the_other_objects_are_background():
    scribbles = Scribbles(np.array([[0, 0, 1], [0, 0, 2], [0, 0, 3]]), np.array([1, 2, 255]))
    foreground, background = scribbles.for_label(2)
    assert foreground.tolist() == [[0, 0, 2]]
    assert background.tolist() == [[0, 0, 1], [0, 0, 3]]
    assert len(scribbles.for_label(9)[0]) == 0
    with pytest.raises(InputError, match="255"):
        scribbles.for_label(BACKGROUND)


def test_scribbles_in_a_box_are_counted_from_its_corner():
    scribbles = Scribbles(np.array([[3, 2, 1], [4, 7, 10], [5, 7, 10]]), np.array([1, 255, 1]))
    inside = scribbles.within(BoundingBox((3, 2, 1), (5, 8, 11)))
    assert inside.equals(Scribbles(np.array([[0, 0, 0], [1, 5, 9]]), np.array([1, 255])))


def test_prompts_are_changed_as_copies():
    box, mark = BoundingBox((3, 2, 1), (5, 8, 11)), Scribbles(np.array([[0, 0, 1], [1, 1, 1]]), np.array([7, 255]))
    empty = Prompts()
    both = empty.with_box(2, box).with_scribbles(mark)
    assert empty.is_empty
    assert not both.is_empty
    assert both.labels == (2, 7)
    assert dict(both.boxes) == {2: box}
    with pytest.raises(TypeError):
        both.boxes[3] = box


def test_prompts_do_not_follow_the_mapping_they_were_made_from():
    boxes = {1: BoundingBox((3, 2, 1), (5, 8, 11))}
    prompts = Prompts(boxes)
    boxes.clear()
    assert prompts.labels == (1,)


@pytest.mark.parametrize("label", [0, 255, -1, 1.0, "liver"])
def test_a_box_needs_an_object_label(label):
    with pytest.raises(InputError, match="1 to 254"):
        Prompts().with_box(label, BoundingBox((0, 0, 0), (1, 1, 1)))


def test_a_mask_to_start_from_is_kept_in_its_box():
    mask = np.random.default_rng(3).random(SHAPE_KJI) < 0.5
    mask[:2], mask[:, :, 29:] = False, False
    packed = PackedMask.of(mask.astype(np.int16) * 7)
    assert packed.box == BoundingBox.of_mask(mask)
    assert packed.bits.nbytes == -(-packed.box.size // 8)
    assert packed.voxels == mask.sum()
    for box in (BoundingBox.whole(SHAPE_KJI), packed.box, BoundingBox((1, 3, 7), (5, 20, 31))):
        np.testing.assert_array_equal(packed.within(box), mask[box.slices])
    assert not packed.within(BoundingBox((0, 0, 0), (2, 20, 31))).any()
    around = packed.within(BoundingBox((-1, -1, -1), (11, 21, 32)))
    np.testing.assert_array_equal(around, np.pad(mask, 1))


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (np.zeros(SHAPE_KJI, bool), "is empty"),
        (np.ones((20, 31), bool), r"bool of \(20, 31\)"),
        (np.ones(SHAPE_KJI), "float64"),
        ([[["x"]]], "<U1"),
    ],
)
def test_what_is_no_mask_is_refused(mask, text):
    with pytest.raises(InputError, match=text):
        PackedMask.of(mask)


def test_a_start_mask_and_a_lasso_are_prompts_of_their_label():
    mask, box = PackedMask.of(np.ones(SHAPE_KJI, bool)), BoundingBox((3, 2, 1), (4, 8, 11))
    marks = Scribbles(np.array([[3, 4, 5], [3, 2, 0]]), np.array([4, BACKGROUND]))
    started, lassoed = Prompts().with_start(9, mask), Prompts().with_lasso(4, marks, box)
    assert (started.labels, started.is_empty, dict(started.start_masks)) == ((9,), False, {9: mask})
    assert (lassoed.labels, lassoed.is_empty, dict(lassoed.lasso_boxes)) == ((4,), False, {4: box})
    assert lassoed.scribbles.equals(marks)
    again = lassoed.with_lasso(4, marks, BoundingBox((7, 3, 0), (8, 4, 5)))
    assert dict(again.lasso_boxes) == {4: BoundingBox((3, 2, 0), (8, 8, 11))}
    assert dict(lassoed.lasso_boxes) == {4: box}


def test_a_change_of_one_prompt_keeps_the_others():
    mask, box = PackedMask.of(np.ones(SHAPE_KJI, bool)), BoundingBox((3, 2, 1), (4, 8, 11))
    marks = Scribbles(np.array([[3, 4, 5]]), np.array([4]))
    full = Prompts().with_lasso(4, marks, box).with_start(9, mask).with_box(2, box)
    for changed in (full.with_box(3, box), full.with_scribbles(marks), full.with_start(3, mask)):
        assert set(full.labels) - {2} <= set(changed.labels)
        assert changed.start_masks[9] is mask
        assert changed.lasso_boxes[4] == box
        assert changed.scribbles.equals(marks)


@pytest.mark.parametrize("label", [0, 255, "liver"])
def test_a_start_mask_or_lasso_needs_an_object_label(label):
    box = BoundingBox((3, 2, 1), (4, 8, 11))
    with pytest.raises(InputError, match="1 to 254"):
        Prompts().with_start(label, PackedMask.of(np.ones(SHAPE_KJI, bool)))
    with pytest.raises(InputError, match="1 to 254"):
        Prompts().with_lasso(label, Scribbles.none(), box)


def test_a_part_of_a_mask_is_packed_where_it_lies_in_the_image():
    part = np.zeros((3, 4, 5), np.uint8)
    part[1, 1:3, 2:5] = 7
    packed = PackedMask.of_part(part, BoundingBox((4, 10, 20), (7, 14, 25)))
    assert packed.box == BoundingBox((5, 11, 22), (6, 13, 25))
    assert packed.voxels == 6
    whole = np.zeros(SHAPE_KJI, bool)
    whole[5, 11:13, 22:25] = True
    assert packed.equals(PackedMask.of(whole))


def test_an_empty_part_is_no_mask():
    with pytest.raises(InputError):
        PackedMask.of_part(np.zeros((3, 4, 5), bool), BoundingBox((0, 0, 0), (3, 4, 5)))


def test_the_prompts_of_one_object_have_the_marks_of_the_others_as_background():
    scribbles = Scribbles(np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3]]), np.array([1, 2, BACKGROUND]))
    boxes = {1: BoundingBox((0, 0, 0), (2, 2, 2)), 2: BoundingBox((1, 1, 1), (4, 4, 4))}
    start = PackedMask.of(np.ones(SHAPE_KJI, bool))
    own = Prompts(boxes, scribbles, start_masks={2: start}, lasso_boxes={1: boxes[1]}).for_object(2)
    assert dict(own.boxes) == {2: boxes[2]}
    assert dict(own.start_masks) == {2: start}
    assert dict(own.lasso_boxes) == {}
    assert own.scribbles.indices_kji.tolist() == scribbles.indices_kji.tolist()
    assert own.scribbles.labels.tolist() == [BACKGROUND, 2, BACKGROUND]
    assert own.labels == (2,)


def test_an_object_without_prompts_has_none_of_its_own():
    prompts = Prompts({1: BoundingBox((0, 0, 0), (2, 2, 2))}).for_object(3)
    assert prompts.labels == ()
    with pytest.raises(InputError):
        prompts.for_object(BACKGROUND)


def test_marks_without_those_of_one_label():
    scribbles = Scribbles(np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3]]), np.array([1, 2, 1]))
    left = scribbles.without(1)
    assert left.indices_kji.tolist() == [[2, 2, 2]]
    assert left.labels.tolist() == [2]
    assert scribbles.without(9).equals(scribbles)
    assert len(left.without(2)) == 0
