"""Two networks as one: the second is fitted to the image alone, and the mean of their log-odds is used."""

import math

import numpy as np
import pytest
import torch
from blobs import SHAPE_KJI, blob_volume

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import GridSettings
from InteractiveSegLib.networks.ensemble import Ensemble
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.adapt import AdaptSettings
from InteractiveSegLib.segmenting.bifseg import bifseg_steps
from InteractiveSegLib.segmenting.box_look import BoxLooks, starts_from_box
from InteractiveSegLib.segmenting.network_fusion import fused_probability, fused_steps
from InteractiveSegLib.segmenting.object_crop import encoded_steps, object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest

BOX = BoundingBox((2, 4, 6), (11, 17, 21))
SETTINGS = BifsegSettings(GridSettings(max_voxels=64**3), adapt=AdaptSettings(rounds=1))
INSIDE = np.array([[6, 10, i] for i in range(9, 18)], np.int32)
BESIDE = np.array([[6, j, 23] for j in range(2, 18)], np.int32)
CPU = torch.device("cpu")


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    return Ensemble(PromptedNetwork((4, 4)).eval(), PNet(channels=4).eval()).eval()


def answers(ensemble, box, adapt, foreground=INSIDE, others=0):
    """Log-odds of each member by itself, the first as it was trained where there is a box, and of both together.

    others : so many of the voxels beside the object belong to another one
    """
    extent = box or BoundingBox.whole(SHAPE_KJI)
    labels = np.repeat([1, 2, BACKGROUND], [len(foreground), others, len(BESIDE) - others])
    drawn = Prompts({} if box is None else {1: box}, Scribbles(np.concatenate([foreground, BESIDE]), labels))

    def odds(steps, network, settings, adapt):
        crop = object_crop(blob_volume(), extent, settings.grid, CPU)
        crop = finish(encoded_steps(crop, network.members))
        if starts_from_box(drawn, 1, network):
            crop = finish(BoxLooks(blob_volume(), settings).boxed_steps(crop, drawn, 1, network, CPU))
        own = ObjectPrompts.of(drawn, 1, extent, crop.grid, CPU)
        found = finish(steps(crop, own, network, settings, adapt=adapt, seed=0))
        return found.probability.logit(1e-4)

    prompted, of_image = ensemble.members
    return (
        odds(bifseg_steps, prompted, SETTINGS.for_member(prompted), adapt and box is None),
        odds(bifseg_steps, of_image, SETTINGS.for_member(of_image), adapt),
        odds(fused_steps, ensemble, SETTINGS, adapt),
    )


@pytest.mark.parametrize("marked", [1, 4])
def test_in_a_box_the_prompted_network_counts_less_the_more_slices_are_marked(ensemble, marked):
    foreground = np.concatenate([INSIDE + np.int32([k, 0, 0]) for k in range(-2, marked - 2)])
    prompted, of_image, together = answers(ensemble, BOX, True, foreground)
    assert (prompted - of_image).abs().max() > 0.2
    share = min(0.9, 0.6 + 0.4 * math.exp(-marked / BOX.shape_kji[0] / 0.6))
    torch.testing.assert_close(together, share * prompted + (1 - share) * of_image, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("others", "share"), [(0, 0.6), (8, 0.3), (len(BESIDE), 0.6)])
def test_from_scribbles_alone_the_log_odds_of_both_fitted_networks_are_averaged(ensemble, others, share):
    """The second one counts more if both other objects and background are marked."""
    prompted, of_image, together = answers(ensemble, None, True, others=others)
    assert (prompted - of_image).abs().max() > 0.2
    torch.testing.assert_close(together, share * prompted + (1 - share) * of_image, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("drawn", "marked", "left", "odds"),
    [
        (True, 4, 0, 0.7 * 1 - 0.3 * 2),  # all of it would vanish: the other network is held to log-odds of 2
        (True, 4, 31, 0.7 * 1 - 0.3 * 2),
        (True, 4, 32, 0.7 * 1 - 0.3 * 8),  # half of it is left
        (True, 1, 0, 0.7 * 1 - 0.3 * 8),  # the object is marked on a quarter of its slices
        (False, 4, 0, 0.7 * 1 - 0.3 * 8),  # no box
    ],
)
def test_a_fitted_network_does_not_take_away_most_of_a_marked_object_in_a_box(drawn, marked, left, odds):
    extent = BoundingBox.whole((4, 4, 4))
    marks = Scribbles(np.array([[k, 0, 0] for k in range(marked)], np.int32), np.ones(marked, int))
    prompts = Prompts({1: extent} if drawn else {}, marks)
    crop = object_crop(Volume(np.zeros((4, 4, 4)), Geometry((4, 4, 4), np.eye(4))), extent, SETTINGS.grid, CPU)
    first, other = torch.full(crop.grid.shape_kji, 1.0), torch.full(crop.grid.shape_kji, -8.0)
    other.view(-1)[:left] = 8.0
    found = fused_probability(
        [first.sigmoid(), other.sigmoid()], 0.7, ObjectPrompts.of(prompts, 1, extent, crop.grid, CPU)
    )
    assert float(found[-1, -1, -1].logit()) == pytest.approx(odds, abs=1e-3)


