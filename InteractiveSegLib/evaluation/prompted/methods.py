"""The methods that are compared, all with one interface: image and prompts in, masks out."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.evaluation.baselines.classical import geodesic_mixtures, nearest_scribble, random_walker
from InteractiveSegLib.evaluation.baselines.grab_cut import grab_cut
from InteractiveSegLib.evaluation.baselines.grow_from_seeds import grow_from_seeds
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.intensity import crop_intensities
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import Stage, Steps
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.segmenting.rounds import Round
from InteractiveSegLib.segmenting.session import ImageSession

SeedMethod = Callable[[NDArray, NDArray[np.uint8], Sequence[float]], NDArray[np.uint8]]

SEED_METHODS: dict[str, SeedMethod] = {
    "grow": grow_from_seeds,
    "geodesic": nearest_scribble,
    "mixtures": geodesic_mixtures,
    "walker": random_walker,
}
BASELINES = ("box", "grabcut", *SEED_METHODS)
NEED_A_BOX = ("box", "grabcut")
VARIANTS = ("", "fixed", "plain", "straight")

_MARGIN = 0.15
_LEAST_MARGIN_VOXELS = 2


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A method's answer to prompts.

    labelmap : (K, J, I) uint8, 0 background, otherwise the object
    probabilities : label -> (K, J, I) float32, if the method has them
    stages : name -> seconds; their sum is the time of the step
    """

    labelmap: NDArray[np.uint8]
    probabilities: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)


class Segmenter(Protocol):
    """A method on one image; it is given all prompts drawn so far."""

    def segment(self, prompts: Prompts) -> Segmentation: ...


def segmenter(name: str, volume: Volume, seed: int, device: torch.device) -> Segmenter:
    """A method by name on an image.

    Parameters
    ----------
    name : ``box`` (the box itself), ``grabcut``, ``grow`` (Grow from seeds), ``geodesic`` (nearest scribble),
        ``mixtures`` (geodesic distance and intensity mixtures in a Potts energy), ``walker`` (random walker), or a
        model as in ``load_network``: alone, as ``MODEL:fixed`` (never fine-tuned), ``MODEL:plain`` (nor refined) or
        ``MODEL:straight`` (its cues are straight distances instead of geodesic ones)

    Raises
    ------
    InputError : no such method or model.
    """
    if name == "box":
        return _Boxes(volume)
    if name == "grabcut":
        return _GrabCut(volume)
    if name in SEED_METHODS:
        return _Seeded(volume, SEED_METHODS[name])
    model, variant = model_of(name)
    return _Network(volume, model, variant, seed, device)


def model_of(name: str) -> tuple[str, str]:
    """Model and variant of a network's name. InputError for an unknown variant."""
    model, colon, variant = name.rpartition(":")
    if not colon or len(model) == 1:  # a Windows drive letter is not a model
        return name, ""
    if variant not in VARIANTS[1:]:
        raise InputError(f"method {name!r}: the variants of a model are {', '.join(VARIANTS[1:])}, not {variant!r}")
    return model, variant


@dataclass(frozen=True)
class _Boxes:
    volume: Volume

    def segment(self, prompts: Prompts) -> Segmentation:
        labelmap = np.zeros(self.volume.geometry.shape_kji, np.uint8)
        for label, box in _boxes(prompts, self.volume).items():
            labelmap[box.slices] = label
        return Segmentation(labelmap, stages={"box": 0.0})


@dataclass(frozen=True)
class _Seeded:
    """A baseline that needs scribbles; an object without any gets its box."""

    volume: Volume
    method: SeedMethod

    def segment(self, prompts: Prompts) -> Segmentation:
        if not len(prompts.scribbles):
            return _Boxes(self.volume).segment(prompts)
        started = time.perf_counter()
        boxes = _boxes(prompts, self.volume)
        crop = _crop(boxes.values(), self.volume)
        intensities, _ = crop_intensities(self.volume, crop)
        seeds = prompts.scribbles.within(crop).to_labelmap(crop.shape_kji)
        if prompts.boxes:
            seeds[_outside(boxes.values(), crop) & (seeds == 0)] = BACKGROUND
        if len(np.unique(seeds[seeds > 0])) < 2:  # no background to distinguish it from
            return _Boxes(self.volume).segment(prompts)
        found = self.method(intensities, seeds, self.volume.geometry.spacing_kji_mm)
        labelmap = np.zeros(self.volume.geometry.shape_kji, np.uint8)
        labelmap[crop.slices] = found
        for label, box in boxes.items():
            if label not in prompts.scribbles.object_labels():
                labelmap[box.slices][labelmap[box.slices] == 0] = label
            elif label in prompts.boxes:
                outside = labelmap == label
                outside[box.slices] = False
                labelmap[outside] = 0
        return Segmentation(labelmap, stages={"method": time.perf_counter() - started})


