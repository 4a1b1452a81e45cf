"""What a stroke or an edit by hand was, for the log of a case."""

from __future__ import annotations

import time

import numpy as np

from InteractiveSegLib.casebook.effort import Event
from InteractiveSegLib.prompts.scribbles import Scribbles


def drawn_event(kind: str, before: Scribbles, after: Scribbles, spacing_kji_mm: tuple[float, float, float]) -> Event:
    """A stroke or an edit by hand, as the difference of all marks.

    Its length is the diagonal of the new marks' bounding box; its slices are those across the axis along which the
    marks are thinnest.
    """
    kept = {tuple(index) for index in before.indices_kji.tolist()}
    new = np.array([index for index in after.indices_kji.tolist() if tuple(index) not in kept]).reshape(-1, 3)
    data: dict = {"voxels": len(new), "length_mm": 0.0, "slices": []}
    if len(new):
        extent = np.ptp(new, axis=0)
        axis = int(np.argmin(extent))
        data["length_mm"] = float(np.linalg.norm(extent * spacing_kji_mm))
        data["slices"] = [[axis, int(index)] for index in np.unique(new[:, axis])]
    return Event(kind, time.time(), data)
