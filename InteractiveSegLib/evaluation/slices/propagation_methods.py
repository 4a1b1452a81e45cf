"""The methods that are compared, from annotated slices to a labelmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InteractiveSegError
from InteractiveSegLib.evaluation.baselines.contour_interpolation import FillBetween
from InteractiveSegLib.evaluation.data.cases import Case
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.image_propagator import ImagePropagator
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, ProxyMask
from InteractiveSegLib.propagate.registration import CT, MR
from InteractiveSegLib.propagate.slice_pool import Broken, SlicePool

if TYPE_CHECKING:
    from InteractiveSegLib.networks.network import Network

TITLES = {
    "propagate": "propagate",
    "combined": "combined",
    "combined:fixed": "combined, not fine-tuned",
    "network": "network",
    "shape": "shape-based",
    "fill": "Fill between slices",
}
METHODS = tuple(TITLES)
_CT_LIKE = -500
_MARGIN = 0.1  # of the largest extent of the annotated objects


@dataclass(eq=False)
class SliceMethods:
    """One annotated image. A method sees only the truth of the annotated slices.

    pool : processes that register, and in which Fill between slices runs
    model, seed : of the network, and of its random choices
    """

    case: Case
    pool: SlicePool
    model: str = DEFAULT_NETWORK
    seed: int = 0
    _propagator: ImagePropagator = field(init=False)

    def __post_init__(self) -> None:
        self._propagator = ImagePropagator(self.case.volume, self.pool)

    def labels(self, method: str, indices: Sequence[int]) -> tuple[NDArray[np.integer], tuple[str, ...]]:
        """Labelmap (K, J, I), and notes. InteractiveSegError if Fill between slices fails twice."""
        if method == "fill":
            return self._filled(indices), ()
        slices = [AnnotatedSlice(0, index, self.case.truth[index]) for index in indices]
        if method == "network":
            return self._by_network(slices), ()
        proxy = self.proxy(slices, "shape" if method == "shape" else "elastix")
        if method.startswith("combined"):
            proxy = self._combined(proxy, method)
        return proxy.labelmap(), proxy.notes

    def proxy(self, annotated: Sequence[AnnotatedSlice], method: str = "elastix") -> ProxyMask:
        """Images with values down to -500 count as CT."""
        preset = CT if self.case.volume.array_kji.min() <= _CT_LIKE else MR
        return finish(self._propagator.steps(annotated, PropagateSettings(method, preset)))

    @cached_property
    def network(self) -> Network:
        from InteractiveSegLib.networks.checkpoint import load_network

        return load_network(self.model).eval()

    def _combined(self, proxy: ProxyMask, method: str) -> ProxyMask:
        from InteractiveSegLib.evaluation.slices.combination import CombinationSettings, combine_steps
        from InteractiveSegLib.segmenting.adapt import SoftAdaptSettings

        settings = CombinationSettings()
        if method == "combined:fixed":
            settings = CombinationSettings(adapt=SoftAdaptSettings(updates=0))
        return finish(combine_steps(self.case.volume, proxy, self.network, settings, seed=self.seed))

    def _by_network(self, slices: Sequence[AnnotatedSlice]) -> NDArray[np.uint8]:
        """The network with all pixels of the annotated slices as scribbles, in boxes around the annotated objects."""
        from InteractiveSegLib.segmenting.session import ImageSession

        volume = self.case.volume
        session = ImageSession(volume, self.network, seed=self.seed)
        given = np.zeros(volume.geometry.shape_kji, np.uint8)
        for each in slices:
            given[each.place] = np.where(each.labels > 0, each.labels, BACKGROUND)
        whole = BoundingBox.of_mask((given > 0) & (given < BACKGROUND))
        for label in np.unique(given[(given > 0) & (given < BACKGROUND)]).tolist():
            session.set_box(label, self._widened(BoundingBox.of_mask(given == label)))
        near = self._widened(whole)
        marks = np.zeros_like(given)
        marks[near.slices] = given[near.slices]
        session.add_scribbles(Scribbles.from_labelmap(marks))
        finish(session.segment())
        return session.labelmap()

    def _widened(self, box: BoundingBox) -> BoundingBox:
        return self.case.volume.geometry.surrounded(box, _MARGIN)

    def _filled(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        task = FillBetween(self.case.truth, tuple(indices))
        for _ in range(2):
            (found,) = (answer[1] for answer in self.pool.results({0: task}) if answer is not None)
            if not isinstance(found, Broken):
                return found
        raise InteractiveSegError(f"Fill between slices: {found.reason}")
