"""Seconds of a propagation, as a ratio to a plain loop of elastix calls over the same pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InteractiveSegError
from InteractiveSegLib.evaluation.baselines.elastix_loop import PlainLoop
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.progress import Progress, Steps, finish
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps
from InteractiveSegLib.propagate.registration import MR, parameter_map, require_elastix
from InteractiveSegLib.propagate.slice_pool import Broken, SlicePool

_SLICES, _SIDE, _EVERY = 61, 100, 12


def propagation_speed_steps(jobs: int | None = None) -> Steps[str]:
    """Time 60 pairs of 100 x 100 pixels, every 12th slice annotated.

    The plain loop registers each pair both ways, as needed for carrying masks from both sides, with as many threads as
    the propagation has processes: with the same parameters, and with those that elastix proposes for B-splines. Its
    time to load ITK is not counted; the time to start processes is, except in rows marked warm.

    Returns
    -------
    a Markdown table

    Raises
    ------
    MissingPackageError : itk-elastix is not installed.
    """
    require_elastix()
    volume, truth = _moving_object()
    annotated = [AnnotatedSlice(0, index, truth[index]) for index in range(0, _SLICES, _EVERY)]
    pairs = _SLICES - 1
    with SlicePool(jobs) as pool:
        yield Progress(0, 4, "timing a propagation")
        cold = _seconds(volume, annotated, pool)
        yield Progress(1, 4, "timing a propagation")
        warm = _seconds(volume, annotated, pool)
        processes = pool.jobs
        images = volume.array_kji.astype(np.float32) / volume.array_kji.max()
        yield Progress(2, 4, "timing a plain loop")
        same = _loop_seconds(images, parameter_map(images.shape[1:], (1.0, 1.0), MR), pool)
        yield Progress(3, 4, "timing a plain loop")
        proposed = _loop_seconds(images, None, pool)
    rows = [
        (f"propagation, {processes} processes", f"{cold:.2f}", f"{cold / (2 * pairs * same):.2f}"),
        (f"propagation, {processes} processes, warm", f"{warm:.2f}", f"{warm / (2 * pairs * same):.2f}"),
        ("plain loop, same parameters", f"{2 * pairs * same:.2f}", "1.00"),
        ("plain loop, elastix's own parameters", f"{2 * pairs * proposed:.2f}", f"{proposed / same:.2f}"),
    ]
    table = markdown_table(("step", "seconds", "relative to the plain loop"), rows)
    return f"{table}\n\nplain loop: {1 / same:.1f} registrations a second"


def _seconds(volume: Volume, annotated: list[AnnotatedSlice], pool: SlicePool) -> float:
    started = time.perf_counter()
    finish(propagate_steps(volume, annotated, PropagateSettings(registration=MR), pool=pool))
    return time.perf_counter() - started


def _loop_seconds(images: NDArray[np.float32], parameters: Mapping[str, list[str]] | None, pool: SlicePool) -> float:
    task = PlainLoop(images, parameters, pool.jobs)
    (found,) = (answer[1] for answer in pool.results({0: task}) if answer is not None)
    if isinstance(found, Broken):
        raise InteractiveSegError(f"the plain loop of elastix calls: {found.reason}")
    return found


def _moving_object() -> tuple[Volume, NDArray[np.uint8]]:
    """A bright disc that wanders through a textured volume."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(rng.normal(size=(_SLICES, _SIDE, _SIDE)), (4, 3, 3))
    k, j, i = np.ogrid[:_SLICES, :_SIDE, :_SIDE]
    centre_j, centre_i = 50 + 12 * np.sin(k / 12), 50 + 12 * np.cos(k / 15)
    truth = ((j - centre_j) ** 2 + (i - centre_i) ** 2 < (18 + 6 * np.sin(k / 9)) ** 2).astype(np.uint8)
    image = 100 + 60 * texture / texture.std() + 150 * ndimage.gaussian_filter(truth.astype(float), 1)
    return Volume((image - image.min()).astype(np.int16), Geometry(truth.shape, np.eye(4))), truth
