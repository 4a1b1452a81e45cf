"""Which of an object's marks, and of those on other objects, the stages see on the working grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import SHAPE_KJI, blob_volume

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.working_grid import GridSettings, working_grid
from InteractiveSegLib.networks.cues import ShownPrompts
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.segmenting import bifseg
from InteractiveSegLib.segmenting.adapt import AdaptSettings
from InteractiveSegLib.segmenting.bifseg import bifseg_steps
from InteractiveSegLib.segmenting.box_look import BoxLooks, starts_from_box
from InteractiveSegLib.segmenting.object_crop import encoded_steps, object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.settings import BifsegSettings

CPU = torch.device("cpu")
FULL, COARSE = GridSettings(max_voxels=64**3), GridSettings(max_voxels=7**3)
ON_BLOB, BESIDE, ON_OTHER = ([6, 10, 12], [6, 10, 13]), ([6, 2, 2], [6, 2, 3]), ([6, 17, 22], [6, 17, 23])


def networks():
    torch.manual_seed(0)
    return {"prompted": PromptedNetwork((4, 4)).eval(), "plain": PCNet(channels=2, compressed=2).eval()}


def segmented(
    network, foreground=(), background=(), *others, box=None, start=None, learns=False, fitted=True, **settings
):
    """The first round of marks (voxels); those on every other object are among the background's."""
    settings = BifsegSettings(**{"grid": FULL, **settings})
    extent = box or BoundingBox.whole(SHAPE_KJI)
    crop = object_crop(blob_volume(), extent, settings.grid, CPU)
    crop = finish(encoded_steps(crop, [network]))
    marks = [np.array(voxels, np.int32).reshape(-1, 3) for voxels in (foreground, background, *others)]
    labels = np.repeat([1, 255, *range(2, len(marks))], [len(voxels) for voxels in marks])
    boxes = {} if box is None else {1: box}
    prompts = Prompts(boxes, Scribbles(np.concatenate(marks), labels))
    if start is None and starts_from_box(prompts, 1, network):
        crop = finish(BoxLooks(blob_volume(), settings).boxed_steps(crop, prompts, 1, network, CPU))
    own = replace(ObjectPrompts.of(prompts, 1, extent, crop.grid, CPU), start=start)
    return finish(bifseg_steps(crop, own, network, settings, adapt=learns, seed=0, fitted=fitted))


@pytest.fixture
def shown(monkeypatch):
    """The prompts that reached the encoding."""
    seen = []

    def kept(real):
        def call(*given):
            seen.append(next(value for value in given if isinstance(value, ShownPrompts)))
            return real(*given)

        return call

    for name in ("prompted_feature_steps", "classical_answer"):
        monkeypatch.setattr(bifseg, name, kept(getattr(bifseg, name)))
    return seen


def voxels(mask):
    return np.argwhere(mask.numpy()).tolist()


@pytest.mark.parametrize("kind", ["prompted", "plain"])
def test_marks_on_every_other_object_are_a_kind_of_their_own(shown, kind):
    segmented(networks()[kind], ON_BLOB, BESIDE, ON_OTHER, [[1, 1, 1]])
    assert voxels(shown[0].foreground) == [*ON_BLOB]
    assert voxels(shown[0].background) == [*BESIDE]
    one, other = shown[0].other_objects
    assert voxels(one) == [*ON_OTHER]
    assert voxels(other) == [[1, 1, 1]]


@pytest.mark.parametrize("kind", ["prompted", "plain"])
def test_a_working_voxel_that_is_marked_twice_is_the_other_objects_or_nobodys(shown, kind):
    mine, theirs, both = ([[k, 10, 0], [k, 10, 1]] for k in (0, 6, 12))  # two voxels each that become one
    marks = [mine[0], theirs[0]], [mine[1], both[0]], [theirs[1], both[1]]
    assert segmented(networks()[kind], *marks, grid=COARSE).labels.shape == (5, 7, 9)
    assert not shown[0].foreground.any()  # where the object's and any other marks meet, full resolution settles it
    assert not shown[0].background.any()
    (other,) = shown[0].other_objects
    assert voxels(other) == [[4, 3, 0]]  # background and another object: the object


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_network_that_sees_no_prompts_is_helped_by_a_share_of_the_classical_answer(share):
    network, marks = networks()["plain"], (ON_BLOB, BESIDE, ON_OTHER)
    unhelped, whole, helped = (segmented(network, *marks, classical_share=part) for part in (0.0, 1.0, share))
    added, expected = (found.probability.logit() - unhelped.probability.logit() for found in (helped, whole))
    assert expected.abs().max() == pytest.approx(10, abs=0.01)  # as sure as the classical answer ever is
    torch.testing.assert_close(added, share * expected, rtol=1e-2, atol=1e-2)


