"""What corrections change of a start mask, and what stays as it was."""

import numpy as np
import pytest
import torch
from blobs import dice

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import GridSettings, WorkingGrid
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings
from InteractiveSegLib.segmenting.start_keeping import (
    changed_part,
    corrected_mask,
    corrected_probability,
    surroundings,
)

EVEN = (1.0, 1.0, 1.0)


def filled(*spans, shape=(3, 12, 12)):
    mask = torch.zeros(shape, dtype=torch.bool)
    for span in spans:
        mask[span] = True
    return mask


NOTHING = filled()
WAS = filled(np.s_[1, 4:8, 4:8])
SURE = 0.9999


def changed(labels, foreground=NOTHING, background=NOTHING, sure=SURE, was=WAS):
    probability = torch.where(labels, sure, 1 - sure)
    return changed_part(labels, probability, was.float(), foreground, background, EVEN)


def test_only_differences_that_a_mark_contradicts_are_changes():
    right, left = np.s_[1, 4:8, 8:10], np.s_[1, 4:8, 2:4]
    labels = WAS | filled(right, left)
    assert torch.equal(changed(labels, foreground=filled(np.s_[1, 5, 9])), filled(right))
    assert torch.equal(changed(WAS & ~filled(np.s_[1, 4]), background=filled(np.s_[1, 4, 5])), filled(np.s_[1, 4, 4:8]))


def test_marks_that_confirm_the_mask_change_nothing():
    labels = filled(np.s_[1, 2:10, 2:10])
    assert not changed(labels, filled(np.s_[1, 5, 5]), filled(np.s_[1, 0, 0])).any()


def test_marked_voxels_change_whatever_the_network_says():
    mark = filled(np.s_[1, 0, 0])
    assert torch.equal(changed(WAS, foreground=mark), mark)


def test_far_from_the_mark_the_network_must_be_surer():
    was, bar = filled(np.s_[1, 4:8, 4:8], shape=(3, 12, 60)), filled(np.s_[1, 4:8, 8:58], shape=(3, 12, 60))
    mark = filled(np.s_[1, 5, 9], shape=(3, 12, 60))
    none = torch.zeros_like(mark)
    reached = [int(changed(was | bar, mark, none, sure, was).sum(dim=(0, 1)).nonzero().max()) for sure in (0.8, 0.95)]
    assert 9 < reached[0] < reached[1] < 40
    assert changed(was | bar, mark, none, SURE, was)[1, 5, 57]  # there are limits to this


def test_an_object_marked_far_from_the_mask_may_change_as_far():
    shape = (3, 12, 90)
    was, bar = filled(np.s_[1, 4:8, 4:8], shape=shape), filled(np.s_[1, 4:8, 8:88], shape=shape)
    none = torch.zeros_like(was)
    near, far = (
        int(changed(was | bar, filled(np.s_[1, 5, 9], mark, shape=shape), none, 0.95, was).sum())
        for mark in (np.s_[1, 5, 10], np.s_[1, 5, 60])
    )
    assert far > 2 * near


def test_the_surroundings_are_a_layer_at_some_distance_and_beyond_what_is_marked():
    was = filled(np.s_[10:21, 10:21, 10:21], shape=(31, 31, 31))
    layer = surroundings(was.float(), torch.zeros_like(was), EVEN)
    assert layer.any()
    assert not (layer & was).any()
    middle = layer[15, 15].nonzero().flatten().tolist()
    assert middle == [6, 7, 23, 24]  # 0.3 x 6.8 mm away, and 2 mm thick
    mark = filled(np.s_[15, 15, 25], shape=(31, 31, 31))
    assert surroundings(was.float(), mark, EVEN)[15, 15].nonzero().flatten().tolist() == [3, 4, 26, 27]


def test_on_a_single_slice_distances_are_in_proportion_to_a_disc():
    was = filled(np.s_[0, 20:41, 20:41], shape=(1, 61, 61))
    layer = surroundings(was.float(), torch.zeros_like(was), (9.0, 1.0, 1.0))
    assert layer[0, 30].nonzero().flatten().tolist() == [15, 16, 44, 45]  # 0.3 x 11.8 mm away


def test_a_mask_that_is_lost_on_a_coarse_grid_has_no_surroundings():
    assert not surroundings(NOTHING.float(), filled(np.s_[1, 5, 5]), EVEN).any()


@pytest.mark.parametrize("marked", [True, False])
def test_on_a_coarse_grid_the_mask_changes_a_voxel_beyond(marked):
    grid = WorkingGrid(BoundingBox((0, 0, 0), (4, 8, 8)), (2, 4, 4), (2.0, 2.0, 2.0))
    answer, start = np.ones((4, 8, 8), bool), np.zeros((4, 8, 8), bool)
    changed = filled(np.s_[0, 0, 0], shape=(2, 4, 4)) & marked
    mask = corrected_mask(answer, start, changed, grid)
    assert np.array_equal(mask, np.indices(mask.shape)[1:].max(axis=0) < 4 if marked else start)


