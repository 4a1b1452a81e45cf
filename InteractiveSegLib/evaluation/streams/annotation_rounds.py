"""The rounds of one case (Tian, Chen and Gao, arXiv 2312.06072): predict, suggest slices, propagate, train, repeat.

A user in a window or a simulated annotator drives them: it asks for suggestions, annotates, and takes the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.casebook.acceptance import AcceptedMask
from InteractiveSegLib.casebook.provenance import Origin
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork
from InteractiveSegLib.learning.automatic_teacher import AutomaticTeacher
from InteractiveSegLib.learning.case_targets import CaseTargets
from InteractiveSegLib.learning.image_lesson import ImageLesson
from InteractiveSegLib.learning.settings import LearnSettings
from InteractiveSegLib.learning.targets import sharpened, soft_target, trust, voxel_weights
from InteractiveSegLib.learning.teacher import teach_steps
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.propagate.annotated_slice import AnnotatedSlice
from InteractiveSegLib.propagate.guidance import (
    Evidence,
    GuidanceSettings,
    Suggestion,
    expected_outlines,
    from_front_end,
    from_prediction,
    from_proxy,
    from_rounds,
    suggest,
)
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, ProxyMask, propagate_steps
from InteractiveSegLib.propagate.registration_cache import RegistrationCache
from InteractiveSegLib.propagate.slice_pool import SlicePool

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class StreamPlace:
    """Position of the case in the stream. number : from 0. replayed : lessons of earlier cases."""

    number: int
    replayed: Sequence[ImageLesson] = ()


class AnnotationRounds:
    """One case, round by round.

    Parameters
    ----------
    network : as left by the previous cases; None for the first case. It is trained in place
    learn : its ``updates`` are those of one round
    folder : of the checkpoints
    axes : along which slices are annotated
    pool : processes for the registration

    Attributes
    ----------
    network : as left by the rounds so far; None before the first training
    first : probabilities (1 + labels, K, J, I) before the first round, P0; None for the first case
    proxy : what was propagated last; None before the first slices
    """

    def __init__(
        self,
        volume: Volume,
        network: AutomaticNetwork | None,
        teacher: AutomaticTeacher,
        learn: LearnSettings,
        place: StreamPlace,
        folder: Path,
        axes: tuple[int, ...] = (0,),
        pool: SlicePool | None = None,
        device: torch.device = _CPU,
        propagate: PropagateSettings | None = None,
    ) -> None:
        self.volume, self.network, self.teacher, self.place = volume, network, teacher, place
        self.learn = learn.at(place.number, 1)
        self.folder, self.axes, self.pool, self.device = folder, axes, pool, device
        self.propagate = propagate
        self.first_labels = network.labels if network else ()
        self.first = network.probabilities(volume) if network else None
        self.before: NDArray[np.float32] | None = None
        self.now = self.first
        self.proxy: ProxyMask | None = None
        self.annotated: list[AnnotatedSlice] = []
        self.round = 0
        self._cache = RegistrationCache()
        self._alpha = trust(place.number, learn.expected_cases) if learn.smoothing else 1.0

    def proposals(self, count: int) -> tuple[Suggestion, ...]:
        """Slices that are worth annotating next, best first; none twice. Empty if nothing is known yet."""
        evidence: list[Evidence] = []
        foreground = None if self.now is None else 1 - self.now[0]
        if self.proxy is not None:
            evidence.append(from_proxy(self.proxy))
            if foreground is not None:
                evidence.append(from_front_end(self.proxy, foreground))
        if foreground is not None:
            evidence.append(from_prediction(foreground))
            if self.before is not None:
                evidence.append(from_rounds(1 - self.before[0], foreground))
        voxels = self._object_voxels(foreground)
        if not evidence or voxels <= 0:
            return ()
        drawn = {axis: [s.index for s in self.annotated if s.axis == axis] for axis in self.axes}
        outlines = None if self.proxy is None else expected_outlines(self.proxy)
        settings = GuidanceSettings(count, self.axes)
        return suggest(evidence, self.volume.geometry, drawn, voxels, settings, outlines=outlines).suggestions

    def annotate_steps(self, slices: Sequence[AnnotatedSlice]) -> Steps[ProxyMask]:
        """Add annotated slices, and carry all annotated slices through the volume.

        Raises
        ------
        InputError : as ``propagate_steps``.
        """
        given = [*self.annotated, *slices]
        self.proxy = yield from propagate_steps(self.volume, given, self.propagate, cache=self._cache, pool=self.pool)
        self.annotated = given
        return self.proxy

    def teach_steps(self) -> Steps[AutomaticNetwork]:
        """Train on the proxy mask and the replayed lessons, and predict again.

        Raises
        ------
        InputError : nothing was annotated yet.
        TrainingDivergedError : the loss is not finite; the network is unchanged.
        """
        proxy = self._required_proxy()
        network = self.teacher.started(self.network, self.volume, proxy.labels)
        lessons = [self.teacher.lesson(self.taught(network.labels), network), *self.place.replayed]
        seed = (self.learn.seed * 10_007 + self.place.number) * 101 + self.round
        folder = self.folder / f"round-{self.round}"
        self.network = yield from teach_steps(self.teacher, network, lessons, self.learn, seed, folder, self.device)
        self.before, self.now = self.now, self.network.probabilities(self.volume)
        self.round += 1
        return self.network

    def taught(self, labels: Sequence[int]) -> CaseTargets:
        """The training target: the proxy mask, sharpened and blended with the first answer, never thresholded."""
        proxy = self._required_proxy()
        origins = self.origins()
        inside = sharpened(proxy.probabilities, self.learn.sharpness)
        targets = {}
        for label in labels:
            mask = np.zeros(origins.shape, np.float32)
            if label in proxy.labels:
                mask[proxy.box.slices] = inside[proxy.labels.index(label)]
            targets[label] = soft_target(mask, self._first(label), self._alpha, origins)
        return CaseTargets(self.volume, targets, voxel_weights(origins, self.learn.person_weight), Prompts())

    def origins(self) -> NDArray[np.uint8]:
        """(K, J, I) of ``Origin``: the annotated slices are a person's, the rest was propagated."""
        labels = self._required_proxy().labelmap()
        origins = np.where(labels > 0, Origin.PROPAGATED, Origin.NOBODY).astype(np.uint8)
        for each in self.annotated:
            origins[each.place] = Origin.PERSON
        return origins

    def accepted(self) -> AcceptedMask:
        """The current mask with its origins and the first answer, ready to be accepted."""
        labels = self._required_proxy().labelmap()
        first = {label: values for label in self.first_labels if (values := self._first(label)) is not None}
        return AcceptedMask(labels, self.origins(), Prompts(), first)

    def _first(self, label: int) -> NDArray[np.float32] | None:
        if self.first is None or label not in self.first_labels:
            return None
        return self.first[1 + self.first_labels.index(label)]

    def _required_proxy(self) -> ProxyMask:
        if self.proxy is None:
            raise InputError("no slice was annotated yet: there is no mask to learn from")
        return self.proxy

    def _object_voxels(self, foreground: NDArray[np.float32] | None) -> float:
        if self.proxy is not None:
            return float(self.proxy.probabilities.sum(dtype=np.float64))
        return 0.0 if foreground is None else float(foreground.sum(dtype=np.float64))
