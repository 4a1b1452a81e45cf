import numpy as np
import pytest
import torch
from taught_blobs import SHAPE, blob, scribbled, tiny_automatic

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.case_targets import CaseTargets, case_targets
from InteractiveSegLib.learning.image_batches import ImageBatches, PatchSettings, patch_loss
from InteractiveSegLib.learning.image_lesson import ImageLesson, PatientAxes
from InteractiveSegLib.learning.object_batches import ObjectBatches, SessionSettings, piece_shape
from InteractiveSegLib.learning.object_lesson import ObjectLesson, object_lesson
from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher, simulated_prompts
from InteractiveSegLib.learning.replay import Mixture
from InteractiveSegLib.networks import predict
from InteractiveSegLib.networks.cues import ShownPrompts
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.session import ImageSession


def volume(seed=0, geometry=None):
    array = np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32) + 80 * blob(seed)
    return Volume(array, geometry or Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0])))


def ones(shape=SHAPE):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("given", ["scribbles", "box", "box and mask"])
def test_the_network_learns_from_what_a_session_would_show_it(monkeypatch, given):
    torch.manual_seed(0)
    network, truth = PromptedNetwork((4, 4)).eval(), blob(0)
    image = volume(geometry=Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0])))
    prompts = scribbled(truth)
    if "box" in given:
        prompts = prompts.with_box(1, BoundingBox((1, 3, 2), (7, 15, 18)))
    if "mask" in given:
        prompts = prompts.with_start(1, PackedMask.of(truth[:, ::-1]))
    shown, real = [], PromptedNetwork.feature_steps
    monkeypatch.setattr(
        PromptedNetwork,
        "feature_steps",
        lambda self, channels, spacing: shown.append((channels, spacing)) or real(self, channels, spacing),
    )
    session = ImageSession(image, network)
    session.prompts = prompts
    finish(session.segment(adapt=False))
    channels, spacing = shown[-1]
    taught = object_lesson(image, truth.astype(np.float32), ones(), prompts, 1, network)
    assert taught.spacing_mm == pytest.approx(tuple(spacing))
    assert np.abs(taught.channels.astype(np.float32) - channels[0].numpy()).max() < 4e-3
    assert np.array_equal(taught.image, channels[0, 0].numpy())
    box, _ = object_roi(prompts, 1, image.geometry)  # beyond it nothing is looked for
    assert taught.target.sum() == truth[box.slices].sum()
    assert np.count_nonzero(taught.weight) == box.size


def test_an_object_without_prompts_is_learnt_round_its_own_voxels():
    network = PromptedNetwork((4, 4)).eval()
    taught = object_lesson(volume(), blob(0).astype(np.float32), ones(), Prompts(), 1, network)
    assert taught.channels is None
    assert taught.target.sum() == blob(0).sum()
    with pytest.raises(InputError, match="is empty"):
        object_lesson(volume(), np.zeros(SHAPE, np.float32), ones(), Prompts(), 1, network)
    with pytest.raises(InputError, match=r"weight of label 1 has the shape \(1, 2, 3\)"):
        object_lesson(volume(), blob(0).astype(np.float32), ones((1, 2, 3)), Prompts(), 1, network)


def objects():
    network = PromptedNetwork((4, 4)).eval()
    return [
        [object_lesson(volume(seed), blob(seed).astype(np.float32), ones(), prompts, 1, network)]
        for seed, prompts in ((0, scribbled(blob(0))), (1, Prompts()), (2, scribbled(blob(2))))
    ]


def test_batches_are_a_function_of_their_number_and_keep_their_parts_together():
    cases = objects()
    data, again = (ObjectBatches(cases, Mixture(0.4), 12, 5, SessionSettings(voxels=500)) for _ in range(2))
    kinds = set()
    for number in range(12):
        one, other = data[number], again[number]
        assert sorted(one) == sorted(other)
        assert all(torch.equal(one[name], other[name]) for name in one)
        image = one["channels"][:, 0] if "channels" in one else one["image"]
        kinds.add("channels" in one)
        assert image.shape == one["label"].shape == one["weight"].shape
        bright, dark = (image[one["label"] > 0.5], image[one["label"] < 0.5])
        if len(bright) > 20 and len(dark) > 20:
            assert bright.mean() > dark.mean() + 0.2  # a target that was turned otherwise than its image would not be
    assert kinds == {True, False}


def test_lessons_come_back_from_their_arrays():
    teacher, cases = PromptedTeacher(), objects()
    lesson = [cases[0][0], cases[1][0]]
    back = teacher.unpack(teacher.pack(lesson))
    for one, other in zip(lesson, back, strict=True):
        assert (one.channels is None) == (other.channels is None)
        assert np.abs(one.image - other.image).max() < 1e-3
        assert one.spacing_mm == pytest.approx(other.spacing_mm)
    with pytest.raises(InputError, match="has no spacing, weight"):
        ObjectLesson.from_arrays({"image": ones(), "target": ones()})


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((10, 20, 30), (1, 1, 1), (10, 20, 30)),
        ((10, 100, 90), (10, 1.5, 1.5), (2, 100, 90)),
        ((60, 60, 60), (1, 1, 1), (28, 28, 28)),
        ((30, 80, 80), (2, 1, 1), (18, 36, 36)),
    ],
)
def test_pieces_are_whole_slices_or_cubes(shape, spacing, expected):
    assert piece_shape(shape, spacing, 24_000) == expected


