"""Registration of two neighbouring slices by elastix.

Slices are registered in their own plane, in mm from the first pixel of the crop. The plane has no orientation in the
patient, so elastix's (x, y) are simply (column, row), and no LPS coordinates occur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.propagate.displacement import bspline_field, carried, inverse, jacobian

if TYPE_CHECKING:
    import itk

Plane = tuple[float, float]

_FLAT = 1e-4  # standard deviation of intensities in [0, 1] below which a slice shows nothing
_MOST_LOSS = 0.02  # of correlation
_COARSER = 2.0  # control points of the second attempt, which succeeds on most slices on which the first one failed


@dataclass(frozen=True)
class RegistrationSettings:
    """How slices are registered: a cubic B-spline, coarse to fine, adaptive stochastic gradient descent.

    window : intensities that become 0 and 1; None takes the 0.5 and 99.5 percentiles of the crop
    metric : of elastix; neighbours in one volume share their intensities, so mean squares are sufficient
    grid_pixels : distance of control points at the finest level, in pixels of the finer axis (the same in mm on both)
    resolutions : levels, fewer if the shorter side of the crop is below ``side_per_resolution`` pixels per level
    iterations, samples : of each level
    largest_side : pixels; larger crops are averaged to this before they are registered
    most_motion : fraction of the crop's longer side; a larger shift counts as diverged
    most_folding : fraction of pixels at which the map may fold
    seed : for sampling pixels
    """

    window: tuple[float, float] | None = None
    metric: str = "AdvancedMeanSquares"
    grid_pixels: float = 10.0
    resolutions: int = 2
    side_per_resolution: int = 16
    iterations: int = 60
    samples: int = 1024
    largest_side: int = 192
    most_motion: float = 0.35
    most_folding: float = 0.01
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("resolutions", "side_per_resolution", "iterations", "samples", "largest_side"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.grid_pixels >= 2:
            raise InputError(f"grid_pixels must be at least 2, not {self.grid_pixels}")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise InputError(f"window must be increasing, not {self.window}")


MR = RegistrationSettings()
"""Percentiles of the crop, since MR intensities have no unit."""

CT = RegistrationSettings(window=(-160.0, 240.0))
"""The soft-tissue window, 400 HU about 40: without it bone and air outweigh the borders of organs."""

PRESETS = {"mr": MR, "ct": CT}


@dataclass(frozen=True, eq=False)
class PairRegistration:
    """Displacement between a slice and the next.

    to_lower : (2, H, W) float32, pixels; what lies at x in the upper slice lies at x + to_lower[x] in the lower one
    to_upper : the same the other way round
    before, after : correlation of the two slices' intensities, -1 to 1, without and with the motion
    failure : why the motion is not used; the fields are then zero. Empty if it is used.
    """

    to_lower: NDArray[np.float32]
    to_upper: NDArray[np.float32]
    before: float
    after: float
    failure: str = ""

    @classmethod
    def failed(cls, shape: tuple[int, int], failure: str, before: float = 0.0) -> PairRegistration:
        still = np.zeros((2, *shape), np.float32)
        return cls(still, still, before, before, failure)

    @property
    def quality(self) -> float:
        """0 to 1: the correlation reached; 0 if registration failed."""
        return 0.0 if self.failure else min(max(self.after, 0.0), 1.0)


def has_elastix() -> bool:
    """Whether itk-elastix is installed (it is not loaded)."""
    return find_spec("itk") is not None and find_spec("itk.elxParameterObjectPython") is not None


def require_elastix() -> None:
    """MissingPackageError that also says what works without it."""
    if not has_elastix():
        feature = "propagation by registration (method 'shape' works without it)"
        raise MissingPackageError(feature, "itk-elastix")


def parameter_map(shape: tuple[int, int], spacing_mm: Plane, settings: RegistrationSettings) -> dict[str, list[str]]:
    """Parameters of elastix for a plane of this shape (rows, columns)."""
    levels = max(1, min(settings.resolutions, min(shape) // settings.side_per_resolution))
    grid_mm = settings.grid_pixels * min(spacing_mm)
    words = {
        "Registration": "MultiResolutionRegistration",
        "FixedImagePyramid": "FixedSmoothingImagePyramid",
        "MovingImagePyramid": "MovingSmoothingImagePyramid",
        "Interpolator": "LinearInterpolator",
        "ResampleInterpolator": "FinalLinearInterpolator",
        "Resampler": "DefaultResampler",
        "Metric": settings.metric,
        "Transform": "BSplineTransform",
        "Optimizer": "AdaptiveStochasticGradientDescent",
        "ImageSampler": "Random",
        "NumberOfSpatialSamples": str(settings.samples),
        "NewSamplesEveryIteration": "true",
        "CheckNumberOfSamples": "false",
        "AutomaticParameterEstimation": "true",
        "AutomaticScalesEstimation": "true",
        # The step length is estimated from less than elastix's own 4096 samples, which take a quarter of the time.
        "NumberOfSamplesForExactGradient": "2000",
        "NumberOfJacobianMeasurements": "200",
        "NumberOfGradientMeasurements": "3",
        "AutomaticTransformInitialization": "false",
        "HowToCombineTransforms": "Compose",
        "MaximumNumberOfIterations": str(settings.iterations),
        "NumberOfResolutions": str(levels),
        "RandomSeed": str(settings.seed),
        "ErodeMask": "false",
        "WriteResultImage": "false",
    }
    return {
        **{key: [word] for key, word in words.items()},
        "FinalGridSpacingInPhysicalUnits": [f"{grid_mm:.9g}"] * 2,
        "GridSpacingSchedule": [f"{2 ** (levels - 1 - level)}" for level in range(levels)],
    }


def register(
    lower: NDArray[np.float32], upper: NDArray[np.float32], spacing_mm: Plane, settings: RegistrationSettings
) -> PairRegistration:
    """Register two slices of one volume; if that fails, once more with a stiffer transform.

    Any problem is reported in ``failure``, not raised.

    Parameters
    ----------
    lower, upper : (H, W), intensities in [0, 1]
    spacing_mm : along rows and columns

    Raises
    ------
    MissingPackageError : itk-elastix is not installed.
    """
    require_elastix()
    shape = lower.shape
    if min(lower.std(), upper.std()) < _FLAT:
        return PairRegistration.failed(shape, "a slice is constant")
    before = correlation(lower, upper)
    failure = ""
    for attempt in (settings, replace(settings, grid_pixels=_COARSER * settings.grid_pixels, resolutions=1)):
        try:
            to_lower = _elastix_field(lower, upper, spacing_mm, attempt)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason = lines[-1].split("Error: ")[-1].strip() if lines else "no reason given"
            failure = failure or f"elastix failed ({reason[:120]})"
            continue
        after = correlation(carried(lower, to_lower), upper) if np.isfinite(to_lower).all() else 0.0
        wrong = _what_is_wrong(to_lower, before, after, settings)
        if not wrong:
            return PairRegistration(to_lower, inverse(to_lower), before, after)
        failure = failure or wrong
    return PairRegistration.failed(shape, failure, before)


def _what_is_wrong(field: NDArray[np.float32], before: float, after: float, settings: RegistrationSettings) -> str:
    """Why a motion cannot be correct; empty if it can."""
    if not np.isfinite(field).all():
        return "the registration diverged"
    motion = math.sqrt(float((field**2).sum(axis=0).max()))
    if motion > settings.most_motion * max(field.shape[1:]):
        return f"the registration diverged (a shift of {motion:.0f} pixels)"
    folding = float((jacobian(field) <= 0).mean())
    if folding > settings.most_folding:
        return f"the registration folds ({100 * folding:.0f} % of the slice)"
    if after < before - _MOST_LOSS:
        return f"the slices agree less than before ({after:.2f} after, {before:.2f} before)"
    return ""


def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Correlation of intensities, -1 to 1; 0 where one image is constant."""
    a, b = one.astype(np.float64) - one.mean(), other.astype(np.float64) - other.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def load_elastix() -> None:
    """Load only the part of ITK that registration needs: this takes a fifth of the time and half of the memory of
    loading all of it.
    """
    import itk.elxParameterObjectPython
    import itk.itkElastixRegistrationMethodPython
    import itk.itkPyBufferPython  # noqa: F401


