"""Repeated propagation in one image: what a worker, a window or a benchmark keeps between calls."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice, require_fitting
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, ProxyMask, propagate_steps, working_plane
from InteractiveSegLib.propagate.registration_cache import RegistrationCache
from InteractiveSegLib.propagate.slice_pool import SlicePool


class ImagePropagator:
    """Propagates annotated slices of one image. Everything it keeps is a cache: registrations, processes, the last
    mask.

    Parameters
    ----------
    volume : the image; its voxels in ``crops`` must not change once they have been used
    pool : processes to use
    """

    def __init__(self, volume: Volume, pool: SlicePool) -> None:
        self.volume = volume
        self._pool = pool
        self._cache = RegistrationCache()
        self._last: tuple[str, ProxyMask] | None = None

    def steps(self, annotated: Sequence[AnnotatedSlice], settings: PropagateSettings) -> Steps[ProxyMask]:
        """As ``propagate_steps``. A repetition of the last call returns at once."""
        asked = _digest(annotated, settings)
        if self._last is None or self._last[0] != asked:
            self._last = None  # its memory first
            found = yield from propagate_steps(self.volume, annotated, settings, cache=self._cache, pool=self._pool)
            self._last = asked, found
        return self._last[1]


def crops(
    geometry: Geometry, annotated: Sequence[AnnotatedSlice], settings: PropagateSettings
) -> tuple[BoundingBox, ...]:
    """The parts of an image that are used, one per axis; none if only shapes are blended.

    Raises
    ------
    InputError : as for ``propagate_steps``.
    """
    require_fitting(annotated, geometry)
    if settings.method != "elastix":
        return ()
    found = []
    for axis in sorted({each.axis for each in annotated}):
        plane = working_plane(geometry, axis, [each.labels for each in annotated if each.axis == axis], settings)
        found.append(plane.box(axis, (0, geometry.shape_kji[axis])))
    return tuple(found)


def _digest(annotated: Sequence[AnnotatedSlice], settings: PropagateSettings) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for each in annotated:
        digest.update(f"{each.axis} {each.index} {each.labels.dtype} {each.labels.shape}".encode())
        digest.update(each.labels.tobytes())
    return digest.hexdigest()
