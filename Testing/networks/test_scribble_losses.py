"""The losses of scribble supervision, against numbers worked out by hand."""

import itertools
import math

import pytest
import torch

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.scribble_losses import (
    UNMARKED,
    CrfSettings,
    attentive_similarity,
    half_offsets,
    masked_crf,
    mean_similarity,
    partial_cross_entropy,
)

ALL = torch.ones(1, 2, dtype=torch.bool)
PAIR = CrfSettings(radius_mm=2.0, sigma_mm=4.0, sigma_intensity=0.1)
K = math.exp(-0.5 * (2.0**2 / 4.0**2 + 0.1**2 / 0.1**2))  # two voxels 2 mm and 0.1 apart: 0.535


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([1, UNMARKED], math.log(4 / 3)),  # p(1) = 3 / (1 + 3)
        ([0, UNMARKED], math.log(4)),
        ([1, 0], (math.log(4 / 3) + math.log(4)) / 2),
        ([UNMARKED, UNMARKED], 0.0),
    ],
)
def test_partial_cross_entropy_is_of_marked_voxels(marks, expected):
    logits = torch.tensor([[[0.0, 0.0]], [[math.log(3), math.log(3)]]]).transpose(0, 1).reshape(1, 2, 1, 2)
    found = partial_cross_entropy(logits, torch.tensor(marks).reshape(1, 1, 2), ALL)
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("mark", "expected"), [(0, math.log(3 / 2)), (1, math.log(3))])
def test_background_may_be_a_class_of_which_the_marks_do_not_speak(mark, expected):
    known = torch.tensor([[True, True, False]])
    found = partial_cross_entropy(torch.zeros(1, 3, 1, 1), torch.full((1, 1, 1), mark), known)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def two_voxels(first, second, marks, settings=PAIR):
    probabilities = torch.tensor([[[[first, second]], [[1 - first, 1 - second]]]])
    image = torch.tensor([[[[0.4, 0.5]]]])
    return masked_crf(probabilities, image, torch.tensor([[marks]]), (1.0, 2.0), settings).item()


@pytest.mark.parametrize(
    ("first", "second", "marks", "expected"),
    [
        (1.0, 0.0, [UNMARKED, UNMARKED], K),  # both voxels have one neighbour that is of the other class
        (1.0, 0.0, [UNMARKED, 1], K),  # the sum over one voxel, divided by one
        (1.0, 0.0, [0, 1], 0.0),
        (1.0, 1.0, [UNMARKED, UNMARKED], 0.0),
        (0.5, 0.5, [UNMARKED, UNMARKED], K / 2),
        (0.9, 0.2, [UNMARKED, UNMARKED], K * (1 - 0.18 - 0.08)),
    ],
)
def test_the_crf_of_two_voxels(first, second, marks, expected):
    assert two_voxels(first, second, marks) == pytest.approx(expected, abs=1e-6)


def test_voxels_beyond_the_radius_have_no_say():
    assert two_voxels(1.0, 0.0, [UNMARKED, UNMARKED], CrfSettings(1.9, 4.0, 0.1)) == 0


def test_the_radius_is_in_mm():
    assert half_offsets((3.0, 1.0), 2.0) == ((0, 1), (0, 2))
    assert len(half_offsets((1.0, 1.0, 1.0), 1.0)) == 3


def naive_crf(probabilities, image, marks, spacing, settings):
    sides = marks.shape[1:]
    total, count = 0.0, int((marks == UNMARKED).sum())
    for b in range(len(marks)):
        for i, j in itertools.permutations(itertools.product(*map(range, sides)), 2):
            apart = math.hypot(*((x - y) * mm for x, y, mm in zip(i, j, spacing, strict=True)))
            if marks[(b, *i)] != UNMARKED or apart > settings.radius_mm:
                continue
            step = float(image[(b, 0, *i)] - image[(b, 0, *j)])
            k = math.exp(-0.5 * (apart**2 / settings.sigma_mm**2 + step**2 / settings.sigma_intensity**2))
            total += k * (1 - float((probabilities[(b, slice(None), *i)] * probabilities[(b, slice(None), *j)]).sum()))
    return total / count


@pytest.mark.parametrize(("sides", "spacing"), [((4, 5), (1.5, 0.7)), ((2, 3, 4), (3.0, 1.0, 0.7))])
def test_the_crf_is_the_sum_over_all_pairs_and_so_is_its_gradient(sides, spacing):
    settings = CrfSettings(3.2, 2.0, 0.3)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *sides, generator=draw, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 1, *sides, generator=draw, dtype=torch.float64)
    marks = torch.randint(-1, 2, (2, *sides), generator=draw)
    found = masked_crf(logits.softmax(dim=1), image, marks, spacing, settings)
    assert found.item() == pytest.approx(naive_crf(logits.softmax(dim=1), image, marks, spacing, settings))
    assert torch.autograd.gradcheck(
        lambda values: masked_crf(values.softmax(dim=1), image, marks, spacing, settings), logits, fast_mode=True
    )


SIMILARITY = torch.tensor([[[0.0, 0.6, 0.9], [0.6, 0.0, 0.2], [0.9, 0.2, 0.0]]])


@pytest.mark.parametrize(
    ("classes", "radius", "expected"),
    [
        ([0, 1, 1], 1, 2 * 0.6 / 3),  # cells 0 and 1 disagree; 0 and 2 are no neighbours
        ([0, 1, 1], 2, 2 * (0.6 + 0.9) / 3),
        ([0, 1, 0], 1, 2 * (0.6 + 0.2) / 3),
        ([1, 1, 1], 2, 0.0),
    ],
)
def test_attentive_similarity_of_three_cells(classes, radius, expected):
    probabilities = torch.nn.functional.one_hot(torch.tensor([[classes]]), 2).movedim(-1, 1).float()
    assert attentive_similarity(probabilities, SIMILARITY, radius).item() == pytest.approx(expected, abs=1e-6)


def test_the_mean_similarity_is_of_neighbours():
    assert mean_similarity(SIMILARITY, (1, 3), 1).item() == pytest.approx((0.6 + 0.2) / 2)
    assert mean_similarity(SIMILARITY, (1, 3), 2).item() == pytest.approx((0.6 + 0.2 + 0.9) / 3)


def test_settings_that_divide_by_nothing_are_refused():
    with pytest.raises(InputError, match=r"sigma_intensity 0 must be above 0"):
        CrfSettings(sigma_intensity=0)
