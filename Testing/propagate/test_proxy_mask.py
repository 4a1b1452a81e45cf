"""From a few slices to a volume: known motions, ends, several labels and axes, reuse of registrations, bad input."""

from dataclasses import replace

import numpy as np
import pytest
from moving_shapes import SHAPE_KJI, dice, disc, image_of, slices_of, volume_of, wandering_disc
from stopwatch import Stopwatch

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.evaluation.data.datasets import listed_datasets
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate import registration
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice, annotated_slices, likely_axis
from InteractiveSegLib.propagate.axis_carry import PairRegistration
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps
from InteractiveSegLib.propagate.registration_cache import RegistrationCache
from InteractiveSegLib.propagate.slice_pool import SlicePool

SHAPES_ALONE = PropagateSettings("shape")
needs_elastix = pytest.mark.skipif(not registration.has_elastix(), reason="itk-elastix is not installed")


@pytest.fixture(scope="module")
def pool():
    with SlicePool(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def propagated(pool):
    def propagated(volume, annotated, settings=None, cache=None):
        return finish(propagate_steps(volume, annotated, settings, cache=cache, pool=pool))

    return propagated


@pytest.fixture(scope="module")
def wandering():
    truth = wandering_disc()
    return volume_of(image_of(truth)), truth


@pytest.fixture(scope="module")
def straight(propagated, wandering):
    """From both ends, and its registrations."""
    volume, truth = wandering
    cache = RegistrationCache()
    return propagated(volume, slices_of(truth, (0, 12)), cache=cache), cache


@needs_elastix
def test_the_mask_follows_the_image_where_shapes_alone_do_not(propagated, wandering, straight):
    volume, truth = wandering
    proxy, _ = straight
    between = slice(1, 12)
    assert dice(proxy.labelmap()[between] > 0, truth[between]) > 0.95
    by_shape = propagated(volume, slices_of(truth, (0, 12)), SHAPES_ALONE).labelmap()
    assert dice(by_shape[between] > 0, truth[between]) < 0.85
    assert proxy.notes == ()


@needs_elastix
def test_annotated_slices_stay_exact_and_are_certain(propagated, wandering):
    volume, truth = wandering
    rough = truth.copy()
    rough[6, 10:14, 30:40] = True  # not what the image shows
    proxy = propagated(volume, slices_of(rough, (0, 6, 12)))
    np.testing.assert_array_equal(proxy.labelmap()[[0, 6, 12]], rough[[0, 6, 12]])
    assert (proxy.slice_confidence[0][[0, 6, 12]] == 1).all()
    assert (proxy.slice_confidence[0][[3, 9]] < 1).all()
    assert ((proxy.confidence >= 0) & (proxy.confidence <= 1)).all()


@needs_elastix
def test_the_same_input_gives_the_same_mask_with_any_number_of_processes(straight, wandering):
    volume, truth = wandering
    one, _ = straight
    with SlicePool(2) as two_processes:
        other = finish(propagate_steps(volume, slices_of(truth, (0, 12)), pool=two_processes))
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


@needs_elastix
@pytest.mark.parametrize("axis", [1, 2])
def test_every_axis_can_be_annotated(propagated, wandering, straight, axis):
    volume, truth = wandering
    turned = np.moveaxis(truth, 0, axis)
    other = volume_of(np.moveaxis(volume.array_kji, 0, axis).copy())
    proxy = propagated(other, slices_of(turned, (0, 12), axis))
    np.testing.assert_array_equal(proxy.labelmap(), np.moveaxis(straight[0].labelmap(), 0, axis))


@needs_elastix
def test_several_axes_together_are_better_than_one(propagated, wandering):
    volume, truth = wandering
    along_k = slices_of(truth, (0, 12))
    crossing = slices_of(truth, (16, 22, 28), axis=1)
    alone = dice(propagated(volume, along_k, SHAPES_ALONE).labelmap() > 0, truth)
    both = propagated(volume, along_k + crossing, SHAPES_ALONE)
    assert dice(both.labelmap() > 0, truth) > alone + 0.03
    np.testing.assert_array_equal(both.labelmap()[:, 22], truth[:, 22])
    assert both.annotated == {0: (0, 12), 1: (16, 22, 28)}


@needs_elastix
def test_several_labels_take_one_registration_a_pair(propagated):
    outer = wandering_disc()
    centres = [np.argwhere(plane).mean(axis=0) for plane in outer]
    inner = np.stack([disc(centre, 3.5) for centre in centres])
    labels = outer.astype(np.uint8) + inner
    cache = RegistrationCache()
    proxy = propagated(volume_of(image_of(labels)), slices_of(labels, (0, 6, 12)), cache=cache)
    assert len(cache.pairs) == 12
    assert proxy.labels == (1, 2)
    for label in (1, 2):
        assert dice(proxy.labelmap() == label, labels == label) > 0.9
    sums = proxy.probabilities.astype(np.float32).sum(axis=0)
    assert sums.max() <= 1.002


@needs_elastix
def test_only_what_a_new_slice_changes_is_registered_again(propagated, wandering, monkeypatch):
    volume, truth = wandering
    cache = RegistrationCache()
    empty = np.zeros_like(truth)
    empty[4:9] = truth[4:9]
    propagated(volume, slices_of(empty, (0, 4, 8)), cache=cache)
    first = dict(cache.pairs)
    assert sorted(lower for _, lower in first)[:8] == list(range(8))
    filled = list(cache.filled[0].values())
    propagated(volume, slices_of(empty, (0, 4, 6, 8)), cache=cache)
    assert all(cache.pairs[key] is fit for key, fit in first.items())
    kept = [part for part in cache.filled[0].values() if any(part is before for before in filled)]
    assert sorted(index for part in kept for index in part.levels if index < 8) == [1, 2, 3]
    propagated(volume, slices_of(empty, (0, 4, 8, 12)), cache=cache)
    assert sorted(lower for _, lower in cache.pairs) == list(range(12))
    assert all(cache.pairs[key] is fit for key, fit in first.items())


@needs_elastix
def test_what_was_registered_before_changes_no_mask(propagated, wandering):
    volume, truth = wandering
    empty = np.zeros_like(truth)
    empty[3:10] = truth[3:10]
    cache = RegistrationCache()
    for indices in ((0, 5), (3, 9), (0, 5, 9)):
        used = propagated(volume, slices_of(empty, indices), cache=cache)
    fresh = propagated(volume, slices_of(empty, (0, 5, 9)))
    np.testing.assert_array_equal(used.probabilities, fresh.probabilities)


@needs_elastix
def test_another_image_or_crop_starts_again(propagated, wandering):
    volume, truth = wandering
    cache = RegistrationCache()
    propagated(volume, slices_of(truth, (0, 3)), cache=cache)
    before = dict(cache.pairs)
    propagated(volume_of(volume.array_kji.copy()), slices_of(truth, (0, 3)), cache=cache)
    assert not set(map(id, cache.pairs.values())) & set(map(id, before.values()))
    wide = truth.copy()
    wide[3, 40:46, 38:43] = True
    plane = cache.planes[0]
    propagated(volume, slices_of(wide, (0, 3)), cache=cache)
    assert cache.planes[0] != plane


def ball():
    k, j, i = np.ogrid[:24, :40, :40]
    return (k - 11) ** 2 + (j - 20) ** 2 + (i - 20) ** 2 <= 8**2


@needs_elastix
@pytest.mark.parametrize("contrast", [True, False])
def test_beyond_the_last_annotated_slice_an_object_ends(propagated, contrast):
    """On slices 3 to 19 there is a ball. The annotated ones are 7, 11 and 15: it has four more on either side."""
    truth = ball()
    image = image_of(truth if contrast else np.zeros_like(truth))
    labels = propagated(volume_of(image), slices_of(truth, (7, 11, 15))).labelmap()
    areas = labels.sum(axis=(1, 2))
    assert areas[[0, 1, 2, 20, 21, 22, 23]].max() == 0
    assert areas[16] < areas[15]
    if contrast:
        assert dice(labels > 0, truth) > 0.9


@needs_elastix
@pytest.mark.parametrize("settings", [None, SHAPES_ALONE])
def test_an_annotated_empty_slice_ends_an_object(propagated, settings):
    truth = ball()
    proxy = propagated(volume_of(image_of(truth)), slices_of(truth, (1, 11, 21)), settings)
    areas = proxy.labelmap().sum(axis=(1, 2))
    assert areas[[0, 1, 21, 22, 23]].max() == 0
    assert (areas[8:15] > 0).all()
    if settings is None:
        assert dice(proxy.labelmap() > 0, truth) > 0.8


@needs_elastix
def test_two_objects_join_and_part(propagated):
    """Two discs on the lower slices, which grow together to one on the upper ones."""
    truth = np.stack([disc((24, 22 - gap), 7) | disc((24, 22 + gap), 7) for gap in np.linspace(10, 0, 13)])
    proxy = propagated(volume_of(image_of(truth)), slices_of(truth, (0, 12)))
    assert dice(proxy.labelmap()[1:12] > 0, truth[1:12]) > 0.9


@needs_elastix
def test_an_object_at_the_border_of_the_image_is_carried(propagated):
    truth = np.stack([disc((2 + k / 2, 3), 9) for k in range(13)])
    proxy = propagated(volume_of(image_of(truth)), slices_of(truth, (0, 12)))
    assert dice(proxy.labelmap() > 0, truth) > 0.93


@needs_elastix
def test_one_annotated_slice_is_carried_as_far_as_a_ball_would_reach_and_noted(propagated):
    truth = ball()
    proxy = propagated(volume_of(image_of(truth)), slices_of(truth, (11,)))
    assert any(note.startswith("k slice 11 is the only slice with a label") for note in proxy.notes)
    assert dice(proxy.labelmap() > 0, truth) > 0.7
    assert proxy.labelmap()[[0, 1, 21, 22]].max() == 0
    assert np.isnan(proxy.slice_confidence[0][0])


@needs_elastix
def test_constant_slices_fall_back_to_shapes_and_say_so(propagated, wandering):
    volume, truth = wandering
    image = volume.array_kji.copy()
    image[5] = 77
    proxy = propagated(volume_of(image), slices_of(truth, (0, 4, 8, 12)))
    assert proxy.notes == ("k slices 4 to 6: a slice is constant; no motion is assumed there, and shapes are blended",)
    assert dice(proxy.labelmap() > 0, truth) > 0.9
    blank = propagated(volume_of(np.full(SHAPE_KJI, 5, np.int16)), slices_of(truth, (0, 12)))
    by_shape = propagated(volume, slices_of(truth, (0, 12)), SHAPES_ALONE)
    np.testing.assert_array_equal(blank.labelmap(), by_shape.labelmap())
    assert blank.notes == ("k slices 0 to 12: a slice is constant; shape-based interpolation is used",)


@needs_elastix
def test_a_registration_that_diverges_falls_back_to_shapes_and_says_so(propagated, wandering, straight):
    volume, truth = wandering
    cache = replace(straight[1], pairs=dict(straight[1].pairs), filled={})
    for key, fit in cache.pairs.items():
        cache.pairs[key] = PairRegistration.failed(fit.to_lower.shape[1:], "the registration diverged")
    proxy = propagated(volume, slices_of(truth, (0, 12)), cache=cache)
    assert proxy.notes == ("k slices 0 to 12: the registration diverged; shape-based interpolation is used",)
    by_shape = propagated(volume, slices_of(truth, (0, 12)), SHAPES_ALONE)
    np.testing.assert_array_equal(proxy.labelmap(), by_shape.labelmap())
    assert proxy.slice_confidence[0][6] <= 0.5


@needs_elastix
def test_slices_ten_times_as_thick_as_their_pixels_are_handled_along_every_axis(propagated, wandering):
    volume, truth = wandering
    thick = volume_of(volume.array_kji, (10.0, 1.0, 1.0))
    assert dice(propagated(thick, slices_of(truth, (0, 4, 8, 12))).labelmap() > 0, truth) > 0.93
    every_third = list(range(8, 44, 3))
    along_j = propagated(thick, slices_of(truth, every_third, axis=1)).labelmap()
    assert dice(along_j > 0, truth) > 0.85


@needs_elastix
def test_an_image_of_one_slice_is_its_annotation(propagated):
    mask = disc((20, 20), 6)[None]
    proxy = propagated(volume_of(image_of(mask)), slices_of(mask, (0,)))
    np.testing.assert_array_equal(proxy.labelmap(), mask)
    assert proxy.notes == ()


@needs_elastix
def test_voxels_that_are_no_numbers_are_noted(propagated, wandering):
    volume, truth = wandering
    image = volume.array_kji.astype(np.float32)
    image[3, 20, 20] = np.nan
    proxy = propagated(volume_of(image), slices_of(truth, (0, 6)))
    assert any("1 voxel is NaN" in note for note in proxy.notes)


@needs_elastix
def test_a_ct_window_that_shows_nothing_is_noted(propagated, wandering):
    volume, truth = wandering
    settings = PropagateSettings(registration=registration.CT)
    proxy = propagated(volume_of(volume.array_kji + np.int16(5000)), slices_of(truth, (0, 6)), settings)
    assert any("may not be a CT" in note for note in proxy.notes)


def test_crossing_slices_that_contradict_each_other_are_noted_and_the_later_one_counts(propagated, wandering):
    volume, truth = wandering
    along_k = slices_of(truth, (0, 6, 12))
    wrong = truth.copy()
    wrong[:, 24] = False
    proxy = propagated(volume, along_k + slices_of(wrong, (24,), axis=1) + slices_of(truth, (30,), 1), SHAPES_ALONE)
    count = int(truth[6, 24].sum())
    assert f"k slice 6 and j slice 24 contradict each other at {count} voxels: j slice 24, the later one, is used" in (
        proxy.notes
    )
    assert not proxy.labelmap()[6, 24].any()
    np.testing.assert_array_equal(np.delete(proxy.labelmap()[6], 24, axis=0), np.delete(truth[6], 24, axis=0))


@pytest.mark.parametrize(
    ("annotated", "text"),
    [
        ([], "no annotated slice"),
        (slices_of(np.zeros(SHAPE_KJI, bool), (0, 6)), r"holds a label \(k slice 0, k slice 6\)"),
        (slices_of(np.ones((13, 5, 44), bool), (0,)), r"k slice 0 has the shape \(5, 44\)"),
        ([AnnotatedSlice(0, 13, np.ones(SHAPE_KJI[1:], int))], "k slice 13 does not exist: the image has 0 to 12"),
        (slices_of(np.ones(SHAPE_KJI, bool), (2, 2)), "k slice 2 is annotated twice"),
    ],
)
def test_slices_that_cannot_be_propagated_are_refused_before_any_work(wandering, annotated, text):
    with pytest.raises(InputError, match=text):
        next(propagate_steps(wandering[0], annotated))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((3, 0, np.zeros((4, 4), int)), "axis"),
        ((0, 1, np.zeros((4, 4))), "integers"),
        ((0, 1, np.zeros(4, int)), "integers"),
        ((0, 1, np.full((4, 4), -2)), "negative label -2"),
    ],
)
def test_what_is_no_annotated_slice_is_refused(arguments, text):
    with pytest.raises(InputError, match=text):
        AnnotatedSlice(*arguments)


