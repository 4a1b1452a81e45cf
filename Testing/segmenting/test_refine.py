import math
from dataclasses import replace

import maxflow
import numpy as np
import pytest
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import finish
from InteractiveSegLib.segmenting.refine import (
    _AT_ONCE,
    Border,
    EnergySettings,
    _Problem,
    edge_weights,
    energy,
    fit_labels_steps,
    minimise_energy_steps,
)

DEFAULT = EnergySettings()
CLOSE = EnergySettings(gap=1e-4, iterations=3000)


def fitted(probability, image, spacing_mm, settings=DEFAULT, **given):
    return finish(minimise_energy_steps(probability, image, spacing_mm, settings=settings, **given))


def random_object(shape, spacing_mm, seed=0, noise=0.1, contrast=0.4, certainty=1.0):
    """An ellipsoid seen with noise, and what a network thinks of it: (probability, image)."""
    rng = np.random.default_rng(seed)
    points = np.meshgrid(
        *[(np.arange(n) - n / 2.3) * mm for n, mm in zip(shape, spacing_mm, strict=True)], indexing="ij"
    )
    extents = [n * mm if n > 1 else np.inf for n, mm in zip(shape, spacing_mm, strict=True)]
    radius = np.sqrt(sum((4 * p / extent) ** 2 for p, extent in zip(points, extents, strict=True)))
    image = np.clip(0.3 + contrast * (radius < 1.3) + noise * rng.standard_normal(shape), 0, 1)
    logit = certainty * (3 * (1.2 - radius) + 1.5 * rng.standard_normal(shape))
    return torch.from_numpy(1 / (1 + np.exp(-logit))).float(), torch.from_numpy(image).float()


def exact_labels(probability, image, spacing_mm, settings, foreground=None, background=None):
    """The minimum by max-flow, from energies of its own."""
    p = probability.double().clamp(settings.probability_floor, 1 - settings.probability_floor).numpy()
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(p.shape)
    intensities = image.double().numpy()
    for axis, mm in enumerate(spacing_mm):
        ahead = np.roll(intensities, -1, axis)
        weights = settings.smoothness_mm / mm * np.exp(-((ahead - intensities) ** 2) / (2 * settings.sigma**2))
        last = [slice(None)] * p.ndim
        last[axis] = slice(-1, None)
        weights[tuple(last)] = 0
        structure = np.zeros((3,) * p.ndim)
        centre = [1] * p.ndim
        centre[axis] = 2
        structure[tuple(centre)] = 1
        graph.add_grid_edges(nodes, weights=weights, structure=structure, symmetric=True)
    as_foreground, as_background = -np.log(p), -np.log(1 - p)
    if foreground is not None:
        as_background[foreground.numpy()] = 1e9
    if background is not None:
        as_foreground[background.numpy()] = 1e9
    graph.add_grid_tedges(nodes, as_foreground, as_background)
    graph.maxflow()
    return torch.from_numpy(graph.get_grid_segments(nodes))


def test_edge_weights_are_those_worked_out_by_hand():
    image = torch.tensor([[0.0, 0.1, 0.1], [0.2, 0.1, 0.5]])
    along_rows, along_columns = edge_weights(image, (2.0, 0.5), EnergySettings(smoothness_mm=3.0, sigma=0.1))
    # lambda / d is 1.5 down and 6 across; one sigma of contrast is worth e^-0.5, two e^-2, four e^-8
    assert along_rows.shape == (1, 3)
    assert along_rows[0].tolist() == pytest.approx([1.5 * math.exp(-2), 1.5, 1.5 * math.exp(-8)], rel=1e-5)
    assert along_columns.shape == (2, 2)
    assert along_columns[0].tolist() == pytest.approx([6 * math.exp(-0.5), 6.0], rel=1e-5)
    assert along_columns[1].tolist() == pytest.approx([6 * math.exp(-0.5), 6 * math.exp(-8)], rel=1e-5)


