"""Organs and slices that a person reviewed, and unreviewed ones."""

import csv

import numpy as np
import pytest
from casebook_cases import ALL_FOR_TRAINING, SHAPE_KJI, accepted, box_mask, by_hand, casebook_of

from InteractiveSegLib.casebook.acceptance import AcceptedMask, accept, latest, load_accepted, stream
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.effort_report import write_effort_csv
from InteractiveSegLib.casebook.entries import ConflictError
from InteractiveSegLib.casebook.exporting import export_steps
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.review import Review, SliceState, review_axis
from InteractiveSegLib.casebook.review_table import slices_in
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import read_labelmap
from InteractiveSegLib.progress import finish

UNVERIFIED, VERIFIED, EDITED, ABSENT = SliceState
GEOMETRY = Geometry(SHAPE_KJI, np.diag([0.7, 0.8, 2.5, 1.0]))


def two_organs():
    """Label 1 in the slices 1 to 3, label 2 in 2 to 5."""
    labels = box_mask()
    labels[2:6, 9:12, 1:4] = 2
    return labels


def nothing(*labels):
    return Review.of_all(GEOMETRY, labels)


@pytest.mark.parametrize(
    ("spacing_ijk", "axis"), [((1, 1, 1), 0), ((1, 1, 5), 0), ((1, 4, 1), 1), ((3, 1, 1), 2), ((1.0001, 1, 1), 0)]
)
def test_slices_lie_along_the_thickest_voxels(spacing_ijk, axis):
    geometry = Geometry((4, 5, 6), np.diag([*spacing_ijk, 1.0]))
    assert review_axis(geometry) == axis
    assert Review.of_all(geometry, [1]).slices == (4, 5, 6)[axis]


def test_slices_of_an_organ_are_marked_and_the_others_stay():
    review = nothing(1, 2).marked(1, VERIFIED, [0, 1]).marked(1, EDITED, [3]).marked(2, ABSENT)
    assert review.of(1) == (VERIFIED, VERIFIED, UNVERIFIED, EDITED, UNVERIFIED, UNVERIFIED)
    assert review.of(2) == (ABSENT,) * 6
    assert review.of(7) == (UNVERIFIED,) * 6
    assert review.known(1).tolist() == [True, True, False, True, False, False]
    assert review.known_kji(1).shape == (6, 1, 1)
    assert (review.known_labels(), review.is_whole, review.marked(1, VERIFIED).is_whole) == ((1, 2), False, True)
    assert review.counts() == {UNVERIFIED: 3, VERIFIED: 2, EDITED: 1, ABSENT: 6}
    assert slices_in(review, 1, UNVERIFIED) == "2 4-5"
    with pytest.raises(InputError, match="no slice 6: its 6 slices along k count from 0 to 5"):
        review.marked(1, VERIFIED, [5, 6])


def test_reviews_come_back_from_their_text():
    review = nothing(1, 9).marked(1, VERIFIED, [1, 2, 4]).marked(9, ABSENT)
    assert '"1u2v1u1v1u"' in review.to_text()
    assert Review.from_text(review.to_text()) == review
    for text in ("", "[]", '{"axis": 0, "slices": 2, "states": {"1": "2x"}}', review.to_text().replace("2v", "3v")):
        with pytest.raises(InputError, match="is not a review"):
            Review.from_text(text)
    with pytest.raises(InputError, match="is not a review"):
        Review.from_text('{"axis": 0, "slices": 2, "states": {"1": "99999999999v"}}')


def test_corrected_slices_are_distinguished_from_correct_ones():
    before, after = two_organs(), two_organs()
    after[3, 4, 6] = 0
    after[4, 9, 1] = 1
    review = nothing(1, 2).marked(1, VERIFIED).marked(2, VERIFIED, [4, 5]).with_edits(before, after)
    assert review.of(1) == (VERIFIED, VERIFIED, VERIFIED, EDITED, EDITED, VERIFIED)
    assert review.of(2) == (UNVERIFIED, UNVERIFIED, UNVERIFIED, UNVERIFIED, EDITED, VERIFIED)


