"""The tables of Dice by interactions against numbers worked out by hand."""

import numpy as np
import pytest

from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings, Outcome
from InteractiveSegLib.evaluation.prompted.curves import curve_tables, tuned_and_fixed
from InteractiveSegLib.evaluation.prompted.report import page_names, page_tables, report
from InteractiveSegLib.evaluation.prompted.trial import Score, TrialSettings

NAN = float("nan")


def course(dataset, case, dice, *, object="liver", method="net", user="clicks", prompted="none", first=1):
    """Scores of one session, a Dice a round from ``first`` on."""
    return [
        Score(dataset, case, object, method, user, 0, n, d, 0.5, 4.0, NAN, n, 10.0, 0.5, "a=0.5", 100.0, prompted)
        for n, d in enumerate(dice, first)
    ]


def settings(rounds, methods=("net",), **more):
    words = {"users": ("clicks",), "prompts": ("none",), **more}
    return BenchmarkSettings(methods, trial=TrialSettings(rounds, rounds), **words)


def tables(scores, chosen, user="clicks", prompted="none"):
    """Each table as lists of cells, and the sentences."""
    found, sentences = [], []
    for block in curve_tables(scores, chosen, user, prompted).split("\n\n"):
        if block.startswith("|"):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
            found.append([rows[0], *rows[2:]])
        else:
            sentences.append(block)
    return found, sentences


def test_a_curve_is_tabulated_after_1_2_3_5_10_and_the_last_and_its_area_is_the_mean_of_all():
    dice = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6, 0.8, 0.9]
    found, sentences = tables(course("A", "1", dice), settings(12))
    assert found[0][0] == ["Dice after", "cases", "method", "1", "2", "3", "5", "10", "12", "area"]
    cells = ["0.000", "0.100", "0.200", "0.400", "0.600", "0.900", f"{sum(dice) / 12:.3f}"]
    assert found[0][1:] == [["A", "1", "net", *cells], ["mean over datasets", "", "net", *cells]]
    assert sentences == ["area: mean Dice after interactions 1 to 12."]


def test_where_a_box_is_drawn_the_table_begins_with_it_and_the_area_does_not():
    scores = course("A", "1", [0.9, 0.2, 0.4, 0.6], prompted="loose-box", first=0)
    found, _ = tables(scores, settings(3, prompts=("loose-box",)), prompted="loose-box")
    assert found[0][0][3:] == ["0", "1", "2", "3", "area"]
    assert found[0][1][3:] == ["0.900", "0.200", "0.400", "0.600", "0.400"]


def test_means_are_over_objects_then_cases_then_datasets_and_p_is_paired_over_shared_cases():
    scores = [
        *course("A", "1", [0.9]),
        *course("A", "1", [0.5], object="spleen"),
        *course("A", "2", [0.5]),
        *course("B", "1", [0.3]),
        *course("A", "1", [0.4], method="grow"),  # it failed on the others
    ]
    found, _ = tables(scores, settings(1, ("net", "grow")))
    assert found[0][1:] == [
        ["A", "2", "net", "0.600", "0.600"],
        ["A", "1", "grow", "0.400", "0.400"],
        ["B", "1", "net", "0.300", "0.300"],
        ["mean over datasets", "", "net", "0.450", "0.450"],
        ["mean over datasets", "", "grow", "0.400", "0.400"],
        ["p against net", "", "grow", "1", "1"],
    ]


def six(method, dice, dataset="A"):
    return [score for case in range(6) for score in course(dataset, str(case), dice[case], method=method)]


def test_fine_tuning_that_harms_is_named_with_its_dataset_and_number_even_between_the_columns():
    fixed = [[0.5, 0.5, 0.5, 0.5]] * 6
    tuned = [[0.5, 0.6 + n / 100, 0.5, 0.4 - n / 100] for n in range(6)]  # worse in all six after 4 alone: 2 / 2^6
    scores = [*six("net", tuned), *six("net:fixed", fixed)]
    chosen = settings(5, ("net", "net:fixed", "grow"))
    scores = [*scores, *[s for m in ("net", "net:fixed") for case in range(6) for s in last(str(case), m)]]
    found, sentences = tables(scores, chosen)
    assert found[1][0] == ["Dice of net minus that of net:fixed", "cases", "1", "2", "3", "5", "area"]
    assert found[1][1][:2] == ["A", "6"]
    assert found[1][1][2:6] == ["+0.000 (p 1)", "+0.125 (p 0.031)", "+0.000 (p 1)", "+0.000 (p 1)"]
    assert found[1][2][0] == "all cases"
    assert sentences[-1] == (
        "Mean Dice of net below that of net:fixed with p < 0.05, at any number of interactions: "
        "A after 4 (-0.125, p 0.031); all cases after 4 (-0.125, p 0.031). "
        "Lowest difference: -0.125 (A after 4, p 0.031)."
    )


def last(case, method):
    return course("A", case, [0.5], method=method, first=5)


def test_fine_tuning_that_helps_or_cannot_be_told_apart_harms_nowhere():
    scores = [*six("net", [[0.6]] * 6), *six("net:fixed", [[0.5]] * 6)]
    scores += [*course("B", "1", [0.1]), *course("B", "1", [0.9], method="net:fixed")]
    _, sentences = tables(scores, settings(1, ("net", "net:fixed")))
    assert sentences[-1].endswith(
        "at any number of interactions: nowhere. Lowest difference: -0.800 (B after 1, p 1). "
        "With fewer than 6 cases the test cannot tell: B."
    )