def test_what_stays_is_as_probable_as_the_answer_allows():
    probability = torch.tensor([0.1, 0.1, 0.1, 0.9999])
    found = corrected_probability(
        probability, torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([True, False, False, False])
    )
    assert found[0] == probability[0]
    assert found[1] > 0.5 > found[2]
    assert found[3] > 0.5  # a mask may be worth another look there


SIDE = 40
PLACES = np.indices((SIDE,) * 3)


def ball(middle, radius):
    return sum((axis - place) ** 2 for axis, place in zip(PLACES, middle, strict=True)) <= radius**2


TRUTH = ball((20, 20, 20), 9)
IMAGE = Volume(
    np.where(TRUTH, 150, 100) + np.random.default_rng(0).normal(0, 8, TRUTH.shape), Geometry(TRUTH.shape, np.eye(4))
)


def corrected(start, *strokes, adapt=True, box=None, settings=None):
    session = ImageSession(IMAGE, load_network("ensemble"), settings)
    session.set_start(1, start)
    if box is not None:
        session.set_box(1, box)
    for label, stroke in strokes:
        voxels = np.argwhere(stroke)
        session.add_scribbles(Scribbles(voxels, np.full(len(voxels), label)))
    finish(session.segment(adapt))
    return session.labelmap() == 1


def line(k, j, columns):
    stroke = np.zeros(TRUTH.shape, bool)
    stroke[k, j, columns] = True
    return stroke


@pytest.mark.parametrize("coarse", [False, True])
def test_a_stroke_on_a_good_mask_puts_right_what_is_wrong_there_and_nothing_else(coarse):
    """Even fine-tuned, as commands do if they are not told otherwise."""
    bite, bump = ball((20, 20, 29), 5), ball((20, 8, 20), 4) & ~TRUTH
    start = TRUTH & ~bite | bump
    settings = BifsegSettings(grid=GridSettings(max_voxels=24**3)) if coarse else None
    found = corrected(start, (1, line(20, 20, slice(25, 29))), settings=settings)
    assert dice(found & bite, TRUTH & bite) > 0.85
    far = ball((20, 20, 8), 8)
    np.testing.assert_array_equal(found[bump | far], start[bump | far])
    assert dice(found, TRUTH) > dice(start, TRUTH)
    found = corrected(start, (1, line(20, 20, slice(25, 29))), (BACKGROUND, line(20, 7, slice(18, 23))))
    assert np.mean(found[bump]) < 0.2
    assert dice(found, TRUTH) > 0.95


def test_strokes_that_agree_with_a_mask_leave_it_as_it_is():
    start = ball((20, 20, 19), 9)
    np.testing.assert_array_equal(
        corrected(start, (1, line(20, 20, slice(14, 25))), (BACKGROUND, line(20, 3, slice(5, 20)))), start
    )


@pytest.mark.parametrize("every", [4, 1])
def test_corrections_are_not_fine_tuned_to_and_a_note_says_so(every):
    """Not even if there are marks on and beside the object in all slices."""
    session = ImageSession(IMAGE, load_network("ensemble"))
    session.set_start(1, TRUTH & ~ball((20, 20, 29), 5))
    for k in range(14, 27, every):
        for label, stroke in ((1, line(k, 20, slice(16, 27))), (BACKGROUND, line(k, 20, slice(34, 39)))):
            voxels = np.argwhere(stroke)
            session.add_scribbles(Scribbles(voxels, np.full(len(voxels), label)))
    tuned, plain = (finish(session.segment(adapt)) for adapt in (True, False))
    assert tuned.notes == (
        "label 1 was segmented without fine-tuning: with a lasso or a mask to start from, it takes a drawn box as well",
    )
    assert plain.notes == ()
    np.testing.assert_array_equal(tuned.objects[1].mask, plain.objects[1].mask)


def test_without_marks_the_mask_is_only_where_the_networks_start():
    start = ball((20, 20, 17), 9)
    assert dice(corrected(start), TRUTH) > dice(start, TRUTH)


def test_in_a_box_with_strokes_in_most_slices_the_mask_still_holds():
    start = TRUTH & ~ball((20, 20, 29), 5)
    box = BoundingBox.of_mask(TRUTH)
    strokes = [(1, line(k, 20, slice(18, 23))) for k in range(14, 27)]
    found = corrected(start, *strokes, box=box)
    np.testing.assert_array_equal(found, start)
