"""Batches of cases, and how the next one is chosen."""

import doctest
import json

import numpy as np
import pytest
from casebook_cases import accepted, casebook_of, version_in_use

from InteractiveSegLib.casebook import batches
from InteractiveSegLib.casebook.batches import next_batch
from InteractiveSegLib.casebook.case_features import keep_features, known_features
from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.casebook.diversity import diverse
from InteractiveSegLib.casebook.uncertainties import keep_uncertainties
from InteractiveSegLib.casebook.worklist import next_case
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError


def names(batch):
    return [entry.name for entry in batch.cases]


def test_the_sizes_grow_and_the_last_one_comes_again():
    assert doctest.testmod(batches).attempted == 2
    assert doctest.testmod(batches).failed == 0


def test_k_centre_takes_what_is_farthest_from_all_that_were_taken():
    features = {name: np.array([x, 0.0]) for name, x in {"a": 0, "b": 1, "c": 5, "d": 9, "e": 10}.items()}
    assert diverse(features, ["a"], "bcde", 3) == ["e", "c", "b"]  # then d, as far from e as b from a
    assert diverse(features, [], "abcde", 2) == ["c", "a"]  # the middle one first
    assert diverse(features, ["a"], "bx", 5) == ["b"]  # x was not looked at
    assert diverse({}, [], "ab", 2) == []


def test_a_feature_counts_in_units_of_its_spread():
    features = {"a": np.array([0.0, 0.0]), "b": np.array([1000.0, 0.0]), "c": np.array([700.0, 1.0])}
    assert diverse(features, ["a"], "bc", 1) == ["c"]  # by bare distances it would be b


def test_the_next_batch_in_every_order(tmp_path):
    with casebook_of(tmp_path, 8) as casebook:
        version_in_use(casebook)
        for number, place in enumerate([0, 1, 2, 9, 4, 5, 6]):  # case7 was not looked at
            keep_features(casebook, 1, f"case{number}", np.array([place, 0.5]))
        keep_uncertainties(casebook, 1, {"case2": 0.1, "case5": 0.9, "case6": 0.3})
        accepted(casebook, "case0")
        assert names(next_batch(casebook)) == ["case1", "case2", "case3", "case4"]  # what is left of the first five
        assert next_batch(casebook).reason == "they were added first"
        drawn = names(next_batch(casebook, "random", 7))
        assert sorted(drawn) == [f"case{number}" for number in range(1, 8)] != drawn
        assert drawn == names(next_batch(casebook, "random", 7))
        batch = next_batch(casebook, "uncertain", 4)
        assert names(batch) == ["case5", "case6", "case2", "case1"]
        assert batch.reason.endswith("of the 3 cases that it has predicted; 1 other was added first")
        batch = next_batch(casebook, "diverse", 2)
        assert names(batch) == ["case3", "case4"]
        assert "differ most from each other and from earlier cases" in batch.reason
        assert batch.reason.endswith("of the 6 cases that it has predicted")
        assert names(next_batch(casebook, "diverse", 9))[-1] == "case7"
        found = next_case(casebook, "diverse")
        assert found.entry.name == "case3"
        assert "differs most from the cases worked on so far (of 6 cases)" in found.reason
        with pytest.raises(InputError, match="must be one of fixed, random, uncertain, diverse, not 'best'"):
            next_batch(casebook, "best")
        with pytest.raises(InputError, match="at least 1, not 0"):
            next_batch(casebook, "fixed", 0)


def test_cases_of_the_test_split_and_those_in_work_are_in_no_batch(tmp_path):
    with casebook_of(tmp_path, 4) as casebook:
        with casebook.database.writing() as rows:
            rows.execute("UPDATE case_ SET split = 'test' WHERE name = 'case1'")
        with Casebook(casebook.folder) as other:
            other.begin(other.case("case2"))
            assert names(next_batch(casebook)) == ["case0", "case3"]
            casebook.skip(casebook.case("case3"))
            assert names(next_batch(casebook)) == ["case0"]


def test_features_of_the_version_that_saw_most_are_compared_and_damaged_ones_noted(tmp_path):
    with casebook_of(tmp_path, 3) as casebook:
        assert known_features(casebook) == {}
        for name in ("case0", "case1"):
            keep_features(casebook, 1, name, np.array([1.0, 2.0]))
        keep_features(casebook, 2, "case2", np.array([3.0]))
        assert set(known_features(casebook)) == {"case0", "case1"}
        with casebook.database.writing() as rows:
            [first] = rows.execute("SELECT min(id) AS id FROM event WHERE kind = 'features'").fetchall()
            values = [json.dumps({"version": 1, "values": [None]}), first["id"]]
            rows.execute("UPDATE event SET data = ? WHERE id = ?", values)
        assert set(known_features(casebook)) == {"case2"}  # one each: the latest version's
        assert any("damaged in the database" in note for note in casebook.notes)


def test_the_command_names_the_cases_of_a_batch(tmp_path, capsys):
    casebook_of(tmp_path, 3).close()
    words = ["casebook", "next", str(tmp_path / "book"), "--batch"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == ["case0", "case1", "case2"]
    assert "they were added first" in told.err
    assert main([*words, "2", "--order", "diverse"]) == 0
    assert capsys.readouterr().out.splitlines() == ["case0", "case1"]
    with Casebook(tmp_path / "book") as casebook:
        for entry in casebook.cases():
            casebook.skip(entry)
    assert main(words) == 2
    assert "no case is left for a batch" in capsys.readouterr().err