def test_what_cannot_be_true_of_a_mask_is_refused():
    for review, text in (
        (nothing(1, 2), "nothing of the mask of it is verified"),
        (nothing(1, 2).marked(2, ABSENT, [1, 2]), "label 2 is marked as absent from slice 2 along k"),
        (nothing(5).marked(5, VERIFIED), "label 5 is marked as verified in all slices .* mark it as absent"),
    ):
        with pytest.raises(InputError, match=text):
            review.require_fits(two_organs(), "it")
    nothing(1, 2).marked(2, ABSENT, [0, 1]).marked(1, VERIFIED, [0]).require_fits(two_organs(), "it")


def accepted_in_part(casebook, name, mark, labels=None):
    entry = casebook.begin(casebook.case(name))
    labels = two_organs() if labels is None else labels
    return accept(casebook, entry, by_hand(labels, review=mark(Review.of_all(entry.image.geometry, [1, 2]))))


def test_a_part_of_a_mask_is_accepted_and_the_rest_is_kept_as_it_is(tmp_path):
    with casebook_of(tmp_path) as casebook:
        casebook.name_label(3, "spleen")
        accepted_in_part(casebook, "case0", lambda review: review.marked(1, VERIFIED, [0, 1]))
        accepted(casebook, "case1", two_organs())
        entry = casebook.begin(casebook.case("case2"))
        wrong = Review(0, 9, {1: (VERIFIED,) * 9})
        with pytest.raises(InputError, match="of case 'case2' has 9 slices along k, but the image has the shape"):
            accept(casebook, entry, by_hand(two_organs(), review=wrong))
    with Casebook(tmp_path / "book") as casebook:
        part, whole = stream(casebook)
        found = load_accepted(casebook.case("case0"), part)
        assert np.array_equal(found.labels, two_organs())
        assert found.review.counts() == {UNVERIFIED: 16, VERIFIED: 2, EDITED: 0, ABSENT: 0}
        assert (part.labels, part.known_labels) == ((1,), (1,))
        assert (whole.labels, whole.known_labels, whole.review.of(3)) == ((1, 2), (1, 2, 3), (ABSENT,) * 6)
        assert whole.review.is_whole


def test_what_another_program_verified_of_the_same_organ_stays_and_the_second_is_refused(tmp_path):
    with casebook_of(tmp_path) as one, Casebook(tmp_path / "book") as other:
        mine, theirs = one.begin(one.case("case0")), other.case("case0")
        review = Review.of_all(mine.image.geometry, [1, 2])
        accept(one, mine, by_hand(two_organs(), review=review.marked(1, VERIFIED, [1])))
        changed = two_organs()
        changed[1] = 0
        with pytest.raises(ConflictError, match="'case0' was changed by another program"):
            accept(other, theirs, by_hand(changed, review=review.marked(1, VERIFIED, [1, 2])))
        [found] = stream(other)
        assert found.review.known(1).tolist() == [False, True, False, False, False, False]
        assert np.array_equal(load_accepted(other.case("case0"), found).labels, two_organs())
        again = other.begin(other.reopen(other.case("case0")))  # after another look it may go on
        accept(other, again, by_hand(two_organs(), review=found.review.marked(1, VERIFIED, [2])))
        assert latest(one, one.case("case0")).review.known(1).tolist() == [False, True, True, False, False, False]


@pytest.fixture
def study(tmp_path):
    """case0 in part, case1 as a whole."""
    with casebook_of(tmp_path) as casebook:
        casebook.name_label(1, "liver")
        casebook.name_label(2, "spleen")
        accepted_in_part(casebook, "case0", lambda review: review.marked(1, VERIFIED).marked(2, EDITED, [2, 3]))
        accepted(casebook, "case1", two_organs())
        yield casebook


def test_unverified_parts_are_exported_only_on_request(study, tmp_path):
    geometry = study.case("case0").image.geometry
    exported = finish(export_steps(study, tmp_path / "out", "nifti"))
    expected = two_organs()
    expected[4:][expected[4:] == 2] = 0
    assert np.array_equal(read_labelmap(exported.files[0], geometry), expected)
    assert np.array_equal(read_labelmap(exported.files[1], geometry), two_organs())
    assert exported.notes == (
        "nobody verified spleen in 4 of 6 slices of case 'case0': it is left out, and review.csv names the slices",
    )
    with (tmp_path / "out" / "review.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["name"], row["verified"], row["edited"], row["unverified"]) for row in rows] == [
        ("case0_mask.nii.gz", "liver", "0-5", "", ""),
        ("case0_mask.nii.gz", "spleen", "", "2-3", "0-1 4-5"),
        ("case1_mask.nii.gz", "liver", "0-5", "", ""),
        ("case1_mask.nii.gz", "spleen", "0-5", "", ""),
    ]
    exported = finish(export_steps(study, tmp_path / "all", "nifti", with_unverified=True))
    assert np.array_equal(read_labelmap(exported.files[0], geometry), two_organs())
    assert "it is exported nevertheless" in exported.notes[0]
    with pytest.raises(InputError, match="exists already"):
        finish(export_steps(study, tmp_path / "out", "nifti"))


