"""Steps of several batches: they follow the average, as worked out by hand on a plane through points."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from training_runs import logged

from InteractiveSegLib.progress import finish
from InteractiveSegLib.training.trainer import TrainSettings, train

CPU = torch.device("cpu")


class Slopes(Dataset):
    """Numbered batches of one point (2,) and its height each; ``seen`` are the numbers that were asked for."""

    points = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25], [-2.0, 1.0], [1.0, 1.0], [0.0, 4.0]])
    heights = np.array([3.0, -2.0, 8.0, 1.0, 0.0, -5.0])

    def __init__(self):
        self.seen = []

    def __len__(self):
        return len(self.points)

    def __getitem__(self, number):
        self.seen.append(number)
        return {"at": torch.from_numpy(self.points[number]), "height": torch.tensor(self.heights[number])}


def squared_error(network, batch):
    return (network(batch["at"][None])[0, 0] - batch["height"]).square()


def averaged_by_hand(weights, step):
    """Loss and gradient, averaged over the two batches of a step: (x w - y)^2 and 2 (x w - y) x."""
    batches = [2 * step, 2 * step + 1]
    off = Slopes.points[batches] @ weights - Slopes.heights[batches]
    return np.mean(off**2), np.mean(2 * off[:, None] * Slopes.points[batches], axis=0)


def slope_steps(folder, network, gradient_norm):
    settings = TrainSettings(
        steps=3, learning_rate=0.1, weight_decay=0.02, gradient_norm=gradient_norm, accumulated=2, checkpoint_every=1
    )
    return train(network, Slopes(), squared_error, settings, folder, CPU, schedule=lambda _: 1.0)


def plane():
    network = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.5, -1.0]]))
    return network


def test_a_step_of_two_batches_follows_the_average_of_both(tmp_path):
    network, weights, losses = plane(), np.array([0.5, -1.0]), []
    mean, square = np.zeros((2, 2))
    for step, progress in enumerate(slope_steps(tmp_path, network, gradient_norm=1e6)):
        loss, gradient = averaged_by_hand(weights, step)
        np.testing.assert_allclose(network.weight.grad[0], gradient, rtol=1e-6)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        corrected = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
        weights = (1 - 0.1 * 0.02) * weights - 0.1 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)  # AdamW
        np.testing.assert_allclose(network.weight.detach()[0], weights, rtol=1e-6)
        assert progress.text == f"loss {loss:.3f}"
        losses.append(loss)
    assert [loss for _, loss in logged(tmp_path)] == pytest.approx(losses, abs=1e-5)
    # the first, by hand: the batches are 4.5 too low and 4.5 too high, thus 20.25 either and 9 ((3, -1) - (1, 2)) / 2
    assert losses[0] == 20.25
    assert averaged_by_hand(np.array([0.5, -1.0]), 0)[1].tolist() == [9.0, -13.5]


def test_the_average_of_the_gradients_is_what_is_scaled_down(tmp_path):
    network = plane()
    next(slope_steps(tmp_path, network, gradient_norm=0.5))
    expected = np.array([9.0, -13.5])
    np.testing.assert_allclose(network.weight.grad[0], 0.5 * expected / np.linalg.norm(expected), rtol=1e-6)


@pytest.mark.parametrize("start", [0, 1])
def test_every_batch_is_used_once_and_in_order(tmp_path, start):
    settings = TrainSettings(steps=3, accumulated=2, checkpoint_every=1)
    run = train(plane(), Slopes(), squared_error, settings, tmp_path, CPU)
    for _ in range(start):
        next(run)
    run.close()
    batches = Slopes()
    finish(train(plane(), batches, squared_error, settings, tmp_path, CPU))
    assert batches.seen == list(range(2 * start, 6))
