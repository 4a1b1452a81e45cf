"""Observes what the user does in the views and in the Segment Editor, and records it as named steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegUI.scene.history import History, State, Step, StepKind
from InteractiveSegUI.scene.mask_edits import edits_of
from InteractiveSegUI.scene.prompt_nodes import look_alike
from InteractiveSegUI.scene.review_rules import ReviewRules
from InteractiveSegUI.scene.roi_nodes import is_placed
from InteractiveSegUI.scene.segment_io import labelmap_time
from InteractiveSegUI.scene.segment_removal import segment_removal
from InteractiveSegUI.scene.workspace import (
    MARKS,
    REVIEW,
    SLICES,
    Workspace,
    box_key,
    mask_key,
    same,
    segment_key,
    start_key,
)

_LISTED = (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved)
_MODIFIED = (slicer.vtkSegmentation.SegmentModified, slicer.vtkSegmentation.SourceRepresentationModified)


class Recorder(VTKObservationMixin):
    """Keeps the last known value of everything that can be undone; a difference from it is a step.

    Strokes and edits cause many events: they are read once the event loop is idle, or when ``flush`` is called.

    Parameters
    ----------
    on_change : called when a step was recorded
    on_error : called with an error that occurred while reading
    on_known : called when the initial contents of the scene have been read, some time after ``watch``
    """

    def __init__(
        self,
        workspace: Workspace,
        history: History,
        on_change: Callable[[], None],
        on_error: Callable[[Exception], None],
        on_known: Callable[[], None],
    ) -> None:
        super().__init__()
        self._workspace, self._history = workspace, history
        self._on_change, self._on_error, self._on_known = on_change, on_error, on_known
        self._known: dict[tuple[str, ...], Any] = {}
        self.review_rules = ReviewRules(workspace, self._known)
        self._unread: list[tuple[str, ...]] = []
        self._dirty: set[tuple[str, ...]] = set()
        self._read: dict[tuple[str, ...], Any] = {}
        self._watched: list[slicer.vtkMRMLMarkupsROINode] = []
        self._held: list[slicer.vtkMRMLMarkupsROINode] = []
        self._touched: dict[str, tuple[int, int]] = {}
        self._is_scheduled = self._list_changed = False
        self._is_known = True
        self._own = 0
        self.version = 0
        """Increases with every change of prompts or masks."""

    def known(self, key: tuple[str, ...]) -> Any:
        """The last known value of a key; None if there is none."""
        return self._known.get(key)

    def masks(self) -> dict[str, PackedMask | None]:
        """Segment id -> mask of all segments, as known since the last ``flush``."""
        ids = self._workspace.segmentation_node.GetSegmentation().GetSegmentIDs()
        return {segment_id: self._known.get(mask_key(segment_id)) for segment_id in ids}

    @property
    def is_box_held(self) -> bool:
        """Whether a box is being dragged, so that its current position is not final."""
        return any(roi.GetScene() is not None for roi in self._held)

    @property
    def slices(self) -> MarkedSlices | None:
        """Slices marked as done; None if no volume or segmentation is chosen, or if they cannot be read."""
        return self._known.get(SLICES)

    def watch(self) -> None:
        """Observe the nodes in the parameters, starting from their present contents."""
        self.close()
        self.version += 1
        parameters = self._workspace.parameters
        if parameters.volume is None or parameters.segmentation is None:
            return
        segmentation = parameters.segmentation.GetSegmentation()
        for event in _MODIFIED:
            self.addObserver(segmentation, event, self._on_segmentation)
        for event in _LISTED:
            self.addObserver(segmentation, event, self._on_list)
        for event in (parameters.volume.ImageDataModifiedEvent, parameters.volume.TransformModifiedEvent):
            self.addObserver(parameters.volume, event, self._on_volume)
        self.watch_scribbles()
        self._unread = [MARKS, *(mask_key(segment_id) for segment_id in segmentation.GetSegmentIDs())]
        self._is_known = False
        self._schedule()
        for segment_id in segmentation.GetSegmentIDs():
            for key in (segment_key(segment_id), box_key(segment_id)):
                self._known[key] = self._workspace.value(key)
            self._watch_roi(segment_id)
        self._known[REVIEW] = self._workspace.review
        self._known[SLICES] = self._workspace.slices()  # last, since it may raise

    def close(self) -> None:
        """Stop observing; changes that were not read yet are dropped."""
        self.removeObservers()
        for kept in (self._known, self._watched, self._held, self._unread, self._dirty, self._read):
            kept.clear()
        self._list_changed = False

    def watch_scribbles(self) -> None:
        """Record strokes on the scribble segmentation, if there is one, as steps."""
        node = self._workspace.scribbles_node
        if node is not None and not self.hasObserver(node.GetSegmentation(), _MODIFIED[0], self._on_marks):
            for event in _MODIFIED:
                self.addObserver(node.GetSegmentation(), event, self._on_marks)

    def _watch_roi(self, segment_id: str) -> None:
        """Record moves of the segment's ROI as steps, also if the ROI was recreated."""
        roi = self._workspace.roi(segment_id)
        if roi is None or any(roi is watched for watched in self._watched):
            return

        def on_start(*_args: Any) -> None:
            self._held.append(roi)

        def on_event(*_args: Any) -> None:
            self._held = [held for held in self._held if held is not roi]
            if is_placed(roi):
                self._mark(box_key(segment_id))

        self._watched.append(roi)
        self.addObserver(roi, roi.PointStartInteractionEvent, on_start)
        for event in (roi.PointPositionDefinedEvent, roi.PointEndInteractionEvent):
            self.addObserver(roi, event, on_event)

    def change(self, kind: StepKind, name: str, state: State, notes: tuple[str, ...] = ()) -> None:
        """Put values into the scene as one named step; no step is recorded if nothing changes."""
        self.flush()
        self._restore(state)
        self._record(kind, name, state, notes)

    def answer(self, step: Step, state: State) -> None:
        """Put consequences of the last step into the scene; they become part of the step."""
        self.flush()
        changed = self._changed(state)
        if changed:
            changed |= self.review_rules.followed(StepKind.ROUND, changed)
            self._restore(changed)
            self._history.answer(step, {key: self._known.get(key) for key in changed}, changed)
            self._keep(changed)

    def removal(self, segment_id: str) -> State:
        """As ``segment_removal``."""
        return segment_removal(self._known, segment_id)

    def undo(self) -> None:
        self._move(self._history.undo)

    def redo(self) -> None:
        self._move(self._history.redo)

    def flush(self) -> None:
        """Record what was drawn or edited since the last call."""
        while self._unread:
            self._read_next()
        self._look_at_list()
        dirty, self._dirty = self._dirty, set()
        read, self._read = self._read, {}
        masks = sorted(key for key in dirty if key[0] == "mask")
        if masks:
            self._record_edits({key: read[key] if key in read else self._workspace.value(key) for key in masks})
        if MARKS in dirty:
            self._record(StepKind.SCRIBBLE, _("Scribble"), {MARKS: self._workspace.value(MARKS)})
        for key in sorted(dirty):
            if key[0] == "box":
                name = _("Box of {name}").format(name=self._workspace.name_of(key[1]))
                self._record(StepKind.BOX, name, {key: self._workspace.value(key)})

    def _move(self, move: Callable[[], State]) -> None:
        self.flush()
        with self._unobserved():
            state = move()
        self._known.update(state)
        self._watch_boxes(state)
        self.version += 1

    def _restore(self, state: State) -> None:
        with self._unobserved():
            self._workspace.restore(state)
        self._watch_boxes(state)

    def _watch_boxes(self, state: State) -> None:
        for key, value in state.items():
            if key[0] == "box" and value is not None:
                self._watch_roi(key[1])

    @contextmanager
    def _unobserved(self) -> Iterator[None]:
        """Ignore events of the changes made in the block."""
        self._own += 1
        try:
            yield
        finally:
            self._own -= 1

    def _look_at_list(self) -> None:
        """Take over segments added elsewhere; remove the prompts of segments removed elsewhere."""
        if not self._list_changed:
            return
        self._list_changed = False
        there = set(self._workspace.segmentation_node.GetSegmentation().GetSegmentIDs())
        known = {key[1] for key, value in self._known.items() if key[0] == "segment" and value is not None}
        for segment_id in there - known:
            for key in (segment_key(segment_id), mask_key(segment_id), box_key(segment_id)):
                self._known[key] = self._workspace.value(key)
            self._dirty.discard(mask_key(segment_id))
            self._take_start(segment_id)
        self._dirty = {key for key in self._dirty if key[0] != "mask" or key[1] in there}
        for segment_id in sorted(known - there):
            state, name = self.removal(segment_id), self._known[segment_key(segment_id)].name
            self._restore(state)
            self._record(StepKind.SEGMENT, _("Remove {name}").format(name=name), state)

    def _record_edits(self, now: dict[tuple[str, ...], Any]) -> None:
        """As ``edits_of``."""
        values = edits_of(now, self._known, self._history, self._workspace)
        if values:
            follows = {key: value for key, value in values.items() if key not in now}
            self._restore(follows)
            names = ", ".join(self._workspace.name_of(key[1]) for key in values if key in now)
            self._record(StepKind.EDIT, _("Edit of {names}").format(names=names), values)

    def _record(self, kind: StepKind, name: str, after: State, notes: tuple[str, ...] = ()) -> None:
        changed = self._changed(after)
        if changed:
            followed = self.review_rules.followed(kind, changed)
            self._restore(followed)
            changed |= followed
            before = {key: self._known.get(key) for key in changed}
            self._history.record(Step(kind, name, before, changed, notes))
            self._keep(changed)

    def _changed(self, state: State) -> dict[tuple[str, ...], Any]:
        return {key: value for key, value in state.items() if not same(self._known.get(key), value)}

    def _keep(self, changed: State) -> None:
        self._known.update(changed)
        self.version += 1
        self._on_change()

    def _mark(self, key: tuple[str, ...]) -> None:
        if self._own:
            return
        self._dirty.add(key)
        self._read.pop(key, None)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            qt.QTimer.singleShot(0, self._look)

    def _read_next(self) -> None:
        key = self._unread.pop(0)
        if key == MARKS or self._workspace.exists(key[1]):
            self._known[key] = self._workspace.value(key)
            if key != MARKS:
                self._take_start(key[1])

    def _take_start(self, segment_id: str) -> None:
        mask, box = (self._known.get(key(segment_id)) for key in (mask_key, box_key))
        start = self._workspace.starts.take(segment_id, mask, box, self._known.get(MARKS))
        self._known[start_key(segment_id)] = start

    def _look(self) -> None:
        """Read one mask at a time, so that the window stays responsive; then record."""
        self._is_scheduled = False
        unread = [key for key in self._dirty if key[0] == "mask" and key not in self._read]
        try:
            if self._unread:
                self._read_next()
                self._schedule()
            elif len(unread) > 1:
                self._read[unread[0]] = self._workspace.value(unread[0])
                self._schedule()
            else:
                self.flush()
                if not self._is_known:
                    self._is_known = True
                    self._on_known()
        except InputError as error:
            self._on_error(error)

    def _on_volume(self, *_args: Any) -> None:
        self.version += 1

    def _on_segmentation(self, segmentation: Any, _event: str) -> None:
        """The event does not always name its segments, so those with modified labelmaps are read."""
        for segment_id in segmentation.GetSegmentIDs():
            key = segment_key(segment_id)
            if self._known.get(key) is not None:  # its name, colour or label may have changed
                self._known[key] = self._workspace.value(key)
            touched = labelmap_time(segmentation, segment_id)
            if touched != self._touched.get(segment_id):
                self._touched[segment_id] = touched
                self._mark(mask_key(segment_id))
        with self._unobserved():
            look_alike(self._workspace.segmentation_node)

    def _on_list(self, *_args: Any) -> None:
        if not self._own:
            self._list_changed = True
            self._schedule()

    def _on_marks(self, *_args: Any) -> None:
        self._mark(MARKS)
