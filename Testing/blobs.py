"""Bright blobs on a dark background, and a small network that learns to find them in seconds."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.intensity import normalised

if TYPE_CHECKING:  # the processes of tests that need only blobs do not load PyTorch
    from InteractiveSegLib.networks.block_six import BlockSixNetwork

SHAPE_KJI = (14, 20, 25)
CENTRE_KJI, RADII_KJI = (6, 10, 13), (3.6, 5.2, 6.4)


def ellipsoid(shape_kji=SHAPE_KJI, centre_kji=CENTRE_KJI, radii_kji=RADII_KJI):
    axes = np.ogrid[tuple(slice(n) for n in shape_kji)]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre_kji, radii_kji, strict=True)) <= 1


def noisy(bright, seed=0, contrast=100, noise=12):
    """int16 image: 50 outside, ``contrast`` brighter inside, with Gaussian noise."""
    array = 50 + contrast * bright + np.random.default_rng(seed).normal(0, noise, bright.shape)
    return array.round().astype(np.int16)


def blob_volume(spacing_kji_mm=(1.0, 1.0, 1.0)):
    return Volume(noisy(ellipsoid()), Geometry(SHAPE_KJI, np.diag([*spacing_kji_mm[::-1], 1.0])), "blob")


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def blob_network(kind: type[BlockSixNetwork] | None = None) -> BlockSixNetwork:
    """A fresh copy of the trained network, in eval mode; a PCNet unless another kind is named."""
    from InteractiveSegLib.networks.pcnet import PCNet

    return copy.deepcopy(_trained(kind or PCNet))


@cache
def _trained(kind: type[BlockSixNetwork]) -> BlockSixNetwork:
    """Trained on blobs of random size and place for 60 steps, by a fixed seed."""
    import torch

    from InteractiveSegLib.networks.losses import dice_cross_entropy

    rng, shape = np.random.default_rng(7), (16, 16, 16)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = kind(channels=4, compressed=2, dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(60):
        blobs = [ellipsoid(shape, rng.uniform(6, 10, 3), rng.uniform(3, 6, 3)) for _ in range(2)]
        images = [normalised(noisy(blob, 2 * step + index)) for index, blob in enumerate(blobs)]
        batch = {
            "image": torch.from_numpy(np.stack(images)[:, None]),
            "label": torch.from_numpy(np.stack(blobs)[:, None]).float(),
        }
        if network.dimensions == 2:
            batch = {name: values[:, :, 8] for name, values in batch.items()}
        loss = dice_cross_entropy(network.train(), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()
