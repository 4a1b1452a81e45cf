"""Segment and Fine-tune: from prompts to masks in the scene."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.notes import sentences
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.segment_result import SegmentResult
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.worker.requests.prepare_request import PrepareRequest
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest
from InteractiveSegUI.actions.model_question import asking
from InteractiveSegUI.actions.overlays import Overlays
from InteractiveSegUI.actions.region_outline import RegionOutline
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import call_later
from InteractiveSegUI.scene.history import State, Step, StepKind, Way
from InteractiveSegUI.scene.overwriting import is_completed, settled
from InteractiveSegUI.scene.segment_io import label_of, labels_of
from InteractiveSegUI.scene.workspace import mask_key

_PAUSE_S = 0.2


class Segmenting:
    """Computes the current segment, or every segment with prompts, and writes the masks where this is allowed.

    Once a box or the first scribble is drawn, worker, network and voxels are prepared for the round that follows.

    Parameters
    ----------
    can_compute : whether the packages are installed
    """

    def __init__(
        self, controller: Controller, overlays: Overlays, outline: RegionOutline, can_compute: Callable[[], bool]
    ) -> None:
        self._controller, self._overlays, self._outline = controller, overlays, outline
        self._can_compute = can_compute
        self._seen = -1
        self._last: dict[int, tuple[float, str]] = {}
        self._measured: tuple[PackedMask | None, float] = (None, 0.0)
        controller.listeners.append(self._on_change)

    @property
    def warning(self) -> str:
        """Says that a round will replace a propagated mask; empty if there is none."""
        label, slices = self._chosen_label(), self._controller.recorder.slices
        if label is None or self._overlays.propagated is None or slices is None:
            return ""
        drawn = sum(label in each.masks for each in slices.slices)
        text = _("This replaces the propagated mask; the {count} slices marked as done are kept as you drew them.")
        return text.format(count=drawn)

    @property
    def result_text(self) -> str:
        """Volume of the current segment, certainty of the network, and duration of the last round."""
        controller, label = self._controller, self._chosen_label()
        mask = controller.recorder.known(mask_key(controller.parameters.segment))
        if label is None or mask is None:
            return ""
        if self._measured[0] is not mask:
            spacing = controller.workspace.geometry().spacing_kji_mm
            self._measured = mask, mask.voxels * math.prod(spacing) / 1000
        said = [_("{volume:.3g} ml").format(volume=self._measured[1])]
        sure = self._overlays.certainty
        if sure is not None:
            said.append(_("{percent:.0f} % sure").format(percent=100 * sure))
        if label in self._last:
            seconds, device = self._last[label]
            said.append(_("{seconds:.1f} s {place}").format(seconds=seconds, place=place_in_words(device)))
        return ", ".join(said)

    def forget(self) -> None:
        """Reset when the volume or segmentation changes."""
        self._last.clear()

    def request(self, adapt: bool) -> SegmentRequest:
        """The request that the parameters describe."""
        chosen = self._controller.parameters
        return SegmentRequest(
            model=chosen.model,
            adapt=adapt,
            device=chosen.device.value,
            rounds=chosen.rounds or None,
            smoothness=chosen.smoothness or None,
            sigma=chosen.sigma or None,
            with_probability=True,
        )

    def segment(self, adapt: bool = False, trust: str = "") -> None:
        """Start a round.

        trust : as for ``SegmentRequest``

        Raises
        ------
        InputError : nothing was drawn, or the prompts, the grid or the segment's status do not allow it.
        """
        controller = self._controller
        controller.recorder.flush()
        prompts, notes = self._allowed_prompts(controller.workspace.segment_id)
        name = _("Fine-tune") if adapt else _("Segment")
        request = replace(self.request(adapt), trust=trust)
        ask = asking(controller, lambda sha256: self.segment(adapt, sha256))

        def apply(result: SegmentResult) -> str:
            return self._apply(
                name, prompts, notes, result, lambda masks: controller.change(StepKind.ROUND, name, masks), False
            )

        controller.run(name, request, prompts, apply, ask)

    def update(self, step: Step, segment_id: str, remarks: tuple[str, ...] = ()) -> None:
        """Start an automatic round, without fine-tuning.

        Parameters
        ----------
        step : the last one, which the mask becomes part of
        segment_id : of the step's segment
        remarks : sentences for the status line in addition to those of the round

        Raises
        ------
        InputError : as ``segment``.
        """
        controller, name = self._controller, _("Update")
        prompts, notes = self._allowed_prompts(segment_id)

        def apply(result: SegmentResult) -> str:
            notes_all = (*remarks, *notes)
            said = self._apply(name, prompts, notes_all, result, lambda masks: controller.answer(step, masks), True)
            version = controller.recorder.version
            call_later(_PAUSE_S, lambda: self._look_ahead(version, prompts))
            return said

        controller.run(name, self.request(adapt=False), prompts, apply, automatic=True)

    def warm_up(self) -> None:
        """Start the worker, since something is about to be drawn."""
        if self._can_compute():
            self._controller.client.warm_up()

    def _allowed_prompts(self, segment_id: str) -> tuple[Prompts, tuple[str, ...]]:
        """As ``_prompts``. InputError, too, if a segment to be computed is completed."""
        workspace = self._controller.workspace
        prompts, notes = self._prompts(segment_id)
        for label in prompts.labels:
            target = workspace.segment_of(label)
            if target is not None and is_completed(workspace.segmentation_node, target):
                raise InputError(f"{workspace.name_of(target)} is marked as completed: change its status to go on")
        return prompts, notes

    def _prompts(self, segment_id: str) -> tuple[Prompts, tuple[str, ...]]:
        """Prompts of the segments to compute, and notes on them. InputError if there are none, or as
        ``Workspace.prompts``.
        """
        workspace = self._controller.workspace
        label = label_of(workspace.segmentation_node, segment_id)
        prompts, notes = workspace.prompts()
        if not self._controller.parameters.every_segment:
            prompts = prompts.for_object(label)
        if not prompts.labels:
            raise InputError("nothing to segment: draw a box round the object, or scribble on it")
        return prompts, notes

    def _on_change(self) -> None:
        version, last = self._controller.recorder.version, self._controller.history.last
        if version != self._seen:
            self._seen = version
            drew_box = last is not None and last[0] is Way.DONE and last[1].kind is StepKind.BOX
            call_later(_PAUSE_S, lambda: self._prepare(version, drew_box))

    def _prepare(self, version: int, drew_box: bool) -> None:
        """The user has paused after a step: prepare for the round if the step was the first or drew a box."""
        controller, client = self._controller, self._controller.client
        if controller.recorder.version != version or not controller.history.is_begun or controller.is_busy:
            return
        with suppress(InputError):  # the round itself will report it
            is_first = client.status.stage == "stopped" or client.volume is not controller.volume
            if (drew_box or is_first) and self._can_compute():
                prompts, _notes = self._prompts(controller.workspace.segment_id)
                controller.prepare(PrepareRequest(self.request(adapt=False)), prompts)

    def _look_ahead(self, version: int, prompts: Prompts) -> None:
        """If nothing was drawn since an update, prepare for fine-tuning in its boxes."""
        controller = self._controller
        if prompts.boxes and controller.recorder.version == version and not controller.is_busy:
            controller.prepare(PrepareRequest(self.request(adapt=True)), prompts)

    def _chosen_label(self) -> int | None:
        parameters = self._controller.parameters
        if parameters.segmentation is None:
            return None
        return labels_of(parameters.segmentation).get(parameters.segment)

    def _apply(
        self,
        name: str,
        prompts: Prompts,
        notes: tuple[str, ...],
        result: SegmentResult,
        put: Callable[[State], None],
        by_itself: bool,
    ) -> str:
        """Put the masks into the scene and return the text for the status line.

        by_itself : as for ``ReviewRules.held_back``
        """
        controller, workspace = self._controller, self._controller.workspace
        slices = controller.recorder.slices
        results: dict[str, PackedMask | None] = {}
        marks = {}
        kept = held = 0
        for label, mask in result.masks.items():
            segment_id = workspace.segment_of(label)
            if segment_id is None:
                continue
            voxels = mask.mask_kji
            found = PackedMask.of_part(voxels, mask.box) if voxels.any() else None
            drawn = slices.indices(label) if slices is not None else np.zeros((0, 3), int)
            if slices is not None:
                found, changed = slices.drawn_into(label, found)
                kept += changed
            alone = by_itself and label not in prompts.boxes
            found, slices_held = controller.recorder.review_rules.held_back(segment_id, found, alone)
            held += slices_held
            results[segment_id] = found
            marks[segment_id] = np.concatenate([prompts.scribbles.for_label(label)[0], drawn])
            self._last[label] = result.seconds, result.device
        settled_masks = settled(
            results,
            controller.recorder.masks(),
            marks,
            workspace.segmentation_node,
            controller.editor_node,
            controller.volume.array_kji,
            workspace.grid(),
        )
        version, replaces = controller.recorder.version, self.warning
        state = {mask_key(segment_id): mask for segment_id, mask in settled_masks.masks.items()}
        put(state)
        self._overlays.show(result.probabilities)
        self._outline.keep({label: result.regions.get(label) for label in result.masks})
        said = [_("The mask did not change")] if controller.recorder.version == version else []
        if kept:
            said.append(_("{count} voxels were kept as you drew them on slices marked as done").format(count=kept))
        if held:
            one, many = _("slice without your marks stays as it was"), _("slices without your marks stay as they were")
            said.append(counted(held, one, many))
        if replaces and controller.recorder.version != version:
            said.append(_("The propagated mask was replaced; Undo restores it"))
        text = sentences((*said, *notes, *result.notes, *settled_masks.notes), workspace.words())
        return f"{_('{name}: done.').format(name=name)} {text}".strip()


def place_in_words(device: str) -> str:
    """A PyTorch device in the words of the panel."""
    return _("on the graphics card") if device.startswith("cuda") else _("on this computer")
