"""Propagate and Next slice: from marked slices to masks, and to the slice that is worth marking next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.notes import sentences
from InteractiveSegLib.notes.slice_names import Place
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.propagate.guidance import Advice, GuidanceSettings
from InteractiveSegLib.propagate.marked_slices import MarkedSlices, slice_box
from InteractiveSegLib.propagate.propagate_result import PropagateResult
from InteractiveSegLib.wording.counting import counted
from InteractiveSegLib.worker.job import JobError
from InteractiveSegLib.worker.requests.propagate_request import PropagateRequest
from InteractiveSegLib.worker.requests.slices_request import SlicesToPropagate
from InteractiveSegLib.worker.requests.suggest_request import SuggestRequest
from InteractiveSegUI.actions.overlays import Overlays
from InteractiveSegUI.actions.slice_marking import SliceMarking
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.overwriting import settled
from InteractiveSegUI.scene.parameters import PropagateMethod
from InteractiveSegUI.scene.workspace import mask_key


class Propagating:
    """Propagates the marked slices of the current segments to all other slices; the worker does the work.

    Attributes
    ----------
    advice : the last advice on the next slice; None before the first
    advice_text : the slice and the reason, and whether the drawn slices suffice; empty before the first
    lacks_elastix : elastix is not installed, as found here or reported by the worker
    """

    def __init__(self, controller: Controller, marking: SliceMarking, overlays: Overlays) -> None:
        self._controller, self._marking, self._overlays = controller, marking, overlays
        self._proposed: list[Place] = []
        self.advice: Advice | None = None
        self.advice_text = ""
        self.lacks_elastix = False

    def forget(self) -> None:
        """Reset when the volume or segmentation changes."""
        self._proposed, self.advice, self.advice_text = [], None, ""

    def propagate(self) -> None:
        """Start the propagation.

        Raises
        ------
        InputError : no slice is marked, or the slices, the grid or the segment's status do not allow it.
        """
        names, slices, request = self._asked()
        self._controller.run(
            "Propagate",
            PropagateRequest(request),
            Prompts(),
            lambda result: self._apply(names, slices, result),
            self._on_error,
        )

    def propagate_shapes(self) -> None:
        """Propagate by the shapes alone, which does not need elastix."""
        self._controller.parameters.propagate_method = PropagateMethod.SHAPE
        self.propagate()

    def suggest(self) -> None:
        """Find the slice that is worth marking next, and show it. No slice is proposed twice.

        Raises
        ------
        InputError : as ``propagate``.
        """
        names, _, request = self._asked()
        last, before = self._overlays.rounds(names)
        asked = SuggestRequest(request, GuidanceSettings(count=1), tuple(self._proposed), last, before)
        self._controller.run("Next slice", asked, Prompts(), self._show, self._on_error)

    def _asked(self) -> tuple[dict[int, str], MarkedSlices, SlicesToPropagate]:
        """Names of the labels, the slices marked for them, and the request to the worker."""
        controller = self._controller
        controller.recorder.flush()
        controller.workspace.grid()
        names, slices = self._marking.labels(), self._marking.slices
        marked = {label: name for label, name in names.items() if any(label in each.masks for each in slices.slices)}
        if not marked:
            raise InputError(
                f"no slice is marked for {', '.join(names.values())}: draw the object on a slice, and mark it as done"
            )
        if all(each.masks.get(label) is None for each in slices.slices for label in marked):
            raise InputError(
                f"all slices that are marked for {', '.join(marked.values())} are empty: "
                "draw the object on one of them, and mark it again"
            )
        chosen = controller.parameters
        request = SlicesToPropagate(
            slices.annotated(marked, controller.workspace.slice_names()),
            chosen.propagate_method.value,
            chosen.propagate_preset.value,
        )
        return marked, slices, request

    def _apply(self, names: dict[int, str], slices: MarkedSlices, result: PropagateResult) -> str:
        """Write the masks where the segments' settings allow it, as one step."""
        controller, workspace = self._controller, self._controller.workspace
        by_hand = _off_slices(workspace.marks().all, slices, set(names))
        results: dict[str, PackedMask | None] = {}
        marks: dict[str, NDArray] = {}
        kept = held = 0
        for label in names:
            segment_id = workspace.segment_of(label)
            if segment_id is None:
                continue
            own, others = by_hand.for_label(label)
            propagated, changed = _with_marks(result.masks.get(label), own, others)
            results[segment_id], slices_held = controller.recorder.review_rules.held_back(segment_id, propagated, False)
            held += slices_held
            marks[segment_id] = np.concatenate([slices.indices(label), own])
            kept += changed
        found = settled(
            results,
            controller.recorder.masks(),
            marks,
            workspace.segmentation_node,
            controller.editor_node,
            controller.volume.array_kji,
            workspace.grid(),
        )
        version = controller.recorder.version
        masks = {mask_key(segment_id): mask for segment_id, mask in found.masks.items()}
        controller.change(StepKind.ROUND, _("Propagate"), masks)
        self._overlays.show_propagated(dict.fromkeys(names, result))
        same = (_("the mask did not change"),) if controller.recorder.version == version else ()
        by_hand_text = (
            _("1 voxel was kept as you marked it by hand")
            if kept == 1
            else _("{count} voxels were kept as you marked them by hand").format(count=kept)
        )
        hand = (by_hand_text,) if kept else ()
        if held:
            one, many = _("verified slice stays as it was"), _("verified slices stay as they were")
            hand = (*hand, counted(held, one, many))
        said = sentences((*same, *hand, *result.notes, *found.notes), workspace.words())
        return f"{_('Propagate: {seconds:.1f} s.').format(seconds=result.seconds)} {said}".strip()

    def _show(self, advice: Advice) -> str:
        called = self._controller.workspace.slice_names()
        said = [best.said(called) for best in advice.suggestions]
        self.advice, self.advice_text = advice, "; ".join([*said, advice.text] if advice.enough else said)
        for best in advice.suggestions:
            self._proposed.append(best.place)
            self._marking.jump(best.place)
        return _("Next slice: {advice}.").format(advice=self.advice_text)

    def _on_error(self, error: JobError) -> None:
        self.lacks_elastix = error.type_name == MissingPackageError.__name__


