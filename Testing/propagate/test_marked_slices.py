"""Slices marked as done: what they say about which object, corrections, crossing slices, and saving them."""

import json

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.slice_names import ByIndex, InPatient
from InteractiveSegLib.propagate.marked_slices import MarkedSlice, MarkedSlices

SHAPE = (6, 9, 11)


def block(*spans):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


ONE = block((1, 5), (2, 6), (3, 8))
OTHER = block((1, 5), (6, 8), (3, 8))
NAMES = {1: "liver", 7: "lesion"}
BY_INDEX = ByIndex()


def marked(*slices):
    """(axis, index, label -> mask of the whole image or None), one after the other."""
    found = MarkedSlices(SHAPE)
    for axis, index, masks in slices:
        packed = {label: None if mask is None else PackedMask.of(mask) for label, mask in masks.items()}
        found = found.with_slice(MarkedSlice.of_masks((axis, index), packed, SHAPE))
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_holds_what_the_mask_is_there(axis):
    found = marked((axis, 4, {1: ONE, 7: OTHER}), (axis, 0, {1: ONE, 7: OTHER}))
    first, empty = found.annotated(NAMES, BY_INDEX)
    expected = np.take(ONE * 1 + OTHER * 7, 4, axis)
    assert (first.axis, first.index) == (axis, 4)
    np.testing.assert_array_equal(first.labels, expected)
    assert not empty.labels.any()
    assert found.slices[0].pixels == np.count_nonzero(expected)


def test_marking_again_replaces_and_counts_as_the_latest():
    found = marked((0, 2, {1: ONE}), (1, 4, {1: ONE}), (0, 2, {1: OTHER}))
    assert [each.place for each in found.slices] == [(1, 4), (0, 2)]
    np.testing.assert_array_equal(found.annotated({1: "liver"}, BY_INDEX)[1].labels, OTHER[2])


def test_an_object_marked_later_on_a_slice_joins_the_one_before():
    found = marked((0, 2, {1: ONE}), (0, 2, {7: OTHER}))
    np.testing.assert_array_equal(found.annotated(NAMES, BY_INDEX)[0].labels, (ONE * 1 + OTHER * 7)[2])


def test_a_slice_marked_for_one_object_says_nothing_of_another():
    found = marked((0, 2, {1: ONE}), (0, 3, {1: ONE, 7: OTHER}))
    assert len(found.annotated({7: "lesion"}, BY_INDEX)) == 1
    with pytest.raises(InputError, match="k slice 2 is marked for liver but not for lesion"):
        found.annotated(NAMES, BY_INDEX)


def test_objects_that_overlap_are_refused_with_a_message():
    with pytest.raises(InputError, match="liver and lesion overlap on k slice 2 at 20 pixels"):
        marked((0, 2, {1: ONE, 7: ONE})).annotated(NAMES, BY_INDEX)


def test_slices_are_refused_in_the_words_of_the_reader():
    in_patient = InPatient(Geometry(SHAPE, np.diag([1.0, 1.0, 5.0, 1.0])))
    with pytest.raises(InputError, match="liver and lesion overlap on axial, S 10 mm at 20 pixels"):
        marked((0, 2, {1: ONE, 7: ONE})).annotated(NAMES, in_patient)
    with pytest.raises(InputError, match="sagittal, R 4 mm is marked for liver but not for lesion"):
        marked((2, 4, {1: ONE})).annotated(NAMES, in_patient)


def test_a_slice_outside_the_image_is_refused():
    with pytest.raises(InputError, match="j slice 9 does not exist: the image has 0 to 8"):
        marked((1, 9, {1: ONE}))


def test_corrections_by_hand_on_a_marked_slice_count():
    found = marked((0, 2, {1: ONE}), (0, 3, {1: ONE}))
    after = ONE.copy()
    after[2, 3, 9] = after[4, 8, 8] = True
    again = found.redrawn(1, np.array([[2, 3, 9], [4, 8, 8]]), PackedMask.of(after))
    np.testing.assert_array_equal(again.at((0, 2)).masks[1].within(PackedMask.of(after).box)[1], after[2, 2:9, 3:10])
    assert again.at((0, 3)).equals(found.at((0, 3)))
    assert again.at((0, 4)) is None
    assert found.redrawn(7, np.array([[2, 3, 9]]), None) is found
    assert found.redrawn(1, np.array([[2, 3, 9]]), None).at((0, 2)).masks == {1: None}


def test_of_crossing_slices_the_later_one_counts():
    with_hole = ONE.copy()
    with_hole[:, 4] = False
    found = marked((0, 2, {1: ONE}), (1, 4, {1: with_hole}))
    expected = np.zeros(SHAPE, bool)
    expected[2], expected[:, 4] = ONE[2], False
    seen = np.zeros(SHAPE, bool)
    seen[tuple(found.indices(1).T)] = True
    np.testing.assert_array_equal(seen, expected)
    assert found.indices(7).shape == (0, 3)


def test_slices_and_labels_are_taken_away():
    found = marked((0, 2, {1: ONE}), (0, 3, {1: ONE, 7: OTHER}))
    assert [each.place for each in found.without_slice((0, 2)).slices] == [(0, 3)]
    left = found.without_label(1)
    assert [(each.place, sorted(each.masks)) for each in left.slices] == [((0, 3), [7])]


def test_slices_come_back_from_json_unchanged():
    found = marked((0, 2, {1: ONE, 7: OTHER}), (2, 0, {1: ONE}), (1, 4, {7: OTHER}))
    again = MarkedSlices.of_fields(json.loads(json.dumps(found.fields())))
    assert again.equals(found)
    assert not again.equals(found.without_slice((2, 0)))
    assert not again.equals(marked((0, 2, {1: OTHER, 7: OTHER}), (2, 0, {1: ONE}), (1, 4, {7: OTHER})))


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        {"shape": [1, 2], "slices": [{}]},
        {"shape": list(SHAPE), "slices": [{"axis": 0, "index": 6, "masks": {}}]},
        {"shape": list(SHAPE), "slices": [{"axis": 3, "index": 0, "masks": {}}]},
        {"shape": list(SHAPE), "slices": [{"axis": 0, "index": 1, "masks": {"1": [[[0, 0, 0], [1, 1, 99]], "AA=="]}}]},
        {"shape": list(SHAPE), "slices": [{"axis": 0, "index": 1, "masks": {"1": [[[0, 0, 0], [1, 1, 4]], "?"]}}]},
    ],
)
def test_what_holds_no_slices_is_refused(fields):
    with pytest.raises(InputError):
        MarkedSlices.of_fields(fields)


def test_slices_of_an_image_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"marked on an image of \(6, 9, 11\) voxels, not \(6, 9, 12\)"):
        marked((0, 2, {1: ONE})).require_shape((6, 9, 12))
    MarkedSlices(SHAPE).require_shape((1, 1, 1))
