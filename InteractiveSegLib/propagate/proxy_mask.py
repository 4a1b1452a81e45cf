"""A few annotated slices become a soft mask of the whole object (Tian, Chen and Gao, arXiv 2312.06072)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice, require_fitting
from InteractiveSegLib.propagate.axis_average import average_steps, slice_confidence_steps
from InteractiveSegLib.propagate.axis_carry import carry_steps, missing_pairs, register_steps
from InteractiveSegLib.propagate.axis_stack import AxisLabels, AxisStack, axis_first, image_steps, plane_round
from InteractiveSegLib.propagate.label_fusion import FusionSettings
from InteractiveSegLib.propagate.registration import RegistrationSettings, require_elastix
from InteractiveSegLib.propagate.registration_cache import RegistrationCache
from InteractiveSegLib.propagate.slice_gaps import gaps
from InteractiveSegLib.propagate.slice_pool import SlicePool
from InteractiveSegLib.propagate.working_plane import WorkingPlane

METHODS = ("elastix", "shape")


@dataclass(frozen=True)
class PropagateSettings:
    """How slices are propagated.

    method : "elastix" follows the image; "shape" blends the annotated shapes and needs no additional package
    margin : around the annotated objects, as a fraction of their extent in the plane
    least_margin_pixels : minimum margin, in pixels of the plane's finer axis
    """

    method: str = "elastix"
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    margin: float = 0.1
    least_margin_pixels: int = 6

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if not 0 <= self.margin < math.inf or self.least_margin_pixels < 0:
            raise InputError(f"the margin must be 0 or more, not {self.margin} and {self.least_margin_pixels}")


@dataclass(frozen=True, eq=False)
class ProxyMask:
    """The result for all other slices, from the annotated slices and the image.

    geometry : of the image
    box : region with a result; outside there is no object
    labels : ascending
    probabilities : (L, K, J, I) float16 in the box; those of one voxel sum to at most 1
    confidence : (K, J, I) float16 in the box, 0 to 1: by the agreement of the two sides and the registration's quality
    disagreement : (K, J, I) float16 in the box, 0 to 1: how far apart the two sides are
    slice_confidence : axis -> (n,) float64, one per slice of the image: mean confidence where an object may be; 1 on
        annotated slices, nan where there is no result
    annotated : axis -> indices
    notes : on anything unusual
    """

    geometry: Geometry
    box: BoundingBox
    labels: tuple[int, ...]
    probabilities: NDArray[np.float16]
    confidence: NDArray[np.float16]
    disagreement: NDArray[np.float16]
    slice_confidence: Mapping[int, NDArray[np.float64]]
    annotated: Mapping[int, tuple[int, ...]]
    notes: tuple[str, ...]

    def labelmap(self) -> NDArray[np.integer]:
        """(K, J, I) of the whole image: the most probable label where any object is more probable than background."""
        whole = np.zeros(self.geometry.shape_kji, np.min_scalar_type(max(self.labels)))
        inside = whole[self.box.slices]
        for k in range(len(inside)):  # slice by slice, since float32 copies of a large image are large
            plane = self.probabilities[:, k].astype(np.float32)
            inside[k] = np.where(plane.sum(axis=0) > 0.5, np.array(self.labels)[plane.argmax(axis=0)], 0)
        return whole

    def probability(self, label: int) -> NDArray[np.float32]:
        """(K, J, I) of the whole image. InputError for a label that is not annotated."""
        if label not in self.labels:
            raise InputError(f"label {label} is not annotated; annotated are {', '.join(map(str, self.labels))}")
        whole = np.zeros(self.geometry.shape_kji, np.float32)
        whole[self.box.slices] = self.probabilities[self.labels.index(label)]
        return whole

    def whole_confidence(self) -> NDArray[np.float32]:
        """(K, J, I) of the whole image; 0 where there is no result."""
        whole = np.zeros(self.geometry.shape_kji, np.float32)
        whole[self.box.slices] = self.confidence
        return whole


def propagate_steps(
    volume: Volume,
    annotated: Sequence[AnnotatedSlice],
    settings: PropagateSettings | None = None,
    *,
    cache: RegistrationCache | None = None,
    pool: SlicePool | None = None,
) -> Steps[ProxyMask]:
    """Carry the labels of annotated slices to all others.

    Along each axis neighbours are registered, each pair once, and the annotated slices on either side are warped to
    each slice and blended by nearness and similarity (``label_fusion``). Results of several axes are averaged, weighted
    by confidence and nearness. Annotated slices are not changed.

    >>> from InteractiveSegLib.image.geometry import Geometry
    >>> from InteractiveSegLib.progress import finish
    >>> from InteractiveSegLib.propagate.annotated_slice import annotated_slices
    >>> labels = np.zeros((9, 16, 16), np.uint8)
    >>> labels[[2, 6], 4:12, 4:12] = 1
    >>> volume = Volume(np.zeros(labels.shape, np.float32), Geometry(labels.shape, np.eye(4)))
    >>> proxy = finish(propagate_steps(volume, annotated_slices(labels, 0), PropagateSettings("shape")))
    >>> int(proxy.labelmap()[4, 8, 8])
    1

    Parameters
    ----------
    annotated : in the order of drawing: if two crossing slices contradict each other, the later one is used
    cache : keeps results for the next call, which then computes only what a new slice changed
    pool : processes to use; without it they are started for this call and ended after it

    Raises
    ------
    InputError : no annotated slice, none with a label, one that does not fit the image, or one given twice.
    MissingPackageError : itk-elastix is not installed (``method="shape"`` works without).
    """
    settings = settings or PropagateSettings()
    labels, notes = require_fitting(annotated, volume.geometry)
    if settings.method == "elastix":
        require_elastix()
    cache = RegistrationCache() if cache is None else cache
    cache.prepare(volume, settings.registration)
    by_axis: dict[int, dict[int, NDArray[np.integer]]] = defaultdict(dict)
    for each in annotated:
        by_axis[each.axis][each.index] = each.labels
    own_pool = pool is None
    pool = SlicePool() if pool is None else pool
    try:
        found = []
        for axis, slices in sorted(by_axis.items()):
            found.append((yield from _axis_steps(volume, axis, slices, labels, settings, cache, pool)))
    finally:
        if own_pool:
            pool.close()
    for each in found:
        notes += each.notes
    soft = yield from average_steps(volume.geometry, annotated, labels, found)
    indices = {axis: tuple(sorted(slices)) for axis, slices in sorted(by_axis.items())}
    of_slices = yield from slice_confidence_steps(volume.geometry, soft, indices)
    return ProxyMask(
        volume.geometry,
        soft.box,
        labels,
        soft.probabilities,
        soft.confidence,
        soft.disagreement,
        of_slices,
        indices,
        tuple(notes),
    )


def working_plane(
    geometry: Geometry, axis: int, drawn: Iterable[NDArray[np.integer]], settings: PropagateSettings
) -> WorkingPlane:
    """The part of the slices along an axis that is used when these labels were drawn on some of them."""
    _, *pixel_mm = axis_first(geometry.spacing_kji_mm, axis)
    return plane_round(
        drawn, tuple(pixel_mm), settings.margin, settings.least_margin_pixels, settings.registration.largest_side
    )


def _axis_steps(
    volume: Volume,
    axis: int,
    slices: Mapping[int, NDArray[np.integer]],
    labels: tuple[int, ...],
    settings: PropagateSettings,
    cache: RegistrationCache,
    pool: SlicePool,
) -> Steps[AxisLabels]:
    """Registrations and labels along one axis."""
    by_image = settings.method == "elastix"
    spacing_mm = axis_first(volume.geometry.spacing_kji_mm, axis)
    to_fill = gaps(slices, labels, volume.geometry.shape_kji[axis], spacing_mm)
    plane = working_plane(volume.geometry, axis, slices.values(), settings)
    cache.work_in(axis, plane)
    images, odd, pairs = {}, [], {}
    if by_image:
        pool.start(len(missing_pairs(axis, to_fill, cache)))
        images, odd = yield from image_steps(volume, axis, plane, to_fill, settings.registration.window)
    cropped = {index: drawn[plane.crop] for index, drawn in slices.items()}
    stack = AxisStack(axis, plane, images, cropped, labels)
    if by_image:
        yield from register_steps(stack, to_fill, settings.registration, cache, pool)
        pairs = {lower: fit for (of_axis, lower), fit in cache.pairs.items() if of_axis == axis}
    result = yield from carry_steps(stack, to_fill, pairs, settings.fusion, pool, cache)
    result.notes[:0] = odd
    return result
