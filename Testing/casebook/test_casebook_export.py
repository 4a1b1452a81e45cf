import csv
import subprocess
import sys

import numpy as np
import pytest
from casebook_cases import (
    ALL_FOR_TRAINING,
    accepted,
    box_mask,
    by_hand,
    casebook_of,
    write_case_image,
)

from InteractiveSegLib.casebook.acceptance import accept, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort import CLOSED, EDIT, OPENED, STROKE, Effort, Event, active_seconds, effort_of
from InteractiveSegLib.casebook.effort_report import save_effort_plot, write_effort_csv
from InteractiveSegLib.casebook.exporting import export_names, export_steps, require_exportable
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.image_io import read_labelmap
from InteractiveSegLib.progress import finish


def two_labels():
    labels = box_mask(2)
    labels[4:, 6:, 12:16] = 9
    return labels


def test_time_counts_without_pauses():
    assert active_seconds([0, 10, 40, 71, 75.5]) == pytest.approx(10 + 30 + 4.5)
    assert active_seconds([]) == active_seconds([3.0]) == 0


def test_effort_adds_up_strokes_edits_and_slices():
    events = [
        Event(OPENED, 100.0),
        Event(STROKE, 110.0, {"length_mm": 12.5, "voxels": 9, "slices": [[0, 3]]}),
        Event(STROKE, 170.0, {"length_mm": 2.5, "voxels": 3, "slices": [[0, 3], [2, 3]]}),
        Event(EDIT, 175.0, {"voxels": 105, "slices": [[0, 2], [0, 3], [0, 4]]}),
        Event("doubt", 176.0, {"value": 0.1}),
        Event(CLOSED, 177.0),
    ]
    assert effort_of(reversed(events)) == Effort(10 + 5 + 2, 2, 15.0, 105, 4)


@pytest.fixture
def study(tmp_path):
    with casebook_of(tmp_path) as casebook:
        casebook.name_label(2, "liver")
        accepted(casebook, "case1", two_labels())
        entry = casebook.begin(casebook.case("case0"))
        casebook.record(entry, [Event(STROKE, 5.0, {"length_mm": 3.0}), Event(STROKE, 7.5, {"length_mm": 4.0})])
        accept(casebook, entry, by_hand(box_mask(2)))
        casebook.skip(casebook.case("case2"))
        yield casebook


def test_masks_are_exported_in_the_order_of_acceptance(study, tmp_path):
    written = finish(export_steps(study, tmp_path / "out", "nifti")).files
    assert [path.name for path in written] == ["case1_mask.nii.gz", "case0_mask.nii.gz"]
    geometry = study.case("case1").image.geometry
    assert np.array_equal(read_labelmap(written[0], geometry), two_labels())
    with pytest.raises(InputError, match="'case1' is not a DICOM series"):
        finish(export_steps(study, tmp_path / "out", "dicom"))
    with pytest.raises(InputError, match="'stl'"):
        finish(export_steps(study, tmp_path / "out", "stl"))
    with Casebook.created(tmp_path / "empty") as empty, pytest.raises(InputError, match="no accepted case"):
        finish(export_steps(empty, tmp_path / "out", "nifti"))


def test_names_that_become_one_are_told_apart_and_stay_the_same(tmp_path):
    names = ["läber", "löber", "l-ber-2", "Case", "case", "a" * 230, "a" * 231]
    with casebook_of(tmp_path, 0) as casebook:
        for number, name in enumerate(names):
            casebook.add(ImageReference.of(write_case_image(tmp_path / f"{number}.nrrd", number)), name)
            accepted(casebook, name, box_mask(number + 1))
        first = export_names(casebook.cases()[:4])
        exported = finish(export_steps(casebook, tmp_path / "out", "nifti"))
        shape = casebook.case("case").image.geometry
    stems = [path.name.removesuffix("_mask.nii.gz") for path in exported.files]
    assert stems[:5] == ["l-ber", "l-ber-2", "l-ber-2-2", "Case", "case-2"]
    assert list(first.values()) == stems[:4]
    assert len({stem.casefold() for stem in stems}) == len(names) == len(list((tmp_path / "out").iterdir()))
    assert all(len(path.name.encode()) < 240 for path in exported.files)
    assert [read_labelmap(path, shape).max() for path in exported.files] == list(range(1, 8))
    assert "the mask of case 'löber' is saved as l-ber-2_mask.nii.gz" in exported.notes