@pytest.mark.parametrize("box", [BOX, None], ids=["box", "scribbles alone"])
def test_without_fine_tuning_the_prompted_network_answers_alone(ensemble, box):
    prompted, of_image, together = answers(ensemble, box, False)
    assert (prompted - of_image).abs().max() > 0.2
    torch.testing.assert_close(together, prompted, rtol=1e-3, atol=1e-3)


def test_from_scribbles_on_a_single_slice_the_prompted_network_counts_more(ensemble):
    whole = blob_volume()
    volume = Volume(whole.array_kji[6:7], Geometry((1, *SHAPE_KJI[1:]), whole.geometry.ijk_to_ras))
    marks = np.concatenate([INSIDE, BESIDE]) - (6, 0, 0)
    scribbles = Scribbles(marks, np.repeat([1, BACKGROUND], [len(INSIDE), len(BESIDE)]))
    found = []
    for network in (*ensemble.members, ensemble):
        session = ImageSession(volume, network, SETTINGS if network is ensemble else SETTINGS.for_member(network))
        session.add_scribbles(scribbles)
        finish(session.segment())
        found.append(torch.from_numpy(session.current.objects[1].probability).logit(1e-4))
    prompted, of_image, together = found
    assert (prompted - of_image).abs().max() > 0.2
    torch.testing.assert_close(together, 0.7 * prompted + 0.3 * of_image, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("adapt", [False, True], ids=["as it is", "adapted"])
def test_from_a_box_alone_the_prompted_network_answers_alone(ensemble, adapt):
    sessions = [
        ImageSession(blob_volume(), ensemble, SETTINGS),
        ImageSession(blob_volume(), ensemble.prompted, SETTINGS.for_member(ensemble.prompted)),
    ]
    for session in sessions:
        session.set_box(1, BOX)
        finish(session.segment(adapt=adapt))
    together, alone = (session.current.objects[1].probability for session in sessions)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_settings_of_the_person_hold_for_both_networks(ensemble):
    settings = BifsegSettings(GridSettings(max_voxels=20**3), adapt=AdaptSettings(rounds=2), smoothness_voxels=7.0)
    prompted, of_image = (settings.for_member(member) for member in ensemble.members)
    assert prompted.smoothness_voxels == of_image.smoothness_voxels == 7.0
    assert prompted.grid == of_image.grid == settings.grid
    assert (prompted.adapt.rounds, of_image.adapt.rounds) == (1, 2)  # never more than a network does by itself
    assert not prompted.adapt_to_box
    assert of_image.adapt_to_box


def test_a_session_does_not_change_the_networks(ensemble):
    before = {key: value.clone() for key, value in ensemble.state_dict().items()}
    session = ImageSession(blob_volume(), ensemble, SETTINGS)
    session.set_box(1, BOX)
    first = finish(session.segment())
    again = finish(session.segment())
    np.testing.assert_array_equal(first.objects[1].bits, again.objects[1].bits)
    assert all(torch.equal(before[key], value) for key, value in ensemble.state_dict().items())


def test_a_3d_network_is_refused_beside_the_prompted_one():
    with pytest.raises(InputError, match="2D network beside the prompted one, not a 3D"):
        Ensemble(PromptedNetwork((4, 4)), PCNet(channels=2, compressed=2))


def test_a_border_is_dearer_where_there_is_a_box_alone_unless_the_person_says_what_it_costs(ensemble):
    grid = object_crop(blob_volume(), BOX, SETTINGS.grid, CPU).grid
    shipped = BifsegSettings.for_network(ensemble)
    assert shipped.on(grid, scribbled=False).energy.smoothness_mm == 2 * shipped.on(grid).energy.smoothness_mm
    asked = SegmentRequest(smoothness=7.0).changed(shipped)
    for scribbled in (False, True):
        assert asked.on(grid, scribbled).energy.smoothness_mm == 7.0 * min(grid.spacing_kji_mm)
