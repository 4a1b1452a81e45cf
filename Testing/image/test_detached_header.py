"""Which files contain an image's voxels."""

import os

import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.detached_header import data_files
from InteractiveSegLib.image.image_io import read_volume

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
        ("a.mhd", f"{META}ElementDataFile = ./sub/a.raw\n", ["sub/a.raw"]),
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


LEADING_OUT = [
    "/etc/hosts",
    "../out.raw",
    "sub/../../out.raw",
    "./../out.raw",
    "C:\\out.raw",
    "c:out.raw",
    "\\\\server\\out.raw",
    "..\\out.raw",
    "v%d.raw/../../out.raw 1 2 1",
    "LIST\nv1.raw\n../out.raw",
]


@pytest.mark.parametrize("name", LEADING_OUT, ids=repr)
@pytest.mark.parametrize(
    "header",
    [
        f"{META}ElementSpacing = 1 1 1\nElementType = MET_CHAR\nElementDataFile = {{}}\n",
        f"{NRRD.replace('short', 'uint8')}encoding: raw\ndata file: {{}}\n",
    ],
    ids=["mhd", "nhdr"],
)
def test_a_header_that_names_a_file_elsewhere_is_refused_and_the_file_is_not_read(tmp_path, header, name):
    folder = tmp_path / "image"
    folder.mkdir()
    for path in (tmp_path / "out.raw", folder / "v1.raw"):
        path.write_bytes(bytes(48))
    path = folder / ("a.nhdr" if header.startswith("NRRD") else "a.mhd")
    path.write_text(header.format(name), newline="")
    with pytest.raises(
        InputError, match=r"is not allowed to lead out of .*only from the folder of their header"
    ) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError):
        data_files(path)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
@pytest.mark.parametrize("name", ["a.raw", "sub/a.raw"])
def test_a_link_that_leads_out_of_the_folder_of_the_header_is_refused(tmp_path, name):
    folder = tmp_path / "image"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.raw").write_bytes(bytes(96))
    (folder / "a.raw").symlink_to(tmp_path / "elsewhere" / "a.raw")
    (folder / "sub").symlink_to(tmp_path / "elsewhere")
    (folder / "a.mhd").write_text(f"{META}ElementType = MET_SHORT\nElementDataFile = {name}\n")
    with pytest.raises(InputError, match="which a link leads out of"):
        read_volume(folder / "a.mhd")


def test_a_folder_that_is_a_link_holds_a_header_and_its_voxels(tmp_path):
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "a.raw").write_bytes(bytes(96))
    (folder / "a.mhd").write_text(f"{META}ElementSpacing = 1 1 1\nElementType = MET_SHORT\nElementDataFile = a.raw\n")
    (tmp_path / "link").symlink_to(folder)
    assert read_volume(tmp_path / "link" / "a.mhd").array_kji.shape == (3, 4, 4)


@pytest.mark.parametrize(
    "header",
    [
        f"{META}ElementDataFile : ../out.raw\n",
        f"{META} ElementDataFile = ../out.raw\n",
        f"{META}\rElementDataFile = ../out.raw\r",
        f"{META}Comment = ElementDataFile = a.raw\nElementDataFile = ../out.raw\n",
        f"{NRRD}# x\rdata file: ../out.raw\n",
        f"{NRRD}# {'x' * (1 << 20)}\ndata file: ../out.raw\n",
        f"{META}\n",
    ],
    ids=["colon", "indented", "old line ends", "in a comment", "old line ends in NRRD", "far down", "nowhere"],
)
def test_a_header_that_readers_may_understand_otherwise_is_refused(tmp_path, header):
    path = tmp_path / ("a.nhdr" if header.startswith("NRRD") else "a.mhd")
    path.write_text(header, newline="")
    with pytest.raises(InputError, match=r"where its voxels are|lead out of|does not end"):
        data_files(path)