def test_no_image_of_the_study_is_written_over(tmp_path):
    with casebook_of(tmp_path, 1) as casebook:
        names = ["case0_mask", "other"]
        for number, name in enumerate(names):
            path = write_case_image(tmp_path / "images" / f"{name}.seg.nrrd", 10 + number)
            casebook.add(ImageReference.of(path), name)
        accepted(casebook, "case0")
        plot = write_case_image(tmp_path / "images" / "effort.nrrd", 20).rename(tmp_path / "images" / "effort.csv")
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET path = ?, relative_path = NULL WHERE name = 'other'", [str(plot)])
        before = {path: path.read_bytes() for path in (tmp_path / "images").iterdir()}
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"case0_mask\.seg\.nrrd is the image of case 'case0_mask'"):
                finish(export_steps(casebook, tmp_path / "images", "seg.nrrd", overwrite))
            with pytest.raises(InputError, match=r"effort\.csv is the image of case 'other'"):
                require_exportable(casebook, [plot], overwrite)
        (tmp_path / "linked").symlink_to(tmp_path / "images")
        with pytest.raises(InputError, match="is the image of case 'case0_mask'"):
            finish(export_steps(casebook, tmp_path / "linked", "seg.nrrd", True))
        with pytest.raises(InputError, match="is among the casebook's own files"):
            finish(export_steps(casebook, casebook.folder / "cases" / "1", "nifti", True))
        assert {path: path.read_bytes() for path in (tmp_path / "images").iterdir()} == before
        [written] = finish(export_steps(casebook, tmp_path / "images", "nifti")).files
        assert written.name == "case0_mask.nii.gz"
        assert all(path.read_bytes() == content for path, content in before.items())


def test_existing_files_are_replaced_on_request(study, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "case0_mask.nii.gz").write_bytes(b"drawn by hand")
    with pytest.raises(InputError, match=r"case0_mask.nii.gz exists already \(13 bytes of .*: use --overwrite"):
        finish(export_steps(study, out, "nifti"))
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("case0_mask.nii.gz", b"drawn by hand")]
    exported = finish(export_steps(study, out, "nifti", overwrite=True))
    assert len(exported.files) == 2
    assert [note for note in exported.notes if "case0_mask.nii.gz is replaced (13 bytes" in note]


def test_a_damaged_mask_is_named_and_the_others_are_exported(study, tmp_path):
    mask = stream(study)[0].mask
    content = bytearray(mask.read_bytes())
    content[-20] ^= 1
    mask.write_bytes(content)
    exported = finish(export_steps(study, tmp_path / "out", "nifti"))
    assert [path.name for path in exported.files] == ["case0_mask.nii.gz"]
    [sentence] = exported.left_out
    assert "case 'case1' is not exported: the accepted mask of case 'case1' is damaged" in sentence


def test_masks_of_images_that_changed_moved_or_are_gone_are_exported_with_a_note(study, tmp_path):
    write_case_image(tmp_path / "images" / "case0.nrrd", 99)
    (tmp_path / "images" / "case1.nrrd").unlink()
    exported = finish(export_steps(study, tmp_path / "out", "nifti"))
    assert len(exported.files) == 2
    assert [("is not at" in note, "has changed on disk" in note) for note in exported.notes] == [
        (True, False),
        (False, True),
    ]


