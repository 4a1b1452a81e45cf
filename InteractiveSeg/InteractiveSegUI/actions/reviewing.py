"""Organs of the open case: which are right, which are not there, and in which slices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from InteractiveSegLib.casebook.review import Review, SliceState
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.wording.counting import counted
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.mask_edits import slices_of_difference
from InteractiveSegUI.scene.review_display import show_reviewed
from InteractiveSegUI.scene.segment_io import labels_of
from InteractiveSegUI.scene.slice_views import (
    WorkingView,
    align_views,
    axis_across,
    index_shown,
    place_shown,
    show_place,
    shown_views,
)
from InteractiveSegUI.scene.workspace import REVIEW, mask_key


@dataclass(frozen=True)
class Organ:
    """One line of the list.

    state : in words
    """

    segment_id: str
    name: str
    state: str


class Reviewing(VTKObservationMixin):
    """Marks organs and slices as right or not there; each mark is a step that Undo reverts.

    Parameters
    ----------
    view : that the person works in
    is_open : whether a case is open whose organs can be reviewed
    on_look : called when another slice of the case is shown
    """

    def __init__(
        self, controller: Controller, view: WorkingView, is_open: Callable[[], bool], on_look: Callable[[], None]
    ) -> None:
        super().__init__()
        self._controller, self._view, self._is_open, self._on_look = controller, view, is_open, on_look
        self._skipped: set[int] = set()
        self._filled: dict[str, bool] = {}
        self._shown_index: int | None = None

    @property
    def review(self) -> Review | None:
        """The review of the masks; None if they count as a whole, since no part of them was reviewed."""
        return self._controller.recorder.known(REVIEW)

    @property
    def nothing_is_right(self) -> bool:
        """Whether organs are reviewed one by one, and none has been yet."""
        return self.review is not None and not self.review.known_labels()

    def organs(self, confidences: Mapping[int, float]) -> list[Organ]:
        """Of the open case, in the order of its segments; empty where none is open.

        confidences : label -> how sure the network is of it, 0 to 1; shown until the organ is reviewed
        """
        return [
            Organ(
                segment_id, self._controller.workspace.name_of(segment_id), self._state(segment_id, label, confidences)
            )
            for segment_id, label in self._labels().items()
        ]

    def right(self) -> None:
        """The chosen organ is right in all slices, as it is. InputError where the mask does not show it."""
        label, segment_id, name = self._chosen()
        if self._controller.recorder.known(mask_key(segment_id)) is None:
            raise InputError(f"the mask does not show {name}: draw it, or say that it is not there")
        self._skipped.discard(label)
        review = self._begun()
        self._say_of(_("{name} is right").format(name=name), _settled(review, label, SliceState.VERIFIED))
        self._go_on(_("{name} is right in all slices.").format(name=name))

    def not_there(self) -> None:
        """The image does not show the chosen organ; its mask is emptied."""
        label, segment_id, name = self._chosen()
        self._skipped.discard(label)
        review = self._begun().marked(label, SliceState.ABSENT)
        self._say_of(_("{name} is not there").format(name=name), review, {mask_key(segment_id): None})
        self._go_on(_("{name} is not there.").format(name=name))

    def skip(self) -> None:
        """Leave the chosen organ unverified: nothing is learnt from it, and it is left out when all organs are marked
        as right. Called again, it takes the organ up again.
        """
        label, _segment_id, name = self._chosen()
        if label in self._skipped:
            self._skipped.discard(label)
            self._controller.say(_("{name} is taken up again.").format(name=name))
            return
        self._skipped.add(label)
        self._say_of(_("Skip {name}").format(name=name), self._begun().marked(label, SliceState.UNVERIFIED))
        self._go_on(_("{name} is skipped: it stays as it is, and nothing is learnt from it.").format(name=name))

    def slice_right(self) -> None:
        """All organs are right in the slice that is shown; the next unverified slice is then shown.

        Raises
        ------
        InputError : no view shows a single slice along the axis of the review.
        """
        review = self._begun()
        place = self._shown_place(review)
        called = self._controller.workspace.slice_names().one(place)
        self._all_are_right(_("{slice} is right").format(slice=called), review, [place[1]])
        left = self._open_slices()
        text = _("{slice} is right.").format(slice=called)
        if not left:
            self._controller.say(f"{text} {_('So are all others: press Accept case.')}")
            return
        following = next((each for each in left if each > place[1]), left[0])
        show_place((place[0], following), self._controller.workspace.geometry())
        self._controller.say(f"{text} {counted(len(left), _('slice is left.'), _('slices are left.'))}")

    def all_right(self) -> None:
        """All organs are right in all slices; those that the mask does not show are not there."""
        review = self._begun()
        missing = ", ".join(self._controller.workspace.name_of(each) for each in self._not_shown())
        self._all_are_right(_("All slices are right"), review, range(review.slices))
        absent = _("Not there: {names}.").format(names=missing) if missing else ""
        self._controller.say(f"{_('All slices are right: press Accept case.')} {absent}".strip())

    def choose(self, segment_id: str) -> None:
        """Select an organ. Unless a slice view shows an unverified slice of it, the middle one of these is shown."""
        controller = self._controller
        controller.parameters.segment = segment_id
        controller.recorder.flush()
        review, mask = self.review, controller.recorder.known(mask_key(segment_id))
        if review is None or mask is None or not shown_views():
            return
        known = review.known(self._labels()[segment_id])
        left = sorted(each for each in slices_of_difference(None, mask, review.axis) if not known[each])
        if left and self._index(review) not in left:
            show_place((review.axis, left[len(left) // 2]), controller.workspace.geometry())

    def begin(self) -> None:
        """A case was opened: nothing of it is skipped, and the first of its organs is chosen. If it has a starting mask
        and no view shows single slices of it, the views are turned.
        """
        self._skipped.clear()
        self._filled = {}
        review, labels = self.review, self._labels()
        if review is not None and labels:
            try:
                self._shown_place(review)
            except InputError:
                align_views(self._controller.workspace.geometry())
        if labels:
            self.choose(next(iter(labels)))

    def watch(self) -> None:
        """Follow the slices that the views show."""
        self.unwatch()
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            self.addObserver(view, vtk.vtkCommand.ModifiedEvent, self._on_view)

    def unwatch(self) -> None:
        self.removeObservers()
        self._filled = {}

    def update(self) -> None:
        """Fill the organs that are verified in the slice shown, and draw the others as outlines."""
        labels, review = self._labels(), self.review
        if not labels:
            return
        index = None if review is None else self._index(review)
        filled = {}
        for segment_id, label in labels.items():
            known = np.ones(1, bool) if review is None else review.known(label)
            filled[segment_id] = bool(known.all() or (index is not None and known[index]))
        if filled != self._filled:
            self._filled = filled
            show_reviewed(self._controller.workspace.segmentation_node, filled)

    def _on_view(self, *_args: Any) -> None:
        if self._is_open() and self.review is not None:
            index = self._index(self.review)
            if index != self._shown_index:
                self._shown_index = index
                self._on_look()
                self.update()

    def _state(self, segment_id: str, label: int, confidences: Mapping[int, float]) -> str:
        review = self.review
        if label in self._skipped:
            return _("skipped")
        if review is None:
            return _("empty") if self._controller.recorder.known(mask_key(segment_id)) is None else _("as drawn")
        if review.known(label).any() or label not in confidences:
            return state_in_words(review, label)
        if not confidences[label]:
            return _("not verified; not found")
        return _("not verified; {percent:.0f} % sure").format(percent=100 * confidences[label])

    def _labels(self) -> dict[str, int]:
        """Segment id -> label, of the open case."""
        node = self._controller.parameters.segmentation
        return labels_of(node) if node is not None and self._is_open() else {}

    def _chosen(self) -> tuple[int, str, str]:
        """Label, segment and name of the current organ. InputError if it does not belong to the case."""
        self._controller.recorder.flush()
        segment_id = self._controller.parameters.segment
        labels = self._labels()
        if segment_id not in labels:
            raise InputError("choose an organ of the open case first")
        return labels[segment_id], segment_id, self._controller.workspace.name_of(segment_id)

    def _begun(self) -> Review:
        """The review, or one without any verified slice. InputError if no case is open."""
        self._controller.recorder.flush()
        labels = self._labels()
        if not labels:
            raise InputError("open a case first")
        return self.review or Review.of_all(self._controller.workspace.geometry(), labels.values())

    def _index(self, review: Review) -> int | None:
        """Index of the slice shown, along the axis of the review; None if no view shows such slices."""
        view, geometry = self._view_along(review), self._controller.workspace.geometry()
        index = -1 if view is None else index_shown(view, geometry, review.axis)
        return index if 0 <= index < review.slices else None

    def _view_along(self, review: Review) -> slicer.vtkMRMLSliceNode | None:
        """The view that the person works in, if it shows slices along the review's axis; else the first that does."""
        geometry, shown = self._controller.workspace.geometry(), shown_views()
        working = [self._view.node] if shown else []
        return next((each for each in (*working, *shown) if axis_across(each, geometry) == review.axis), None)

    def _shown_place(self, review: Review) -> tuple[int, int]:
        view = self._view_along(review)
        if view is None:
            raise InputError("no view shows the slices of the image: press Align views, in the section Slices")
        return place_shown(view, self._controller.workspace.geometry())

    def _all_are_right(self, name: str, review: Review, slices: Iterable[int]) -> None:
        """Mark every organ that is not skipped; slices that were reviewed before keep their state."""
        absent, slices = set(self._not_shown()), list(slices)
        for segment_id, label in self._taken_up().items():
            state = SliceState.ABSENT if segment_id in absent else SliceState.VERIFIED
            review = _settled(review, label, state, slices)
        self._say_of(name, review)

    def _taken_up(self) -> dict[str, int]:
        """Segment id -> label of the organs that are not skipped. InputError if there are none."""
        found = {segment_id: label for segment_id, label in self._labels().items() if label not in self._skipped}
        if not found:
            raise InputError("all organs are skipped: choose one, and press Skip again to review it")
        return found

    def _not_shown(self) -> list[str]:
        """Segments that are empty."""
        masks = self._controller.recorder.masks()
        return [segment_id for segment_id in self._taken_up() if masks[segment_id] is None]

    def _open_slices(self) -> list[int]:
        known = [self.review.known(label) for label in self._taken_up().values()]
        return np.flatnonzero(~np.all(known, axis=0)).tolist()

    def _say_of(self, name: str, review: Review, more: Mapping[tuple[str, ...], None] | None = None) -> None:
        self._controller.change(StepKind.REVIEW, name, {**(more or {}), REVIEW: review})

    def _go_on(self, text: str) -> None:
        """Show a text, and choose the next organ that is neither reviewed nor skipped."""
        controller, labels = self._controller, self._labels()
        ids = list(labels)
        here = ids.index(controller.parameters.segment)
        ahead = [each for each in (*ids[here + 1 :], *ids[:here]) if labels[each] not in self._skipped]
        left = [each for each in ahead if not self.review.known(labels[each]).all()]
        if left:
            self.choose(left[0])
            name = controller.workspace.name_of(left[0])
            controller.say(f"{text} {_('{name} comes next.').format(name=name)}")
        else:
            controller.say(f"{text} {_('No organ is left: press Accept case.')}")


def _settled(review: Review, label: int, state: SliceState, slices: Iterable[int] | None = None) -> Review:
    """Give the unverified slices of an organ a state; all other slices keep theirs."""
    known = review.known(label)
    chosen = range(review.slices) if slices is None else slices
    return review.marked(label, state, [each for each in chosen if not known[each]])


def state_in_words(review: Review, label: int) -> str:
    """The review of an organ in words, such as "right in 4 of 10 slices, 1 edited"."""
    count = {state: sum(each is state for each in review.of(label)) for state in SliceState}
    known = review.slices - count[SliceState.UNVERIFIED]
    if not known:
        return _("not verified")
    if count[SliceState.ABSENT] == review.slices:
        return _("not there")
    whole = known == review.slices
    said = _("right") if whole else _("right in {known} of {all} slices").format(known=known, all=review.slices)
    edited = count[SliceState.EDITED]
    return _("{said}, {edited} edited").format(said=said, edited=edited) if edited else said
