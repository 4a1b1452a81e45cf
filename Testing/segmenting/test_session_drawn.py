"""Lassos, masks to start from and manual edits in a session: their effect on the mask, the box, and undo."""

import numpy as np
import pytest
import torch
from blobs import CENTRE_KJI, SHAPE_KJI, blob_network, blob_volume, dice, ellipsoid
from tiny_models import CARD, Threshold, folder

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.image.working_grid import GridSettings
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.networks.cues import CHANNELS
from InteractiveSegLib.networks.predict import slice_axis
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.lasso import Lasso
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.adapt import AdaptSettings
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings

BOX = BoundingBox((2, 4, 6), (11, 17, 21))
UNTUNED = (
    "label 1 was segmented without fine-tuning: with a lasso or a mask to start from, it takes a drawn box as well"
)
FEW_UPDATES = AdaptSettings(rounds=2, updates=4)
SETTINGS = BifsegSettings(GridSettings(max_voxels=64**3), adapt=FEW_UPDATES)
COARSE = BifsegSettings(GridSettings(max_voxels=12**3), adapt=FEW_UPDATES)
START = CHANNELS.index("start mask")


def session_on(network=None, settings=SETTINGS):
    torch.manual_seed(0)
    return ImageSession(blob_volume(), network or PromptedNetwork((4, 4, 4)).eval(), settings)


def round_the_blob(axis=0, shift=0.0):
    """A lasso half a voxel to a voxel off the blob's section through its middle."""
    angles = np.arange(40) * 2 * np.pi / 40
    middle, radii = np.delete(CENTRE_KJI, axis), np.delete((3.6, 5.2, 6.4), axis) + 0.8
    outline = middle + radii * np.stack([np.sin(angles), np.cos(angles)], axis=1) + shift
    return Lasso(axis, CENTRE_KJI[axis], outline)


@pytest.fixture
def seen(monkeypatch):
    """Channels of each look of the network."""
    looks, real = [], PromptedNetwork.feature_steps
    monkeypatch.setattr(
        PromptedNetwork, "feature_steps", lambda *args: looks.append(args[1][0]) or (yield from real(*args))
    )
    return looks


def labelmap_of(label, mask):
    return np.where(mask, np.uint8(label), np.uint8(0))


# lassos


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("network", ["prompted", "unprompted"])
def test_a_lasso_alone_is_enough(axis, network):
    session = session_on(blob_network() if network == "unprompted" else None)
    session.add_lasso(1, round_the_blob(axis))
    result = finish(session.segment())
    mask = session.labelmap() == 1
    assert dice(mask, ellipsoid()) > 0.8
    assert result.notes == ((UNTUNED,) if network == "prompted" else ())
    assert dict(result.prompts.boxes) == {}
    marks, _, _ = round_the_blob(axis).marks(1, session.volume.geometry)
    assert mask[tuple(marks.indices_kji[marks.labels == 1].T)].all()
    assert not mask[tuple(marks.indices_kji[marks.labels == BACKGROUND].T)].any()


def test_a_lasso_is_not_fine_tuned_to_unless_a_box_is_drawn():
    session = ImageSession(blob_volume(), load_network("ensemble"))
    for index in (4, 6, 8):
        session.add_lasso(1, Lasso(0, index, round_the_blob(0).outline))
    tuned, plain = (finish(session.segment(adapt)) for adapt in (True, False))
    assert tuned.notes == (UNTUNED,)
    assert plain.notes == ()
    np.testing.assert_array_equal(tuned.objects[1].mask, plain.objects[1].mask)
    session.set_box(1, BOX)
    assert not any("fine-tuning" in note for note in finish(session.segment()).notes)


def test_the_box_of_a_lasso_holds_its_curve_and_a_margin():
    geometry = Geometry((40, 60, 60), np.diag([1.0, 1.0, 2.0, 1.0]))
    marks, extent, _ = Lasso(0, 20, np.array([(9.5, 9.5), (9.5, 49.5), (29.5, 49.5), (29.5, 9.5)])).marks(1, geometry)
    prompts = Prompts().with_lasso(1, marks, extent)
    # 40 voxels of 1 mm: a margin of 14 mm, 7 slices
    assert object_roi(prompts, 1, geometry) == (BoundingBox((13, 0, 0), (28, 44, 60)), "")
    further = prompts.with_scribbles(Scribbles(np.array([[30, 20, 20]]), np.array([1])))
    assert object_roi(further, 1, geometry)[0].stop_kji == (38, 44, 60)
    drawn = BoundingBox((19, 5, 5), (22, 40, 55))
    assert object_roi(prompts.with_box(1, drawn), 1, geometry) == (drawn, "")