_IN_SLICER = """
import sys, slicer, vtk, numpy as np
from vtk.util.numpy_support import vtk_to_numpy
scene = slicer.vtkMRMLScene()
storage, node = slicer.vtkMRMLSegmentationStorageNode(), slicer.vtkMRMLSegmentationNode()
scene.AddNode(storage); scene.AddNode(node)
storage.SetFileName(sys.argv[1])
assert storage.ReadData(node) == 1
segmentation = node.GetSegmentation()
for index in range(segmentation.GetNumberOfSegments()):
    name = segmentation.GetNthSegmentID(index)
    segment = segmentation.GetSegment(name)
    labelmap = segment.GetRepresentation("Binary labelmap")
    values = vtk_to_numpy(labelmap.GetPointData().GetScalars())
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    extent = labelmap.GetExtent()
    first = int(np.flatnonzero(values == segment.GetLabelValue())[0])
    size = [extent[2 * a + 1] - extent[2 * a] + 1 for a in range(3)]
    steps = first % size[0], first // size[0] % size[1], first // (size[0] * size[1])
    ijk = [extent[2 * a] + steps[a] for a in range(3)]
    ras = matrix.MultiplyPoint([*map(float, ijk), 1.0])[:3]
    print(name, segment.GetName(), segment.GetLabelValue(), int((values == segment.GetLabelValue()).sum()), *ras)
"""


def test_3d_slicer_reads_the_segments_with_their_names_at_their_place(study, tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    path = finish(export_steps(study, tmp_path / "out", "seg.nrrd")).files[0]
    done = subprocess.run([sys.executable, "-c", _IN_SLICER, str(path)], capture_output=True, text=True, check=True)
    segments = [line.split() for line in done.stdout.splitlines() if line.startswith("Segment_")]
    assert [segment[:4] for segment in segments] == [
        ["Segment_2", "liver", "2", "105"],
        ["Segment_9", "label", "9", "9"],
    ]
    geometry = study.case("case1").image.geometry
    expected = (geometry.ijk_to_ras @ (5, 3, 1, 1))[:3]
    assert np.allclose([float(word) for word in segments[0][4:]], expected, atol=1e-4)


def test_dicom_seg_refers_to_the_slices_it_was_drawn_on(tmp_path, shared_data):
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
    folder = shared_data / "dicom_import" / "ProstateX-0000_t2_tse_sag"
    with Casebook.created(tmp_path / "book", ALL_FOR_TRAINING) as casebook:
        casebook.name_label(3, "prostate")
        entry = casebook.add(ImageReference.of(folder), "sag")
        labels = np.zeros(entry.image.geometry.shape_kji, np.uint8)
        labels[4:9, 100:140, 80:150] = 3
        labels[12, 7, 300] = 5
        accept(casebook, casebook.begin(entry), by_hand(labels))
        [path] = finish(export_steps(casebook, tmp_path / "out", "dicom")).files
    made = highdicom.seg.segread(path)
    assert [made.get_segment_description(n).segment_label for n in (1, 2)] == ["prostate", "label 5"]
    volume = made.get_volume(combine_segments=True)
    ijk_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    for value, number in ((3, 1), (5, 2)):
        found = np.argwhere(volume.array == number)  # slices, rows and columns of highdicom's own grid
        assert len(found) == np.count_nonzero(labels == value)
        seen = (ijk_to_ras @ np.append(found.mean(axis=0), 1))[:3]
        middle = np.argwhere(labels == value).mean(axis=0)[::-1]
        assert np.allclose(seen, (entry.image.geometry.ijk_to_ras @ np.append(middle, 1))[:3], atol=1e-3)


def test_effort_is_exported_as_a_table_and_a_plot(study, tmp_path):
    write_effort_csv(study, tmp_path / "effort.csv")
    with (tmp_path / "effort.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["order"], row["state"], row["strokes"]) for row in rows] == [
        ("case1", "1", "accepted", "0"),
        ("case0", "2", "accepted", "2"),
    ]
    assert (float(rows[1]["active_s"]) >= 2.5, float(rows[1]["drawn_mm"])) == (True, 7.0)
    save_effort_plot(study, tmp_path / "effort.png")
    assert (tmp_path / "effort.png").read_bytes().startswith(b"\x89PNG")
    with Casebook.created(tmp_path / "empty") as empty, pytest.raises(InputError, match="no accepted case"):
        save_effort_plot(empty, tmp_path / "none.png")
