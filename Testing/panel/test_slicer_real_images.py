"""A person's whole session on annotated scans: the mouse draws, the worker segments, the scene keeps it all."""

import numpy as np
import pytest
from scene_by_command import by_command_line

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.image_io import read_labelmap, read_volume
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.prompts.scribbles import BACKGROUND

HEART = ("acdc_cardiac/patient001_frame01", 3, 1, 0.8)
HIPPOCAMPUS = ("hippocampus_msd/hippocampus_001", 2, 1, 0.6)
_MARGIN = 2


def largest_slice(truth):
    """Index along k of the slice with most of an object."""
    return int(truth.sum(axis=(1, 2)).argmax())


def longest_row(mask_ji):
    """(j, first i, last i) of the longest run of voxels in a row."""
    best = (0, 0, -1)
    for j, row in enumerate(mask_ji):
        edges = np.flatnonzero(np.diff(np.r_[0, row.astype(int), 0]))
        for first, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop - first > best[2] - best[1] + 1:
                best = (j, int(first), int(stop) - 1)
    return best


def draw_box(person, truth):
    """Two clicks in the axial view round an object, then its first and last slice."""
    box, k = BoundingBox.of_mask(truth), largest_slice(truth)
    (k0, j0, i0), (k1, j1, i1) = box.start_kji, box.stop_kji
    person.place_box((k, j0 - _MARGIN, i0 - _MARGIN), (k, j1 + _MARGIN - 1, i1 + _MARGIN - 1))
    person.ui("depthRange").setValues(k0, k1 - 1)
    found = person.panel.controller.workspace.box(person.parameters.segment)[0]
    assert (found.start_kji[0], found.stop_kji[0]) == (k0, k1)
    assert np.abs(np.array(found.start_kji[1:]) - (j0 - _MARGIN, i0 - _MARGIN)).max() <= 1


def scribble_where_it_is_wrong(person, truth, mask):
    """One stroke on the object and one beside it, in the slice with most of it."""
    person.ui("brushSlider").value = 0.5
    k = largest_slice(truth)
    missed = truth[k] & ~mask[k]
    j, first, last = longest_row(missed if missed.any() else truth[k])
    person.scribble("object", (k, j, first), (k, j, last))
    j, first, last = longest_row(mask[k] & ~truth[k]) if (mask[k] & ~truth[k]).any() else (0, 0, 3)
    person.scribble("background", (k, j, first), (k, j, last))


def compute(person, button):
    person.press(button)
    person.wait()
    assert not person.status.is_error, person.status
    return person.labelmap()


@pytest.mark.parametrize(("case", "first", "second", "least"), [HEART, HIPPOCAMPUS])
def test_a_session_on_a_scan_equals_the_command_line(
    person, shared_data, monkeypatch, tmp_path, case, first, second, least
):
    import slicer

    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as many threads as this process has
    image = shared_data / f"{case}_image.nii.gz"
    truth = read_labelmap(shared_data / f"{case}_label.nii.gz", read_volume(image).geometry)
    volume = slicer.util.loadVolume(str(image))
    person.choose(volume)
    segment = person.add_segment()

    draw_box(person, truth == first)
    by_box = compute(person, "segmentButton")
    np.testing.assert_array_equal(by_box, by_command_line(tmp_path, person, "--no-adapt", image=image))

    scribble_where_it_is_wrong(person, truth == first, by_box == 1)
    tuned = compute(person, "fineTuneButton")
    np.testing.assert_array_equal(tuned, by_command_line(tmp_path, person, image=image))
    marks = person.controller.workspace.marks().all
    assert {1, BACKGROUND} == set(marks.labels.tolist())
    np.testing.assert_array_equal(tuned[tuple(marks.indices_kji.T)] == 1, marks.labels == 1)
    assert dice(tuned == 1, truth == first) > least

    person.press("undoButton")
    np.testing.assert_array_equal(person.labelmap(), by_box)
    person.press("redoButton")
    np.testing.assert_array_equal(person.labelmap(), tuned)

    person.add_segment()
    draw_box(person, truth == second)
    both = compute(person, "segmentButton")
    np.testing.assert_array_equal(both == 1, tuned == 1)
    assert dice(both == 2, truth == second) > 0.3

    path = tmp_path / "study.mrb"
    prompts, _ = person.controller.workspace.prompts()
    assert slicer.util.saveScene(str(path))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(path))
    person.settle()
    np.testing.assert_array_equal(person.labelmap(), both)
    again, _ = person.controller.workspace.prompts()
    assert dict(again.boxes) == dict(prompts.boxes)
    assert again.scribbles.equals(prompts.scribbles)

    person.parameters.segment = segment
    again = compute(person, "fineTuneButton")
    assert dice(again == 1, truth == first) > least
    np.testing.assert_array_equal(again == 2, both == 2)
