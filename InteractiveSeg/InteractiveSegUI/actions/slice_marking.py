"""Slices marked as done: marked with the segments' masks there, listed, unmarked."""

from __future__ import annotations

from slicer.i18n import tr as _

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.notes.slice_names import Place
from InteractiveSegLib.propagate.marked_slices import MarkedSlice, MarkedSlices
from InteractiveSegUI.controller import Controller
from InteractiveSegUI.scene.history import StepKind
from InteractiveSegUI.scene.overwriting import is_completed
from InteractiveSegUI.scene.segment_io import label_of, labels_of
from InteractiveSegUI.scene.slice_views import WorkingView, align_views, place_shown, show_place
from InteractiveSegUI.scene.workspace import SLICES


class SliceMarking:
    """Marks slices of the current segment, or of every segment, and shows them again.

    Attributes
    ----------
    view : the view that the user works in
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.view = WorkingView()

    @property
    def slices(self) -> MarkedSlices:
        """All marked slices of the volume. InputError if they cannot be read or belong to an image of another shape."""
        workspace = self._controller.workspace
        known = self._controller.recorder.slices or workspace.slices()
        known.require_shape(workspace.geometry().shape_kji)
        return known if known.slices else MarkedSlices(workspace.geometry().shape_kji)

    def labels(self) -> dict[int, str]:
        """Label -> name of the current segments.

        Raises
        ------
        InputError : there is none, or it is completed.
        """
        workspace, controller = self._controller.workspace, self._controller
        node, chosen = workspace.segmentation_node, workspace.segment_id
        if not controller.parameters.every_segment:
            if is_completed(node, chosen):
                raise InputError(f"{workspace.name_of(chosen)} is marked as completed: change its status to go on")
            return {label_of(node, chosen): workspace.name_of(chosen)}
        ids = [each for each in node.GetSegmentation().GetSegmentIDs() if not is_completed(node, each)]
        if not ids:
            raise InputError("every segment is marked as completed: change the status of one to go on")
        return {label_of(node, segment_id): workspace.name_of(segment_id) for segment_id in ids}

    def mark(self) -> None:
        """Mark the slice shown in the user's view as correct for the segments; an empty slice counts, too.

        Raises
        ------
        InputError : as ``labels``; the view shows no slice of the volume, or several.
        """
        controller, workspace = self._controller, self._controller.workspace
        controller.recorder.flush()
        labels = self.labels()
        workspace.grid()
        place = place_shown(self.view.node, workspace.geometry())
        masks = controller.recorder.masks()
        drawn = {label: masks[workspace.segment_of(label)] for label in labels}
        slices = self.slices
        marked = MarkedSlice.of_masks(place, drawn, slices.shape_kji)
        called = self.name_of(place)
        controller.change(StepKind.SLICES, _("Mark {slice}").format(slice=called), {SLICES: slices.with_slice(marked)})
        if not marked.pixels:
            held = _("empty, the object is absent there")
        elif marked.pixels == 1:
            held = _("1 pixel")
        else:
            held = _("{count} pixels").format(count=marked.pixels)
        text = _("Marked {slice} as done for {names}: {held}.")
        names = ", ".join(labels.values())
        controller.say(text.format(slice=called, names=names, held=held))

    def remove(self, place: Place) -> None:
        """Unmark the slice; its mask does not change."""
        name = _("Remove mark of {slice}").format(slice=self.name_of(place))
        self._controller.change(StepKind.SLICES, name, {SLICES: self.slices.without_slice(place)})

    def remove_all(self) -> None:
        """Unmark all slices, including those that cannot be read or belong to an image of another shape."""
        none = MarkedSlices(self._controller.workspace.geometry().shape_kji)
        self._controller.change(StepKind.SLICES, _("Remove all marks of slices"), {SLICES: none})

    def jump(self, place: Place) -> None:
        """Show a slice in the view that looks along its axis."""
        show_place(place, self._controller.workspace.geometry())

    def align(self) -> None:
        """Turn the views to the slices of the volume."""
        align_views(self._controller.workspace.geometry())

    def name_of(self, place: Place) -> str:
        """The slice's name in the slice views, such as "axial, S 50 mm"."""
        return self._controller.workspace.slice_names().one(place)

    def listed(self) -> list[tuple[Place, str]]:
        """Each marked slice by place, and the names of the segments it is marked for."""
        slices, node = self._controller.recorder.slices, self._controller.parameters.segmentation
        if slices is None or node is None:
            return []
        names = {label: self._controller.workspace.name_of(segment_id) for segment_id, label in labels_of(node).items()}
        return [
            (each.place, ", ".join(names.get(label, _("a removed segment")) for label in each.masks))
            for each in sorted(slices.slices, key=lambda each: each.place)
        ]
