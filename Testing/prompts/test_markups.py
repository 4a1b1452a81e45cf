"""Slicer's markups files, in LPS and RAS, on a flipped and oblique grid; compared with Slicer if it is available."""

import json

import numpy as np
import pytest

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, kji_to_ras
from InteractiveSegLib.prompts.markups import read_lasso, read_points, read_roi

SHAPE_KJI = (10, 20, 31)
OCTAGON_KJI = [(4, 10 + 6 * np.sin(t), 15 + 9 * np.cos(t)) for t in np.arange(8) * np.pi / 4]


def write_roi(path, geometry, center_kji, size_mm, axes_ras=None, frame="LPS", **other):
    """ROI along the voxel axes unless ``axes_ras`` says otherwise, as Slicer writes it."""
    to_frame = np.diag([-1.0, -1.0, 1.0]) if frame == "LPS" else np.eye(3)
    if axes_ras is None:
        axes_ras = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    roi = {
        "type": "ROI",
        "coordinateSystem": frame,
        "center": (to_frame @ kji_to_ras(np.array([center_kji]), geometry)[0]).tolist(),
        "orientation": (to_frame @ axes_ras).ravel().tolist(),
        "size": list(size_mm),
    }
    path.write_text(json.dumps({"markups": [{**roi, **other}]}))
    return path


def write_markup(path, geometry, kind, points_kji, frame="LPS", **other):
    """Control points at continuous array indices, None where one has no position, as Slicer writes them."""
    to_frame = np.array([-1.0, -1.0, 1.0]) if frame == "LPS" else np.ones(3)
    points = []
    for number, point in enumerate(points_kji, 1):
        placed = {"position": "", "positionStatus": "undefined"}
        if point is not None:
            position = kji_to_ras(np.array([point]), geometry)[0] * to_frame
            placed = {"position": position.tolist(), "positionStatus": "defined"}
        points.append({"id": str(number), "label": f"F-{number}", **placed})
    markup = {"type": kind, "coordinateSystem": frame, "coordinateUnits": "mm", "controlPoints": points, **other}
    path.write_text(json.dumps({"markups": [markup]}))
    return path


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_an_roi_along_the_voxels_gives_the_voxels_whose_centres_it_holds(tmp_path, oblique_geometry, frame):
    # 7 columns, 5 rows, 3 slices about voxel (4, 9, 12), and another 0.4 voxel of each
    path = write_roi(
        tmp_path / "r.mrk.json", oblique_geometry, (4, 9, 12), (6.4 * 0.5, 4.4 * 0.7, 2.4 * 3.0), frame=frame
    )
    assert read_roi(path, oblique_geometry) == (BoundingBox((3, 7, 9), (6, 12, 16)), "")


def test_an_roi_on_voxel_centres_holds_them_and_is_not_clipped(tmp_path, oblique_geometry):
    path = write_roi(tmp_path / "r.mrk.json", oblique_geometry, (0, 19, 30), (2 * 0.5, 4 * 0.7, 2 * 3.0))
    assert read_roi(path, oblique_geometry) == (BoundingBox((-1, 17, 29), (2, 22, 32)), "")


def test_the_axes_of_an_roi_may_be_permuted(tmp_path, oblique_geometry):
    axes = oblique_geometry.ijk_to_ras[:3, :3] / (0.5, 0.7, 3.0)
    path = write_roi(
        tmp_path / "r.mrk.json", oblique_geometry, (4, 9, 12), (7.2, 3.2, 3.08), axes[:, [2, 0, 1]] * (1, -1, 1)
    )
    assert read_roi(path, oblique_geometry) == (BoundingBox((3, 7, 9), (6, 12, 16)), "")


def test_a_rotated_roi_is_enclosed_and_reported(tmp_path):
    geometry = Geometry(SHAPE_KJI, np.diag([0.5, 0.7, 3.0, 1.0]))
    c, s = np.cos(np.pi / 4), np.sin(np.pi / 4)
    axes = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    # the diagonal of a 4 mm square reaches 2.83 mm: 5.7 columns, 4.04 rows
    box, note = read_roi(write_roi(tmp_path / "r.mrk.json", geometry, (5, 10, 15), (4, 4, 7), axes), geometry)
    assert box == BoundingBox((4, 6, 10), (7, 15, 21))
    assert "rotated" in note


