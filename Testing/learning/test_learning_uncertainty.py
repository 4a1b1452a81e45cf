import numpy as np
import pytest
from blobs import noisy
from taught_blobs import QUICK, accept_blob, blob, blob_casebook, tiny_automatic, tiny_prompted

from InteractiveSegLib.casebook.acceptance import stream
from InteractiveSegLib.casebook.image_reference import ImageReference
from InteractiveSegLib.casebook.uncertainties import keep_uncertainties, known_uncertainties, uncertainties_of
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.uncertainty import UncertaintySettings, box_at, place_of, uncertainty, usual_places
from InteractiveSegLib.learning.versions import in_use, roll_back
from InteractiveSegLib.progress import finish
from InteractiveSegLib.worker.requests.casebook_actions import act


@pytest.fixture(params=["prompted", "automatic"])
def teacher(request, tmp_path):
    return tiny_prompted(tmp_path) if request.param == "prompted" else tiny_automatic()


def test_uncertainty_is_the_mean_entropy_of_what_may_be_the_object():
    foreground = np.zeros((2, 3, 4))
    assert uncertainty(foreground) == 1.0  # nothing found
    foreground[0, 0, :2] = 1.0
    assert uncertainty(foreground) == 0.0
    foreground[0, 1, :2] = 0.5
    foreground[1, 1, 1] = 0.05  # surely no object
    assert uncertainty(foreground) == pytest.approx(0.5)
    foreground[0, 0, 0] = 0.25
    assert uncertainty(foreground) == pytest.approx((0.8112781 + 0 + 1 + 1) / 4)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("columns", [(0, 1, 2), (2, 0, 1)])
def test_a_place_in_the_patient_is_found_on_grids_of_any_orientation(flips, columns):
    rng = np.random.default_rng(0)
    marks = np.zeros((10, 20, 30), bool)  # along S, A, R
    marks[2:5, 10:18, 3:6] = True
    matrix = np.diag([1.0, 1.0, 1.0, 1.0])
    plain = Geometry(marks.shape, matrix)
    expected = place_of(BoundingBox.of_mask(marks), plain)
    assert np.allclose(expected, [[0.2, 0.5, 0.1], [0.5, 0.9, 0.2]])
    axes = [2 - column for column in columns][::-1]  # of the array, k first
    turned = np.flip(marks.transpose(axes), [axis for axis in range(3) if flips[::-1][axis] < 0])
    other = np.eye(4)
    other[:3, :3] = np.eye(3)[:, list(columns)] * flips
    geometry = Geometry(turned.shape, other)
    box = BoundingBox.of_mask(turned)
    assert np.allclose(place_of(box, geometry), expected)
    assert box_at(expected, geometry) == box
    smallest = box_at(np.array([[1.0] * 3, [1.0] * 3]), plain)
    assert smallest.shape_kji == (1, 1, 1)
    assert box_at(np.sort(rng.random((2, 3)), axis=0), geometry).intersected(turned.shape) is not None


def test_objects_are_expected_where_they_usually_are(tmp_path):
    with blob_casebook(tmp_path, ["train"] * 4) as casebook:
        assert usual_places(casebook, 12) == {}
        for number in range(3):
            accept_blob(casebook, number)
        entry = casebook.case("case0")
        each = [place_of(BoundingBox.of_mask(blob(n)), entry.image.geometry) for n in range(3)]
        assert np.allclose(usual_places(casebook, 12)[1], np.median(each, axis=0))
        assert np.allclose(usual_places(casebook, 1)[1], each[2])
        stream(casebook)[0].mask.write_text("damaged")
        assert np.allclose(usual_places(casebook, 12)[1], np.mean(each[1:], axis=0))


