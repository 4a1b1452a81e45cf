"""Many objects at once: each voxel has one, and the work grows with their number, not with its square."""

from functools import reduce

import numpy as np
import pytest
import torch
from blobs import noisy

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.working_grid import GridSettings, working_grid
from InteractiveSegLib.networks import cues as cues_module
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.object_prompts import other_objects
from InteractiveSegLib.segmenting.rounds import ObjectMask, without_overlaps
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings

FINE = BifsegSettings(GridSettings(max_voxels=64**3))


def test_of_objects_as_probable_as_each_other_the_lowest_label_has_the_voxels():
    result = without_overlaps({label: certain_object(label) for label in (9, 4, 200)}, Prompts())
    assert [label for label, found in result.items() if found.mask.any()] == [4]


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("drawn", [(), (2, 3, 5, 8, 12), range(1, 13)], ids=["no boxes", "some boxes", "boxes"])
def test_of_many_objects_each_voxel_goes_to_the_marked_or_most_probable_one_rather_that_of_a_small_box(drawn, marked):
    """As found voxel by voxel, with boxes, masks and probabilities drawn by chance."""
    rng = np.random.default_rng(3)
    objects = {label: certain_object(label, rng, drawn=label in drawn) for label in range(1, 13)}
    whole = reduce(BoundingBox.union, (found.grid.crop for found in objects.values()))
    marks = Scribbles(rng.integers(0, (9, 10, 11), (40, 3)), rng.integers(1, 13, 40)) if marked else Scribbles.none()
    expected = np.zeros((9, 10, 11), int)
    for voxel in np.ndindex(expected.shape):
        best = -np.inf
        for label, found in objects.items():
            inside = tuple(np.subtract(voxel, found.grid.crop.start_kji))
            if not found.grid.crop.contains(np.array([voxel]))[0] or not found.mask[inside]:
                continue
            own = (marks.indices_kji[marks.labels == label] == voxel).all(axis=1).any()
            p = found.probability[inside]
            if (odds := np.inf if own else np.log(p / (1 - p) / (found.drawn or whole).size)) > best:
                best, expected[voxel] = odds, label
    kept = without_overlaps(objects, Prompts(scribbles=marks))
    labels = np.zeros_like(expected)
    for label, found in kept.items():
        labels[found.grid.crop.slices] += label * found.mask
    np.testing.assert_array_equal(labels, expected)


def certain_object(label, rng=None, *, drawn=False):
    """A mask on a grid of full resolution: all of a small image, or by chance in a box of it."""
    geometry = Geometry((9, 10, 11), np.eye(4))
    box = BoundingBox.whole(geometry.shape_kji)
    if rng is not None:
        start = rng.integers(0, 5, 3)
        box = BoundingBox(start.tolist(), (start + rng.integers(2, 5, 3)).tolist())
    grid = working_grid(box, geometry, FINE.grid)
    probability, mask = np.full(grid.shape_kji, 0.75, np.float32), np.ones(grid.crop.shape_kji, bool)
    if rng is not None:
        probability = rng.choice([0.55, 0.6, 0.9], grid.shape_kji).astype(np.float32)
        mask = rng.random(mask.shape) < 0.7
    return ObjectMask(grid, probability, np.packbits(mask), drawn=box if drawn else None)


def test_the_work_of_parting_objects_grows_with_their_number_and_not_its_square(monkeypatch):
    unpacked = []
    real = ObjectMask.mask.fget
    monkeypatch.setattr(ObjectMask, "mask", property(lambda self: unpacked.append(self) or real(self)))

    def work(count):
        unpacked.clear()
        without_overlaps({label: certain_object(label) for label in range(1, count + 1)}, Prompts())
        return len(unpacked)

    assert work(254) <= 254 / 20 * work(20)


def line_of_marks(labels):
    """One voxel a label, along the i axis."""
    return Scribbles(np.array([(0, 0, 2 * place) for place in range(len(labels))]), np.array(labels))


def others_of(label, marks, middle):
    whole = BoundingBox.whole((1, 1, 600))
    box = BoundingBox((0, 0, middle), (1, 1, middle + 1))
    return [found.tolist() for found in other_objects(marks, label, box, whole, (1.0, 1.0, 1.0))]


def test_up_to_twelve_other_objects_are_told_apart_in_the_order_of_their_labels():
    labels = [7, BACKGROUND, 3, 1, 12, 11, 10, 9, 8, 6, 5, 4, 2, 13]
    marks = line_of_marks(labels)
    assert others_of(1, marks, 6) == [[[0, 0, 2 * labels.index(label)]] for label in range(2, 14)]


def test_of_more_other_objects_the_nearest_are_told_apart_and_the_rest_is_one():
    marks = line_of_marks(list(range(1, 255)))
    *apart, rest = others_of(100, marks, 198)
    assert apart == [[[0, 0, 2 * (label - 1)]] for label in (94, 95, 96, 97, 98, 99, 101, 102, 103, 104, 105)]
    assert len(apart) + len(rest) == 253


def test_the_distances_measured_grow_with_the_number_of_objects_and_not_its_square(monkeypatch):
    measured = []
    real = cues_module.geodesic_distances

    def counting(images, marks, *more):
        measured.append(len(marks))
        return real(images, marks, *more)

    monkeypatch.setattr(cues_module, "geodesic_distances", counting)
    torch.manual_seed(0)
    network = PromptedNetwork((4, 4, 4)).eval()

    def work(count):
        measured.clear()
        shape = (1, 8, 10)
        volume = Volume(noisy(np.zeros(shape, bool)), Geometry(shape, np.eye(4)), "many")
        places = np.argwhere(np.ones(shape))[:count]
        session = ImageSession(volume, network, FINE)
        session.add_scribbles(Scribbles(places, np.arange(1, count + 1)))
        finish(session.segment(adapt=False))
        return sum(measured)

    assert work(30) <= 30 / 15 * work(15)
