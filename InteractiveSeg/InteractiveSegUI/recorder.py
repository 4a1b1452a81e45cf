"""Watches what a person does in the views and in the Segment Editor, and makes named steps of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import qt
import slicer
from slicer.util import VTKObservationMixin

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.packed_mask import PackedMask
from InteractiveSegLib.prompts import BACKGROUND, Scribbles
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegUI.history import History, State, Step
from InteractiveSegUI.prompt_nodes import is_placed
from InteractiveSegUI.segment_io import label_of, labelmap_time
from InteractiveSegUI.workspace import MARKS, SLICES, Workspace, box_key, mask_key, same

_MODIFIED = (slicer.vtkSegmentation.SegmentModified, slicer.vtkSegmentation.SourceRepresentationModified)


class Recorder(VTKObservationMixin):
    """Keeps the last known value of all that can be undone; a difference to it is a step.

    Strokes and edits come in many events: they are looked at once the event loop is free, or when ``flush`` is called.

    Parameters
    ----------
    on_change : called with the name of a step that was recorded
    on_error : called with an error that was met while looking
    """

    def __init__(
        self,
        workspace: Workspace,
        history: History,
        on_change: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._workspace, self._history, self._on_change, self._on_error = workspace, history, on_change, on_error
        self._known: dict[tuple[str, ...], Any] = {}
        self._unread: list[tuple[str, ...]] = []
        self._dirty: set[tuple[str, ...]] = set()
        self._read: dict[tuple[str, ...], Any] = {}
        self._touched: dict[str, tuple[int, int]] = {}
        self._is_scheduled = False
        self._own = 0
        self.version = 0
        """Grows with every change of prompts or masks."""

    def known(self, key: tuple[str, ...]) -> Any:
        """The value that was last seen of a key; None where there was none."""
        return self._known.get(key)

    def masks(self) -> dict[str, PackedMask | None]:
        """Segment id -> mask, of all segments, as of the last ``flush``."""
        ids = self._workspace.segmentation_node.GetSegmentation().GetSegmentIDs()
        return {segment_id: self._known.get(mask_key(segment_id)) for segment_id in ids}

    @property
    def slices(self) -> MarkedSlices | None:
        """Marked as done; None while no volume or no segmentation is chosen, or where they cannot be read."""
        return self._known.get(SLICES)

    def watch(self) -> None:
        """Look at the nodes that the parameters name; what they hold is known from here on."""
        self.removeObservers()
        self._known.clear()
        self._unread = []
        self._dirty.clear()
        self._read.clear()
        self.version += 1
        parameters = self._workspace.parameters
        if parameters.volume is None or parameters.segmentation is None:
            return
        segmentation = parameters.segmentation.GetSegmentation()
        for event in _MODIFIED:
            self.addObserver(segmentation, event, self._on_segmentation)
        for event in (parameters.volume.ImageDataModifiedEvent, parameters.volume.TransformModifiedEvent):
            self.addObserver(parameters.volume, event, self._on_volume)
        self.watch_scribbles()
        self._unread = [MARKS, *(mask_key(segment_id) for segment_id in segmentation.GetSegmentIDs())]
        self._schedule()
        for segment_id in segmentation.GetSegmentIDs():
            self._known[box_key(segment_id)] = self._workspace.value(box_key(segment_id))
            roi = self._workspace.roi(segment_id)
            if roi is not None:
                self.watch_roi(roi, segment_id)
        self._known[SLICES] = self._workspace.slices()  # last, since it may raise

    def watch_scribbles(self) -> None:
        """Strokes on the scribbles, where there are any yet, are steps."""
        node = self._workspace.scribbles_node
        if node is not None and not self.hasObserver(node.GetSegmentation(), _MODIFIED[0], self._on_marks):
            for event in _MODIFIED:
                self.addObserver(node.GetSegmentation(), event, self._on_marks)

    def watch_roi(self, roi: slicer.vtkMRMLMarkupsROINode, segment_id: str) -> None:
        """Placing or moving this ROI is a step."""

        def on_event(*_: Any) -> None:
            if is_placed(roi):
                self._mark(box_key(segment_id))

        self._known.setdefault(box_key(segment_id), self._workspace.value(box_key(segment_id)))
        for event in (roi.PointPositionDefinedEvent, roi.PointEndInteractionEvent):
            self.addObserver(roi, event, on_event)

    def change(self, name: str, state: State) -> None:
        """One named step of the module's own, which puts values into the scene; none where nothing changes."""
        self.flush()
        with self._unobserved():
            self._workspace.restore(state)
        self._record(name, state)

    def undo(self) -> None:
        self._move(self._history.undo)

    def redo(self) -> None:
        self._move(self._history.redo)

    def flush(self) -> None:
        """Record what was drawn or edited since the last look."""
        while self._unread:
            self._read_next()
        dirty, self._dirty = self._dirty, set()
        read, self._read = self._read, {}
        masks = sorted(key for key in dirty if key[0] == "mask")
        if masks:
            self._record_edits({key: read[key] if key in read else self._workspace.value(key) for key in masks})
        if MARKS in dirty:
            self._record("Scribble", {MARKS: self._workspace.value(MARKS)})
        for key in sorted(dirty):
            if key[0] == "box":
                self._record(f"Box of {self._workspace.name_of(key[1])}", {key: self._workspace.value(key)})

    def _move(self, move: Callable[[], State]) -> None:
        self.flush()
        with self._unobserved():
            self._known.update(move())
        self.version += 1

    @contextmanager
    def _unobserved(self) -> Iterator[None]:
        """Changes in the block are the module's own."""
        self._own += 1
        try:
            yield
        finally:
            self._own -= 1

    def _record_edits(self, now: dict[tuple[str, ...], Any]) -> None:
        """What was painted or erased by hand becomes hard marks; painted ones last, so that they count. Marked slices
        follow what was changed on them.
        """
        values, edited, erased, painted = {}, [], [], []
        slices = self.slices
        for key, after in now.items():
            before, segment_id = self._known.get(key), key[1]
            if same(before, after):
                continue
            values[key] = after
            edited.append(segment_id)
            label = label_of(self._workspace.segmentation_node, segment_id)
            erased.append(_difference(before, after, BACKGROUND))
            painted.append(_difference(after, before, label))
            if slices is not None:
                indices = np.concatenate([erased[-1].indices_kji, painted[-1].indices_kji])
                slices = slices.redrawn(label, indices, after)
        if not values:
            return
        edits = Scribbles.none()
        for part in erased + painted:
            edits = edits.merged(part)
        marks = self._known.get(MARKS) or self._workspace.value(MARKS)
        values[MARKS] = marks.with_edits(edits)
        with self._unobserved():
            self._workspace.restore({MARKS: values[MARKS]})
            if slices is not self.slices:
                values[SLICES] = slices
                self._workspace.restore({SLICES: slices})
        names = ", ".join(self._workspace.name_of(segment_id) for segment_id in edited)
        self._record(f"Edit of {names}", values)

    def _record(self, name: str, after: State) -> None:
        changed = {key: value for key, value in after.items() if not same(self._known.get(key), value)}
        if not changed:
            return
        self._history.record(Step(name, {key: self._known.get(key) for key in changed}, changed))
        self._known.update(changed)
        self.version += 1
        self._on_change(name)

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

    def _look(self) -> None:
        """Read one mask at a time, so that the window stays alive; then record."""
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
        except InputError as error:
            self._on_error(error)

    def _on_volume(self, *_: Any) -> None:
        self.version += 1

    def _on_segmentation(self, segmentation: Any, _event: str) -> None:
        """Which segments the event is about is not always told: those whose labelmaps were touched are looked at."""
        for segment_id in segmentation.GetSegmentIDs():
            touched = labelmap_time(segmentation, segment_id)
            if touched != self._touched.get(segment_id):
                self._touched[segment_id] = touched
                self._mark(mask_key(segment_id))

    def _on_marks(self, *_: Any) -> None:
        self._mark(MARKS)


def _difference(one: PackedMask | None, other: PackedMask | None, label: int) -> Scribbles:
    """Voxels of one mask that the other lacks, as marks."""
    if one is None:
        return Scribbles.none()
    voxels = one.mask_kji if other is None else one.mask_kji & ~other.within(one.box)
    indices = np.argwhere(voxels) + np.array(one.box.start_kji)
    return Scribbles(indices, np.full(len(indices), label))