def test_the_next_case_is_the_one_about_which_the_version_in_use_is_most_uncertain(tmp_path, teacher, capsys):
    with blob_casebook(tmp_path, ["train"] * 6) as casebook:
        accept_blob(casebook, 0)
        assert (
            "no network has predicted the cases"
            in next_case(casebook, "uncertain", known_uncertainties(casebook)).reason
        )
        finish(StreamLearner(casebook, teacher, QUICK, uncertainty=UncertaintySettings(4)).steps())
        version = in_use(casebook, teacher.name)
        uncertainties = known_uncertainties(casebook)
        assert len(uncertainties) == 4
        assert "case0" not in uncertainties
        assert all(0 < value <= 1 for value in uncertainties.values())
        assert len(set(uncertainties.values())) == 4
        network = teacher.load(version.folder)
        boxes = {1: box_at(usual_places(casebook, 12)[1], casebook.case("case0").image.geometry)}
        for name, value in uncertainties.items():
            [found] = teacher.foregrounds(network, casebook.volume(casebook.case(name)), boxes).values()
            assert value == pytest.approx(uncertainty(found))
        least = max(uncertainties, key=uncertainties.get)
        found = next_case(casebook, "uncertain", uncertainties)
        assert found.entry.name == least
        assert f"most uncertain about it (uncertainty {uncertainties[least]:.2f}, of 4 cases); 5 of 6" in found.reason
    assert main(["casebook", "next", str(tmp_path / "book"), "--order", "uncertain"]) == 0
    said = capsys.readouterr()
    assert (said.out.strip(), "most uncertain" in said.err) == (least, True)
    opened = act(tmp_path / "book", "next", order="uncertain").opened
    assert (opened.name, "most uncertain" in opened.reason) == (least, True)


def test_only_the_version_in_use_has_a_say_and_looks_at_a_case_once(tmp_path, monkeypatch):
    teacher = tiny_automatic()
    looked = []
    real = teacher.foregrounds
    monkeypatch.setattr(teacher, "foregrounds", lambda *given: looked.append(given[1].name) or real(*given))
    with blob_casebook(tmp_path, ["train"] * 5) as casebook:
        learner = StreamLearner(casebook, teacher, QUICK, uncertainty=UncertaintySettings(2))
        accept_blob(casebook, 0)
        finish(learner.steps())
        finish(learner.steps())
        assert len(looked) == 2
        first = known_uncertainties(casebook)
        accept_blob(casebook, 1)
        finish(learner.steps())
        assert len(looked) == 4
        second = known_uncertainties(casebook)
        assert second == uncertainties_of(casebook, 2) != first
        roll_back(casebook, "automatic")
        assert known_uncertainties(casebook) == first
        roll_back(casebook, "automatic")
        assert known_uncertainties(casebook) == {}


def test_cases_without_their_image_are_left_out_and_none_are_looked_at_where_none_is_wanted(tmp_path, teacher):
    with blob_casebook(tmp_path, ["train"] * 3) as casebook:
        accept_blob(casebook, 0)
        finish(StreamLearner(casebook, teacher, QUICK, uncertainty=UncertaintySettings(0)).steps())
        assert known_uncertainties(casebook) == {}
        casebook.case("case1").image.path.unlink()
        finish(StreamLearner(casebook, teacher, QUICK).steps())
        assert set(known_uncertainties(casebook)) == {"case2"}
    with pytest.raises(InputError, match="cases -1"):
        UncertaintySettings(-1)


def test_a_network_is_less_sure_of_an_image_without_contrast(tmp_path):
    teacher = tiny_automatic()
    settings = LearnSettings(updates=60, averaging=0.0, expected_cases=4, learning_rate=1e-2, smoothing=False)
    with blob_casebook(tmp_path, ["train"] * 3) as casebook:
        geometry = casebook.case("case0").image.geometry
        dull = tmp_path / "images" / "dull.nrrd"
        write_image(dull, noisy(blob(9), 9, contrast=12), geometry)
        casebook.add(ImageReference.of(dull), "dull", split="train")
        for number in range(2):
            accept_blob(casebook, number)
        finish(StreamLearner(casebook, teacher, settings).steps())
        uncertainties = known_uncertainties(casebook)
        assert uncertainties["dull"] > uncertainties["case2"]
        assert next_case(casebook, "uncertain", uncertainties).entry.name == "dull"


def test_uncertainties_of_a_case_that_is_not_there_are_refused_altogether(tmp_path):
    with blob_casebook(tmp_path, ["train"]) as casebook:
        accept_blob(casebook, 0)
        finish(StreamLearner(casebook, tiny_automatic(), QUICK).steps())
        with pytest.raises(InputError, match="'gone'"):
            keep_uncertainties(casebook, 1, {"case0": 0.5, "gone": 0.1})
        assert known_uncertainties(casebook) == {}