def test_an_roi_thinner_than_a_voxel_holds_the_nearest(tmp_path, oblique_geometry):
    path = write_roi(tmp_path / "r.mrk.json", oblique_geometry, (4.3, 9, 12), (6.4 * 0.5, 4.4 * 0.7, 0.5))
    box, note = read_roi(path, oblique_geometry)
    assert box == BoundingBox((4, 7, 9), (5, 12, 16))
    assert "thinner" in note


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"size": [0, 4, 4]}, "size above 0"),
        ({"center": [0, None, 4]}, "center must be 3 numbers"),
        ({"center": [0, float("nan"), 4]}, "center"),
        ({"orientation": [1, 0, 0, 0, 1, 0, 0, 0, 0]}, "orthonormal"),
        ({"orientation": None}, "orientation"),
        ({"type": "Fiducial"}, "exactly one ROI, not 0"),
        ({"coordinateSystem": "XYZ"}, "XYZ"),
        ({"coordinateUnits": "cm"}, "cm"),
    ],
)
def test_an_roi_without_place_size_or_axes_is_refused(tmp_path, oblique_geometry, change, text):
    path = write_roi(tmp_path / "r.mrk.json", oblique_geometry, (4, 9, 12), (4, 4, 4), **change)
    with pytest.raises(InputError, match=text):
        read_roi(path, oblique_geometry)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"markups": 3}', '{"markups": [3]}', "\x00"])
def test_a_file_that_is_no_markups_is_refused(tmp_path, oblique_geometry, content):
    (tmp_path / "r.mrk.json").write_text(content)
    with pytest.raises(InputError, match=r"r\.mrk\.json is not a Slicer markups file"):
        read_roi(tmp_path / "r.mrk.json", oblique_geometry)


def test_several_rois_or_none_are_refused(tmp_path, oblique_geometry):
    path = write_roi(tmp_path / "r.mrk.json", oblique_geometry, (4, 9, 12), (4, 4, 4))
    path.write_text(json.dumps({"markups": json.loads(path.read_text())["markups"] * 2}))
    with pytest.raises(InputError, match="not 2"):
        read_roi(path, oblique_geometry)
    with pytest.raises(InputError, match="No such file"):
        read_roi(tmp_path / "none.mrk.json", oblique_geometry)


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_points_are_the_voxels_that_hold_them(tmp_path, oblique_geometry, frame):
    drawn = [(4.4, 9.4, 11.6), (0, 19, 0), (-0.4, -0.4, 30.4)]
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", drawn, frame)
    indices, note = read_points(path, oblique_geometry)
    assert indices.tolist() == [[4, 9, 12], [0, 19, 0], [0, 0, 30]]
    assert (indices.dtype, note) == (np.int64, "")


def test_a_missing_frame_is_lps(tmp_path, oblique_geometry):
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", [(4, 9, 12)])
    content = json.loads(path.read_text())
    del content["markups"][0]["coordinateSystem"], content["markups"][0]["controlPoints"][0]["positionStatus"]
    content["markups"][0]["coordinateUnits"] = ["mm", "UCUM", "millimeter"]
    path.write_text(json.dumps(content))
    assert read_points(path, oblique_geometry)[0].tolist() == [[4, 9, 12]]


def test_points_without_a_position_are_left_out_and_reported(tmp_path, oblique_geometry):
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", [(4, 9, 12), None, (1, 2, 3)])
    indices, note = read_points(path, oblique_geometry)
    assert indices.tolist() == [[4, 9, 12], [1, 2, 3]]
    assert note == "1 of 3 points of p.mrk.json have no position and are left out."


@pytest.mark.parametrize("outside", [(4, 9, 30.6), (4, 9, -0.6), (9.6, 9, 12), (1e9, 9, 12)])
def test_points_outside_the_image_are_refused_with_their_place(tmp_path, outside):
    geometry = Geometry(SHAPE_KJI, np.diag([0.5, 0.7, 3.0, 1.0]))
    path = write_markup(tmp_path / "p.mrk.json", geometry, "Fiducial", [(4, 9, 12), outside])
    with pytest.raises(InputError, match=r"1 of 2 points lie outside the image, the first at \(.*mm, RAS") as refusal:
        read_points(path, geometry)
    assert str(round(outside[2] * 0.5, 2)) in str(refusal.value)


@pytest.mark.parametrize("points", [[], [None, None]])
def test_a_list_without_points_is_refused(tmp_path, oblique_geometry, points):
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", points)
    with pytest.raises(InputError, match="holds no point with a position"):
        read_points(path, oblique_geometry)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"type": "Line"}, "exactly one Fiducial, not 0"),
        ({"coordinateSystem": "IJK"}, "not mm in IJK"),
        ({"coordinateUnits": "um"}, "not um in LPS"),
        ({"controlPoints": None}, "controlPoints must be a list of points, not None"),
        ({"controlPoints": [3]}, r"must be a list of points, not \[3\]"),
        (
            {"controlPoints": [{"label": "A", "position": [1, 2]}]},
            r"point 'A''s position must be 3 numbers, not \[1, 2\]",
        ),
        ({"controlPoints": [{"position": [1, 2, float("inf")]}]}, "position must be 3 numbers"),
        ({"controlPoints": [{"position": [1, 2, "x"]}]}, "position must be 3 numbers"),
        ({"controlPoints": [{}]}, "position must be 3 numbers, not None"),
    ],
)
def test_invalid_points_are_refused(tmp_path, oblique_geometry, change, text):
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", [(4, 9, 12)], **change)
    with pytest.raises(InputError, match=text):
        read_points(path, oblique_geometry)


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_closed_curve_is_a_lasso_in_its_slice(tmp_path, oblique_geometry, axis, frame):
    points = [np.roll(point, axis) * 0.5 for point in OCTAGON_KJI]
    path = write_markup(tmp_path / "c.mrk.json", oblique_geometry, "ClosedCurve", points, frame)
    lasso, note = read_lasso(path, oblique_geometry)
    assert (lasso.axis, lasso.index, note) == (axis, 2, "")
    expected = np.delete(points, axis, axis=1)
    gaps = np.linalg.norm(lasso.outline[:, None] - expected[None], axis=2).min(axis=0)
    np.testing.assert_allclose(gaps, 0, atol=1e-6)


