"""One image, its prompts and its rounds: the orchestrator that the command line, the worker and tests talk to."""

import copy
import time
from collections.abc import Callable
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.adapt import load_optimizer
from InteractiveSegLib.bifseg import (
    BifsegSettings,
    BoxedImage,
    ObjectLabels,
    boxed_image_steps,
    crop_intensities,
    object_steps,
)
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.full_resolution import full_resolution_steps
from InteractiveSegLib.geometry import Volume
from InteractiveSegLib.lasso import Lasso
from InteractiveSegLib.networks.network import Network, sees_start_masks
from InteractiveSegLib.object_box import object_box
from InteractiveSegLib.packed_mask import PackedMask
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts import BoundingBox, Prompts, Scribbles
from InteractiveSegLib.rounds import ObjectMask, Round, without_overlaps
from InteractiveSegLib.working_grid import WorkingGrid

_BOXES_KEPT = 8
_ROUNDS_KEPT = 50

_CPU = torch.device("cpu")

Result = TypeVar("Result")


class ImageSession:
    """Segments one image, step by step.

    A round is a function of image, prompts, weights, settings and seed alone: every image and every step starts from
    the network's own weights, so a step can be undone, repeated, or computed again by another process with the same
    result.
    Long steps are generators; a step that is closed or fails leaves prompts and rounds as they were.

    Parameters
    ----------
    volume : the image
    network : in eval mode; the session works with a copy
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
        self.prompts = Prompts()
        self._network = copy.deepcopy(network).to(device)
        load_optimizer()
        self._rounds = [Round(self.prompts)]
        self._position = 0
        self._taken_back: Prompts | None = None
        self._boxed: dict[BoundingBox, BoxedImage] = {}
        self._notes: list[str] = []

    @property
    def current(self) -> Round:
        """The round that is shown."""
        return self._rounds[self._position]

    @property
    def can_undo(self) -> bool:
        return self._position > 0 or self._has_new_prompts

    @property
    def can_redo(self) -> bool:
        return self._taken_back is not None or self._position + 1 < len(self._rounds)

    def set_box(self, label: int, box: BoundingBox) -> None:
        """Give an object a box. The part outside the image is cut off, and noted.

        Raises
        ------
        InputError : the box lies outside the image.
        """
        inside = box.intersected(self.volume.geometry.shape_kji)
        self.prompts, self._taken_back = self.prompts.with_box(label, inside), None
        if inside != box:
            self._notes.append(
                f"the box of label {label} reached outside the image and was cut to "
                f"{inside.start_kji} - {inside.stop_kji} (k, j, i)"
            )

    def add_scribbles(self, scribbles: Scribbles) -> None:
        """Draw over what was drawn before; a later mark replaces an earlier one on the same voxel, and that is noted.

        Raises
        ------
        InputError : a scribble lies outside the image.
        """
        scribbles.require_inside(self.volume.geometry.shape_kji)
        self.prompts, self._taken_back = self.prompts.with_scribbles(scribbles), None
        self._note_contradictions(scribbles)

    def add_lasso(self, label: int, lasso: Lasso) -> None:
        """Say that the object's section in a slice lies within a curve; it becomes marks, drawn over those before.

        The part outside the image is cut off, and noted.

        Raises
        ------
        InputError : the lasso lies outside the image, or encloses no voxel centre of it.
        """
        marks, extent, note = lasso.marks(label, self.volume.geometry)
        self.prompts, self._taken_back = self.prompts.with_lasso(label, marks, extent), None
        self._notes += [note] if note else []
        self._note_contradictions(marks)

    def set_start(self, label: int, mask_kji: NDArray) -> None:
        """Give an object a mask to start from, such as one of another method; it is no hard mark.

        Parameters
        ----------
        mask_kji : integers or bool on the image's grid, nonzero in the object

        Raises
        ------
        InputError : another shape than the image's, not integers or bool, or empty.
        """
        self._require_shape(np.shape(mask_kji), "the start mask")
        self.prompts, self._taken_back = self.prompts.with_start(label, PackedMask.of(mask_kji)), None

    def add_edits(self, before_kji: NDArray, after_kji: NDArray) -> None:
        """Keep what a person painted or erased by hand: it becomes marks (``Scribbles.from_edits``) over those before.

        Two labelmaps that are the same change nothing.

        Raises
        ------
        InputError : another shape than the image's, not integers, or painted with something else than 1 to 254.
        """
        for labelmap in (before_kji, after_kji):
            self._require_shape(np.shape(labelmap), "an edited labelmap")
        edits = Scribbles.from_edits(before_kji, after_kji)
        if len(edits):
            self.add_scribbles(edits)

    def undo(self) -> Round:
        """Take back what was drawn since the round, if anything; else go back to the round before, with its prompts."""
        if self._has_new_prompts:
            self._taken_back, self.prompts = self.prompts, self.current.prompts
            self._notes.clear()
            return self.current
        return self._move(-1, "nothing to undo")

    def redo(self) -> Round:
        """Bring back what was undone last: prompts that were drawn, or a round with its prompts."""
        if self._taken_back is not None:
            self.prompts, self._taken_back = self._taken_back, None
            return self.current
        return self._move(1, "nothing to redo")

    def segment(self, adapt: bool = True) -> Steps[Round]:
        """Compute a round from the prompts; with ``adapt``, block 6 is fitted to this image.

        Raises
        ------
        InputError : there are no prompts, or an object has neither a box nor a scribble of its own.
        """
        started = time.perf_counter()
        prompts = self.prompts
        if not prompts.labels:
            raise InputError("nothing to segment: draw a box round the object, or scribble on it")
        notes = list(self._notes)
        objects: dict[int, ObjectMask] = {}
        for label in prompts.labels:
            objects[label] = yield from self._on_device(
                lambda device, label=label: self._object(prompts, label, adapt, device, notes), notes
            )
        round_ = Round(
            prompts,
            MappingProxyType(without_overlaps(objects, prompts)),
            adapt,
            tuple(dict.fromkeys(notes)),
            time.perf_counter() - started,
        )
        self._rounds[self._position + 1 :] = [round_]
        del self._rounds[: max(0, len(self._rounds) - _ROUNDS_KEPT)]
        self._position = len(self._rounds) - 1
        self._taken_back = None
        self._notes.clear()
        return round_

    def fine_tune(self) -> Steps[Round]:
        """Compute a round with block 6 fitted to this image."""
        return self.segment(adapt=True)

    def labelmap(self) -> NDArray[np.uint8]:
        """The objects of the current round on the image's grid: (K, J, I), 0 where there is none."""
        labelmap = np.zeros(self.volume.geometry.shape_kji, np.uint8)
        for label, mask in self.current.objects.items():
            labelmap[mask.grid.crop.slices][mask.mask] = label
        return labelmap

    def probability(self, label: int) -> NDArray[np.float32]:
        """Foreground probability of one object on the image's grid, 0 outside its crop.

        Raises
        ------
        InputError : the current round has no such object.
        """
        if label not in self.current.objects:
            raise InputError(f"the round holds no label {label}, only {sorted(self.current.objects)}")
        found = self.current.objects[label]
        probability = np.zeros(self.volume.geometry.shape_kji, np.float32)
        probability[found.grid.crop.slices] = found.grid.interpolated(torch.from_numpy(found.probability)).numpy()
        return probability

    def _note_contradictions(self, added: Scribbles) -> None:
        replaced = added.contradictions + self.prompts.scribbles.contradictions
        if replaced:
            self._notes.append(f"{replaced} voxels were scribbled with different labels; the latest counts")

    def _require_shape(self, shape: tuple[int, ...], what: str) -> None:
        if shape != self.volume.geometry.shape_kji:
            raise InputError(f"{what} has the shape {shape}, not {self.volume.geometry.shape_kji} (k, j, i)")

    def _move(self, step: int, refusal: str) -> Round:
        if not 0 <= self._position + step < len(self._rounds):
            raise InputError(refusal)
        self._position += step
        self.prompts, self._taken_back = self.current.prompts, None
        self._notes.clear()
        return self.current

    @property
    def _has_new_prompts(self) -> bool:
        return self.prompts is not self.current.prompts

    def _object(
        self, prompts: Prompts, label: int, adapt: bool, device: torch.device, notes: list[str]
    ) -> Steps[ObjectMask]:
        box, note = object_box(prompts, label, self.volume.geometry)
        notes += [note] if note else []
        boxed = yield from self._encoded(box, device)
        grid = boxed.grid
        if boxed.not_finite:
            notes.append(
                f"{boxed.not_finite} voxels round label {label} are NaN or infinite; "
                "they count as the darkest finite value"
            )
        foreground, background = (marks[grid.crop.contains(marks)] for marks in prompts.scribbles.for_label(label))
        marked_objects = [other for other in prompts.scribbles.object_labels() if other != label]
        others = [prompts.scribbles.for_label(other)[0] for other in marked_objects]
        start = self._start(prompts, label, box, grid, notes)
        found: ObjectLabels = yield from object_steps(
            boxed,
            box,
            foreground,
            background,
            self._network,
            self.settings,
            box_drawn=label in prompts.boxes,
            adapt=adapt,
            seed=self.seed,
            start=None if start is None else start.to(device),
            others_kji=[marks[grid.crop.contains(marks)] for marks in others],
        )
        if grid.is_full_resolution:
            mask = found.labels.cpu().numpy()
        else:
            intensities, _ = crop_intensities(self.volume, grid.crop)
            spacing = self.volume.geometry.spacing_kji_mm
            mask = yield from full_resolution_steps(
                grid, found.probability, found.labels, intensities, spacing, self.settings.on(grid).energy
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
            notes.append(f"this network does not look at masks: the start mask of label {label} was {use}")
            return None
        part = start.within(box)
        beyond = start.voxels - np.count_nonzero(part)
        if beyond:
            notes.append(f"{beyond} voxels of the start mask of label {label} lie outside its box and were left out")
        mask = np.zeros(grid.crop.shape_kji, np.float32)
        mask[box.counted_from(grid.crop).slices] = part
        return grid.averaged(torch.from_numpy(mask))

    def _encoded(self, box: BoundingBox, device: torch.device) -> Steps[BoxedImage]:
        """Features of a box; those of the boxes used last are kept."""
        boxed = self._boxed.pop(box, None)
        if boxed is None or boxed.image.device != device:
            boxed = yield from boxed_image_steps(self.volume, box, self._network, self.settings, device)
        while len(self._boxed) >= _BOXES_KEPT:
            self._boxed.pop(next(iter(self._boxed)))
        self._boxed[box] = boxed
        return boxed

    def _on_device(self, compute: Callable[[torch.device], Steps[Result]], notes: list[str]) -> Steps[Result]:
        """Run a step on the session's device, or on the CPU when the device's memory does not suffice."""
        try:
            return (yield from compute(self.device))
        except RuntimeError as error:
            if self.device.type == "cpu" or not _is_out_of_memory(error):
                raise
            notes.append(f"the memory of {self.device} is full ({str(error).splitlines()[0]}); computed on the CPU")
        self.device = torch.device("cpu")
        self._network = self._network.cpu()
        self._boxed.clear()
        return (yield from compute(self.device))


def _is_out_of_memory(error: RuntimeError) -> bool:
    """PyTorch's own error, or the plain one that comes from cuDNN and cuBLAS."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)