def test_the_energy_is_that_worked_out_by_hand():
    image = torch.zeros(2, 3)
    probability = torch.tensor([[0.9, 0.8, 0.2], [0.5, 0.0, 1.0]])
    labels = torch.tensor([[True, True, False], [True, True, False]])
    weights = edge_weights(image, (2.0, 0.5), DEFAULT)
    unary = -math.log(0.9 * 0.8 * 0.8 * 0.5 * 0.001 * 0.001)  # the last two are wrong, at the floor of 1e-3
    cut = 2 * 6.0  # two borders across columns, none down
    assert energy(labels, probability, weights, DEFAULT) == pytest.approx(unary + cut, rel=1e-5)
    labels[1] = False
    unary = -math.log(0.9 * 0.8 * 0.8 * 0.5 * 0.999 * 0.001)
    cut = 6.0 + 2 * 1.5
    assert energy(labels, probability, weights, DEFAULT) == pytest.approx(unary + cut, rel=1e-5)


CASES = [
    ((24, 20, 28), (1.0, 1.0, 1.0), {}, {}),
    ((24, 20, 28), (1.0, 1.0, 1.0), {"smoothness_mm": 10.0}, {"noise": 0.2, "contrast": 0.3}),
    ((12, 20, 28), (3.0, 0.7, 0.5), {}, {}),
    ((12, 20, 28), (3.0, 0.7, 0.5), {"smoothness_mm": 10.0}, {"noise": 0.2, "certainty": 3.0}),
    ((28, 14, 20), (0.5, 5.0, 0.7), {"smoothness_mm": 1.0}, {"certainty": 3.0}),
    ((1, 40, 40), (8.0, 1.0, 1.0), {}, {"noise": 0.2}),
    ((40, 40), (0.4, 1.2), {"smoothness_mm": 6.0}, {"noise": 0.02, "contrast": 0.8}),
]


@pytest.mark.parametrize(("shape", "spacing_mm", "energy_of", "seen"), CASES)
def test_the_energy_is_within_one_percent_of_max_flow(shape, spacing_mm, energy_of, seen):
    settings = EnergySettings(**energy_of)
    probability, image = random_object(shape, spacing_mm, **seen)
    labels = fitted(probability, image, spacing_mm, settings)
    weights = edge_weights(image, spacing_mm, settings)
    found = energy(labels, probability, weights, settings)
    exact = energy(exact_labels(probability, image, spacing_mm, settings), probability, weights, settings)
    assert exact * (1 - 1e-6) <= found <= 1.01 * exact
    assert 0.02 < labels.float().mean() < 0.98


def test_the_energy_is_within_one_percent_of_max_flow_with_scribbles():
    shape, spacing_mm = (12, 20, 28), (3.0, 0.7, 0.5)
    probability, image = random_object(shape, spacing_mm, certainty=0.5)
    foreground, background = torch.zeros(2, *shape, dtype=torch.bool)
    foreground[2, 3, 2:9] = True
    background[5, 6:12, 12] = True
    labels = fitted(probability, image, spacing_mm, foreground=foreground, background=background)
    weights = edge_weights(image, spacing_mm, DEFAULT)
    exact = exact_labels(probability, image, spacing_mm, DEFAULT, foreground, background)
    minimum = energy(exact, probability, weights, DEFAULT)
    assert exact[foreground].all()
    assert minimum * (1 - 1e-6) <= energy(labels, probability, weights, DEFAULT) <= 1.01 * minimum


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.5)])
def test_the_bound_is_never_above_the_minimum(spacing_mm):
    shape = (8, 12, 14)
    probability, image = random_object(shape, spacing_mm)
    foreground, background = torch.zeros(2, *shape, dtype=torch.bool)
    foreground[1, 2, 3:9], background[3, 5, 4:8] = True, True
    weights = edge_weights(image, spacing_mm, DEFAULT)
    exact = exact_labels(probability, image, spacing_mm, DEFAULT, foreground, background)
    minimum = energy(exact, probability, weights, DEFAULT)
    problem = _Problem(probability, weights, foreground, background, DEFAULT)
    gaps = []
    for _ in range(40):
        value = energy(problem.labels(), probability, weights, DEFAULT)
        gaps.append(problem.relative_gap())
        bound = value * (1 - gaps[-1])
        assert bound <= minimum * (1 + 1e-5)
        assert value >= minimum * (1 - 1e-6)
        problem.iterate(10)
    assert gaps[-1] < 1e-3 < gaps[0]


