from dataclasses import replace

import numpy as np
import pytest
from blobs import dice, noisy
from taught_blobs import QUICK, SHAPE, accept_blob, blob, blob_casebook, tiny_automatic

from InteractiveSegLib.casebook.acceptance import accept, load_accepted, stream
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.streams.annotation_rounds import AnnotationRounds, StreamPlace
from InteractiveSegLib.evaluation.users.simulated_annotator import AnnotatorSettings, SimulatedAnnotator
from InteractiveSegLib.evaluation.users.slice_annotator import boundary_pixels
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.learning.learner import StreamLearner
from InteractiveSegLib.learning.targets import sharpened, trust
from InteractiveSegLib.learning.versions import in_use
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.guidance import Suggestion
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings

SHAPES = PropagateSettings(method="shape")


def rounds_of(seed, network, folder, number=0, replayed=(), settings=QUICK):
    volume = Volume(noisy(blob(seed), seed), Geometry(SHAPE, np.diag([1.0, 1.0, 1.2, 1.0])))
    place = StreamPlace(number, replayed)
    return AnnotationRounds(volume, network, tiny_automatic(), settings, place, folder, propagate=SHAPES)


def truth_on(seed, *indices):
    return [AnnotatedSlice(0, index, blob(seed)[index].astype(np.uint8)) for index in indices]


def test_a_first_case_starts_from_nothing_and_ends_with_a_mask_and_a_network(tmp_path):
    rounds = rounds_of(0, None, tmp_path)
    assert (rounds.proposals(3), rounds.first, rounds.network) == ((), None, None)
    with pytest.raises(InputError, match="no slice was annotated"):
        finish(rounds.teach_steps())
    held = np.flatnonzero(blob(0).any(axis=(1, 2)))
    drawn = [held[0], held[len(held) // 2], held[-1]]
    finish(rounds.annotate_steps(truth_on(0, *map(int, drawn))))
    network = finish(rounds.teach_steps())
    assert network.labels == (1,)
    assert rounds.now.shape == (2, *SHAPE)
    accepted = rounds.accepted()
    assert dice(accepted.labels > 0, blob(0)) > 0.8
    assert np.array_equal(accepted.labels[drawn] > 0, blob(0)[drawn])
    assert (accepted.origins[drawn] == Origin.PERSON).all()
    others = np.delete(np.arange(SHAPE[0]), drawn)
    assert np.array_equal(accepted.origins[others] == Origin.PROPAGATED, accepted.labels[others] > 0)
    assert accepted.first == {}


def test_a_later_case_proposes_slices_from_what_the_network_knows_and_none_twice(tmp_path):
    first = rounds_of(0, None, tmp_path / "a")
    finish(first.annotate_steps(truth_on(0, 2, 4, 6)))
    network = finish(first.teach_steps())
    rounds = rounds_of(1, network, tmp_path / "b", 1)
    proposed = rounds.proposals(2)
    assert (len(proposed), {each.axis for each in proposed}) == (2, {0})
    seen = {each.index for each in proposed}
    finish(rounds.annotate_steps(truth_on(1, *seen)))
    finish(rounds.teach_steps())
    again = rounds.proposals(8)
    assert not seen & {each.index for each in again}
    assert len(again) == SHAPE[0] - 2
    assert any("round" in each.reason or "model" in each.reason for each in again)


def test_targets_are_soft_and_a_persons_slices_are_not_blended(tmp_path):
    first = rounds_of(0, None, tmp_path / "a")
    finish(first.annotate_steps(truth_on(0, 2, 4, 6)))
    assert set(np.unique(first.taught([1]).targets[1][[2, 4, 6]])) <= {0.0, 1.0}
    network = finish(first.teach_steps())
    rounds = rounds_of(1, network, tmp_path / "b", 2)
    finish(rounds.annotate_steps(truth_on(1, 3, 5)))
    taught = rounds.taught([1, 7])
    alpha = trust(2, QUICK.expected_cases)
    mask = sharpened(rounds.proxy.probability(1)[None], QUICK.sharpness)[0]
    expected = alpha * mask[4] + (1 - alpha) * rounds.first[1, 4]
    assert taught.targets[1][4] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(taught.targets[1][3], blob(1)[3])
    assert (taught.weight[3] == 2).all()
    assert (taught.weight[4] == 1).all()
    assert taught.targets[7].max() == 0
    plain = rounds_of(1, network, tmp_path / "c", 2, settings=replace(QUICK, smoothing=False))
    finish(plain.annotate_steps(truth_on(1, 3, 5)))
    assert plain.taught([1]).targets[1][4] == pytest.approx(mask[4], abs=1e-6)


def test_the_mask_of_the_rounds_goes_into_the_casebook_and_teaches_the_next_version(tmp_path):
    with blob_casebook(tmp_path, ["train"] * 2) as casebook:
        accept_blob(casebook, 0)
        teacher = tiny_automatic()
        learner = StreamLearner(casebook, teacher, QUICK)
        finish(learner.steps())
        network = teacher.load(in_use(casebook, "automatic").folder)
        entry = casebook.begin(casebook.case("case1"))
        place = StreamPlace(1)
        rounds = AnnotationRounds(
            casebook.volume(entry), network, teacher, QUICK, place, tmp_path / "rounds", propagate=SHAPES
        )
        finish(rounds.annotate_steps(truth_on(1, 2, 4, 6)))
        finish(rounds.teach_steps())
        accept(casebook, entry, rounds.accepted())
        kept = load_accepted(casebook.case("case1"), stream(casebook)[1])
        assert np.abs(kept.first[1] - rounds.first[1]).max() < 0.003
        assert finish(learner.steps())[0].used
        assert in_use(casebook, "automatic").id == 2


def suggestions(*indices):
    return [Suggestion(0, index, 0.1, "") for index in indices]


def test_the_annotator_draws_what_shows_the_object_and_answers_empty_slices_for_nothing():
    truth = np.zeros((10, 12, 12), np.uint8)
    truth[2:8, 3:9, 3:9] = 1
    annotator = SimulatedAnnotator(truth, AnnotatorSettings(patience=1.0))
    assert boundary_pixels(truth).tolist() == [0, 0, 20, 20, 20, 20, 20, 20, 0, 0]
    given = annotator.annotate(suggestions(0, 5, 9, 3, 6), 2)
    assert [each.index for each in given] == [0, 5, 9, 3]
    assert annotator.effort == pytest.approx(2 / 6)
    assert np.array_equal(given[1].labels, truth[5])
    assert [each.index for each in annotator.annotate(suggestions(5, 6), 2)] == [6, 2]
    assert [each.index for each in SimulatedAnnotator(truth).annotate([], 1)] == [4]


def test_the_annotator_stops_where_its_patience_ends():
    truth = np.zeros((10, 12, 12), np.uint8)
    truth[0:10, 3:9, 3:9] = 1
    annotator = SimulatedAnnotator(truth, AnnotatorSettings(patience=0.35))
    assert len(annotator.annotate(suggestions(1, 3, 5, 7, 9), 5)) == 3
    assert annotator.effort == pytest.approx(0.3)
    assert annotator.annotate(suggestions(2), 1) == []
    with pytest.raises(InputError, match="truth is empty"):
        SimulatedAnnotator(truth * 0)
    with pytest.raises(InputError, match="patience 0"):
        AnnotatorSettings(patience=0)