def test_a_box_alone_has_a_share_of_its_own():
    network, drawn = networks()["plain"], BoundingBox((2, 4, 6), (11, 17, 21))

    def odds(*marks, **shares):
        return segmented(network, *marks, box=drawn, **shares).probability.logit()

    alone = odds(classical_share_of_box=0.5) - odds(classical_share_of_box=0.0)
    assert alone.min() == pytest.approx(-5, abs=0.01)
    assert torch.equal(odds(classical_share=1.0), odds(classical_share=0.0))
    assert torch.equal(odds(ON_BLOB, classical_share_of_box=1.0), odds(ON_BLOB, classical_share_of_box=0.0))
    assert not torch.equal(odds(ON_BLOB, classical_share=1.0), odds(ON_BLOB, classical_share=0.0))


@pytest.mark.parametrize("box", [None, BoundingBox((2, 4, 6), (11, 17, 21))], ids=["marks", "box"])
def test_a_network_that_sees_prompts_answers_by_itself(monkeypatch, box):
    network, own = networks()["prompted"], []
    real = network.block6.on_columns

    def kept(columns):
        own.append(real(columns)[0])
        return own[-1][None]

    monkeypatch.setattr(network.block6, "on_columns", kept)
    marks = () if box else (ON_BLOB, BESIDE)
    odds = segmented(network, *marks, box=box, **_shares(network)).probability.logit()
    torch.testing.assert_close(odds.flatten(), own[-1][1] - own[-1][0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("slices", [range(0), range(6, 7), range(5, 8)])
def test_scribbles_in_a_box_correct_the_answer_to_the_box_the_more_slices_they_mark(shown, slices):
    network, box = networks()["prompted"], BoundingBox((2, 4, 6), (11, 17, 21))
    given = {"box": box, **_shares(network)}
    on_blob = [[k, 10, i] for k in slices for i in (12, 13)]
    of_box = segmented(network, **given).probability
    crop = working_grid(box, blob_volume().geometry, FULL).crop
    inside, start = box.counted_from(crop).slices, torch.zeros_like(of_box)
    start[inside] = of_box[inside]
    for marks, value in ((on_blob, 1.0), (BESIDE, 0.0)):
        start[tuple((np.array(marks, int).reshape(-1, 3) - crop.start_kji).T)] = value
    found = segmented(network, on_blob, BESIDE, **given).probability
    torch.testing.assert_close(shown[-1].found, start)
    start *= min(1.0, len(slices) / 9 / 0.3)
    torch.testing.assert_close(shown[-1].start, start)
    unaware = segmented(network, on_blob, BESIDE, start=torch.zeros_like(start), **given).probability
    assert shown[-1].found is None  # a mask of the user's own tells nothing of the box
    assert (found - unaware).abs().max() > 1e-3


@pytest.mark.parametrize(("slices", "part"), [([], 0.0), ([3, 4], 0.4), ([0, 3], 0.2), (range(8), 1.0)])
def test_the_part_of_a_boxs_slices_that_is_marked(slices, part):
    geometry, box = Geometry((6, 5, 8), np.diag([3.0, 0.5, 0.7, 1.0])), BoundingBox((1, 1, 2), (4, 4, 7))
    marks = Scribbles(np.array([[2, 2, i] for i in slices], int).reshape(-1, 3), np.ones(len(slices), int))
    grid = working_grid(box, geometry, FULL)
    assert ObjectPrompts.of(Prompts({1: box}, marks), 1, box, grid, CPU).marked_part == part


def _shares(network):
    defaults = BifsegSettings.for_network(network)
    return {name: getattr(defaults, name) for name in ("classical_share", "classical_share_of_box")}


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_without_a_fit_at_the_end_the_probability_is_the_same(monkeypatch, rounds):
    fits = []
    fit = bifseg.fit_labels_steps
    monkeypatch.setattr(bifseg, "fit_labels_steps", lambda *given, **named: fits.append(1) or fit(*given, **named))
    learning = AdaptSettings(updates=5, rounds=rounds, changed_fraction=-1.0)
    found, counts = [], []
    for fitted in (True, False):
        drawn = {"box": BoundingBox((2, 4, 6), (11, 17, 21)), "adapt": learning} if rounds else {}
        found.append(segmented(networks()["plain"], ON_BLOB, BESIDE, fitted=fitted, learns=rounds > 0, **drawn))
        counts.append(len(fits))
        fits.clear()
    whole, part = found
    assert torch.equal(whole.probability, part.probability)
    assert torch.equal(part.labels, part.probability > 0.5)
    assert counts == [rounds + 1, rounds]
