"""How the Dice rises with the interactions, and whether fine-tuning ever lowers it: tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.evaluation.prompted.benchmark import BenchmarkSettings
from InteractiveSegLib.evaluation.prompted.methods import BASELINES, NEED_A_BOX, model_of
from InteractiveSegLib.evaluation.prompted.panels import DRAWN_FIRST, CaseKey, case_means, of_session, reference
from InteractiveSegLib.evaluation.prompted.trial import MASK, NONE, Score
from InteractiveSegLib.evaluation.statistics import paired_p
from InteractiveSegLib.evaluation.tables import markdown_table

COUNTS = (1, 2, 3, 5, 10)
SIGNIFICANT = 0.05

Curves = dict[str, dict[CaseKey, NDArray[np.float64]]]


def curve_title(user: str, prompted: str) -> str:
    return f"Dice by interactions: {DRAWN_FIRST[prompted]} (user: {user})"


def curve_tables(scores: Sequence[Score], settings: BenchmarkSettings, user: str, prompted: str) -> str:
    """Dice reached by one robot with every method, for one kind of first prompt.

    Mean Dice after 1, 2, 3, 5 and 10 interactions, as far as there are that many, and after the last one that all
    sessions have; after 0, the Dice of the box alone, or of the mask to start from. The area under the curve is the
    mean of the Dice after each interaction from the first to that last one, so it lies between 0 and 1 and needs no
    Dice before the first. p is from the paired test over all cases. If a network ran with and without fine-tuning,
    another table has the difference.

    Returns
    -------
    tables and the sentences below them; empty if there are no scores
    """
    rounds = settings.trial.rounds
    methods = settings.methods_of(user, prompted)
    found = curves([s for s in scores if of_session(s, user, prompted)], methods, rounds)
    if not any(found.values()) or not rounds:
        return ""
    counts = [*([] if prompted == NONE else [0]), *(n for n in COUNTS if n < rounds), rounds]
    parts = [_table(found, methods, counts), _notes(settings, user, prompted)]
    for tuned, fixed in tuned_and_fixed(methods):
        differences = _differences(found[tuned], found[fixed])
        if differences:
            parts += [_difference_table(differences, counts, tuned, fixed), _verdict(differences, tuned, fixed)]
    return "\n\n".join(parts)


def curves(scores: Sequence[Score], methods: Sequence[str], rounds: int) -> Curves:
    """method -> case -> (rounds + 1,) mean Dice of its objects after each number of interactions, nan if there is none.

    scores : of one user who began with one kind of prompt
    """
    found: Curves = {method: {} for method in methods}
    for number in range(rounds + 1):
        for method, of_case in case_means([s for s in scores if s.round == number], "dice").items():
            for case, dice in of_case.items():
                found[method].setdefault(case, np.full(rounds + 1, np.nan))[number] = dice
    return found


def tuned_and_fixed(methods: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a network that is fine-tuned to the image and the same one that is not."""
    for method in methods:
        if method not in BASELINES and model_of(method)[1] == "" and f"{method}:fixed" in methods:
            yield method, f"{method}:fixed"


def _cells(curve: NDArray[np.float64], counts: Sequence[int]) -> list[float]:
    """The Dice after these numbers of interactions, and the area under the curve."""
    return [*(float(curve[number]) for number in counts), float(curve[1:].mean())]


def _by_dataset(cases: Mapping[CaseKey, NDArray[np.float64]]) -> dict[str, list[NDArray[np.float64]]]:
    datasets: dict[str, list[NDArray[np.float64]]] = {}
    for (dataset, _, _), curve in cases.items():
        datasets.setdefault(dataset, []).append(curve)
    return datasets