def test_fitting_ends_when_the_gap_is_reached():
    probability, image = random_object((24, 20, 28), (1.0, 1.0, 1.0), noise=0.2, contrast=0.3)
    hard = EnergySettings(smoothness_mm=10.0, iterations=200)
    checks = [
        len(list(minimise_energy_steps(probability, image, (1.0, 1.0, 1.0), settings=replace(hard, gap=gap))))
        for gap in (0.05, 0.005, -1.0)
    ]
    assert checks[0] < checks[1] < checks[2] == 200 / _AT_ONCE


def test_the_gap_is_measured_only_when_it_may_be_reached(monkeypatch):
    probability, image = random_object((24, 20, 28), (1.0, 1.0, 1.0), noise=0.2, contrast=0.3)
    gaps = []
    measured = _Problem.relative_gap
    monkeypatch.setattr(_Problem, "relative_gap", lambda problem: gaps.append(measured(problem)) or gaps[-1])
    hard = EnergySettings(smoothness_mm=10.0, gap=0.002)
    steps = len(list(minimise_energy_steps(probability, image, (1.0, 1.0, 1.0), settings=hard)))
    assert gaps[-1] <= 0.002 < min(gaps[:-1])
    assert len(gaps) <= steps / 2


def test_a_fit_from_the_last_border_is_as_good_and_quicker():
    spacing_mm = (3.0, 0.7, 0.5)
    probability, image = random_object((12, 20, 28), spacing_mm)
    weights = edge_weights(image, spacing_mm, DEFAULT)
    changed = probability.clone()
    changed[4:6, 5:8, 5:8] = 0.9
    foreground, background = torch.zeros(2, *image.shape, dtype=torch.bool)
    background[0], background[:, :3] = True, True
    foreground[6, 10, 10:14] = True
    given = {"foreground": foreground, "background": background}
    border = Border()
    finish(minimise_energy_steps(probability, image, spacing_mm, **given, border=border))
    checks = {}
    for name, start in (("anew", None), ("from the border", border)):
        steps = minimise_energy_steps(changed, image, spacing_mm, **given, border=start)
        checks[name] = 0
        try:
            while True:
                next(steps)
                checks[name] += 1
        except StopIteration as end:
            labels = end.value
        minimum = energy(
            exact_labels(changed, image, spacing_mm, DEFAULT, foreground, background), changed, weights, DEFAULT
        )
        assert minimum * (1 - 1e-6) <= energy(labels, changed, weights, DEFAULT) <= 1.01 * minimum
    assert checks["from the border"] < checks["anew"]


def test_a_border_of_another_part_of_the_image_is_no_start():
    spacing_mm = (1.0, 1.0, 1.0)
    probability, image = random_object((8, 12, 14), spacing_mm)
    closed = torch.zeros(image.shape, dtype=torch.bool)
    closed[:, :, 10:] = True
    border = Border()
    finish(minimise_energy_steps(probability, image, spacing_mm, border=border))
    after = finish(minimise_energy_steps(probability, image, spacing_mm, background=closed, border=border))
    assert torch.equal(after, fitted(probability, image, spacing_mm, background=closed))


def test_where_every_label_is_given_nothing_is_fitted():
    shape = (4, 5, 6)
    foreground = torch.zeros(shape, dtype=torch.bool)
    foreground[1:3, 2, 2:5] = True
    labels = fitted(
        torch.full(shape, 0.5), torch.zeros(shape), (1, 1, 1), foreground=foreground, background=~foreground
    )
    assert torch.equal(labels, foreground)


def test_scribbled_voxels_keep_their_labels_against_any_odds():
    shape = (6, 9, 14)
    foreground, background = torch.zeros(2, *shape, dtype=torch.bool)
    foreground[2, 3, 4], background[4, 5, 6] = True, True
    strong = EnergySettings(smoothness_mm=100.0)
    for probability in (0.001, 0.5, 0.999):
        for settings in (DEFAULT, strong):
            labels = fitted(
                torch.full(shape, probability), torch.zeros(shape), (3.0, 0.7, 0.5), settings,
                foreground=foreground, background=background,
            )  # fmt: skip
            assert labels[2, 3, 4]
            assert not labels[4, 5, 6]


