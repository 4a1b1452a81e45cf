"""From prompts to masks: the stages of every object of an image in their order."""

import copy
import time
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch

from InteractiveSegLib.adapt import load_optimizer
from InteractiveSegLib.bifseg import BifsegSettings, ObjectLabels, other_objects
from InteractiveSegLib.boxed_image import BoxedImage, boxed_image, crop_intensities, encoded_steps, start_on_grid
from InteractiveSegLib.counting import counted
from InteractiveSegLib.empty_masks import empty_notes
from InteractiveSegLib.errors import InputError, is_out_of_memory
from InteractiveSegLib.full_resolution import full_resolution_steps
from InteractiveSegLib.geometry import Volume
from InteractiveSegLib.networks.network import Network, sees_start_masks
from InteractiveSegLib.notes import Labelled, Note
from InteractiveSegLib.object_answer import answer_steps, answering
from InteractiveSegLib.object_box import object_box
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts import BoundingBox, Prompts
from InteractiveSegLib.rounds import ObjectMask, Round, without_overlaps
from InteractiveSegLib.working_grid import WorkingGrid, working_grid

_BYTES_KEPT = 600_000_000  # of features of boxes, beside those of the latest

_CPU = torch.device("cpu")

Result = TypeVar("Result")


class ImageSegmenter:
    """Computes rounds of one image.

    A round is a function of image, prompts, weights, settings and seed alone: every image and every step starts from
    the network's own weights, so a step can be repeated, or computed again by another process with the same result.
    What is kept between rounds is a cache.

    Parameters
    ----------
    volume : the image
    network : in eval mode; a copy of it is worked with
    settings : those for this network where None
    seed : of the random choices of fine-tuning
    device : where the network runs; when its memory is full the step is repeated on the CPU, and a note says so

    Raises
    ------
    InputError : the network is in training mode, in which looking at an image would change it.
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
        self._boxed: dict[BoundingBox, BoxedImage] = {}

    def crops(self, prompts: Prompts) -> tuple[BoundingBox, ...]:
        """The parts of the image that a round from these prompts looks at; no other voxel has a say in it."""
        geometry = self.volume.geometry
        boxes = [object_box(prompts, label, geometry)[0] for label in prompts.labels]
        return tuple(working_grid(box, geometry, self.settings.grid).crop for box in boxes)

    def round_steps(self, prompts: Prompts, adapt: bool = True, notes: Sequence[str] = ()) -> Steps[Round]:
        """Compute a round; with ``adapt``, block 6 is fitted to this image.

        Parameters
        ----------
        notes : of drawing the prompts; the round's begin with them

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
        box, note = object_box(prompts, label, self.volume.geometry)
        notes += [note] if note else []
        boxed = self._cropped(box, device)
        grid = boxed.grid
        if boxed.not_finite:
            verb, then = ("is", "it counts") if boxed.not_finite == 1 else ("are", "they count")
            odd = f" {verb} NaN or infinite; {then} as the darkest finite value"
            notes.append(Note(f"{counted(boxed.not_finite, 'voxel', 'voxels')} round ", Labelled(label), odd))
        foreground, background = (marks[grid.crop.contains(marks)] for marks in prompts.scribbles.for_label(label))
        scribbled = bool(len(foreground) + len(background))
        drawn = label in prompts.boxes
        networks = answering(self._network, scribbled=scribbled, adapt=adapt)
        start = self._start(prompts, label, box, grid, notes)
        starts_from_box = drawn and start is None and sees_start_masks(self._network)
        boxed = yield from encoded_steps(boxed, networks, box if starts_from_box else None, self.settings.cues)
        self._keep(box, boxed)
        others = other_objects(prompts.scribbles, label, box, grid.crop, self.volume.geometry.spacing_kji_mm)
        found: ObjectLabels = yield from answer_steps(
            boxed,
            box,
            foreground,
            background,
            self._network,
            self.settings,
            box_drawn=drawn,
            adapt=adapt,
            seed=self.seed,
            start=None if start is None else start.to(device),
            others_kji=others,
        )
        if grid.is_full_resolution:
            mask = found.labels.cpu().numpy()
        else:
            intensities, _ = crop_intensities(self.volume, grid.crop)
            spacing = self.volume.geometry.spacing_kji_mm
            mask = yield from full_resolution_steps(
                grid, found.probability, found.labels, intensities, spacing, self.settings.on(grid, scribbled).energy
            )
        inside = np.zeros_like(mask)
        within_crop = box.counted_from(grid.crop).slices
        inside[within_crop] = mask[within_crop]
        for marks, value in ((foreground, True), (background, False)):
            inside[tuple((marks - grid.crop.start_kji).T)] = value
        return ObjectMask(grid, found.probability.cpu().numpy(), np.packbits(inside))

    def _start(
        self, prompts: Prompts, label: int, box: BoundingBox, grid: WorkingGrid, notes: list[str]
    ) -> torch.Tensor | None:
        """The object's start mask, where it has one and the network sees it: averaged onto the working grid."""
        start = prompts.starts.get(label)
        if start is None:
            return None
        if not sees_start_masks(self._network):
            use = "not used" if label in prompts.boxes else "used for its box alone"
            notes.append(
                Note("this network does not look at masks: the start mask of ", Labelled(label), f" was {use}")
            )
            return None
        beyond = start.voxels - np.count_nonzero(start.within(box))
        if beyond:
            where = "lies outside its box and was" if beyond == 1 else "lie outside its box and were"
            what = f"{counted(beyond, 'voxel', 'voxels')} of the start mask of "
            notes.append(Note(what, Labelled(label), f" {where} left out"))
        return start_on_grid(start, box, grid)

    def _cropped(self, box: BoundingBox, device: torch.device) -> BoxedImage:
        """A box as it was kept, or without features."""
        kept = self._boxed.get(box)
        if kept is None or kept.image.device != device:
            return boxed_image(self.volume, box, self.settings.grid, device)
        return kept

    def _keep(self, box: BoundingBox, boxed: BoxedImage) -> None:
        """For later rounds, beside the boxes used last."""
        self._boxed.pop(box, None)
        while self._boxed and sum(kept.bytes for kept in self._boxed.values()) > _BYTES_KEPT:
            self._boxed.pop(next(iter(self._boxed)))
        self._boxed[box] = boxed

    def _on_device(self, compute: Callable[[torch.device], Steps[Result]], notes: list[str]) -> Steps[Result]:
        """Run a step on the session's device, or on the CPU when the device's memory does not suffice."""
        try:
            return (yield from compute(self.device))
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            notes.append(f"the memory of {self.device} is full ({str(error).splitlines()[0]}); computed on the CPU")
        self.device = torch.device("cpu")
        self._network = self._network.cpu()
        self._boxed.clear()
        return (yield from compute(self.device))
