"""One image, its prompts and its rounds, with undo and redo."""

import numpy as np
import torch
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.networks.network import Network
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.drawing import Drawing
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
from InteractiveSegLib.segmenting.rounds import Round
from InteractiveSegLib.segmenting.settings import BifsegSettings

_ROUNDS_KEPT = 50

_CPU = torch.device("cpu")


class ImageSession(Drawing):
    """Segments one image, step by step.

    Long steps are generators; a step that is closed or fails leaves prompts and rounds unchanged. Undo and redo cover
    both prompts and rounds.

    >>> from InteractiveSegLib.image.box import BoundingBox
    >>> from InteractiveSegLib.image.geometry import Geometry
    >>> from InteractiveSegLib.networks.checkpoint import load_network
    >>> from InteractiveSegLib.progress import finish
    >>> array = np.zeros((12, 24, 24), np.float32)
    >>> array[4:8, 8:16, 8:16] = 100
    >>> session = ImageSession(Volume(array, Geometry(array.shape, np.eye(4))), load_network("prompted"))
    >>> session.set_box(1, BoundingBox((3, 6, 6), (9, 18, 18)))
    >>> first = finish(session.segment())
    >>> int(session.labelmap()[6, 12, 12]), session.probability(1).shape
    (1, (12, 24, 24))
    >>> _ = finish(session.fine_tune())
    >>> session.undo() is first
    True
    >>> session.redo().adapted
    True

    Parameters
    ----------
    volume, network, settings, seed, device : as for ``ImageSegmenter``, which computes the rounds

    Raises
    ------
    InputError : the network is in training mode, in which looking at an image would change it.
    """

    def __init__(
        self,
        volume: Volume,
        network: Network,
        settings: BifsegSettings | None = None,
        seed: int = 0,
        device: torch.device = _CPU,
    ) -> None:
        super().__init__(volume.geometry)
        self.volume = volume
        self.segmenter = ImageSegmenter(volume, network, settings, seed, device)
        self._rounds = [Round(self.prompts)]
        self._position = 0
        self._taken_back: Prompts | None = None

    @property
    def current(self) -> Round:
        """The round that is shown."""
        return self._rounds[self._position]

    @property
    def can_undo(self) -> bool:
        return self._position > 0 or self._has_new_prompts

    @property
    def can_redo(self) -> bool:
        return self._taken_back is not None or self._position + 1 < len(self._rounds)

    def undo(self) -> Round:
        """Undo what was drawn since the round, if anything; otherwise return to the previous round, with its
        prompts.
        """
        if self._has_new_prompts:
            self._taken_back, self.prompts = self.prompts, self.current.prompts
            self._notes.clear()
            return self.current
        return self._move(-1, "nothing to undo")

    def redo(self) -> Round:
        """Redo what was undone last: prompts that were drawn, or a round with its prompts."""
        if self._taken_back is not None:
            self.prompts, self._taken_back = self._taken_back, None
            return self.current
        return self._move(1, "nothing to redo")

    def segment(self, adapt: bool = True) -> Steps[Round]:
        """Compute a round from the prompts; with ``adapt``, block 6 is fitted to this image.

        Raises
        ------
        InputError : there are no prompts, or an object has neither a box nor a scribble of its own.
        """
        round_ = yield from self.segmenter.round_steps(self.prompts, adapt, self._notes)
        self._rounds[self._position + 1 :] = [round_]
        del self._rounds[: max(0, len(self._rounds) - _ROUNDS_KEPT)]
        self._position = len(self._rounds) - 1
        self._taken_back = None
        self._notes.clear()
        return round_

    def fine_tune(self) -> Steps[Round]:
        """Compute a round with block 6 fitted to this image."""
        return self.segment(adapt=True)

    def labelmap(self) -> NDArray[np.uint8]:
        """The objects of the current round on the image's grid: (K, J, I), 0 where there is none."""
        labelmap = np.zeros(self.volume.geometry.shape_kji, np.uint8)
        for label, mask in self.current.objects.items():
            labelmap[mask.grid.crop.slices][mask.mask] = label
        return labelmap

    def probability(self, label: int) -> NDArray[np.float32]:
        """Foreground probability of one object on the image's grid, 0 outside its crop.

        Raises
        ------
        InputError : the current round has no such object.
        """
        if label not in self.current.objects:
            raise InputError(f"the round holds no label {label}, only {sorted(self.current.objects)}")
        found = self.current.objects[label]
        probability = np.zeros(self.volume.geometry.shape_kji, np.float32)
        probability[found.grid.crop.slices] = found.grid.interpolated(torch.from_numpy(found.probability)).numpy()
        return probability

    def _draw(self, prompts: Prompts) -> None:
        super()._draw(prompts)
        self._taken_back = None

    def _move(self, step: int, refusal: str) -> Round:
        if not 0 <= self._position + step < len(self._rounds):
            raise InputError(refusal)
        self._position += step
        self.prompts, self._taken_back = self.current.prompts, None
        self._notes.clear()
        return self.current

    @property
    def _has_new_prompts(self) -> bool:
        return self.prompts is not self.current.prompts
