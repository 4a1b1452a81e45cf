"""The layout of organs in labelled images, and which of a network's results are plausible."""

import numpy as np
import pytest
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.organ_layout import ALL, OrganLayout, part_counts

WIDE = (1e3, 1e3, 1e3)
GEOMETRY = Geometry((4, 10, 12), np.diag([-1.0, -1.0, 3.0, 1.0]))


def network(slices_first=False):
    torch.manual_seed(0)
    return AutomaticNetwork([1, 2], (3.0, 1.0, 1.0), (4, 8), slices_first)


def labels():
    """Label 1 in two large pieces and one of a voxel, label 2 in a piece that touches the first."""
    found = np.zeros((4, 10, 12), np.uint8)
    found[:, 1:5, 1:4] = found[:, 1:5, 8:11] = 1
    found[1, 9, 6] = 1
    found[:, 1:5, 4] = 2
    return found


def soft(sure):
    """Probabilities (3, K, J, I) of ``labels``; of each voxel the one of its label is given."""
    found = np.repeat(((1 - sure) / 2)[None], 3, axis=0)
    np.put_along_axis(found, labels()[None].astype(int), sure[None], axis=0)
    return found


def likely(sure, parts, extent_mm=WIDE):
    return OrganLayout(parts, extent_mm).likely(soft(sure), GEOMETRY, network())


def test_pieces_are_counted_that_are_worth_it():
    assert part_counts(labels()) == {ALL: 2, 1: 2, 2: 1}
    assert part_counts(np.zeros((2, 3, 4), np.uint8)) == {ALL: 0}


def test_the_layout_of_several_is_the_most_of_each(tmp_path):
    one, other = labels(), np.zeros((4, 10, 12), np.uint8)
    other[0:2, :, 5] = 2
    layouts = [OrganLayout.of(each, GEOMETRY, network()) for each in (one, other)]
    assert [each.extent_mm for each in layouts] == [(12.0, 9.0, 10.0), (6.0, 10.0, 1.0)]
    found = OrganLayout.of_all(layouts)
    assert found == OrganLayout({ALL: 2, 1: 2, 2: 1}, (12.0, 10.0, 10.0))
    assert OrganLayout.of(other, GEOMETRY, network(slices_first=True)).extent_mm == (6.0, 10.0, 10.0)
    found.save(tmp_path / "layout.json")
    assert OrganLayout.load(tmp_path / "layout.json") == found
    (tmp_path / "layout.json").write_text("{}")
    with pytest.raises(InputError, match="the layout of organs"):
        OrganLayout.load(tmp_path / "layout.json")


def test_the_pieces_are_kept_that_the_network_is_surest_of():
    sure = np.full(labels().shape, 0.9)
    sure[1, 9, 6] = 1.0  # however sure: it is small
    kept = likely(sure, {ALL: 2, 1: 2, 2: 1})
    assert kept[1, 9, 6] == 0
    assert (kept != labels()).sum() == 1
    sure[:, :, :6] = 0.5
    kept = likely(sure, {ALL: 9, 1: 1, 2: 1})
    assert np.unique(np.argwhere(kept == 1)[:, 2]).tolist() == [8, 9, 10]  # as large as the other, and surer
    assert (kept == 2).sum() == 16
    assert np.array_equal(likely(sure, {ALL: 9, 1: 9, 2: 9}), labels())


def test_if_organs_are_connected_the_piece_with_each_of_them_is_kept():
    sure = np.full(labels().shape, 0.7)
    sure[:, :, 8:] = 1.0
    kept = likely(sure, {ALL: 1, 1: 1, 2: 1})
    assert np.unique(np.argwhere(kept)[:, 2]).tolist() == [1, 2, 3, 4]


def test_organs_are_found_within_their_extent_where_each_is_seen():
    sure = np.full(labels().shape, 0.9)
    kept = likely(sure, {ALL: 9, 1: 9, 2: 9}, (20.0, 5.0, 4.0))
    assert np.unique(np.argwhere(kept)[:, 2]).tolist() == [1, 2, 3, 4]
    assert np.array_equal(kept[:, 1:5, 1:5], labels()[:, 1:5, 1:5])


def test_pieces_reach_beyond_the_box_that_tells_which_they_are():
    sure = np.full(labels().shape, 0.9)
    kept = likely(sure, {ALL: 1, 1: 1, 2: 1}, (20.0, 5.0, 3.4))  # 3 voxels along i, and one more on both sides
    assert np.unique(np.argwhere(kept)[:, 2]).tolist() == [1, 2, 3, 4]
