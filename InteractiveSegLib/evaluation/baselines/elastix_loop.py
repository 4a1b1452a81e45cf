"""A straightforward script: elastix, pair after pair."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SAMPLE = 8  # number of pairs timed


@dataclass(frozen=True, eq=False)
class PlainLoop:
    """The loop of such a script, timed in a process of its own.

    parameters : of elastix; None takes those that it proposes for B-splines
    threads : of elastix
    """

    images: NDArray[np.float32]
    parameters: Mapping[str, list[str]] | None
    threads: int

    def run(self) -> float:
        """Seconds of one registration, without the time to load ITK."""
        import itk

        itk.ElastixRegistrationMethod  # noqa: B018 (loads ITK before timing starts)
        itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(self.threads)
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(self.threads)
        lowers = np.linspace(0, len(self.images) - 2, _SAMPLE).round().astype(int)
        started = time.perf_counter()
        for lower in lowers:
            settings = itk.ParameterObject.New()
            proposed = settings.GetDefaultParameterMap("bspline", 3)
            settings.AddParameterMap(dict(self.parameters) if self.parameters else proposed)
            for fixed, moving in ((lower + 1, lower), (lower, lower + 1)):
                itk.elastix_registration_method(
                    itk.image_from_array(self.images[fixed]),
                    itk.image_from_array(self.images[moving]),
                    parameter_object=settings,
                    log_to_console=False,
                )
        return (time.perf_counter() - started) / (2 * len(lowers))