def test_a_lasso_over_other_marks_and_beyond_the_image_is_noted():
    session = session_on()
    session.add_scribbles(Scribbles(np.array([[6, 10, 13], [0, 0, 0]]), np.array([BACKGROUND, BACKGROUND])))
    session.add_lasso(1, round_the_blob(0, shift=6.5))
    session.add_lasso(1, round_the_blob(0))
    notes = finish(session.segment(adapt=False)).notes
    assert "the lasso of label 1 reached outside the image and was cut at its border" in notes
    assert any("scribbled with different labels" in note for note in notes)


def test_a_lasso_outside_the_image_leaves_the_prompts_as_they_were():
    session = session_on()
    session.set_box(1, BOX)
    before = session.prompts
    for label, lasso in ((1, round_the_blob(0, shift=40.0)), (BACKGROUND, round_the_blob())):
        with pytest.raises(InputError):
            session.add_lasso(label, lasso)
        assert session.prompts is before


# masks to start from


@pytest.mark.parametrize("settings", [SETTINGS, COARSE], ids=["full resolution", "coarse grid"])
def test_the_network_sees_the_start_mask_on_its_grid(seen, settings):
    session = session_on(settings=settings)
    session.set_box(1, BOX)
    plain = finish(session.segment(adapt=False)).objects[1]
    session.set_start(1, ellipsoid())
    started = finish(session.segment(adapt=False)).objects[1]
    *from_the_box, last = seen
    assert not any(channels[START].any() for channels in from_the_box)
    grid = started.grid
    inside = np.zeros(SHAPE_KJI, np.float32)
    inside[BOX.slices] = ellipsoid()[BOX.slices]
    expected = grid.averaged(torch.from_numpy(inside[grid.crop.slices]))
    torch.testing.assert_close(last[START], expected.movedim(slice_axis(grid.shape_kji, grid.spacing_kji_mm), 0))
    assert 0 < expected.mean() < 1
    assert not np.array_equal(plain.probability, started.probability)


def test_a_start_mask_alone_makes_the_box_and_a_round_that_repeats(seen):
    session = session_on()
    session.set_start(1, labelmap_of(7, ellipsoid()))
    first = finish(session.segment())
    assert not seen[0][CHANNELS.index("box")].any()
    assert seen[0][START].sum() == ellipsoid().sum()
    box, _ = object_roi(first.prompts, 1, session.volume.geometry)
    assert box == BoundingBox.of_mask(ellipsoid()).expanded((8, 8, 8)).intersected(SHAPE_KJI)
    again = session_on()
    again.set_start(1, ellipsoid())
    np.testing.assert_array_equal(finish(again.segment()).objects[1].probability, first.objects[1].probability)


def test_the_part_of_a_start_mask_beyond_a_drawn_box_is_left_out_and_reported(seen):
    session = session_on()
    half = BoundingBox((2, 4, 6), (11, 17, 13))
    session.set_box(1, half)
    session.set_start(1, ellipsoid())
    notes = finish(session.segment(adapt=False)).notes
    kept = np.count_nonzero(ellipsoid()[half.slices])
    assert seen[0][START].sum() == kept
    lost = np.count_nonzero(ellipsoid()) - kept
    assert notes == (f"{lost} voxels of the start mask of label 1 lie outside its box and were left out",)


def test_a_network_without_prompts_says_that_it_does_not_look_at_masks():
    session = session_on(blob_network())
    session.set_start(1, ellipsoid())
    notes = finish(session.segment(adapt=False)).notes
    assert notes == ("this network does not take start masks as input: that of label 1 was used only for its box",)
    session.set_box(1, BOX)
    with_start = finish(session.segment(adapt=False))
    assert with_start.notes[0].endswith("was not used")
    plain = session_on(blob_network())
    plain.set_box(1, BOX)
    np.testing.assert_array_equal(
        finish(plain.segment(adapt=False)).objects[1].probability, with_start.objects[1].probability
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_model_from_elsewhere_says_so_unless_its_card_names_the_start_mask(tmp_path):
    answers = {}
    for channels in (["image"], ["image", "start mask"]):
        card = {**CARD, "channels": channels}
        network = load_network(folder(tmp_path / str(len(channels)), Threshold(len(channels)), card))
        session = session_on(network)
        session.set_box(1, BOX)
        plain = finish(session.segment(adapt=False)).objects[1].probability
        session.set_start(1, ellipsoid())
        started = finish(session.segment(adapt=False))
        answers[len(channels)] = len(started.notes), np.array_equal(plain, started.objects[1].probability)
    assert answers == {1: (1, True), 2: (0, False)}


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (ellipsoid()[1:], r"start mask has the shape \(25, 20, 13\), not \(25, 20, 14\)"),
        (np.zeros(SHAPE_KJI, bool), "is empty"),
        (ellipsoid().astype(float), "float64"),
        (None, r"shape \(\)"),
    ],
)
def test_an_invalid_start_mask_is_refused_and_nothing_changes(mask, text):
    session = session_on()
    before = session.prompts
    with pytest.raises(InputError, match=text):
        session.set_start(1, mask)
    assert session.prompts is before


