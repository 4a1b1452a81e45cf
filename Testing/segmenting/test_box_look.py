"""What is found in drawn boxes alone: the second look knows what the first one found there, and in other boxes."""

import numpy as np
import pytest
import torch
from blobs import dice, ellipsoid, noisy

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting import box_look
from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
from InteractiveSegLib.segmenting.settings import BifsegSettings

SHAPE = (16, 34, 36)
SHELL = ellipsoid(SHAPE, (8, 16, 17), (6, 13, 14))
CORE = ellipsoid(SHAPE, (8, 16, 18), (4, 8, 9))
IMAGE = noisy(SHELL & ~CORE, contrast=60) + noisy(CORE, seed=1, contrast=110)
OUTER = BoundingBox((2, 2, 2), (15, 30, 32))
INNER = BoundingBox((4, 7, 9), (13, 25, 28))


@pytest.fixture(scope="module")
def network():
    return load_network("ensemble")


@pytest.fixture
def found(monkeypatch):
    """What every look was shown of an earlier one, on the grid of the image."""
    shown, real = [], box_look.prompted_feature_steps

    def kept(network, image, spacing, prompts, cues):
        shown.append(prompts.found)
        return real(network, image, spacing, prompts, cues)

    monkeypatch.setattr(box_look, "prompted_feature_steps", kept)
    return shown


def segmenter(network, array=IMAGE, **settings):
    volume = Volume(array, Geometry(array.shape, np.eye(4)))
    defaults = BifsegSettings.for_network(network)
    return ImageSegmenter(volume, network, BifsegSettings(**{**vars(defaults), **settings}))


def masks(found):
    whole = {}
    for label, mask in found.objects.items():
        whole[label] = np.zeros(SHAPE, bool)
        whole[label][mask.grid.crop.slices] = mask.mask
    return whole


def test_a_box_alone_is_looked_at_twice_and_scribbles_look_no_more(network, found):
    on_image = segmenter(network)
    prompts = Prompts({1: INNER})
    finish(on_image.round_steps(prompts))
    first, second = found
    assert first is None
    assert 0 < second.mean() < 1
    finish(on_image.round_steps(prompts))
    assert len(found) == 2


def test_of_boxes_within_each_other_the_inner_object_is_left_out_of_what_the_outer_one_is_shown(network, found):
    boxes = {1: OUTER, 2: INNER}
    both = masks(finish(segmenter(network).round_steps(Prompts(boxes))))
    assert dice(both[2], CORE) > 0.85
    assert dice(both[1], SHELL & ~CORE) > 0.85
    shown = [each for each in found if each is not None]
    outer = max(shown, key=lambda each: each.numel())
    assert outer.shape == SHAPE
    assert outer[8, 16, 18] == 0  # the core belongs to the other box
    assert outer[8, 16, 6] > 0.5
    (alone,) = masks(finish(segmenter(network).round_steps(Prompts({1: OUTER})))).values()
    assert alone[8, 16, 18]  # which nobody knows if that box is not drawn


def test_a_box_drawn_and_taken_back_leaves_no_trace(network):
    on_image = segmenter(network)
    before = masks(finish(on_image.round_steps(Prompts({1: OUTER}))))
    finish(on_image.round_steps(Prompts({1: OUTER, 2: INNER})))
    after = masks(finish(on_image.round_steps(Prompts({1: OUTER}))))
    np.testing.assert_array_equal(before[1], after[1])


def test_looking_ahead_at_boxes_changes_nothing(network):
    prompts = Prompts({1: OUTER, 2: INNER})
    ahead = segmenter(network)
    finish(ahead.look_steps(prompts))
    one, other = masks(finish(ahead.round_steps(prompts))), masks(finish(segmenter(network).round_steps(prompts)))
    for label in (1, 2):
        np.testing.assert_array_equal(one[label], other[label])


def test_only_the_stated_parts_of_the_image_are_looked_at(network):
    """On a coarse grid, whose margin is wider than that of a round."""
    prompts = Prompts({1: BoundingBox((6, 10, 12), (10, 16, 18))})
    settings = {"coarse_voxels": 1500}
    on_image = segmenter(network, **settings)
    crops = on_image.crops(prompts)
    beyond = np.ones(SHAPE, bool)
    for crop in crops:
        beyond[crop.slices] = False
    assert beyond.any()
    expected = masks(finish(on_image.round_steps(prompts)))
    changed = np.where(beyond, 30_000, IMAGE).astype(np.int16)
    found = masks(finish(segmenter(network, changed, **settings).round_steps(prompts)))
    np.testing.assert_array_equal(found[1], expected[1])


def test_one_slice_is_looked_at_as_it_is(network):
    array = IMAGE[8:9]
    box = BoundingBox((0, 7, 9), (1, 25, 28))
    on_slice = segmenter(network, array)
    found = finish(on_slice.round_steps(Prompts({1: box}))).objects[1]
    mask = np.zeros(array.shape, bool)
    mask[found.grid.crop.slices] = found.mask
    assert dice(mask, CORE[8:9]) > 0.85
    assert torch.isfinite(torch.from_numpy(found.probability)).all()
