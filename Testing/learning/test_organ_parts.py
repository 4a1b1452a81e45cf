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
    sure = np.full(labels().shape, 0.9)
    sure[1, 9, 6] = 1.0  # however sure: it is small
    kept = likely_parts(labels(), sure, {ALL: 2, 1: 2, 2: 1})
    assert kept[1, 9, 6] == 0
    assert (kept != labels()).sum() == 1
    sure[:, :, :6] = 0.5
    kept = likely_parts(labels(), sure, {ALL: 9, 1: 1, 2: 1})
    assert np.unique(np.argwhere(kept == 1)[:, 2]).tolist() == [8, 9, 10]  # as large as the other, and believed in more
    assert (kept == 2).sum() == 16
    assert np.array_equal(likely_parts(labels(), sure, {ALL: 9}), labels())


def test_where_organs_hang_together_the_piece_is_kept_that_holds_each_of_them():
    sure = np.full(labels().shape, 0.5)
    sure[:, :, 8:] = 1.0
    kept = likely_parts(labels(), sure, {ALL: 1, 1: 1, 2: 1})
    assert np.unique(np.argwhere(kept)[:, 2]).tolist() == [1, 2, 3, 4]
    alone = likely_parts(np.where(labels() == 1, 1, 0), sure, {ALL: 1, 1: 1})
    assert np.unique(np.argwhere(alone)[:, 2]).tolist() == [8, 9, 10]
