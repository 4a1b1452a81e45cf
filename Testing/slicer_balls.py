"""Two bright balls side by side, in the scene of the test bed."""

from typing import Any

import numpy as np

from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.worker.job import Job

SHAPE_KJI = (20, 48, 72)
SPACING_IJK = (1.0, 1.0, 2.5)
BALLS = (((10, 24, 24), (4, 10, 10)), ((10, 24, 50), (4, 9, 9)))


def geometry() -> Geometry:
    return Geometry(SHAPE_KJI, np.diag([-SPACING_IJK[0], -SPACING_IJK[1], SPACING_IJK[2], 1.0]))


def inside(ball: int) -> np.ndarray:
    """(K, J, I) bool."""
    axes = np.ogrid[tuple(slice(n) for n in SHAPE_KJI)]
    centre, radii = BALLS[ball]
    return sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True)) <= 1


def two_balls() -> np.ndarray:
    """int16: 50 outside, 150 in the first ball, 120 in the second, with noise."""
    array = 50 + np.random.default_rng(3).normal(0, 8, SHAPE_KJI)
    for ball, contrast in enumerate((100, 70)):
        array[inside(ball)] += contrast
    return array.round().astype(np.int16)


def in_scene(person: Any) -> Any:
    """The volume node, chosen in the panel."""
    volume = person.add_volume(two_balls(), geometry().ijk_to_ras)
    person.choose(volume)
    return volume


def box_round(person: Any, ball: int) -> None:
    """Two clicks round a ball."""
    (k, j, i), (_, rj, ri) = BALLS[ball]
    person.place_box((k, j - rj - 2, i - ri - 2), (k, j + rj + 2, i + ri + 2))


def rounds_asked_for(person: Any, monkeypatch: Any) -> list[Job]:
    """The rounds that the panel asks its worker for from here on; none is computed."""
    jobs: list[Job] = []

    def submit(request: Any, callbacks: Any = None) -> Job:
        job = Job(request, len(jobs), callbacks, None, None, 0)
        if request.kind == "segment":
            jobs.append(job)
        return job

    monkeypatch.setattr(person.controller.client, "submit", submit)
    return jobs