def test_without_elastix_the_feature_says_so_and_shapes_still_work(propagated, wandering, monkeypatch):
    monkeypatch.setattr(registration, "has_elastix", lambda: False)
    volume, truth = wandering
    with pytest.raises(MissingPackageError, match=r"shape.*itk-elastix"):
        next(propagate_steps(volume, slices_of(truth, (0, 12))))
    assert propagated(volume, slices_of(truth, (0, 12)), SHAPES_ALONE).labelmap().any()


@needs_elastix
def test_it_reports_progress_and_stops_within_a_second(wandering):
    volume, truth = wandering
    steps = propagate_steps(volume, slices_of(truth, (0, 12)))
    texts = [next(steps).text]
    while texts[-1] != "registering neighbouring slices":
        texts.append(next(steps).text)
    assert texts[0] == "reading slices"
    with Stopwatch() as took:
        steps.close()
    assert took.seconds < 1


def test_slices_of_a_labelmap_are_those_that_hold_a_label_or_those_named():
    labels = np.zeros((9, 5, 6), np.uint8)
    labels[2, 1, 1], labels[6, 2, 2] = 3, 4
    assert [each.index for each in annotated_slices(labels, 0)] == [2, 6]
    assert [each.index for each in annotated_slices(labels, 0, (0, 2, 8))] == [0, 2, 8]
    with pytest.raises(InputError, match="k slice 9 does not exist: the image has 0 to 8"):
        annotated_slices(labels, 0, (9,))
    with pytest.raises(InputError, match="no slice"):
        annotated_slices(np.zeros((3, 3, 3), int), 1)