def _elastix_field(
    lower: NDArray[np.float32], upper: NDArray[np.float32], spacing_mm: Plane, settings: RegistrationSettings
) -> NDArray[np.float32]:
    """Field from the upper (fixed) to the lower (moving) slice. RuntimeError if elastix fails."""
    from itk.elxParameterObjectPython import elastixParameterObject_New
    from itk.itkElastixRegistrationMethodPython import itkElastixRegistrationMethodIF2IF2_New

    parameters = elastixParameterObject_New()
    parameters.AddParameterMap(parameter_map(lower.shape, spacing_mm, settings))
    method = itkElastixRegistrationMethodIF2IF2_New()
    fixed, moving = _image(upper, spacing_mm), _image(lower, spacing_mm)  # they keep the arrays alive
    method.SetFixedImage(fixed)
    method.SetMovingImage(moving)
    method.SetParameterObject(parameters)
    method.SetNumberOfThreads(1)
    method.LogToConsoleOff()
    method.UpdateLargestPossibleRegion()
    found = method.GetTransformParameterObject().GetParameterMap(0)
    columns, rows = (int(word) for word in found["GridSize"])
    across_and_down = np.array([float(word) for word in found["TransformParameters"]]).reshape(2, rows, columns)
    origin, step = ([float(word) for word in found[key]][::-1] for key in ("GridOrigin", "GridSpacing"))
    return bspline_field(across_and_down[::-1], origin, step, lower.shape, spacing_mm)


def _image(array: NDArray[np.float32], spacing_mm: Plane) -> itk.Image:
    from itk.itkPyBufferPython import itkPyBufferIF2

    image = itkPyBufferIF2.GetImageViewFromArray(np.ascontiguousarray(array, np.float32))
    image.SetSpacing((float(spacing_mm[1]), float(spacing_mm[0])))
    return image
