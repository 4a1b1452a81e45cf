"""Segment and Fine-tune: from prompts to masks in the scene."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.packed_mask import PackedMask
from InteractiveSegLib.prompts import Prompts
from InteractiveSegLib.segment_result import SegmentResult
from InteractiveSegLib.worker.prepare_request import PrepareRequest
from InteractiveSegLib.worker.segment_request import SegmentRequest
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.jobs import call_later
from InteractiveSegUI.model_question import asking
from InteractiveSegUI.overlays import Overlays
from InteractiveSegUI.overwriting import is_completed, settled
from InteractiveSegUI.segment_io import label_of
from InteractiveSegUI.workspace import mask_key

_OF_BOX = ("Box", "Depth")
_PAUSE_S = 0.2


class Segmenting:
    """Computes the segment that is worked on, or every segment with prompts, and writes what it may.

    Once a box or the first scribble is drawn, worker, network and voxels are made ready for the round that follows.

    Parameters
    ----------
    can_compute : whether the packages are there
    """

    def __init__(self, controller: Controller, overlays: Overlays, can_compute: Callable[[], bool]) -> None:
        self._controller, self._overlays, self._can_compute = controller, overlays, can_compute
        self._seen = -1
        controller.listeners.append(self._on_change)

    def request(self, adapt: bool) -> SegmentRequest:
        """The request that the parameters describe."""
        chosen = self._controller.parameters
        return SegmentRequest(
            model=chosen.model,
            adapt=adapt,
            device=chosen.device,
            rounds=chosen.rounds or None,
            smoothness=chosen.smoothness or None,
            sigma=chosen.sigma or None,
            with_probability=True,
        )

    def segment(self, adapt: bool = False, trust: str = "") -> None:
        """Start a round.

        trust : as of ``SegmentRequest``

        Raises
        ------
        InputError : nothing was drawn, or the prompts, the grid or the segment's status do not allow it.
        """
        controller, workspace = self._controller, self._controller.workspace
        controller.recorder.flush()
        node = workspace.segmentation_node
        prompts, notes = self._prompts()
        for label in prompts.labels:
            target = workspace.segment_of(label)
            if target is not None and is_completed(node, target):
                raise InputError(f"{workspace.name_of(target)} is marked as completed: change its status to go on")
        name = "Fine-tune" if adapt else "Segment"
        request = replace(self.request(adapt), trust=trust)
        ask = asking(controller, lambda sha256: self.segment(adapt, sha256))
        controller.run(name, request, prompts, lambda result: self._apply(name, prompts, notes, result), ask)

    def _prompts(self) -> tuple[Prompts, tuple[str, ...]]:
        """Of what is to be computed, and notes on them. InputError where there are none, as ``Workspace.prompts``."""
        workspace = self._controller.workspace
        label = label_of(workspace.segmentation_node, workspace.segment_id)
        prompts, notes = workspace.prompts()
        if not self._controller.parameters.every_segment:
            prompts = prompts.for_object(label)
        if not prompts.labels:
            raise InputError("nothing to segment: draw a box round the object, or scribble on it")
        return prompts, notes

    def _on_change(self) -> None:
        version, name = self._controller.recorder.version, self._controller.history.undo_name
        if version != self._seen:
            self._seen = version
            if name.startswith(_OF_BOX) or self._controller.client.status.stage == "stopped":
                call_later(_PAUSE_S, lambda: self._prepare(version))

    def _prepare(self, version: int) -> None:
        """The person has paused after a step: get ready for the round."""
        controller = self._controller
        is_over = controller.recorder.version != version or not controller.history.is_begun
        if not is_over and self._can_compute():
            with suppress(InputError):  # it is told when a round is asked for
                controller.prepare(PrepareRequest(self.request(adapt=False)), self._prompts()[0])

    def _apply(self, name: str, prompts: Prompts, notes: tuple[str, ...], result: SegmentResult) -> str:
        workspace = self._controller.workspace
        results: dict[str, PackedMask | None] = {}
        marks = {}
        for label, mask in result.masks.items():
            segment_id = workspace.segment_of(label)
            if segment_id is None:
                continue
            voxels = mask.mask_kji
            results[segment_id] = PackedMask.of_part(voxels, mask.box) if voxels.any() else None
            marks[segment_id] = prompts.scribbles.for_label(label)[0]
        node, grid = workspace.segmentation_node, workspace.grid()
        found = settled(
            results,
            self._controller.recorder.masks(),
            marks,
            node,
            self._controller.editor_node,
            self._controller.volume.array_kji,
            grid,
        )
        version = self._controller.recorder.version
        self._controller.change(name, {mask_key(segment_id): mask for segment_id, mask in found.masks.items()})
        self._overlays.show(result.probabilities)
        same = (_("the mask stayed as it was"),) if self._controller.recorder.version == version else ()
        said = " ".join(f"{note.rstrip('.')}." for note in (*same, *notes, *result.notes, *found.notes))
        text = _("{name}: {seconds:.1f} s on {device}.")
        return f"{text.format(name=name, seconds=result.seconds, device=result.device)} {said}".strip()
