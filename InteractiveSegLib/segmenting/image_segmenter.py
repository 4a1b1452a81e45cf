"""From prompts to masks: runs all stages, in order, for every object of an image."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch

from InteractiveSegLib.errors import InputError, is_out_of_memory
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.intensity import crop_intensities
from InteractiveSegLib.image.working_grid import working_grid
from InteractiveSegLib.networks.network import Network
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.object_roi import object_roi
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.adapt import load_optimizer
from InteractiveSegLib.segmenting.bifseg import ObjectLabels
from InteractiveSegLib.segmenting.box_look import BoxLooks, starts_from_box
from InteractiveSegLib.segmenting.empty_masks import empty_notes
from InteractiveSegLib.segmenting.full_resolution import full_resolution_steps
from InteractiveSegLib.segmenting.network_fusion import answering, fused_steps
from InteractiveSegLib.segmenting.object_crop import ObjectCrop, encoded_steps, object_crop
from InteractiveSegLib.segmenting.object_prompts import ObjectPrompts
from InteractiveSegLib.segmenting.region import is_untuned, looked_at, needs_region, region_note, region_steps
from InteractiveSegLib.segmenting.rounds import ObjectMask, Round, without_overlaps
from InteractiveSegLib.segmenting.settings import BifsegSettings
from InteractiveSegLib.segmenting.start_keeping import changed_part, corrected_mask, corrected_probability
from InteractiveSegLib.wording.counting import counted

_BYTES_KEPT = 600_000_000  # of features of boxes, besides those of the latest

_CPU = torch.device("cpu")

Result = TypeVar("Result")


class ImageSegmenter:
    """Computes rounds of one image.

    A round depends only on image, prompts, weights, settings and seed: every image and every step starts from
    the network's own weights, so a step can be repeated, or computed again by another process with the same result.
    Everything kept between rounds is a cache.

    Parameters
    ----------
    volume : the image
    network : in eval mode; a copy of it is used
    settings : None takes the defaults for this network
    seed : of the random choices of fine-tuning
    device : where the network runs; if its memory is full, the step is repeated on the CPU, and a note says so

    Raises
    ------
    InputError : the network is in training mode, in which computing features of an image would change it.
    """

    def __init__(
        self,
        volume: Volume,
        network: Network,
        settings: BifsegSettings | None = None,
        seed: int = 0,
        device: torch.device = _CPU,
    ) -> None:
        if network.training:
            raise InputError("the network is in training mode: call its eval() first")
        self.volume = volume
        self.settings = settings or BifsegSettings.for_network(network)
        self.seed = seed
        self.device = device
        self._network = copy.deepcopy(network).to(device)
        load_optimizer()
        self._kept: dict[BoundingBox, ObjectCrop] = {}
        self._looks = BoxLooks(volume, self.settings)

    def crops(self, prompts: Prompts) -> tuple[BoundingBox, ...]:
        """The parts of the image that a round from these prompts uses; no other voxel affects it."""
        geometry, found = self.volume.geometry, []
        for label in prompts.labels:
            if needs_region(prompts, label):
                found += looked_at(prompts, label, geometry, self.settings)
            else:
                box, _ = object_roi(prompts, label, geometry)
                found.append(working_grid(box, geometry, self.settings.grid).crop)
                if starts_from_box(prompts, label, self._network):
                    found.append(working_grid(box, geometry, self.settings.coarse.grid).crop)
        return tuple(found)

    def look_steps(self, prompts: Prompts, adapt: bool = True) -> Steps[None]:
        """Compute the features around drawn boxes before anything is marked there.

        This makes the next round of these boxes faster and does not change its result.

        Parameters
        ----------
        adapt : the expected round is to be fine-tuned
        """
        for label in sorted(prompts.boxes):
            yield from self._on_device(lambda device, label=label: self._looked(prompts, label, adapt, device), [])

    def _looked(self, prompts: Prompts, label: int, adapt: bool, device: torch.device) -> Steps[None]:
        box, _ = object_roi(prompts, label, self.volume.geometry)
        crop = yield from encoded_steps(
            self._cropped(box, device), answering(self._network, scribbled=True, adapt=adapt)
        )
        if starts_from_box(prompts, label, self._network):
            crop = yield from self._looks.boxed_steps(crop, prompts, label, self._network, device)
        self._keep(box, crop)

    def round_steps(self, prompts: Prompts, adapt: bool = True, notes: Sequence[str] = ()) -> Steps[Round]:
        """Compute a round; with ``adapt``, block 6 is fitted to this image.

        Parameters
        ----------
        notes : from drawing the prompts; the notes of the round begin with them

        Raises
        ------
        InputError : there are no prompts, or an object has neither a box nor a scribble of its own.
        """
        started = time.perf_counter()
        if not prompts.labels:
            raise InputError("nothing to segment: draw a box round the object, or scribble on it")
        notes = list(notes)
        objects: dict[int, ObjectMask] = {}
        for label in prompts.labels:
            objects[label] = yield from self._on_device(
                lambda device, label=label: self._object(prompts, label, adapt, device, notes), notes
            )
        kept = without_overlaps(objects, prompts)
        notes += empty_notes(self.volume, prompts, objects, kept)
        return Round(
            prompts,
            MappingProxyType(kept),
            adapt,
            tuple(dict.fromkeys(notes)),
            time.perf_counter() - started,
        )

    def _object(
        self, prompts: Prompts, label: int, adapt: bool, device: torch.device, notes: list[str]
    ) -> Steps[ObjectMask]:
        geometry = self.volume.geometry
        box, note = object_roi(prompts, label, geometry)
        notes += [note] if note else []
        looked_for = region = None
        if needs_region(prompts, label):
            region = yield from region_steps(
                self.volume, prompts, label, self._network, self.settings, seed=self.seed, device=device
            )
            box = region.box
            if not region.is_shown:
                looked_for = box
                fine_tuned = adapt and not self._network.takes_prompts  # which knows more than few marks teach
                notes.append(region_note(label, box, geometry, left_untuned=adapt and not fine_tuned))
                adapt = fine_tuned
        crop = self._cropped(box, device)
        grid = crop.grid
        if crop.not_finite:
            verb, then = ("is", "it is treated") if crop.not_finite == 1 else ("are", "they are treated")
            odd = f" {verb} NaN or infinite; {then} as the darkest finite value"
            notes.append(Note(f"{counted(crop.not_finite, 'voxel', 'voxels')} round ", Labelled(label), odd))
        notes += self._start_notes(prompts, label, box)
        sees_start = self._network.sees_start_masks
        if adapt and self._network.takes_prompts and is_untuned(prompts, label, sees_start=sees_start):
            adapt = False
            needed = ": with a lasso or a mask to start from, it takes a drawn box as well"
            notes.append(Note(Labelled(label), " was segmented without fine-tuning", needed))
        own = ObjectPrompts.of(prompts, label, box, grid, device, sees_start=sees_start)
        corrects = own.start is not None and own.has_scribbles
        smaller = None
        if region is not None and sees_start:
            own, smaller = replace(own, start=region.start_on(grid)), region.smaller_on(grid)
        networks = answering(self._network, scribbled=own.has_scribbles, adapt=adapt)
        crop = yield from encoded_steps(crop, networks)
        if starts_from_box(prompts, label, self._network):
            crop = yield from self._looks.boxed_steps(crop, prompts, label, self._network, device)
        self._keep(box, crop)
        found: ObjectLabels = yield from fused_steps(
            crop, own, self._network, self.settings, adapt=adapt, seed=self.seed, other_look=smaller
        )
        if grid.is_full_resolution:
            mask = found.labels.cpu().numpy()
        else:
            intensities, _ = crop_intensities(self.volume, grid.crop)
            spacing = self.volume.geometry.spacing_kji_mm
            mask = yield from full_resolution_steps(
                grid,
                found.probability,
                found.labels,
                intensities,
                spacing,
                self.settings.on(grid, own.has_scribbles).energy,
            )
        probability = found.probability
        if corrects:
            given = own.foreground, own.background
            changed = changed_part(found.labels, probability, own.start, *given, grid.spacing_kji_mm)
            mask = corrected_mask(mask, prompts.start_masks[label].within(grid.crop), changed, grid)
            probability = corrected_probability(probability, own.start, changed)
        inside = np.zeros_like(mask)
        within_crop = box.counted_from(grid.crop).slices
        inside[within_crop] = mask[within_crop]
        for marks, value in zip(prompts.scribbles.for_label(label), (True, False), strict=True):
            inside[tuple((marks[grid.crop.contains(marks)] - grid.crop.start_kji).T)] = value
        drawn = box if label in prompts.boxes else None
        return ObjectMask(grid, probability.cpu().numpy(), np.packbits(inside), looked_for, drawn)

    def _start_notes(self, prompts: Prompts, label: int, box: BoundingBox) -> list[Note]:
        """Notes on what is left out of the object's start mask, if it has one."""
        start = prompts.start_masks.get(label)
        if start is None:
            return []
        if not self._network.sees_start_masks:
            use = "not used" if label in prompts.boxes else "used only for its box"
            return [Note("this network does not take start masks as input: that of ", Labelled(label), f" was {use}")]
        beyond = start.voxels - np.count_nonzero(start.within(box))
        if not beyond:
            return []
        where = "lies outside its box and was" if beyond == 1 else "lie outside its box and were"
        what = f"{counted(beyond, 'voxel', 'voxels')} of the start mask of "
        return [Note(what, Labelled(label), f" {where} left out")]

    def _cropped(self, box: BoundingBox, device: torch.device) -> ObjectCrop:
        """The crop of a box: the cached one, or one without features."""
        kept = self._kept.get(box)
        if kept is None or kept.image.device != device:
            return object_crop(self.volume, box, self.settings.grid, device)
        return kept

    def _keep(self, box: BoundingBox, crop: ObjectCrop) -> None:
        """Cache a crop for later rounds, next to the crops used last."""
        self._kept.pop(box, None)
        while self._kept and sum(kept.bytes for kept in self._kept.values()) > _BYTES_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[box] = crop

    def _on_device(self, compute: Callable[[torch.device], Steps[Result]], notes: list[str]) -> Steps[Result]:
        """Run a step on the session's device, or on the CPU when the device has too little memory."""
        try:
            return (yield from compute(self.device))
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            notes.append(f"the memory of {self.device} is full ({str(error).splitlines()[0]}); computed on the CPU")
        self.device = torch.device("cpu")
        self._network = self._network.cpu()
        self._kept.clear()
        self._looks.clear()
        return (yield from compute(self.device))
