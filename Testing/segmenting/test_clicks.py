"""Clicks without a box: networks see them as voxels and as spots, as their answer to so few voxels depends on each."""

import numpy as np
import pytest
import torch
from blobs import dice

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import GridSettings, working_grid
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.session import ImageSession

GEOMETRY = Geometry((12, 14, 16), np.eye(4))
SIX = [(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]


def of_marks(labelled, label=1):
    """The prompts of an object in a whole small image, from voxels and their labels."""
    whole = BoundingBox.whole(GEOMETRY.shape_kji)
    given = Prompts(scribbles=Scribbles(np.array(list(labelled)), np.array(list(labelled.values()))))
    return ObjectPrompts.of(given, label, whole, working_grid(whole, GEOMETRY, GridSettings()), torch.device("cpu"))


def voxels(mask):
    return set(map(tuple, mask.nonzero().tolist()))


def spot(voxel, *, without=()):
    around = {tuple(np.add(voxel, side).tolist()) for side in SIX}
    return {voxel} | around - set(without)


def test_a_click_is_shown_with_its_six_neighbours_and_marks_itself_alone():
    prompts = of_marks({(5, 5, 5): 1, (9, 9, 9): BACKGROUND})
    assert prompts.are_clicks
    shown = prompts.with_spots().shown(None)
    assert voxels(shown.foreground) == spot((5, 5, 5))
    assert voxels(shown.background) == spot((9, 9, 9))
    assert voxels(prompts.with_spots().foreground) == voxels(prompts.shown(None).foreground) == {(5, 5, 5)}


@pytest.mark.parametrize("clicks", [[], [(9, 9, 9)], [(9, 9, 9), (2, 9, 9), (2, 2, 9)]])
def test_a_stroke_is_shown_as_it_was_drawn_and_so_are_fewer_clicks_beside_it(clicks):
    marks = dict.fromkeys([*((5, 5, i) for i in range(4, 8)), *clicks], 1)
    assert not of_marks(marks).are_clicks
    assert voxels(of_marks(marks).with_spots().shown(None).foreground) == set(marks)


def test_as_many_clicks_as_voxels_of_strokes_are_shown_as_spots():
    stroke, clicks = [(5, 5, i) for i in range(4, 8)], [(9, 9, 9), (2, 9, 9), (2, 2, 9), (9, 2, 9)]
    shown = of_marks(dict.fromkeys([*stroke, *clicks], 1)).with_spots().shown(None)
    assert voxels(shown.foreground) == set(stroke).union(*map(spot, clicks))


def test_a_spot_takes_no_voxel_of_another_mark_or_that_another_click_is_as_near_to():
    prompts = of_marks({(5, 5, 5): 1, (5, 5, 7): BACKGROUND, (5, 6, 5): 2})
    shown = prompts.with_spots().shown(None)
    assert voxels(shown.foreground) == spot((5, 5, 5), without=[(5, 5, 6), (5, 6, 5)])
    assert voxels(shown.background) == spot((5, 5, 7), without=[(5, 5, 6)])
    assert voxels(shown.other_objects[0]) == spot((5, 6, 5), without=[(5, 5, 5)])


def test_a_spot_ends_at_the_border_of_the_image():
    shown = of_marks({(0, 0, 0): 1}).with_spots().shown(None)
    assert voxels(shown.foreground) == {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)}


def test_a_click_on_an_odd_voxel_finds_the_object_around_it():
    """Noise, or a speck, just where somebody clicks."""
    ball = ((np.indices((40, 40, 40)) - 20) ** 2).sum(axis=0) <= 8**2
    values = np.where(ball, 160, 100) + np.random.default_rng(1).normal(0, 4, ball.shape)
    values[20, 20, 20] = 118
    session = ImageSession(Volume(values, Geometry(ball.shape, np.eye(4))), load_network("ensemble"))
    session.add_scribbles(Scribbles(np.array([[20, 20, 20]]), np.array([1])))
    finish(session.segment(adapt=False))
    assert dice(session.labelmap() == 1, ball) > 0.9
