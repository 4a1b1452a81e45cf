"""Labels are placed on the image's grid without resampling, or refused."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap, write_labelmap

SHAPE_KJI = (10, 20, 31)
LABELS = np.random.default_rng(2).integers(0, 4, SHAPE_KJI).astype(np.uint8)


def seg_nrrd(path, layers, geometry, offset_ijk=(0, 0, 0), **fields):
    """A segmentation as 3D Slicer writes it: (layers, K, J, I), whose first voxel lies at the offset in the image."""
    matrix = geometry.ijk_to_ras @ np.r_[np.c_[np.eye(3), offset_ijk], [[0, 0, 0, 1]]]
    lps = np.diag([-1, -1, 1]) @ matrix[:3]
    vector = "({:.17g},{:.17g},{:.17g})".format
    lines = ["NRRD0004", "type: uint8", "space: left-posterior-superior", "encoding: raw"]
    directions, kinds, sizes = [vector(*lps[:, axis]) for axis in range(3)], ["domain"] * 3, layers.shape[:0:-1]
    if len(layers) > 1:
        directions, kinds, sizes = ["none", *directions], ["list", *kinds], (len(layers), *sizes)
    lines += [
        f"dimension: {len(sizes)}",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
    ]
    lines += [f"kinds: {' '.join(kinds)}", f"space origin: {vector(*lps[:, 3])}"]
    lines += ["Segmentation_ReferenceImageExtentOffset:=" + " ".join(map(str, offset_ijk))]
    lines += [f"{key}:={text}" for key, text in fields.items()]
    voxels = np.ascontiguousarray(np.moveaxis(layers, 0, -1))
    path.write_bytes("\n".join([*lines, "", ""]).encode() + voxels.tobytes())
    return path


@pytest.mark.parametrize("voxels", [0.03, 0.06, 0.09])
def test_a_grid_that_differs_by_less_than_a_tenth_of_a_voxel_is_the_same(tmp_path, oblique_geometry, voxels):
    moved = oblique_geometry.ijk_to_ras.copy()
    moved[2, 3] += voxels * 0.5
    write_labelmap(tmp_path / "l.nrrd", LABELS, Geometry(SHAPE_KJI, moved))
    notes = []
    np.testing.assert_array_equal(read_labelmap(tmp_path / "l.nrrd", oblique_geometry, notes), LABELS)
    assert f"lies up to {voxels * 0.5:.2g} mm off the image's grid" in notes[0]


@pytest.mark.parametrize("voxels", [0.12, 0.5, 1])
def test_a_grid_that_differs_by_more_is_refused(tmp_path, oblique_geometry, voxels):
    moved = oblique_geometry.ijk_to_ras.copy()
    moved[2, 3] += voxels * 0.5
    write_labelmap(tmp_path / "l.nrrd", LABELS, Geometry(SHAPE_KJI, moved))
    with pytest.raises(InputError, match="mm away from where it should be"):
        read_labelmap(tmp_path / "l.nrrd", oblique_geometry)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1), (0, 1, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_axes_in_another_order_or_direction_are_put_right(tmp_path, oblique_geometry, order, flips):
    image = sitk.GetImageFromArray(LABELS)
    origin, spacing, direction = oblique_geometry.to_lps()
    image.SetOrigin(origin), image.SetSpacing(spacing), image.SetDirection(direction)
    image = sitk.Flip(sitk.PermuteAxes(image, order), [flip < 0 for flip in flips])
    sitk.WriteImage(image, tmp_path / "l.nrrd")
    notes = []
    np.testing.assert_array_equal(read_labelmap(tmp_path / "l.nrrd", oblique_geometry, notes), LABELS)
    assert len(notes) == int((order, flips) != ((0, 1, 2), (1, 1, 1)))
    assert all("they were reordered" in note for note in notes)


@pytest.mark.parametrize("offset_ijk", [(3, 4, 2), (0, 0, 0), (25, 14, 6)])
def test_a_cropped_segmentation_lies_where_it_was(tmp_path, oblique_geometry, offset_ijk):
    i, j, k = offset_ijk
    part = LABELS[k : k + 4, j : j + 6, i : i + 5]
    path = seg_nrrd(tmp_path / "s.seg.nrrd", part[None], oblique_geometry, offset_ijk)
    expected = np.zeros_like(LABELS)
    expected[k : k + 4, j : j + 6, i : i + 5] = part
    notes = []
    np.testing.assert_array_equal(read_labelmap(path, oblique_geometry, notes), expected)
    assert notes == []


def test_what_of_a_segmentation_lies_outside_the_image_is_cut_with_a_note(tmp_path, oblique_geometry):
    part = np.ones((1, 4, 6, 5), np.uint8)
    path = seg_nrrd(tmp_path / "s.seg.nrrd", part, oblique_geometry, (-2, 0, 8))
    notes = []
    labels = read_labelmap(path, oblique_geometry, notes)
    assert labels.sum() == labels[8:, :6, :3].sum() == 2 * 6 * 3
    assert f"{4 * 6 * 5 - 36} voxels of" in notes[0]


def test_a_cropped_labelmap_that_is_no_segmentation_is_refused(tmp_path, oblique_geometry):
    write_labelmap(tmp_path / "l.nrrd", LABELS[:4], Geometry((4, 20, 31), oblique_geometry.ijk_to_ras))
    with pytest.raises(InputError, match="has the shape"):
        read_labelmap(tmp_path / "l.nrrd", oblique_geometry)


def test_layers_become_one_labelmap(tmp_path, oblique_geometry):
    layers = np.zeros((2, *SHAPE_KJI), np.uint8)
    layers[0, :4], layers[0, 4:6], layers[1, 3:5], layers[1, 9] = 1, 2, 1, 9
    path = seg_nrrd(
        tmp_path / "s.seg.nrrd", layers, oblique_geometry,
        Segment0_Name="liver", Segment0_LabelValue=1, Segment0_Layer=0,
        Segment1_Name="vessel", Segment1_LabelValue=2, Segment1_Layer=0,
        Segment2_Name="tumour", Segment2_LabelValue=1, Segment2_Layer=1,
    )  # fmt: skip
    notes = []
    labels = read_labelmap(path, oblique_geometry, notes)
    assert labels[:, 0, 0].tolist() == [1, 1, 1, 3, 3, 2, 0, 0, 0, 0]
    assert "1 'liver', 2 'vessel', 3 'tumour'" in notes[0]
    assert f"overlap in {2 * 20 * 31} voxels" in notes[1]
    assert f"{20 * 31} voxels of s.seg.nrrd belong to no segment" in notes[2]


def test_values_of_their_own_are_kept_and_old_files_have_a_segment_a_layer(tmp_path, oblique_geometry):
    layers = np.zeros((2, *SHAPE_KJI), np.uint8)
    layers[0, :4], layers[1, 6:] = 5, 7
    path = seg_nrrd(tmp_path / "a.seg.nrrd", layers, oblique_geometry, Segment0_LabelValue=5, Segment1_LabelValue=7,
                    Segment1_Layer=1)  # fmt: skip
    assert read_labelmap(path, oblique_geometry)[:, 0, 0].tolist() == [5] * 4 + [0] * 2 + [7] * 4
    path = seg_nrrd(
        tmp_path / "b.seg.nrrd", np.minimum(layers, 1), oblique_geometry, Segment0_Name="a", Segment1_Name="b"
    )
    assert read_labelmap(path, oblique_geometry)[:, 0, 0].tolist() == [1] * 4 + [0] * 2 + [2] * 4


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "2 layers, but its header names no segment"),
        ({"Segment0_Layer": 2}, "lies in layer 2, of 2"),
        ({"Segment0_LabelValue": "one"}, "not an integer"),
    ],
)
def test_layers_that_cannot_be_understood_are_refused(tmp_path, oblique_geometry, fields, text):
    path = seg_nrrd(tmp_path / "s.seg.nrrd", np.ones((2, *SHAPE_KJI), np.uint8), oblique_geometry, **fields)
    with pytest.raises(InputError, match=text):
        read_labelmap(path, oblique_geometry)
