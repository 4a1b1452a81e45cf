"""From a few slices of annotated scans to the organ, in the panel as on the command line."""

import numpy as np
import pytest
from drawn_slices import draw, finished, mark
from test_slicer_slices import needs_elastix

from InteractiveSegLib.cli import main
from InteractiveSegLib.image.image_io import read_labelmap, read_volume, write_labelmap
from InteractiveSegLib.image.metrics import dice

ATRIUM = ("left_atrium_mri/06SR5RBREL16DQ6M8LWS", "mr", 0.94)
SPLEEN = ("ct_spleen_msd/spleen2_crop", "ct", 0.95)
EVERY = 6


def annotated(truth):
    """Every sixth slice from the object's first to its last, these two, and the empty ones beside them."""
    held = np.flatnonzero(truth.any(axis=(1, 2))).tolist()
    chosen = {held[0] - 1, *held[::EVERY], held[-1], held[-1] + 1}
    return sorted(index for index in chosen if 0 <= index < len(truth))


@pytest.mark.slow
@needs_elastix
@pytest.mark.parametrize(("case", "preset", "least"), [ATRIUM, SPLEEN])
def test_every_sixth_slice_becomes_the_organ_as_by_the_command_line(person, shared_data, tmp_path, case, preset, least):
    import slicer

    image = shared_data / f"{case}_image.nii.gz"
    geometry = read_volume(image).geometry
    truth = read_labelmap(shared_data / f"{case}_label.nii.gz", geometry) == 1
    person.choose(slicer.util.loadVolume(str(image)))
    person.add_segment()
    indices = annotated(truth)
    draw(person, truth, *((0, index) for index in indices))
    mark(person, *((0, index) for index in indices))
    person.pick("presetBox", "PropagatePreset", preset)

    drawn = tmp_path / "drawn.nrrd"
    write_labelmap(drawn, person.labelmap(), geometry)
    words = [str(image), "--slices", str(drawn), "--annotated", ",".join(map(str, indices)), "--preset", preset]
    assert main(["propagate", *words, "-o", str(tmp_path / "mask.nrrd"), "--quiet"]) == 0
    expected = read_labelmap(tmp_path / "mask.nrrd", geometry)

    finished(person, "propagateButton")
    found = person.labelmap()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[indices] == 1, truth[indices])
    between = np.setdiff1d(np.flatnonzero(truth.any(axis=(1, 2))), indices)
    assert dice(found[between] == 1, truth[between]) > least
    finished(person, "nextSliceButton")
    best = person.panel.propagating.advice.suggestions[0]
    assert (best.axis, best.index) not in {(0, index) for index in indices}