def test_networks_are_paired_with_themselves_alone():
    methods = ("net:fixed", "net", "pnet", "net:plain", "other:fixed", "grow")
    assert list(tuned_and_fixed(methods)) == [("net", "net:fixed")]


def test_methods_that_need_a_box_are_left_out_and_named_and_what_baselines_do_is_reported():
    _, sentences = tables(course("A", "1", [0.5]), settings(1, ("net", "box", "grow", "grabcut")))
    assert "Left out, as they need a box: box, grabcut. Without a box, a baseline" in sentences[0]
    _, sentences = tables(
        course("A", "1", [0.4, 0.5], prompted="box", first=0),
        settings(1, ("net", "box"), prompts=("box",)),
        prompted="box",
    )
    assert sentences == ["area: mean Dice after interactions 1 to 1."]


def test_each_user_and_prompt_has_its_own_scores_and_titles():
    scores = [
        *course("A", "1", [0.1, 0.2]),
        *course("A", "1", [0.3, 0.4], user="short"),
        *course("A", "1", [0.9, 0.5, 0.6], prompted="slice-box", first=0),
        *course("A", "1", [0.9, 0.7, 0.8], prompted="slice-box", user="short", first=0),
    ]
    chosen = settings(2, users=("clicks", "short"), prompts=("none", "slice-box"))
    text = report(Outcome(tuple(scores), ()), chosen)
    for title, cells in (
        ("no box (user: clicks)", "0.100 | 0.200 | 0.150"),
        ("box on one slice (user: clicks)", "0.900 | 0.500 | 0.600 | 0.550"),
        ("no box (user: short)", "0.300 | 0.400 | 0.350"),
        ("box on one slice (user: short)", "0.900 | 0.700 | 0.800 | 0.750"),
    ):
        section = text.partition(f"### Dice by interactions: {title}\n")[2].partition("###")[0]
        assert cells in section
    for title in (
        "The box on one slice alone",
        "No box, 2 interactions (user: clicks)",
        "Box on one slice and 2 rounds of scribbles (user: short)",
    ):
        assert text.count(f"### {title}\n") == 1
    assert "The no box alone" not in text
    rows = [line.split("|")[1].strip() for line in text.partition("### Objects")[2].splitlines() if "liver" in line]
    assert rows == [
        "clicks, box on one slice",
        "clicks, no box",
        "clicks, box on one slice",
        "short, no box",
        "short, box on one slice",
    ]


def test_a_page_gets_a_table_of_every_session_and_panel():
    chosen = settings(2, prompts=("none", "box"))
    scores = [*course("A", "1", [0.1, 0.2]), *course("A", "1", [0.5, 0.6, 0.7], prompted="box", first=0)]
    made = page_tables(Outcome(tuple(scores), ()), chosen)
    assert list(made) == page_names(chosen)
    assert set(made) == {"none clicks", "none clicks 2", "box clicks", "box clicks 0", "box clicks 2"}
    assert all(text.startswith("| ") for text in made.values())
    assert "0.500 (0.50-0.50)" in made["box clicks 0"]
    assert "area" in made["none clicks"]


def test_people_have_one_table_in_a_page_and_a_user_without_scores_an_empty_one():
    chosen = settings(2, users=("human", "short"), prompts=("box",))
    made = page_tables(Outcome(tuple(course("A", "1", [0.7], user="human", first=0)), ()), chosen)
    assert list(made) == page_names(chosen) == ["box short", "box short 0", "human", "box short 2"]
    assert "0.700 (0.70-0.70)" in made["human"]
    assert [name for name, text in made.items() if not text] == ["box short", "box short 0", "box short 2"]
    assert page_names(settings(0, users=("human",))) == ["human"]


def test_the_rounds_to_a_goal_have_a_table_where_a_session_continues_beyond_the_rounds():
    chosen = BenchmarkSettings(("net",), ("clicks",), prompts=("none",), trial=TrialSettings(2, 4))
    made = page_tables(Outcome(tuple(course("A", "1", [0.1, 0.86, 0.91])), ()), chosen)
    assert list(made) == page_names(chosen) == ["none clicks", "none clicks 2", "rounds"]
    assert [line.split("|")[2:5] for line in made["rounds"].splitlines()[2:]] == [
        [" 0.85 ", " net    ", " 2.0 (2.0-2.0)  "],
        [" 0.90 ", " net    ", " 3.0 (3.0-3.0)  "],
    ]


def test_a_session_without_scores_or_rounds_has_no_curve():
    assert curve_tables([], settings(2), "clicks", "none") == ""
    box_alone = course("A", "1", [0.5], prompted="box", first=0)
    assert curve_tables(box_alone, settings(0, prompts=("box",)), "clicks", "box") == ""


@pytest.mark.parametrize("count", [5, 6])
def test_the_test_can_tell_from_six_cases_on(count):
    """The sentence on fewer cases holds: of five pairs no difference is significant, of six it can be."""
    from InteractiveSegLib.evaluation.statistics import paired_p

    assert (paired_p(np.arange(1, count + 1), np.zeros(count)) < 0.05) == (count == 6)