def test_the_axis_is_seen_from_the_slices_that_hold_labels():
    for axis in range(3):
        labels = np.zeros((20, 20, 20), np.uint8)
        np.moveaxis(labels, axis, 0)[[3, 9, 15], 4:16, 4:16] = 1
        assert likely_axis(labels) == axis
    narrow = np.zeros((20, 20, 20), np.uint8)
    narrow[2:18:3, 8:10, 8:10] = 1
    assert likely_axis(narrow) == 0


@needs_elastix
@pytest.mark.parametrize(("name", "every", "least"), [("hippocampus T1 MR", 5, 0.85), ("spleen CT", 5, 0.94)])
def test_on_real_images_it_beats_shapes_alone(propagated, shared_data, name, every, least):
    dataset = next(each for each in listed_datasets() if each.name == name)
    names = dataset.cases(shared_data, "all")
    if not names:
        pytest.skip(f"no real images of {name}")
    case = dataset.load(shared_data, names[0])
    truth = case.truth > 0
    held = np.flatnonzero(truth.any(axis=(1, 2)))
    indices = [*range(held[0], held[-1], every), int(held[-1])]
    between = [index for index in range(held[0], held[-1]) if index not in indices]
    settings = PropagateSettings(registration=registration.CT if "CT" in name else registration.MR)
    found, by_shape = (
        propagated(case.volume, slices_of(truth, indices), each).labelmap()[between] > 0
        for each in (settings, SHAPES_ALONE)
    )
    assert dice(found, truth[between]) > max(least, dice(by_shape, truth[between]))
