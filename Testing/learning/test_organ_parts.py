"""How many pieces organs are in."""

import numpy as np

from InteractiveSegLib.learning.organ_parts import ALL, likely_parts, most_parts, part_counts


def labels():
    """Label 1 in two large pieces and one of a voxel, label 2 in a piece that touches the first."""
    found = np.zeros((4, 10, 12), np.uint8)
    found[:, 1:5, 1:4] = found[:, 1:5, 8:11] = 1
    found[1, 9, 6] = 1
    found[:, 1:5, 4] = 2
    return found


def test_pieces_are_counted_that_are_worth_it():
    assert part_counts(labels()) == {ALL: 2, 1: 2, 2: 1}
    assert part_counts(np.zeros((2, 3, 4), np.uint8)) == {ALL: 0}
    assert most_parts([{ALL: 1, 1: 1}, {ALL: 2, 1: 1, 2: 3}, {}]) == {ALL: 2, 1: 1, 2: 3}


def test_the_pieces_are_kept_that_the_network_believes_in_most():
    foreground = np.full(labels().shape, 0.9)
    foreground[1, 9, 6] = 1.0  # however sure: it is small
    kept = likely_parts(labels(), foreground, {ALL: 2, 1: 2, 2: 1})
    assert kept[1, 9, 6] == 0
    assert (kept != labels()).sum() == 1
    foreground[:, :, :6] = 0.5
    kept = likely_parts(labels(), foreground, {ALL: 1, 1: 1, 2: 1})
    assert kept[:, :, 8:].any()
    assert (kept > 0).sum() == 48  # of both together the left one is the larger, but is believed in less
    assert np.array_equal(likely_parts(labels(), foreground, {ALL: 9}), labels())
    assert not likely_parts(labels(), foreground, {ALL: 9, 2: 0})[:, :, 4].any()
