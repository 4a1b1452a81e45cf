"""Common part of the requests about annotated slices: the slices and how they are propagated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice

if TYPE_CHECKING:
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask
    from InteractiveSegLib.worker.requests.request_context import RequestContext

METHODS = ("elastix", "shape")
PRESETS = ("mr", "ct")


@dataclass(frozen=True, eq=False)
class SlicesToPropagate:
    """Annotated slices and how to propagate them.

    annotated : in the order of drawing
    method : "elastix" follows the image; "shape" blends the annotated shapes
    preset : intensity window, "mr" (percentiles of the image) or "ct" (soft tissue)
    seed : for the random samples of the registrations, 0 to 2**32 - 1

    Raises
    ------
    InputError : a value is invalid.
    """

    annotated: tuple[AnnotatedSlice, ...]
    method: str = "elastix"
    preset: str = "mr"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("method", METHODS), ("preset", PRESETS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise InputError(f"seed is an integer from 0 to {2**32 - 1}, not {self.seed!r}")

    def fields(self) -> dict[str, Any]:
        places = [[each.axis, each.index] for each in self.annotated]
        return {"annotated": places, "method": self.method, "preset": self.preset, "seed": self.seed}

    def arrays(self) -> dict[str, NDArray]:
        return {f"slice/{number}": each.labels for number, each in enumerate(self.annotated)}

    @classmethod
    def of(cls, fields: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> SlicesToPropagate:
        """InputError if the fields and arrays are not those of annotated slices."""
        try:
            slices = [
                AnnotatedSlice(axis, index, arrays[f"slice/{number}"])
                for number, (axis, index) in enumerate(fields["annotated"])
            ]
            return cls(tuple(slices), fields["method"], fields["preset"], fields["seed"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"these are not valid annotated slices: {error!r}") from error

    def steps(self, bench: RequestContext) -> Steps[ProxyMask]:
        """Propagate; if voxels have to be fetched, only those that are used."""
        from InteractiveSegLib.propagate.image_propagator import crops
        from InteractiveSegLib.propagate.proxy_mask import PropagateSettings
        from InteractiveSegLib.propagate.registration import PRESETS as REGISTRATIONS

        image = bench.required_image
        settings = PropagateSettings(self.method, replace(REGISTRATIONS[self.preset], seed=self.seed))
        for crop in crops(image.volume.geometry, self.annotated, settings):
            yield from image.fetch(crop)
        return (yield from bench.propagator().steps(self.annotated, settings))