def test_prompts_hold_a_copy_of_the_start_mask():
    session, mask = session_on(), ellipsoid()
    session.set_start(1, mask)
    mask[:] = False
    assert session.prompts.start_masks[1].voxels == ellipsoid().sum()


# edits


@pytest.mark.parametrize("settings", [SETTINGS, COARSE], ids=["full resolution", "coarse grid"])
@pytest.mark.parametrize("adapt", [False, True])
def test_painted_and_erased_voxels_stay_so(settings, adapt):
    session = session_on(settings=settings)
    session.set_box(1, BOX)
    finish(session.segment(adapt=False))
    before = session.labelmap()
    after = before.copy()
    after[6, 8:12, 10:16], after[6, 4:6, 6:9] = 0, 1
    after[12, 15:18, 21:24] = 2  # a new object, out of the box
    changed = after != before
    session.add_edits(before, after)
    result = finish(session.segment(adapt))
    assert set(result.objects) == {1, 2}
    np.testing.assert_array_equal(session.labelmap()[changed], after[changed])


def test_edits_against_earlier_marks_are_noted_and_no_edit_is_none():
    session = session_on()
    session.add_scribbles(Scribbles(np.array([[6, 10, 13], [6, 10, 14]]), np.array([1, 1])))
    before = session.prompts
    labelmap = labelmap_of(1, ellipsoid())
    session.add_edits(labelmap, labelmap)
    assert session.prompts is before
    erased = labelmap.copy()
    erased[6, 10, 13] = 0
    session.add_edits(labelmap, erased)
    clash, region = finish(session.segment(adapt=False)).notes
    assert clash == "1 voxel was scribbled with different labels; the latest is used"
    assert region == "label 1 was searched for within 25 x 20 x 14 mm round its marks"


def test_edits_of_another_image_are_refused():
    session = session_on()
    labelmap = labelmap_of(1, ellipsoid())
    with pytest.raises(InputError, match=r"an edited labelmap has the shape \(25, 20, 13\)"):
        session.add_edits(labelmap[1:], labelmap[1:])
    with pytest.raises(InputError, match="not 255"):
        session.add_edits(labelmap, labelmap_of(255, ellipsoid()))
    assert session.prompts.is_empty


# undo


def test_all_of_them_can_be_undone_and_redone():
    session = session_on()
    session.set_box(1, BOX)
    first = finish(session.segment(adapt=False))
    labelmap = session.labelmap()
    draw = (
        lambda: session.add_lasso(1, round_the_blob()),
        lambda: session.set_start(1, ellipsoid()),
        lambda: session.add_edits(np.zeros(SHAPE_KJI, np.uint8), labelmap_of(1, ellipsoid())),
    )
    for change in draw:
        change()
        changed = session.prompts
        assert session.undo() is first
        assert session.prompts is first.prompts
        session.redo()
        assert session.prompts is changed
        second = finish(session.segment(adapt=False))
        assert second.prompts is changed
        session.undo()
        assert not session.prompts.start_masks
        assert not session.prompts.lasso_boxes
        np.testing.assert_array_equal(session.labelmap(), labelmap)
        assert session.redo() is second
        session.undo()


def test_the_box_holds_a_start_mask_and_scribbles_beyond_it():
    geometry = Geometry((40, 60, 60), np.eye(4))
    mask = np.zeros(geometry.shape_kji, bool)
    mask[20:24, 20:40, 20:30] = True
    prompts = Prompts().with_start(1, PackedMask.of(mask))
    assert object_roi(prompts, 1, geometry)[0] == BoundingBox((12, 12, 12), (32, 48, 38))
    beyond = prompts.with_scribbles(Scribbles(np.array([[22, 30, 45]]), np.array([1])))
    assert object_roi(beyond, 1, geometry)[0] == BoundingBox((11, 11, 11), (33, 49, 55))
