"""The annotated images that results are reported on, as a declarative list."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.geometry import Volume
from InteractiveSegLib.image_io import read_labelmap, read_volume

_TUNING_EVERY = 4


@dataclass(frozen=True)
class Dataset:
    """Images and labels that lie in one folder as ``<case><image>`` and ``<case><label>``.

    objects : name -> values of the labelmap that make the object
    scribbles : ending of labelmaps with a person's scribbles; ``background`` and ``unmarked`` are values in them
    """

    name: str
    folder: str
    objects: Mapping[str, tuple[int, ...]]
    image: str = "_image.nii.gz"
    label: str = "_label.nii.gz"
    scribbles: str | None = None
    background: int = 0
    unmarked: int = 4

    def cases(self, root: Path, tuning: bool = False) -> list[str]:
        """Names of the cases found under ``root``, sorted; none where the folder is absent.

        Every fourth case is for tuning; scores are reported on the others.
        """
        names = sorted(path.name.removesuffix(self.image) for path in (root / self.folder).glob(f"*{self.image}"))
        return [name for index, name in enumerate(names) if (index % _TUNING_EVERY == _TUNING_EVERY - 1) == tuning]

    def load(self, root: Path, case: str) -> tuple[Volume, NDArray[np.uint8]]:
        """Image (K, J, I) and labelmap on the same grid. InputError where they do not match."""
        volume = read_volume(root / self.folder / f"{case}{self.image}")
        return volume, read_labelmap(root / self.folder / f"{case}{self.label}", volume.geometry)

    def load_scribbles(self, root: Path, case: str, volume: Volume) -> NDArray[np.uint8] | None:
        """A person's scribbles in the convention of ``Scribbles.from_labelmap``, or None where there are none."""
        if self.scribbles is None:
            return None
        drawn = read_labelmap(root / self.folder / f"{case}{self.scribbles}", volume.geometry)
        marks = drawn.astype(np.uint8)
        marks[drawn == self.background] = 255
        marks[drawn == self.unmarked] = 0
        return marks

    def truths(self, labelmap: NDArray[np.uint8]) -> Iterator[tuple[int, str, NDArray[np.bool_]]]:
        """Number (1, 2, ...), name and mask of every object that occurs."""
        for number, (name, values) in enumerate(self.objects.items(), 1):
            mask = np.isin(labelmap, values)
            if mask.any():
                yield number, name, mask


_TUMOUR = {"whole tumour": (1, 2, 3, 4)}
_CORE = {"tumour core": (1, 3, 4)}

DATASETS = (
    Dataset(
        "ACDC cine MR",
        "acdc_cardiac",
        {"right ventricle": (1,), "myocardium": (2,), "left ventricle": (3,)},
        scribbles="_scribble.nii.gz",
    ),
    Dataset("hippocampus T1 MR", "hippocampus_msd", {"hippocampus": (1, 2)}),
    Dataset("left atrium LGE MR", "left_atrium_mri", {"left atrium": (1,)}),
    Dataset("BRATS FLAIR MR", "brain_tumour_brats2013", _TUMOUR, image="_flair.nii.gz"),
    Dataset("BRATS T1c MR", "brain_tumour_brats2013", _CORE, image="_t1c.nii.gz"),
)
