"""What the user draws on one image, with checks and notes; without any computing, so that a window can use it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.image.index_order import in_ijk
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.notes.notes import Labelled, Note
from InteractiveSegLib.prompts.lasso import Lasso
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.wording.counting import counted


class Drawing:
    """The prompts on one image, in the making.

    Parameters
    ----------
    geometry : grid of the image

    Attributes
    ----------
    prompts : all that was drawn; every drawing step replaces them by a changed copy
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.prompts = Prompts()
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what was cut or replaced while drawing, each once."""
        return tuple(dict.fromkeys(self._notes))

    def set_box(self, label: int, box: BoundingBox) -> None:
        """Give an object a box. The part outside the image is cut off, and noted.

        >>> drawing = Drawing(Geometry((10, 20, 30), np.eye(4)))
        >>> drawing.set_box(1, BoundingBox.from_ijk(5, 5, 2, 40, 15, 8))
        >>> drawing.prompts.boxes[1].stop_kji, len(drawing.notes)
        ((8, 15, 30), 1)

        Raises
        ------
        InputError : the box lies outside the image.
        """
        inside = box.intersected(self.geometry.shape_kji)
        self._draw(self.prompts.with_box(label, inside))
        if inside != box:
            self._notes.append(
                Note("the box of ", Labelled(label), f" reached outside the image and was cut to {inside}")
            )

    def add_scribbles(self, scribbles: Scribbles) -> None:
        """Draw over what was drawn before; a later mark replaces an earlier one on the same voxel, and that is noted.

        >>> drawing = Drawing(Geometry((10, 20, 30), np.eye(4)))
        >>> drawing.add_scribbles(Scribbles(np.array([[4, 8, 9], [4, 8, 10]]), np.array([1, 1])))
        >>> len(drawing.prompts.scribbles)
        2

        Raises
        ------
        InputError : a scribble lies outside the image.
        """
        scribbles.require_inside(self.geometry.shape_kji)
        self._draw(self.prompts.with_scribbles(scribbles))
        self._note_contradictions(scribbles)

    def add_lasso(self, label: int, lasso: Lasso) -> None:
        """Mark the object's section in a slice as lying within a curve; it becomes marks, drawn over the previous ones.

        The part outside the image is cut off, and noted.

        >>> drawing = Drawing(Geometry((10, 20, 30), np.eye(4)))
        >>> drawing.add_lasso(1, Lasso(0, 4, np.array([[5.0, 5.0], [5.0, 15.0], [15.0, 10.0]])))
        >>> drawing.prompts.lasso_boxes[1].start_kji
        (4, 5, 5)

        Raises
        ------
        InputError : the lasso lies outside the image, or encloses no voxel centre of it.
        """
        marks, extent, note = lasso.marks(label, self.geometry)
        self._draw(self.prompts.with_lasso(label, marks, extent))
        self._notes += [note] if note else []
        self._note_contradictions(marks)

    def set_start(self, label: int, mask_kji: NDArray) -> None:
        """Give an object a mask to start from, for example from another method; it is not a hard mark.

        >>> drawing = Drawing(Geometry((10, 20, 30), np.eye(4)))
        >>> drawing.set_start(1, np.ones((10, 20, 30), bool))
        >>> drawing.prompts.labels
        (1,)

        Parameters
        ----------
        mask_kji : integers or bool on the image's grid, nonzero in the object

        Raises
        ------
        InputError : another shape than the image's, not integers or bool, or empty.
        """
        self._require_shape(np.shape(mask_kji), "the start mask")
        self._draw(self.prompts.with_start(label, PackedMask.of(mask_kji)))

    def add_edits(self, before_kji: NDArray, after_kji: NDArray) -> None:
        """Keep what the user painted or erased by hand: it becomes marks (``Scribbles.from_edits``) over the previous
        ones.

        Two equal labelmaps change nothing.

        >>> drawing, before = Drawing(Geometry((10, 20, 30), np.eye(4))), np.zeros((10, 20, 30), np.uint8)
        >>> after = before.copy()
        >>> after[4, 8, 9] = 1
        >>> drawing.add_edits(before, after)
        >>> drawing.prompts.scribbles.labels.tolist()
        [1]

        Raises
        ------
        InputError : another shape than the image's, not integers, or painted with a value other than 1 to 254.
        """
        for labelmap in (before_kji, after_kji):
            self._require_shape(np.shape(labelmap), "an edited labelmap")
        edits = Scribbles.from_edits(before_kji, after_kji)
        if len(edits):
            self.add_scribbles(edits)

    def _draw(self, prompts: Prompts) -> None:
        self.prompts = prompts

    def _note_contradictions(self, added: Scribbles) -> None:
        replaced = added.contradictions + self.prompts.scribbles.contradictions
        if replaced:
            self._notes.append(
                f"{counted(replaced, 'voxel was', 'voxels were')} scribbled with different labels; the latest is used"
            )

    def _require_shape(self, shape: tuple[int, ...], what: str) -> None:
        if shape != self.geometry.shape_kji:
            raise InputError(f"{what} has the shape {in_ijk(shape)}, not {in_ijk(self.geometry.shape_kji)} (i, j, k)")