def _table(found: Curves, methods: Sequence[str], counts: Sequence[int]) -> str:
    names = list(dict.fromkeys(case[0] for cases in found.values() for case in cases))
    means = {method: {n: np.mean(kept, axis=0) for n, kept in _by_dataset(found[method]).items()} for method in methods}
    rows = []
    for name in names:
        for method in methods:
            if name in means[method]:
                count = sum(case[0] == name for case in found[method])
                rows.append([name, str(count), method, *_shown(_cells(means[method][name], counts))])
    for method in methods:
        if means[method]:
            mean = np.mean(list(means[method].values()), axis=0)
            rows.append(["mean over datasets", "", method, *_shown(_cells(mean, counts))])
    first = reference(methods)
    for method in methods:
        shared = [case for case in found[first] if case in found[method]]
        if method != first and shared:
            one, other = (np.array([_cells(found[m][case], counts) for case in shared]) for m in (first, method))
            cells = [f"{paired_p(a, b):.2g}" for a, b in zip(one.T, other.T, strict=True)]
            rows.append([f"p against {first}", "", method, *cells])
    return markdown_table(("Dice after", "cases", "method", *map(str, counts), "area"), rows)


def _shown(cells: Sequence[float]) -> list[str]:
    return [f"{cell:.3f}" for cell in cells]


def _notes(settings: BenchmarkSettings, user: str, prompted: str) -> str:
    last = settings.trial.rounds
    text = f"area: mean Dice after interactions 1 to {last}."
    if left_out := [method for method in settings.methods if method not in settings.methods_of(user, prompted)]:
        why = "cannot start from a mask" if prompted == MASK else f"need{'s' * (len(left_out) == 1)} a box"
        text += f" Left out, as {'it' if len(left_out) == 1 else 'they'} {why}: {', '.join(left_out)}."
    if prompted == NONE and any(method in BASELINES and method not in NEED_A_BOX for method in settings.methods):
        text += (
            " Without a box, a baseline works within a margin around the object's marks (0.35 of their extent, at "
            "least 8 voxels), and takes all of that region for objects until background is marked as well."
        )
    return text


def _differences(
    tuned: Mapping[CaseKey, NDArray[np.float64]], fixed: Mapping[CaseKey, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """dataset -> (cases, rounds + 1) Dice with fine-tuning minus that without; "all cases" comes last."""
    shared = {case: tuned[case] - fixed[case] for case in tuned if case in fixed}
    if not shared:
        return {}
    by_dataset = {name: np.array(kept) for name, kept in _by_dataset(shared).items()}
    return {**by_dataset, "all cases": np.array(list(shared.values()))}


def _difference_table(
    differences: Mapping[str, NDArray[np.float64]], counts: Sequence[int], tuned: str, fixed: str
) -> str:
    rows = []
    for name, kept in differences.items():
        cells = np.array([_cells(curve, counts) for curve in kept])
        shown = [f"{column.mean():+.3f} (p {_p(column):.2g})" for column in cells.T]
        rows.append([name, str(len(kept)), *shown])
    return markdown_table((f"Dice of {tuned} minus that of {fixed}", "cases", *map(str, counts), "area"), rows)


def _p(differences: NDArray[np.float64]) -> float:
    return paired_p(differences, np.zeros(len(differences)))


def _verdict(differences: Mapping[str, NDArray[np.float64]], tuned: str, fixed: str) -> str:
    """Where fine-tuning is worse than no fine-tuning, after any number of interactions, tabulated or not."""
    columns = {
        f"{name} after {number}": column
        for name, kept in differences.items()
        for number, column in enumerate(kept.T)
        if column.mean() < 0
    }
    lower = {where: (column.mean(), _p(column)) for where, column in columns.items()}
    harms = [f"{where} ({mean:+.3f}, p {p:.2g})" for where, (mean, p) in lower.items() if p < SIGNIFICANT]
    text = f"Mean Dice of {tuned} below that of {fixed} with p < {SIGNIFICANT:g}, at any number of interactions: "
    text += f"{'; '.join(harms)}." if harms else "nowhere."
    if lower:
        where, (mean, p) = min(lower.items(), key=lambda entry: entry[1][0])
        text += f" Lowest difference: {mean:+.3f} ({where}, p {p:.2g})."
    if few := [name for name, kept in differences.items() if len(kept) < 6]:  # 2 / 2^5 > 0.05
        text += f" With fewer than 6 cases the test cannot tell: {', '.join(few)}."
    return text
