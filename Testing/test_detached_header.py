"""Which files hold an image's voxels."""

import pytest

from InteractiveSegLib.image.detached_header import data_files

NRRD = "NRRD0005\ntype: short\ndimension: 3\nsizes: 4 4 3\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 4 4 3\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.nhdr", f"{NRRD}data file: my voxels.raw\n", ["my voxels.raw"]),
        ("a.nhdr", f"{NRRD}DATAFILE: sub/v.raw\nencoding: raw\n", ["sub/v.raw"]),
        ("a.nhdr", f"{NRRD}data file: LIST 2\nv1.raw\nv2.raw\n", ["v1.raw", "v2.raw"]),
        ("a.nhdr", f"{NRRD}data file: v%02d.raw 8 10 1\n", ["v08.raw", "v09.raw", "v10.raw"]),
        ("a.nrrd", f"{NRRD}encoding: raw\n\ndata file: in the voxels", []),
        ("a.mhd", f"{META}ElementDataFile = a.raw\n", ["a.raw"]),
        ("a.mhd", f"{META}ElementDataFile = LIST\nv1.raw\nv2.raw\n", ["v1.raw", "v2.raw"]),
        ("a.mhd", f"{META}ElementDataFile = v%d.raw 3 1 -1\n", ["v3.raw", "v2.raw", "v1.raw"]),
        ("a.mha", f"{META}ElementDataFile = LOCAL\nElementDataFile = x", []),
        ("a.hdr", "", ["a.img"]),
        ("a.img", "", ["a.hdr"]),
        ("a.nii", "NRRD no", []),
    ],
)
def test_a_header_names_its_files(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert data_files(tmp_path / name) == [tmp_path / each for each in expected]


def test_what_is_missing_has_no_files(tmp_path):
    assert data_files(tmp_path / "a.mhd") == []