def _off_slices(marks: Scribbles, slices: MarkedSlices, labels: set[int]) -> Scribbles:
    """Marks outside the slices marked for these labels; on those, the slice takes precedence."""
    kept = np.ones(len(marks), bool)
    for each in slices.slices:
        if labels & each.masks.keys():
            kept &= ~slice_box(each.place, slices.shape_kji).contains(marks.indices_kji)
    return Scribbles(marks.indices_kji[kept], marks.labels[kept])


def _with_marks(mask: PackedMask | None, own: NDArray, others: NDArray) -> tuple[PackedMask | None, int]:
    """The mask with its own marked voxels and without those of others, and the number of voxels changed."""
    if mask is None and not len(own):
        return None, 0
    corners = [mask.box.start_kji, np.subtract(mask.box.stop_kji, 1)] if mask is not None else []
    corners += [own.min(axis=0), own.max(axis=0)] if len(own) else []
    box = BoundingBox(np.min(corners, axis=0).tolist(), (np.max(corners, axis=0) + 1).tolist())
    voxels = mask.within(box) if mask is not None else np.zeros(box.shape_kji, bool)
    changed = 0
    for indices, value in ((own, True), (others, False)):
        place = tuple((indices[box.contains(indices)] - np.array(box.start_kji)).T)
        changed += int(np.count_nonzero(voxels[place] != value))
        voxels[place] = value
    if not changed:
        return mask, 0
    return (PackedMask.of_part(voxels, box) if voxels.any() else None), changed
