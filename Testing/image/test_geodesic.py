from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image import geodesic
from InteractiveSegLib.image.geodesic import UNREACHED_MM, GeodesicSettings, geodesic_distance

SHAPE_KJI = (6, 9, 14)
SPACING_KJI_MM = (3.0, 0.7, 0.5)
CONVERGED = GeodesicSettings(contrast_mm=10.0, sweeps=30, tolerance_mm=0.0)


def exact_distance(image, seeds, spacing_mm, contrast_mm):
    """Dijkstra on the graph of all neighbours, 8 in 2D and 26 in 3D."""
    image, seeds = image.numpy().astype(float), seeds.numpy()
    numbers = np.arange(image.size).reshape(image.shape)
    starts, ends, costs = [], [], []
    for step in product((-1, 0, 1), repeat=image.ndim):
        if step <= (0,) * image.ndim:
            continue
        here = tuple(slice(max(-d, 0), n - max(d, 0)) for d, n in zip(step, image.shape, strict=True))
        there = tuple(slice(max(d, 0), n - max(-d, 0)) for d, n in zip(step, image.shape, strict=True))
        length_sq = sum((d * mm) ** 2 for d, mm in zip(step, spacing_mm, strict=True))
        starts.append(numbers[here].ravel())
        ends.append(numbers[there].ravel())
        costs.append(np.sqrt(length_sq + (contrast_mm * (image[here] - image[there]).ravel()) ** 2))
    edges = (np.concatenate(costs), (np.concatenate(starts), np.concatenate(ends)))
    graph = coo_array(edges, shape=(image.size, image.size)).tocsr()
    return dijkstra(graph, directed=False, indices=numbers[seeds], min_only=True).reshape(image.shape)


def noise(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def marked(shape, *indices):
    seeds = torch.zeros(shape, dtype=torch.bool)
    for index in indices:
        seeds[index] = True
    return seeds


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "indices"),
    [
        ((13, 22), (2.0, 0.6), [(3, 4)]),
        ((13, 22), (0.6, 2.0), [(12, 0), (0, 21)]),
        (SHAPE_KJI, SPACING_KJI_MM, [(1, 2, 3)]),
        (SHAPE_KJI, SPACING_KJI_MM, [(0, 8, 0), (5, 0, 13)]),
        (SHAPE_KJI, (0.5, 3.0, 0.7), [(4, 4, 4)]),
    ],
)
def test_distances_are_those_of_dijkstra_on_all_neighbours(shape, spacing_mm, indices):
    image, seeds = noise(shape), marked(shape, *indices)
    found = geodesic_distance(image, seeds[None], spacing_mm, CONVERGED)[0]
    np.testing.assert_allclose(found, exact_distance(image, seeds, spacing_mm, 10.0), rtol=1e-5, atol=1e-4)


def test_swapped_spacing_gives_other_distances():
    image, seeds = noise(SHAPE_KJI), marked(SHAPE_KJI, (1, 2, 3))
    exact = exact_distance(image, seeds, SPACING_KJI_MM, 10.0)
    for swapped in ((0.7, 3.0, 0.5), (3.0, 0.5, 0.7), (0.5, 0.7, 3.0)):
        found = geodesic_distance(image, seeds[None], swapped, CONVERGED)[0].numpy()
        assert np.abs(found - exact).max() > 0.3


def test_the_sweeps_of_the_defaults_are_enough_on_noise():
    image, seeds = noise((10, 20, 31)), marked((10, 20, 31), (1, 2, 3))
    found = geodesic_distance(image, seeds[None], SPACING_KJI_MM)[0]
    exact = exact_distance(image, seeds, SPACING_KJI_MM, GeodesicSettings().contrast_mm)
    assert np.abs(found.numpy() / np.maximum(exact, 1e-9) - 1)[exact > 0].max() < 0.02


@pytest.mark.parametrize("bound_mm", [1.0, 4.0, 9.0])
def test_within_a_bound_distances_are_the_same_and_sooner_there(monkeypatch, bound_mm):
    scans, real = [], geodesic._scanned
    monkeypatch.setattr(geodesic, "_scanned", lambda *args: scans.append(1) or real(*args))
    image, seeds = noise((20, 26, 31)), marked((20, 26, 31), (1, 2, 3), (12, 20, 9))
    settings = GeodesicSettings(sweeps=9)
    whole = geodesic_distance(image, seeds[None], SPACING_KJI_MM, settings)
    needed = len(scans)
    found = geodesic_distance(image, seeds[None], SPACING_KJI_MM, replace(settings, bound_mm=bound_mm))
    near = whole < bound_mm
    assert torch.equal(found < bound_mm, near)
    torch.testing.assert_close(found[near], whole[near], rtol=0, atol=0.02)
    assert 2 < near.sum() < whole.numel()
    assert len(scans) - needed < needed