def test_unverified_segments_are_named_so(study, tmp_path):
    import SimpleITK as sitk  # noqa: N813

    for asked, names in ((False, ["liver", "spleen"]), (True, ["liver", "spleen (not verified)"])):
        exported = finish(export_steps(study, tmp_path / f"{asked}", "seg.nrrd", with_unverified=asked))
        image = sitk.ReadImage(str(exported.files[0]))
        assert [image.GetMetaData(f"Segment{number}_Name") for number in range(2)] == names
        assert (sitk.GetArrayFromImage(image) == 2).any(axis=(1, 2)).tolist() == [
            False,
            False,
            True,
            True,
            asked,
            asked,
        ]


def test_a_whole_study_needs_no_table(tmp_path):
    with casebook_of(tmp_path) as casebook:
        accepted(casebook, "case0")
        finish(export_steps(casebook, tmp_path / "out", "nifti"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case0_mask.nii.gz"]


def test_the_table_of_effort_counts_slices_of_organs(study, tmp_path):
    write_effort_csv(study, tmp_path / "effort.csv")
    with (tmp_path / "effort.csv").open() as file:
        rows = list(csv.DictReader(file))
    states = ("unverified", "verified", "edited", "absent")
    assert [[row[state] for state in states] for row in rows] == [["4", "6", "2", "0"], ["0", "12", "0", "0"]]


def test_dicom_seg_contains_verified_parts_and_names_unverified_ones(tmp_path, shared_data):
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
    folder = shared_data / "dicom_import" / "ProstateX-0000_t2_tse_sag"
    with Casebook.created(tmp_path / "book", ALL_FOR_TRAINING) as casebook:
        casebook.name_label(3, "prostate")
        entry = casebook.begin(casebook.add(ImageReference.of(folder), "sag"))
        labels = np.zeros(entry.image.geometry.shape_kji, np.uint8)
        labels[4:9, 100:140, 80:150] = 3
        review = Review.of_all(entry.image.geometry, [3])
        assert (review.axis, review.slices) == (0, 19)
        accept(casebook, entry, by_hand(labels, review=review.marked(3, VERIFIED, range(6))))
        part, everything = (
            finish(export_steps(casebook, tmp_path / f"{asked}", "dicom", with_unverified=asked)).files[0]
            for asked in (False, True)
        )
        entry = casebook.begin(casebook.reopen(casebook.case("sag")))
        accept(casebook, entry, by_hand(labels, review=review.marked(3, VERIFIED, [0])))
        nothing_left = finish(export_steps(casebook, tmp_path / "none", "dicom"))
    for path, count, name, kind in (
        (part, 2, "prostate", "SEMIAUTOMATIC"),
        (everything, 5, "prostate (not verified)", "AUTOMATIC"),
    ):
        made = highdicom.seg.segread(path)
        described = made.get_segment_description(1)
        assert (described.segment_label, described.algorithm_type.value) == (name, kind)
        assert made.get_volume().array.any(axis=(1, 2, 3)).sum() == count
    assert nothing_left.files == ()
    assert "its mask is empty, which DICOM SEG cannot store" in nothing_left.left_out[0]


def test_an_absent_organ_is_accepted_without_a_mask_of_it(tmp_path):
    with casebook_of(tmp_path) as casebook:
        entry = casebook.begin(casebook.case("case0"))
        empty = np.zeros(SHAPE_KJI, np.uint8)
        review = Review.of_all(entry.image.geometry, [1, 2]).marked(1, ABSENT)
        found = accept(casebook, entry, AcceptedMask(empty, empty, review=review))
        assert (found.labels, found.known_labels) == ((), (1,))
