"""Saves the session to disk as it proceeds, and recovers one that a crash interrupted."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.propagate.marked_slices import MarkedSlices
from InteractiveSegLib.records.journal import Journal, Recoverable, recoverable
from InteractiveSegLib.records.session_state import SessionState
from InteractiveSegUI.actions.session_nodes import KeptSegment, put_session
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import call_later
from InteractiveSegUI.scene.segment_io import labels_of
from InteractiveSegUI.scene.volume_io import node_to_world, volume_of
from InteractiveSegUI.scene.workspace import MARKS, mask_key

_POLL_S = 0.05
_SAME_GRID_MM = 1e-3


class Journaling:
    """Writes every step to the journal of this process; finds the journals of processes that crashed.

    Parameters
    ----------
    folder : for the application's temporary files
    """

    def __init__(self, controller: Controller, folder: Path) -> None:
        self._controller, self._folder = controller, folder
        self._journal: Journal | None = None
        self._written = -1
        self.found: list[Recoverable] = []
        controller.listeners.append(self._record)

    def look(self) -> None:
        """Find interrupted sessions."""
        self.found = recoverable(self._folder)
        self._controller.changed()

    def close(self) -> None:
        """End normally, with nothing to recover. Does not wait for the disk."""
        journal, self._journal = self._journal, None
        if journal is not None:
            threading.Thread(target=journal.close).start()

    def discard(self) -> None:
        """Delete the latest interrupted session."""
        self.found.pop(0).discard()
        self._controller.changed()

    def recover(self) -> None:
        """Recover the latest session on its volume, which is loaded if necessary; prompts and masks appear once the
        volume's voxels have been compared.

        Raises
        ------
        InputError : the volume is neither in the scene nor where it was loaded from.
        """
        found = self.found[0]
        identity = found.state.volume
        node = self._volume_like(found) or self._loaded(identity.path)
        if node is None:
            raise InputError(f"load the volume {identity.name} first, then press Recover")
        volume, difference = self._as_recorded(found, node), []
        thread = threading.Thread(target=lambda: difference.append(identity.difference(volume)), daemon=True)
        thread.start()
        text = _("Comparing {name} with the volume of the interrupted session ...")
        self._controller.say(text.format(name=volume.name))

        def go_on() -> None:
            if thread.is_alive():
                call_later(_POLL_S, go_on)
                return
            with self._controller.errors_shown():
                if not difference or difference[0]:
                    raise InputError(f"the session is not recovered: {' '.join(difference)}")
                self._restore(found, node)

        call_later(_POLL_S, go_on)

    def _record(self) -> None:
        """Record the known state after a step. This takes no time: a thread writes it."""
        recorder = self._controller.recorder
        if recorder.version == self._written or not self._controller.history.is_begun:
            return
        self._written = recorder.version
        with self._controller.errors_shown():
            if self._journal is None:
                self._journal = Journal.open(self._folder, lambda text: self._controller.say(text, is_error=True))
            self._journal.record(self._state(self._controller.volume))

    def _state(self, volume: Volume) -> SessionState:
        workspace, recorder = self._controller.workspace, self._controller.recorder
        node = workspace.segmentation_node
        boxes, masks, segments = {}, {}, {}
        for segment_id, label in labels_of(node).items():
            found = workspace.box(segment_id)
            if found is not None:
                inside = found[0].clipped(volume.geometry.shape_kji)
                boxes |= {label: inside} if inside is not None else {}
            mask = recorder.known(mask_key(segment_id))
            masks |= {label: mask} if mask is not None else {}
            segment = node.GetSegmentation().GetSegment(segment_id)
            segments[str(label)] = {"name": segment.GetName(), "colour": list(segment.GetColor())}
        storage = workspace.volume_node.GetStorageNode()
        path = storage.GetFullNameFromFileName() if storage is not None else ""
        marks = recorder.known(MARKS)
        prompts = Prompts(boxes, marks.all, lasso_boxes=marks.lasso_boxes) if marks is not None else Prompts(boxes)
        prompts = workspace.starts.added_to(prompts)
        to_world = node_to_world(workspace.volume_node)
        settings: dict = {"segments": segments, "to_world": to_world.tolist()}
        if recorder.slices is not None and recorder.slices.slices:
            settings["slices"] = recorder.slices.fields()
        return SessionState(volume, prompts, masks, settings, path or "")

    def _restore(self, found: Recoverable, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        state = found.state
        self._controller.parameters.volume = node
        segments = [
            KeptSegment(int(text), segment["name"], segment["colour"])
            for text, segment in state.settings.get("segments", {}).items()
        ]
        kept = state.settings.get("slices")
        slices = MarkedSlices.of_fields(kept) if kept is not None else None
        put_session(self._controller, segments, state.prompts, state.masks, slices)
        self.discard()
        moved = state.volume.geometry.difference_mm(volume_of(node).geometry) >= _SAME_GRID_MM
        note = _("The transform of the volume is gone; prompts and masks are on the same voxels as before.")
        text = _("The session on {name} was recovered.").format(name=node.GetName())
        self._controller.say(f"{text} {note}" if moved else text)

    @classmethod
    def _volume_like(cls, found: Recoverable) -> slicer.vtkMRMLScalarVolumeNode | None:
        """A volume in the scene with the same name and grid as the session's."""
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            if node.GetName() != found.state.volume.name or node.GetImageData() is None:
                continue
            recorded = cls._as_recorded(found, node)
            if found.state.volume.geometry.difference_mm(recorded.geometry) < _SAME_GRID_MM:
                return node
        return None

    @staticmethod
    def _as_recorded(found: Recoverable, node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
        """The volume as it was recorded, perhaps under another transform: image files do not contain transforms."""
        volume = volume_of(node)
        own = np.linalg.solve(node_to_world(node), volume.geometry.ijk_to_ras)
        before = np.array(found.state.settings.get("to_world", np.eye(4)), float)
        recorded = Geometry(volume.geometry.shape_kji, before @ own)
        same_file = found.state.volume.geometry.difference_mm(recorded) < _SAME_GRID_MM
        return Volume(volume.array_kji, recorded, volume.name) if same_file else volume

    @staticmethod
    def _loaded(path: str) -> slicer.vtkMRMLScalarVolumeNode | None:
        return slicer.util.loadVolume(path) if path and Path(path).is_file() else None
