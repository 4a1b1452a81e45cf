"""What may be overwritten: none of the user's files without their consent."""

import os

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_volume, write_image, write_labelmap
from InteractiveSegLib.image.output_files import is_output_of, require_free, require_no_input, written_by

GEOMETRY = Geometry((3, 4, 5), np.diag([-1.0, -1.0, 2.0, 1.0]))


def mask(value=1):
    labels = np.zeros((3, 4, 5), np.int16)
    labels[1, 1:3, 2] = value
    return labels


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.nrrd", "m.mha"])
@pytest.mark.parametrize("array", [mask(), mask(300), mask().astype(bool), mask(1).astype(np.float32) / 3])
def test_a_command_knows_what_it_wrote_until_somebody_changes_a_voxel(tmp_path, name, array):
    path = tmp_path / name
    write = write_image if array.dtype.kind == "f" else write_labelmap
    write(path, array, GEOMETRY, written_by("segment", array))
    assert is_output_of("segment", path)
    assert not is_output_of("propagate", path)
    [note] = require_free(path, "segment", overwrite=False)
    assert "segment wrote it before" in note
    before = read_volume(path).array_kji
    changed = before.copy()
    changed[0, 0, 0] = 1
    write(path, changed, GEOMETRY, written_by("segment", before))
    assert not is_output_of("segment", path)
    with pytest.raises(InputError, match=r"exists already, and is not what segment wrote \(\d+ bytes of 20"):
        require_free(path, "segment", overwrite=False)
    [note] = require_free(path, "segment", overwrite=True)
    assert note.startswith(f"{path} is replaced (")


@pytest.mark.parametrize("content", [b"", b"a person's notes", b"\x1f\x8b damaged"])
def test_a_file_of_another_kind_is_not_a_commands_own(tmp_path, content):
    path = tmp_path / "m.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="use --overwrite to replace it"):
        require_free(path, "segment", overwrite=False)
    assert require_free(tmp_path / "other.nii.gz", "segment", overwrite=False) == []


def test_a_link_is_there_to_be_written_through(tmp_path):
    write_labelmap(tmp_path / "real.nrrd", mask(), GEOMETRY)
    (tmp_path / "link.nrrd").symlink_to(tmp_path / "real.nrrd")
    [note] = require_free(tmp_path / "link.nrrd", "segment", overwrite=False)
    assert "is a link to" in note
    assert "real.nrrd, which is replaced" in note


@pytest.mark.parametrize("name", ["a.nrrd", "./a.nrrd", "link.nrrd", "hard.nrrd", "data.nrrd", "series/one.nrrd"])
def test_no_input_is_written_over_by_whatever_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_labelmap("a.nrrd", mask(), GEOMETRY)
    (tmp_path / "link.nrrd").symlink_to("a.nrrd")
    os.link("a.nrrd", "hard.nrrd")
    (tmp_path / "b.nhdr").write_text("NRRD0004\ntype: uchar\ndata file: data.nrrd\n")
    (tmp_path / "data.nrrd").write_bytes(b"voxels")
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "one.nrrd").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "series" / "mask.nrrd").write_bytes(b"of an earlier run")
    inputs = [tmp_path / "a.nrrd", None, tmp_path / "b.nhdr", tmp_path / "series"]
    with pytest.raises(InputError, match="is given twice: an output must not replace"):
        require_no_input([tmp_path / name], inputs)
    require_no_input([tmp_path / "series" / "mask.nrrd"], inputs)
