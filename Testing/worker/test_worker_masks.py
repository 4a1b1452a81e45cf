"""A worker process gives the same masks as a session in this process, from the part of the image it received."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_network, dice, ellipsoid, noisy
from stopwatch import Stopwatch
from warm_worker import warm_worker_command

from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_image, write_labelmap
from InteractiveSegLib.networks.checkpoint import load_network, save_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.lasso import Lasso
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.records.message import Decoder
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings
from InteractiveSegLib.worker.blocking import BlockingWorker
from InteractiveSegLib.worker.job import JobCallbacks
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest

BOX = BoundingBox((2, 4, 6), (11, 17, 21))
AT = (20, 30, 40)  # where the blob lies in a larger image


@pytest.fixture(scope="module")
def worker():
    """One process for the tests of this file; what one leaves in its cache must not matter to the next."""
    with BlockingWorker(warm_worker_command()) as worker:
        yield worker


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_network(blob_network(), folder / "blobs.safetensors", {})
    return str(folder)


def small(geometry=None, array=None):
    array = noisy(ellipsoid()) if array is None else array
    return Volume(array, geometry or Geometry(array.shape, np.eye(4)), "blob")


def large(dtype=np.int16):
    """A blob at AT in 80 x 90 x 100 voxels of noise that is brighter far away."""
    array = np.random.default_rng(1).normal(50, 12, (80, 90, 100)).round().clip(0)
    array[60:] += 500
    array[tuple(slice(a, a + n) for a, n in zip(AT, SHAPE_KJI, strict=True))] = noisy(ellipsoid())
    return small(array=array.astype(dtype))


def scribbles(*marks, at=(0, 0, 0)):
    return Scribbles(np.array([voxel for voxel, _ in marks]) + at, np.array([label for _, label in marks]))


def on_blob(label=1, at=(0, 0, 0)):
    marks = [((6, 10, i), label) for i in range(9, 18)] + [((1, 1, i), BACKGROUND) for i in range(5)]
    return scribbles(*marks, at=at)


def moved(box, at=AT):
    return BoundingBox(np.add(box.start_kji, at).tolist(), np.add(box.stop_kji, at).tolist())


def assert_the_same(worker, volume, draw, request, settings=lambda settings: settings, least=100):
    """``draw`` on a session here and for the worker; the masks and probabilities must not differ in a voxel."""
    network = load_network(request.model)
    session = ImageSession(volume, network, settings(BifsegSettings.for_network(network)), request.seed)
    draw(session)
    expected = finish(session.segment(request.adapt))
    worker.client.set_image(volume)
    worker.client.prompts = session.prompts
    result = worker.run(request)
    assert result.regions == {n: found.region for n, found in expected.objects.items() if found.region is not None}
    shape = volume.geometry.shape_kji
    np.testing.assert_array_equal(result.labelmap(shape), session.labelmap())
    assert np.count_nonzero(session.labelmap()) > least
    assert set(result.probabilities) == (set(expected.objects) if request.with_probability else set())
    for label, found in result.probabilities.items():
        np.testing.assert_array_equal(found.values, expected.objects[label].probability)
    return result


def test_a_box_and_scribbles_give_the_same_mask_and_probability(worker, model):
    def draw(session):
        session.set_box(1, BOX)
        session.add_scribbles(on_blob())

    assert_the_same(worker, small(), draw, SegmentRequest(model, with_probability=True))


def test_a_click_gives_the_same_mask_and_where_it_was_looked_for(worker):
    result = assert_the_same(
        worker, small(), lambda session: session.add_scribbles(scribbles(((6, 10, 13), 1))), SegmentRequest()
    )
    assert set(result.regions) == {1}


def test_the_shipped_network_gives_the_same_mask_on_an_oblique_anisotropic_grid(worker, oblique_geometry):
    volume = small(Geometry(SHAPE_KJI, oblique_geometry.ijk_to_ras))
    assert_the_same(worker, volume, lambda session: session.set_box(1, BOX), SegmentRequest())


def test_scribbles_without_a_box_are_enough(worker, model):
    assert_the_same(worker, small(), lambda session: session.add_scribbles(on_blob()), SegmentRequest(model))


@pytest.mark.parametrize("dtype", [np.int16, np.float64, np.uint64, np.longdouble])
def test_of_a_large_image_only_what_counts_travels_and_the_mask_is_that_of_the_whole(worker, model, monkeypatch, dtype):
    travelled, real = [], type(worker.transport or worker._start()).write
    monkeypatch.setattr(type(worker.transport), "write", lambda self, data: travelled.append(data) or real(self, data))

    def draw(session):
        session.set_box(1, moved(BOX))
        session.set_box(2, BoundingBox((14, 30, 50), (26, 50, 80)))
        session.add_scribbles(on_blob(2, at=(20, 40, 60)))
        session.add_scribbles(scribbles(((70, 80, 90), BACKGROUND)))

    volume = large(dtype)
    assert_the_same(worker, volume, draw, SegmentRequest(model, adapt=False))
    sent = [message for message in Decoder().feed(b"".join(travelled)) if message.kind == "voxels"]
    voxels = sum(message.arrays["voxels"].size for message in sent)
    assert 2000 < voxels < volume.array_kji.size / 8
    seen = np.zeros(volume.array_kji.shape, int)
    for message in sent:
        seen[BoundingBox(*message.fields["box"]).slices] += 1
    assert seen.max() == 1  # each voxel once, also where crops overlap


def test_several_objects_lassos_and_start_masks_give_the_same_masks(worker):
    def draw(session):
        session.set_box(1, BOX)
        session.add_scribbles(on_blob(3))
        session.set_start(2, ellipsoid(centre_kji=(6, 14, 18), radii_kji=(2, 3, 3)))
        session.add_lasso(4, Lasso(0, 9, np.array([[2, 2], [2, 7], [7, 7], [7, 2]])))
        session.add_edits(
            np.zeros(SHAPE_KJI, np.uint8), np.where(ellipsoid(radii_kji=(1, 1, 1)), 3, 0).astype(np.uint8)
        )

    result = assert_the_same(worker, small(), draw, SegmentRequest())
    assert set(result.masks) == {1, 2, 3, 4}


def test_settings_change_the_mask_as_they_do_here(worker, model):
    def changed(settings):
        return replace(
            settings,
            smoothness_voxels=0.5,
            energy=replace(settings.energy, sigma=0.02),
            adapt=replace(settings.adapt, rounds=2),
        )

    def draw(session):
        session.set_box(1, BOX)
        session.add_scribbles(on_blob())

    volume = small(array=noisy(ellipsoid(), noise=60))
    request = SegmentRequest(model, seed=7, smoothness=0.5, sigma=0.02, rounds=2)
    rough = assert_the_same(worker, volume, draw, request, changed)
    smooth = assert_the_same(worker, volume, draw, SegmentRequest(model, seed=7))
    assert (rough.labelmap(SHAPE_KJI) != smooth.labelmap(SHAPE_KJI)).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_an_image(worker, model, axis):
    middle = (6, 10, 13)
    array, blob = (np.take(values, [middle[axis]], axis) for values in (noisy(ellipsoid()), ellipsoid()))
    mark = tuple(0 if other == axis else at for other, at in enumerate(middle))

    def draw(session):
        session.set_box(1, BoundingBox.of_mask(blob))
        session.add_scribbles(scribbles((mark, 1)))

    assert_the_same(worker, small(array=array), draw, SegmentRequest(model), least=0)


def test_voxels_that_are_not_finite_are_noted(worker, model):
    array = noisy(ellipsoid()).astype(np.float32)
    array[5, 10, 7:10] = np.nan
    array[5, 10, 11] = np.inf
    result = assert_the_same(
        worker, small(array=array), lambda session: session.set_box(1, BOX), SegmentRequest(model, adapt=False)
    )
    assert result.notes == ("4 voxels round label 1 are NaN or infinite; they are treated as the darkest finite value",)


def test_an_image_without_a_finite_voxel_is_refused_and_the_worker_lives_on(worker, model):
    worker.client.set_image(small(array=np.full(SHAPE_KJI, np.nan)))
    worker.client.prompts = worker.client.prompts.with_box(1, BOX)
    with pytest.raises(InputError, match="NaN or infinite"):
        worker.run(SegmentRequest(model))
    assert_the_same(worker, small(), lambda session: session.set_box(1, BOX), SegmentRequest(model, adapt=False))


def test_an_edited_drawing_sends_what_changed(worker, model, monkeypatch):
    volume = large()
    worker.client.set_image(volume)
    session = ImageSession(volume, load_network(model))
    session.set_start(1, ellipsoid(volume.geometry.shape_kji, (26, 40, 53), (3, 5, 6)))
    session.set_box(1, moved(BOX))
    session.add_scribbles(on_blob(at=AT))
    request = SegmentRequest(model, adapt=False)
    sizes, real = [], type(worker.transport).write
    monkeypatch.setattr(type(worker.transport), "write", lambda self, data: sizes.append(len(data)) or real(self, data))
    worker.client.prompts = session.prompts
    worker.run(request)
    sizes.clear()
    session.add_scribbles(scribbles(((26, 40, 56), BACKGROUND)))
    worker.client.prompts = session.prompts
    result = worker.run(request)
    assert sum(sizes) < 1500
    finish(session.segment(adapt=False))
    np.testing.assert_array_equal(result.labelmap(volume.geometry.shape_kji), session.labelmap())
    larger = BoundingBox(moved(BOX).start_kji, (31, 47, 65))
    session.set_box(1, larger)
    sizes.clear()
    worker.client.prompts = session.prompts
    result = worker.run(request)
    assert sum(sizes) < 40_000  # the crop has 100,000 bytes; what it grew by travels
    finish(session.segment(adapt=False))
    np.testing.assert_array_equal(result.labelmap(volume.geometry.shape_kji), session.labelmap())


def test_the_same_prompts_on_an_image_of_another_shape_mark_the_same_voxels(worker, model):
    prompts = Prompts({1: BOX}, on_blob(2))
    for more in (0, 5):
        volume = small(array=np.pad(noisy(ellipsoid()), ((0, more), (0, more), (0, more))))
        assert_the_same(worker, volume, lambda session: setattr(session, "prompts", prompts), SegmentRequest(model))


def test_two_parts_of_a_real_hippocampus_are_the_same(worker, shared_data):
    path = min((shared_data / "hippocampus_msd").glob("*_image.nii.gz"))
    volume = read_volume(path)
    truth = read_labelmap(path.with_name(path.name.replace("_image", "_label")), volume.geometry)

    def draw(session):
        for label in (1, 2):
            session.set_box(label, BoundingBox.of_mask(truth == label).expanded((1, 2, 2)))
            marks = np.argwhere(truth == label)[::40]
            session.add_scribbles(Scribbles(marks, np.full(len(marks), label)))

    result = assert_the_same(worker, volume, draw, SegmentRequest(with_probability=True))
    found = result.labelmap(volume.geometry.shape_kji)
    assert min(dice(found == label, truth == label) for label in (1, 2)) > 0.7


def test_the_mask_equals_that_of_the_command_line(worker, model, tmp_path, monkeypatch, oblique_geometry):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.nrrd", large().array_kji, Geometry((80, 90, 100), oblique_geometry.ijk_to_ras))
    volume = read_volume("image.nrrd")
    marks = on_blob(at=AT).to_labelmap(volume.geometry.shape_kji)
    write_labelmap(tmp_path / "marks.nrrd", marks, volume.geometry)
    box = moved(BOX)
    words = [*box.start_kji[::-1], *box.stop_kji[::-1]]
    command = ["segment", "image.nrrd", "--scribbles", "marks.nrrd", "--box", *map(str, words), "--model", model]
    assert main([*command, "--probability", "p.nrrd", "-o", "mask.nrrd", "--quiet"]) == 0
    worker.client.set_image(volume)
    worker.client.prompts = worker.client.prompts.with_box(1, box).with_scribbles(Scribbles.from_labelmap(marks))
    result = worker.run(SegmentRequest(model, with_probability=True))
    shape, written = volume.geometry.shape_kji, read_labelmap(Path("mask.nrrd"), volume.geometry)
    np.testing.assert_array_equal(result.labelmap(shape), written)
    np.testing.assert_array_equal(result.probability_map(shape), read_volume("p.nrrd").array_kji)


def test_a_long_round_is_cancelled_within_a_second_wherever_it_is(worker):
    """A box of half a million voxels, coarser when it is worked on, then fitted again at full resolution."""
    shape = (70, 80, 90)
    volume = small(array=noisy(ellipsoid(shape, (35, 40, 45), (25, 30, 35))))
    worker.client.set_image(volume)
    worker.client.prompts = worker.client.prompts.with_box(1, BoundingBox((5, 5, 5), (65, 75, 85)))
    seen = []
    result = worker.run(SegmentRequest(), lambda progress: seen.append(progress.text))
    for number, text in enumerate(dict.fromkeys(seen)):
        box = BoundingBox((5, 5, 5), (65, 75, 84 - number))  # of another box nothing is known yet
        worker.client.prompts = worker.client.prompts.with_box(1, box)
        texts, stopped = [], []
        callbacks = JobCallbacks(lambda progress, texts=texts: texts.append(progress.text), stopped=stopped.append)
        job = worker.client.submit(SegmentRequest(), callbacks)
        assert worker.loop.run_until(lambda text=text, texts=texts: text in texts, 60)
        with Stopwatch() as took:
            job.cancel()
            assert worker.wait(job, 15)
        assert took.seconds < 1
        assert stopped == ["cancelled"]
    assert len(set(seen)) >= 2
    session = ImageSession(volume, load_network(SegmentRequest().model))
    session.set_box(1, BoundingBox((5, 5, 5), (65, 75, 85)))
    finish(session.segment())
    np.testing.assert_array_equal(result.labelmap(shape), session.labelmap())
