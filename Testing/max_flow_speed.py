"""Compare the label step with an exact max-flow on 2 million voxels: ``python Testing/max_flow_speed.py``."""

import time
from statistics import median

import maxflow
import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.progress import finish
from InteractiveSegLib.segmenting.refine import EnergySettings, edge_weights, energy, minimise_energy_steps
from InteractiveSegLib.training.procedural.procedural import generate_scene

SIDE = 126
REPEATS = 3


def problem(seed: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A procedural image and a noisy probability of one of its objects."""
    rng = np.random.default_rng(seed)
    scene = generate_scene((SIDE,) * 3, rng)
    largest = np.bincount(scene.labels.ravel())[1:].argmax() + 1
    logit = np.where(scene.labels == largest, 1.5, -1.5) + noise * rng.standard_normal(scene.labels.shape)
    return torch.from_numpy(scene.image), torch.from_numpy(1 / (1 + np.exp(-logit))).float()


def exact(probability: NDArray, weights: list[NDArray], floor: float) -> NDArray[np.bool_]:
    """The minimum by max-flow (Boykov and Kolmogorov)."""
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(probability.shape)
    for axis, weight in enumerate(weights):
        structure = np.zeros((3, 3, 3))
        structure[tuple(2 if other == axis else 1 for other in range(3))] = 1
        padded = np.pad(weight, [(0, int(other == axis)) for other in range(3)])
        graph.add_grid_edges(nodes, padded, structure, symmetric=True)
    p = probability.clip(floor, 1 - floor)
    graph.add_grid_tedges(nodes, -np.log(p), -np.log(1 - p))
    graph.maxflow()
    return graph.get_grid_segments(nodes)


def main() -> None:
    """Print energies and seconds of both."""
    print("smoothness_mm noise spacing | exact s | label step s | times faster | energy above the minimum")
    for smoothness, noise, spacing in (
        (1.0, 1.5, (1.0, 1.0, 1.0)),
        (3.0, 3.0, (1.0, 1.0, 1.0)),
        (10.0, 3.0, (1.0, 1.0, 1.0)),
        (3.0, 3.0, (5.0, 0.7, 0.7)),
    ):
        settings = EnergySettings(smoothness_mm=smoothness)
        image, probability = problem(0, noise)
        weights = edge_weights(image, spacing, settings)
        ours, theirs = [], []
        for _ in range(REPEATS):
            started = time.perf_counter()
            labels = finish(minimise_energy_steps(probability, image, spacing, settings=settings))
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            best = exact(probability.numpy(), [weight.numpy() for weight in weights], settings.probability_floor)
            theirs.append(time.perf_counter() - started)
        least = energy(torch.from_numpy(best), probability, weights, settings)
        above = energy(labels, probability, weights, settings) / least - 1
        print(
            f"{smoothness:13} {noise:5} {spacing} | {median(theirs):7.2f} | {median(ours):12.2f} | "
            f"{median(theirs) / median(ours):12.1f} | {100 * above:.2f} %"
        )


if __name__ == "__main__":
    main()
