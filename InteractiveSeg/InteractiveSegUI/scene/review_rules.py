"""What becomes of the review of a case when its masks change, and which changes it holds back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.scribbles import BACKGROUND
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegUI.scene.history import State, StepKind
from InteractiveSegUI.scene.mask_edits import changed_only_in, slices_of_difference
from InteractiveSegUI.scene.segment_io import label_of
from InteractiveSegUI.scene.workspace import MARKS, REVIEW, SLICES, Workspace, mask_key


class ReviewRules:
    """Without a review they allow everything and change nothing.

    Parameters
    ----------
    known : key -> value that was last seen of it
    """

    def __init__(self, workspace: Workspace, known: Mapping[tuple[str, ...], Any]) -> None:
        self._workspace, self._known = workspace, known

    def followed(self, kind: StepKind, changed: State) -> dict[tuple[str, ...], Any]:
        """The review after a step, by its key; empty where it stays, or the step is about it itself.

        Slices that were painted or erased by hand are edited. Those that a computed mask changed are unverified, even
        where the user drew, since nobody has confirmed the result yet.
        """
        review: Review | None = self._known.get(REVIEW)
        if review is None or REVIEW in changed:
            return {}
        after = review
        for key, mask in changed.items():
            if key[0] == "mask":
                label = label_of(self._workspace.segmentation_node, key[1])
                slices = slices_of_difference(self._known.get(key), mask, review.axis)
                by_hand = kind is StepKind.EDIT
                after = after.marked(label, SliceState.EDITED if by_hand else SliceState.UNVERIFIED, slices)
        if kind is StepKind.SLICES:
            after = self._marked_right(after, changed[SLICES])
        return {} if after.equals(review) else {REVIEW: after}

    def held_back(self, segment_id: str, computed: PackedMask | None, by_itself: bool) -> tuple[PackedMask | None, int]:
        """The part of a computed mask that may replace the present mask, and the number of slices in which it may not.

        A slice that a person has reviewed changes only if they drew on it.

        by_itself : no button was pressed: the present mask stays on all slices that the person did not draw on
        """
        review: Review | None = self._known.get(REVIEW)
        before = self._known.get(mask_key(segment_id))
        if review is None:
            return computed, 0
        label = label_of(self._workspace.segmentation_node, segment_id)
        free = self._drawn_on(label)
        if before is None or not by_itself:
            free |= set(np.flatnonzero(~review.known(label)).tolist())
        held = slices_of_difference(before, computed, review.axis) - free
        return (changed_only_in(before, computed, review.axis, free) if held else computed), len(held)

    def _drawn_on(self, label: int) -> set[int]:
        """Slices in which there are marks of a label or of background, or that are marked as done for it."""
        axis, found = self._known[REVIEW].axis, set()
        marks, slices = self._known.get(MARKS), self._known.get(SLICES)
        if marks is not None:
            own = np.isin(marks.all.labels, (label, BACKGROUND))
            found |= set(marks.all.indices_kji[own, axis].tolist())
        if slices is not None:
            found |= {each.index for each in slices.slices if each.axis == axis and label in each.masks}
        return found

    def _marked_right(self, review: Review, slices: MarkedSlices) -> Review:
        """A slice that is marked as done is right for the segments that it is marked for."""
        before: MarkedSlices | None = self._known.get(SLICES)
        earlier = {each.place: each for each in before.slices} if before is not None else {}
        for each in slices.slices:
            if each.axis == review.axis and not (each.place in earlier and each.equals(earlier[each.place])):
                for label in each.masks:
                    if not review.known(label)[each.index]:
                        review = review.marked(label, SliceState.VERIFIED, [each.index])
        return review