def test_a_voxel_marked_as_both_is_refused():
    foreground, background = torch.zeros(2, 4, 5, dtype=torch.bool)
    foreground[1, 1:4], background[:3, 2] = True, True
    with pytest.raises(InputError, match="1 voxel is marked as foreground and as background"):
        fitted(torch.full((4, 5), 0.5), torch.zeros(4, 5), (1.0, 1.0), foreground=foreground, background=background)


def test_without_smoothness_the_labels_are_the_probabilities_above_one_half():
    probability, image = random_object((6, 9, 14), (3.0, 0.7, 0.5))
    probability[0, 0, :3] = torch.tensor([0.5, 0.501, 0.499])
    labels = fitted(probability, image, (3.0, 0.7, 0.5), EnergySettings(smoothness_mm=0.0))
    assert torch.equal(labels, probability > 0.5)


@pytest.mark.parametrize(("mean", "expected"), [(0.6, True), (0.4, False)])
def test_in_a_constant_image_strong_smoothness_leaves_the_majority(mean, expected):
    probability = torch.full((5, 8, 9), mean)
    probability[::2, ::2, ::2] = 1 - mean
    labels = fitted(probability, torch.full((5, 8, 9), 0.7), (2.0, 1.0, 1.0), EnergySettings(smoothness_mm=20.0))
    assert (labels == expected).all()


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_grid_with_flipped_axes_gets_the_same_labels(axes):
    spacing_mm = (3.0, 0.7, 0.5)
    probability, image = random_object((8, 14, 19), spacing_mm)
    labels = fitted(probability, image, spacing_mm, CLOSE)
    flipped = fitted(probability.flip(axes), image.flip(axes), spacing_mm, CLOSE).flip(axes)
    assert (labels != flipped).float().mean() <= 1e-3  # ties may be broken by rounding


def test_a_grid_with_its_axes_in_another_order_gets_the_same_labels():
    spacing_mm = (3.0, 0.7, 0.5)
    probability, image = random_object((8, 14, 19), spacing_mm)
    labels = fitted(probability, image, spacing_mm, CLOSE)
    turned = fitted(probability.permute(2, 0, 1), image.permute(2, 0, 1), (0.5, 3.0, 0.7), CLOSE).permute(1, 2, 0)
    assert (labels != turned).float().mean() <= 1e-3


@pytest.mark.parametrize("across_mm", [6.0, 1.0])
def test_a_sheet_of_one_voxel_survives_across_thick_slices_only(across_mm):
    shape = (5, 6, 7)
    probability = torch.full(shape, 0.2)
    probability[2] = 0.8
    # Per voxel of the sheet: giving it up costs log(0.8 / 0.2) = 1.39, keeping it two borders of lambda / across_mm.
    kept_is_cheaper = 2 * DEFAULT.smoothness_mm / across_mm < math.log(0.8 / 0.2)
    assert kept_is_cheaper == (across_mm == 6.0)
    labels = fitted(probability, torch.zeros(shape), (across_mm, 1.0, 1.0))
    sheet = torch.zeros(shape, dtype=torch.bool)
    sheet[2] = kept_is_cheaper
    assert torch.equal(labels, sheet)
    weights = edge_weights(torch.zeros(shape), (across_mm, 1.0, 1.0), DEFAULT)
    unary = -210 * math.log(0.8) + (0 if kept_is_cheaper else 42 * math.log(4))
    cut = 42 * 2 * 3 / across_mm if kept_is_cheaper else 0
    assert energy(labels, probability, weights, DEFAULT) == pytest.approx(unary + cut, rel=1e-5)


def test_the_border_snaps_to_the_edge_of_the_image():
    image = torch.zeros(9, 20)
    image[:, 8:] = 0.6
    probability = torch.linspace(0.05, 0.95, 20).expand(9, 20).clone()  # one half between columns 9 and 10
    labels = fitted(probability, image, (1.0, 1.0))
    assert torch.equal(labels, image > 0.3)