def test_the_points_of_a_curve_are_joined_smoothly(tmp_path, oblique_geometry):
    path = write_markup(tmp_path / "c.mrk.json", oblique_geometry, "ClosedCurve", OCTAGON_KJI)
    lasso, _ = read_lasso(path, oblique_geometry)
    radii = np.hypot((lasso.outline[:, 0] - 10) / 6, (lasso.outline[:, 1] - 15) / 9)
    np.testing.assert_allclose(radii, 1, atol=0.01)  # straight sides come as near as 0.92


def test_where_the_smooth_curve_crosses_itself_the_lines_are_straight(tmp_path, oblique_geometry):
    corners = [(4, 7.0, 1.0), (4, 1.0, 3.0), (4, 1.0, 12.0), (4, 9.0, 12.0), (4, 5.0, 11.0)]
    path = write_markup(tmp_path / "c.mrk.json", oblique_geometry, "ClosedCurve", [*corners, None])
    lasso, note = read_lasso(path, oblique_geometry)
    np.testing.assert_allclose(lasso.outline, np.array(corners)[:, 1:], atol=1e-6)
    assert "1 of 6 points" in note
    assert "joined by straight lines" in note


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ([], "at least 3 different points, not 0"),
        (OCTAGON_KJI[:2], "at least 3 different points, not 2"),
        ([OCTAGON_KJI[n] for n in (0, 4, 2, 6)], "crosses itself near"),
        (
            [(2, 2, 2), (2, 15, 15), (7, 15, 2), (7, 2, 15)],
            r"not flat within one slice: it reaches over 5\.00",
        ),
    ],
)
def test_a_curve_that_is_no_lasso_is_refused_with_the_file(tmp_path, oblique_geometry, points, text):
    path = write_markup(tmp_path / "c.mrk.json", oblique_geometry, "ClosedCurve", points)
    with pytest.raises(InputError, match=rf"c\.mrk\.json: .*{text}"):
        read_lasso(path, oblique_geometry)


def test_each_reader_wants_its_own_kind(tmp_path, oblique_geometry):
    path = write_markup(tmp_path / "c.mrk.json", oblique_geometry, "ClosedCurve", OCTAGON_KJI)
    for read, kind in ((read_points, "Fiducial"), (read_roi, "ROI")):
        with pytest.raises(InputError, match=f"exactly one {kind}, not 0"):
            read(path, oblique_geometry)
    with pytest.raises(InputError, match="exactly one ClosedCurve, not 0"):
        read_lasso(write_markup(path, oblique_geometry, "Fiducial", OCTAGON_KJI), oblique_geometry)


def test_slicer_draws_the_same_curve_and_writes_such_files(tmp_path):
    pytest.importorskip("slicer_core")
    import slicer
    import vtk

    vtk.vtkObject.GlobalWarningDisplayOff()
    scene, geometry = slicer.vtkMRMLScene(), Geometry((10, 80, 120), np.diag([0.5, 0.5, 3.0, 1.0]))
    points_ras = kji_to_ras(np.array([(4, j * 4.1, i * 3.9) for _, j, i in OCTAGON_KJI]), geometry)
    curve, storage = slicer.vtkMRMLMarkupsClosedCurveNode(), slicer.vtkMRMLMarkupsJsonStorageNode()
    for node in (curve, storage):
        scene.AddNode(node)
    for point in points_ras:
        curve.AddControlPoint(vtk.vtkVector3d(*point), "")
    storage.SetFileName(str(tmp_path / "c.mrk.json"))
    assert storage.WriteData(curve)
    lasso, _ = read_lasso(tmp_path / "c.mrk.json", geometry)
    drawn = curve.GetCurvePointsWorld()
    drawn_ras = np.array([drawn.GetPoint(index) for index in range(drawn.GetNumberOfPoints())])
    ours_ras = kji_to_ras(np.insert(lasso.outline, 0, lasso.index, axis=1), geometry)
    assert len(ours_ras) == 80
    np.testing.assert_allclose(drawn_ras[:80], ours_ras, atol=1e-3)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_does_no_harm(tmp_path, oblique_geometry, encoding):
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", [(4, 9, 12)])
    path.write_text(path.read_text("utf-8"), encoding)
    assert read_points(path, oblique_geometry)[0].tolist() == [[4, 9, 12]]