def test_across_an_edge_is_as_far_as_its_contrast_says():
    image = torch.zeros(1, 4)
    image[0, 2:] = 0.5
    distance = geodesic_distance(image, marked((1, 4), (0, 0))[None], (1.0, 2.0), GeodesicSettings(contrast_mm=6.0))
    across = (2.0**2 + (6.0 * 0.5) ** 2) ** 0.5
    assert distance[0, 0].tolist() == pytest.approx([0, 2, 2 + across, 4 + across])


@pytest.mark.parametrize("contrast_mm", [1.0, 100.0])
def test_the_path_crosses_a_low_wall_and_goes_round_a_high_one(contrast_mm):
    image = torch.zeros(5, 7)
    image[:4, 3] = 1.0  # rows of 3 mm, columns of 2 mm; row 4 is open
    seeds = marked((5, 7), (0, 2))
    distance = geodesic_distance(image, seeds[None], (3.0, 2.0), GeodesicSettings(contrast_mm=contrast_mm))[0]
    across = 2 * (2.0**2 + contrast_mm**2) ** 0.5
    # three steps down, diagonally into the gap and out of it, three steps up
    around = 2 * 3 * 3.0 + 2 * (3.0**2 + 2.0**2) ** 0.5
    assert distance[0, 4].item() == pytest.approx(min(across, around))
    assert (across < around) == (contrast_mm == 1.0)


def test_without_contrast_the_distance_is_the_chamfer_distance():
    settings = GeodesicSettings(contrast_mm=0.0)
    distance = geodesic_distance(noise((4, 5, 6)), marked((4, 5, 6), (0, 0, 0))[None], SPACING_KJI_MM, settings)[0]
    assert distance[3, 0, 0].item() == pytest.approx(9.0)
    assert distance[0, 2, 5].item() == pytest.approx(2 * (0.7**2 + 0.5**2) ** 0.5 + 3 * 0.5)


def test_several_sets_of_seeds_at_once_are_as_one_by_one():
    image = noise(SHAPE_KJI)
    sets = torch.stack([marked(SHAPE_KJI, (0, 0, 0)), marked(SHAPE_KJI, (5, 8, 13), (2, 2, 2))])
    both = geodesic_distance(image, sets, SPACING_KJI_MM, CONVERGED)
    for seeds, distance in zip(sets, both, strict=True):
        assert torch.equal(distance, geodesic_distance(image, seeds[None], SPACING_KJI_MM, CONVERGED)[0])


def test_a_set_without_seeds_reaches_nothing():
    sets = torch.stack([marked(SHAPE_KJI), marked(SHAPE_KJI, (1, 1, 1))])
    distance = geodesic_distance(noise(SHAPE_KJI), sets, SPACING_KJI_MM)
    assert (distance[0] == UNREACHED_MM).all()
    assert distance[1].max() < 1000


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_as_its_image(axis):
    image, seeds = noise((9, 14)), marked((9, 14), (2, 3))
    flat = geodesic_distance(image, seeds[None], (0.7, 0.5), CONVERGED)[0]
    spacing_mm = [0.7, 0.5]
    spacing_mm.insert(axis, 3.0)
    volume = geodesic_distance(image.unsqueeze(axis), seeds.unsqueeze(axis)[None], spacing_mm, CONVERGED)[0]
    assert torch.equal(volume.squeeze(axis), flat)


def test_the_inputs_are_not_changed():
    image, seeds = noise(SHAPE_KJI), marked(SHAPE_KJI, (1, 2, 3))[None]
    image_before, seeds_before = image.clone(), seeds.clone()
    geodesic_distance(image, seeds, SPACING_KJI_MM)
    assert torch.equal(image, image_before)
    assert torch.equal(seeds, seeds_before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_that_is_not_finite_is_refused(value):
    image = noise(SHAPE_KJI)
    image[2, 3, 4] = value
    with pytest.raises(InputError, match="NaN"):
        geodesic_distance(image, marked(SHAPE_KJI, (0, 0, 0))[None], SPACING_KJI_MM)


@pytest.mark.parametrize(
    ("image_shape", "seeds_shape", "spacing_mm"),
    [
        ((4, 5, 6), (1, 4, 6, 5), (1, 1, 1)),
        ((4, 5, 6), (4, 5, 6), (1, 1, 1)),
        ((4, 5, 6), (1, 4, 5, 6), (1, 1)),
        ((4,), (1, 4), (1,)),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(image_shape, seeds_shape, spacing_mm):
    with pytest.raises(InputError, match="do not match"):
        geodesic_distance(torch.zeros(image_shape), torch.zeros(seeds_shape, dtype=torch.bool), spacing_mm)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the distances of a GPU cannot be compared")
def test_a_gpu_gives_the_distances_of_the_cpu():
    image, seeds = noise(SHAPE_KJI), marked(SHAPE_KJI, (1, 2, 3))[None]
    there = geodesic_distance(image.cuda(), seeds.cuda(), SPACING_KJI_MM, CONVERGED)
    assert there.is_cuda
    expected = geodesic_distance(image, seeds, SPACING_KJI_MM, CONVERGED)
    torch.testing.assert_close(there.cpu(), expected, rtol=1e-5, atol=1e-4)