def test_stopping_early_does_not_change_the_inputs():
    probability, image = random_object((6, 9, 14), (3.0, 0.7, 0.5))
    foreground, background = torch.zeros(2, 6, 9, 14, dtype=torch.bool)
    foreground[1, 2, 3], background[0, 0, 0] = True, True
    inputs = (probability, image, foreground, background)
    before = [values.clone() for values in inputs]
    steps = minimise_energy_steps(probability, image, (3.0, 0.7, 0.5), foreground, background)
    next(steps)
    next(steps)
    steps.close()
    assert all(torch.equal(one, other) for one, other in zip(inputs, before, strict=True))
    first = fitted(probability, image, (3.0, 0.7, 0.5), foreground=foreground, background=background)
    again = fitted(probability, image, (3.0, 0.7, 0.5), foreground=foreground, background=background)
    assert torch.equal(first, again)
    assert all(torch.equal(one, other) for one, other in zip(inputs, before, strict=True))


def test_a_single_voxel_is_labelled():
    assert fitted(torch.full((1, 1, 1), 0.7), torch.zeros(1, 1, 1), (1.0, 1.0, 1.0)).tolist() == [[[True]]]


def test_shapes_that_do_not_go_together_are_refused():
    field = torch.full((4, 5), 0.5)
    with pytest.raises(InputError, match=r"\(5, 4\)"):
        fitted(field, torch.zeros(5, 4), (1.0, 1.0))
    with pytest.raises(InputError, match="spacing"):
        fitted(field, torch.zeros(4, 5), (1.0, 1.0, 1.0))
    for name in ("foreground", "background"):
        with pytest.raises(InputError, match=rf"{name} \(5,\)"):
            fitted(field, torch.zeros(4, 5), (1.0, 1.0), **{name: torch.zeros(5, dtype=torch.bool)})


def test_values_that_are_not_finite_are_refused():
    field, broken = torch.full((4, 5), 0.5), torch.full((4, 5), 0.5)
    broken[1, 2] = torch.nan
    with pytest.raises(InputError, match="probabilities"):
        fitted(broken, field, (1.0, 1.0))
    with pytest.raises(InputError, match="image"):
        fitted(field, broken, (1.0, 1.0))


def probable(shape, part):
    probability = torch.full(shape, 0.1)
    probability[part] = 0.8
    return probability


def test_an_object_of_few_voxels_is_not_smoothed_away():
    probability, nowhere = probable((3, 20, 20), (1, slice(8, 12), slice(8, 12))), torch.zeros((3, 20, 20), dtype=bool)
    image, settings = 0.5 + 0.01 * torch.rand(3, 20, 20), EnergySettings(smoothness_mm=3.0)
    assert not finish(minimise_energy_steps(probability, image, (1, 1, 1), settings=settings)).any()
    labels = finish(fit_labels_steps(probability, image, (1, 1, 1), nowhere, nowhere, settings))
    flat = torch.full_like(image, 0.5)
    assert not finish(fit_labels_steps(probability, flat, (1, 1, 1), nowhere, nowhere, settings)).any()
    assert (labels & (probability < 0.5)).sum() == 0
    assert labels.sum() >= 8


def test_smoothing_that_leaves_most_of_an_object_stays_as_it_is():
    probability, nowhere = probable((9, 20, 20), (slice(2, 7), slice(4, 16), slice(4, 16))), torch.zeros(9, 20, 20) > 0
    probability[0, 0, 0] = 0.8
    flat, settings = torch.full((9, 20, 20), 0.5), EnergySettings(smoothness_mm=1.0)
    smooth = finish(minimise_energy_steps(probability, flat, (1, 1, 1), settings=settings))
    assert 0 < smooth.sum() < (probability > 0.5).sum()
    assert torch.equal(finish(fit_labels_steps(probability, flat, (1, 1, 1), nowhere, nowhere, settings)), smooth)


def test_what_is_marked_as_background_is_not_missed():
    """Nothing is more probable than not elsewhere, so that an empty mask is right."""
    probability = probable((3, 20, 20), (1, slice(8, 12), slice(8, 12)))
    nowhere = torch.zeros((3, 20, 20), dtype=bool)
    steps = fit_labels_steps(probability, torch.full((3, 20, 20), 0.5), (1, 1, 1), nowhere, probability > 0.5, DEFAULT)
    assert not finish(steps).any()