def test_simulated_prompts_lie_on_what_they_mark():
    labels = blob(0).astype(np.uint8) * 3
    prompts = simulated_prompts(labels, 4)
    on, off = prompts.scribbles.for_label(3)
    assert len(on) > 0 < len(off)
    assert labels[tuple(on.T)].all()
    assert not labels[tuple(off.T)].any()
    assert simulated_prompts(labels, 4).scribbles.equals(prompts.scribbles)
    assert simulated_prompts(labels * 0, 4).is_empty


def test_images_are_turned_to_the_patients_axes_and_back(oblique_geometry):
    axes = PatientAxes.of(oblique_geometry)
    array = np.random.default_rng(0).random((2, *oblique_geometry.shape_kji))
    turned = axes.turned(array)
    assert np.array_equal(axes.turned_back(turned), array)
    directions = oblique_geometry.ijk_to_ras[:3, :3] / np.linalg.norm(oblique_geometry.ijk_to_ras[:3, :3], axis=0)
    for place, axis in enumerate(axes.order):
        along = directions[2 - place, 2 - axis]
        assert abs(along) > 0.4
        assert (along < 0) == (place in axes.flipped)
    assert axes.spacing_mm(oblique_geometry) == pytest.approx(
        [oblique_geometry.spacing_kji_mm[axis] for axis in axes.order]
    )


def test_the_same_patient_is_seen_the_same_however_the_file_is_turned():
    straight = volume(0, Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0])))
    matrix = np.diag([-1.0, -1.0, 3.0, 1.0])
    matrix[:2, 3] = (SHAPE[2] - 1, SHAPE[1] - 1)
    flipped = Volume(np.ascontiguousarray(straight.array_kji[:, ::-1, ::-1]), Geometry(SHAPE, matrix))
    torch.manual_seed(0)
    network = AutomaticNetwork([1], (3.0, 1.0, 1.0), (4, 8)).eval()
    one, other = network.probabilities(straight), network.probabilities(flipped)
    assert np.abs(one - other[:, :, ::-1, ::-1]).max() < 1e-5


@pytest.mark.parametrize(("spacing", "dimensions"), [((3.0, 1.0, 1.0), 2), ((2.9, 1.0, 1.0), 3), ((1.0, 1.0, 3.5), 2)])
def test_thick_slices_are_processed_one_by_one(spacing, dimensions):
    network = AutomaticNetwork([1, 2], spacing, (4, 8)).eval()
    assert network.dimensions == dimensions
    found = network.logits(torch.rand(7, 9, 10))
    assert found.shape == (3, 7, 9, 10)
    with torch.no_grad():
        if dimensions == 2:
            image = torch.rand(7, 9, 10)
            changed = image.clone()
            changed.select(network.axis, 3).zero_()
            differs = (network.logits(image) - network.logits(changed)).abs().amax(dim=0) > 1e-6
            others = [axis for axis in range(3) if axis != network.axis]
            assert differs.any(dim=others[1]).any(dim=others[0]).nonzero().tolist() == [[3]]


def test_a_network_grows_with_the_labels_and_keeps_what_it_knew():
    torch.manual_seed(0)
    network = AutomaticNetwork([5], (1.0, 1.0, 1.0), (4, 8)).eval()
    image = torch.rand(6, 8, 10)
    larger = network.grown([5, 2, 9])
    assert larger.labels == (5, 2, 9)
    # processors may add up in another order for another number of channels
    torch.testing.assert_close(larger.logits(image)[:2], network.logits(image), rtol=0, atol=1e-5)
    assert (larger.logits(image)[2:] < larger.logits(image)[0]).all()
    assert network.grown([5]) is network
    with pytest.raises(InputError, match="different numbers"):
        AutomaticNetwork([2, 2], (1.0, 1.0, 1.0))


def image_of(seed, labels=(1,)):
    teacher, truth = tiny_automatic(), blob(seed).astype(np.float32)
    case = CaseTargets(volume(seed), {label: truth * (label == 1) for label in labels}, ones(), Prompts())
    return teacher.lesson(case, AutomaticNetwork(labels, (1.0, 1.0, 1.0), (4, 8)))


def test_patches_are_a_function_of_their_number_and_know_what_was_known():
    images = [image_of(0, (1, 4)), image_of(1, (1,))]
    settings = PatchSettings(sides=(12, 16), count=(2, 3))
    data = ImageBatches(images, (1, 4), None, Mixture(0.5), 8, 3, settings)
    knowing = set()
    for number in range(8):
        item = data[number]
        assert all(torch.equal(item[name], data[number][name]) for name in item)
        assert item["image"].shape == (2, 1, 12, 12, 12)
        assert item["targets"].shape == (2, 3, 12, 12, 12)
        assert torch.allclose(item["targets"].sum(dim=1)[item["weight"] > 0], torch.tensor(1.0))
        assert item["known"].shape == item["targets"].shape
        knowing |= {tuple(row) for row in item["known"].flatten(2).all(dim=2).tolist()}
        assert not item["remembered"].any()
    assert knowing == {(True, True, True), (True, True, False)}
    flat = ImageBatches(images, (1, 4), 0, Mixture(0.5), 8, 3, settings)[0]
    assert flat["image"].shape == (3, 1, 16, 16)