@dataclass(frozen=True)
class _GrabCut:
    volume: Volume

    def segment(self, prompts: Prompts) -> Segmentation:
        started = time.perf_counter()
        labelmap = np.zeros(self.volume.geometry.shape_kji, np.uint8)
        for label, box in _boxes(prompts, self.volume).items():
            crop = _crop([box], self.volume)
            intensities, _ = crop_intensities(self.volume, crop)
            seeds = np.zeros(crop.shape_kji, np.uint8)
            for marks, value in zip(prompts.scribbles.for_label(label), (1, BACKGROUND), strict=True):
                seeds[tuple((marks[crop.contains(marks)] - crop.start_kji).T)] = value
            if crop == box:  # the box is the whole image: there is no outside to learn from
                found = seeds != BACKGROUND
            else:
                within = box.counted_from(crop).slices
                found = grab_cut(intensities, within, seeds, self.volume.geometry.spacing_kji_mm)
            labelmap[crop.slices][found] = label
        return Segmentation(labelmap, stages={"method": time.perf_counter() - started})


class _Network:
    """A session with a network: as shipped, without fine-tuning, or the raw prediction."""

    def __init__(self, volume: Volume, model: str, variant: str, seed: int, device: torch.device) -> None:
        self._session = ImageSession(volume, load_network(model), seed=seed, device=device)
        self._adapt = variant in ("", "straight")
        settings = self._session.segmenter.settings
        if variant == "plain":
            self._session.segmenter.settings = replace(settings, smoothness_voxels=0.0, smoothness_voxels_of_box=None)
        if variant == "straight":
            self._session.segmenter.settings = replace(settings, cues=replace(settings.cues, contrast=0.0))

    def segment(self, prompts: Prompts) -> Segmentation:
        session = self._session
        session.prompts = prompts
        round_, stages = _timed(session.segment(adapt=self._adapt))
        probabilities = {label: session.probability(label) for label in round_.objects}
        return Segmentation(session.labelmap(), probabilities, stages)


def _timed(steps: Steps[Round]) -> tuple[Round, dict[str, float]]:
    """Run a step; returns its seconds by stage."""
    seconds: dict[str, float] = defaultdict(float)
    doing = Stage.READING.value
    while True:
        started = time.perf_counter()
        try:
            progress = next(steps)
        except StopIteration as end:
            seconds[doing] += time.perf_counter() - started
            return end.value, dict(seconds)
        seconds[doing] += time.perf_counter() - started
        doing = doing if progress.stage is None else progress.stage.value


def _boxes(prompts: Prompts, volume: Volume) -> dict[int, BoundingBox]:
    """The boxes in which a session works if prompts show the size of an object, so that baselines see as much."""
    return {label: object_roi(prompts, label, volume.geometry)[0] for label in prompts.labels}


def _crop(boxes: Sequence[BoundingBox], volume: Volume) -> BoundingBox:
    """The region a baseline sees: the boxes and a margin, within the image."""
    first, *others = boxes
    for box in others:
        first = first.union(box)
    spacing = volume.geometry.spacing_kji_mm
    extent_mm = max(n * mm for n, mm in zip(first.shape_kji, spacing, strict=True))
    margin_mm = max(_MARGIN * extent_mm, _LEAST_MARGIN_VOXELS * min(spacing))
    margin = tuple(math.ceil(margin_mm / mm) for mm in spacing)
    return first.expanded(margin).intersected(volume.geometry.shape_kji)


def _outside(boxes: Sequence[BoundingBox], crop: BoundingBox) -> NDArray[np.bool_]:
    outside = np.ones(crop.shape_kji, bool)
    for box in boxes:
        outside[box.counted_from(crop).slices] = False
    return outside
