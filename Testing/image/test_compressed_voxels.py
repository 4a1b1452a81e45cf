"""Flipped bits in compressed files: found, or without effect."""

import gzip
import re
import zlib

import numpy as np
import pytest
from casebook_cases import write_case_image

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_volume

FLIPS = 60


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "nii.gz"])
def test_no_flipped_bit_gives_other_voxels(tmp_path, suffix, capfd):
    good = write_case_image(tmp_path / f"good.{suffix}", 1, (3, 8, 9))
    voxels, content = read_volume(good).array_kji, good.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for place in rng.choice(len(content) * 8, FLIPS, replace=False):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << int(place % 8)
        (tmp_path / f"bad.{suffix}").write_bytes(flipped)
        try:
            assert np.array_equal(read_volume(tmp_path / f"bad.{suffix}").array_kji, voxels)
        except InputError:
            refused += 1
    assert refused > FLIPS // 3
    capfd.readouterr()  # what ITK has to say


def of_parts(path):
    """Header, with its last line end, and compressed voxels."""
    content = path.read_bytes()
    end = re.search(rb"\n\n|ElementDataFile = LOCAL\n", content).end()
    return content[:end], content[end:]


@pytest.mark.parametrize(
    ("suffix", "change"),
    [
        ("mha", lambda header: header.replace(b"CompressedDataSize", b"CompressedDataSiz_")),
        ("mha", lambda header: header.replace(b"CompressedData =", b"CompressedDat_ =")),
        ("mha", lambda header: header.replace(b"CompressedData = True\n", b"CompressedData = True ")),
        ("nrrd", lambda header: header.replace(b"sizes: 9 8 3", b"sizes: 9 8 2")),
        ("nrrd", lambda header: header.replace(b"sizes: 9 8 3", b"sizes: 1 8 3")),
    ],
)
def test_a_header_that_contradicts_the_voxels_is_refused(tmp_path, suffix, change, capfd):
    path = write_case_image(tmp_path / f"a.{suffix}", 1, (3, 8, 9))
    header, voxels = of_parts(path)
    assert change(header) != header
    path.write_bytes(change(header) + voxels)
    with pytest.raises(InputError, match=rf"a\.{suffix}"):
        read_volume(path)
    capfd.readouterr()


def test_valid_files_of_other_programs_are_read(tmp_path):
    path = write_case_image(tmp_path / "a.nrrd", 1, (3, 8, 9))
    expected = read_volume(path).array_kji
    header, packed = of_parts(path)
    voxels = gzip.decompress(packed)
    (tmp_path / "members.nrrd").write_bytes(header + gzip.compress(voxels[:100]) + gzip.compress(voxels[100:]))
    (tmp_path / "trailing.nrrd").write_bytes(header + gzip.compress(voxels) + b"\n")
    beside = header.rstrip(b"\n") + b"\ndata file: a.raw.gz\n"
    (tmp_path / "beside.nhdr").write_bytes(beside)
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(voxels))
    for name in ("trailing.nrrd", "beside.nhdr"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array_kji, expected)
    meta = of_parts(write_case_image(tmp_path / "b.mha", 1, (3, 8, 9)))[0]
    again = zlib.compress(voxels, 9)
    meta = re.sub(rb"DataSize = \d+", b"DataSize = %d" % len(again), meta)
    (tmp_path / "b.mhd").write_bytes(meta.replace(b"LOCAL", b"b.zraw"))
    (tmp_path / "b.zraw").write_bytes(again)
    np.testing.assert_array_equal(read_volume(tmp_path / "b.mhd").array_kji, expected)
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(voxels)[:-4] + b"\0\0\0\0")
    with pytest.raises(InputError, match=r"a\.raw\.gz is cut short or damaged"):
        read_volume(tmp_path / "beside.nhdr")