def in_part(spacing_mm, known_slices):
    """A lesson of label 1, looked at in some slices along S, and label 4, looked at in none but the first two."""
    truth = blob(0).astype(np.uint8)
    review = Review(0, 8, {}).marked(1, SliceState.VERIFIED, known_slices).marked(4, SliceState.ABSENT, [0, 1])
    mask = AcceptedMask(truth, truth, review=review)
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0]))
    case = case_targets(volume(0, geometry), mask, review.known_labels(), 1.0, 0.0)
    return tiny_automatic().lesson(case, AutomaticNetwork([1, 4], spacing_mm, (4, 8)))


def test_slices_that_nobody_reviewed_carry_no_weight_and_no_target():
    lesson = in_part((3.0, 1.0, 1.0), [3, 4])
    assert lesson.weight.any(axis=(1, 2)).tolist() == [True, True, False, True, True, False, False, False]
    assert lesson.targets.any(axis=(2, 3)).tolist() == [[n in (3, 4) for n in range(8)], [False] * 8]
    assert lesson.known.all(axis=(2, 3)).tolist() == [[n in (3, 4) for n in range(8)], [n < 2 for n in range(8)]]
    back = ImageLesson.from_arrays(lesson.arrays())
    assert np.array_equal(back.known, lesson.known)
    data = ImageBatches([back], (1, 4), 0, Mixture(), 12, 0, PatchSettings(sides=(12, 16), count=(2, 3)))
    for number in range(12):
        item = data[number]
        assert (item["weight"] > 0).any(dim=2).any(dim=1).all()  # no patch of which nothing is known
        assert not (item["targets"][:, 1:] * ~item["known"][:, 1:]).any()
        assert torch.isfinite(patch_loss(0.0)(lambda image: image.repeat(1, 3, 1, 1), item))


@pytest.mark.parametrize(("mm", "slices", "known"), [(6.0, [4, 5], [2]), (6.0, [3, 4], [1, 2]), (1.5, [5], [10, 11])])
def test_reviewed_slices_are_known_on_other_voxels(mm, slices, known):
    lesson = in_part((mm, 1.0, 1.0), slices)
    found = np.flatnonzero(lesson.known[0].all(axis=(1, 2))).tolist()
    assert found == known
    assert lesson.targets[0][found].max() == pytest.approx(1, abs=1e-3)


def test_one_verified_slice_among_many_that_the_network_sees_as_one_teaches_nothing():
    review = Review(0, 8, {}).marked(1, SliceState.VERIFIED, [5])
    truth = blob(0).astype(np.uint8)
    case = case_targets(volume(0), AcceptedMask(truth, truth, review=review), (1,), 1.0, 0.0)
    assert tiny_automatic().lesson(case, AutomaticNetwork([1], (12.0, 1.0, 1.0), (4, 8))) is None


def test_the_prompted_network_learns_from_the_reviewed_slices():
    truth = blob(0).astype(np.uint8)
    review = Review(0, 8, {}).marked(1, SliceState.EDITED, [3, 4])
    case = case_targets(volume(0), AcceptedMask(truth, truth, review=review), (1,), 1.0, 0.0)
    [lesson] = PromptedTeacher().lesson(case, PromptedNetwork((4, 4)).eval())
    assert lesson.weight.any(axis=(1, 2)).sum() == 2
    assert not lesson.target[~lesson.weight.any(axis=(1, 2))].any()


def test_what_lies_beyond_an_image_does_not_count():
    item = ImageBatches([image_of(0)], (1,), None, Mixture(), 1, 0, PatchSettings(sides=(40, 96)))[0]
    assert item["weight"][0].sum() == np.prod(image_of(0).image.shape)


def test_images_come_back_from_their_arrays_with_what_was_answered():
    kept = image_of(0).with_dark(torch.full((2, *image_of(0).image.shape), 1.5), [1])
    back = ImageLesson.from_arrays(kept.arrays())
    assert (back.labels, float(back.dark.max())) == ((1,), 1.5)
    assert np.abs(back.image - kept.image).max() < 1e-3
    with pytest.raises(InputError, match="has no labels"):
        ImageLesson.from_arrays({"image": ones(), "targets": ones(), "weight": ones()})


def test_slices_lie_along_the_first_axis_of_what_is_encoded():
    shape = (6, 5, 7)
    marks = torch.zeros(shape, dtype=torch.bool)
    given = predict.sliced_channels(torch.rand(shape), (1.0, 4.0, 1.0), ShownPrompts(~marks, marks, marks))
    assert (given.axis, given.channels.shape[1:], given.spacing_mm) == (1, (5, 6, 7), (4.0, 1.0, 1.0))