@pytest.mark.parametrize("flag", [True, 1, "yes"])
def test_an_roi_that_is_inside_out_is_reported(tmp_path, oblique_geometry, flag):
    path = write_roi(tmp_path / "r.mrk.json", oblique_geometry, (4, 9, 12), (2, 2, 2))
    content = json.loads(path.read_text())
    content["markups"][0]["insideOut"] = flag
    path.write_text(json.dumps(content))
    box, note = read_roi(path, oblique_geometry)
    assert "'inside out', which is ignored" in note
    content["markups"][0]["insideOut"] = False
    path.write_text(json.dumps(content))
    again, note = read_roi(path, oblique_geometry)
    assert again == box
    assert "inside out" not in note


@pytest.mark.parametrize("units", [["mm", "m", "mm"], ["mm", "mm", "cm"], ["m", "m", "m"], "in"])
def test_other_units_than_mm_are_refused(tmp_path, oblique_geometry, units):
    path = write_markup(tmp_path / "p.mrk.json", oblique_geometry, "Fiducial", [(4, 9, 12)], coordinateUnits=units)
    with pytest.raises(InputError, match="must be in mm"):
        read_points(path, oblique_geometry)


@pytest.mark.parametrize(("frame", "sign"), [("LPS", -1), ("1", -1), ("RAS", 1), ("0", 1), (None, 1)])
def test_the_points_of_an_fcsv_are_read(tmp_path, oblique_geometry, frame, sign):
    points = kji_to_ras(np.array([(4, 9, 12), (2, 3, 4), (5, 6, 20)]), oblique_geometry) * (sign, sign, 1)
    lines = ["# Markups fiducial file version = 4.11", *([f"# CoordinateSystem = {frame}"] if frame else [])]
    lines += ["# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"]
    rows = [f'vtkMRML_{n},{x},{y},{z},0,0,0,1,1,1,0,"F, {n}",,' for n, (x, y, z) in enumerate(points)]
    path = tmp_path / "p.fcsv"
    path.write_text("\r\n".join([*lines, *rows, ""]), "utf-8-sig")
    assert read_points(path, oblique_geometry)[0].tolist() == [[4, 9, 12], [2, 3, 4], [5, 6, 20]]


def test_a_lasso_may_be_an_fcsv(tmp_path, oblique_geometry):
    same = write_markup(tmp_path / "c.mrk.json", oblique_geometry, "ClosedCurve", OCTAGON_KJI)
    points = kji_to_ras(np.array(OCTAGON_KJI, float), oblique_geometry)
    (tmp_path / "c.fcsv").write_text("\n".join(f"a,{x},{y},{z}" for x, y, z in points))
    lasso, expected = read_lasso(tmp_path / "c.fcsv", oblique_geometry)[0], read_lasso(same, oblique_geometry)[0]
    np.testing.assert_allclose(lasso.outline, expected.outline, atol=1e-4)


def test_the_roi_and_the_point_of_an_acsv_are_read(tmp_path):
    geometry = Geometry((30, 30, 30), np.eye(4))
    head = "# Name = R\n# pointNumberingScheme = 0\n# pointColumns = type|x|y|z|sel|vis\n"
    (tmp_path / "r.acsv").write_text(head + "point|10|12|14|1|1\npoint|2|3|4|1|1\n")
    assert read_roi(tmp_path / "r.acsv", geometry) == (BoundingBox((10, 9, 8), (19, 16, 13)), "")
    (tmp_path / "p.acsv").write_text(head + "point|10|12|14|1|1\n")
    assert read_points(tmp_path / "p.acsv", geometry)[0].tolist() == [[14, 12, 10]]
    (tmp_path / "d.acsv").write_text(head + "# rulerScale = 1\npoint|10|12|14|1|1\npoint|2|3|4|1|1\n")
    with pytest.raises(InputError, match="must hold exactly one ROI, not 0"):
        read_roi(tmp_path / "d.acsv", geometry)


ROWS = [("p.fcsv", "a,1,2"), ("p.fcsv", "a,1,2,x"), ("p.acsv", "point|1|2"), ("p.acsv", "point|1,5|2|3")]


@pytest.mark.parametrize(("name", "content"), ROWS)
def test_a_row_without_a_position_is_refused(tmp_path, oblique_geometry, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="not a position of three numbers"):
        read_points(tmp_path / name, oblique_geometry)
