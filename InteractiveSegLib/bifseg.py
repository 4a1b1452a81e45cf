"""BIFSeg for one object: the network in the box, then label step and network step in turn (Wang et al., TMI 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from InteractiveSegLib.adapt import AdaptSettings, adapt_steps, interaction_weights
from InteractiveSegLib.boxed_image import BoxedImage, shown_box
from InteractiveSegLib.cues import CueSettings
from InteractiveSegLib.geodesic import GeodesicSettings, geodesic_distance
from InteractiveSegLib.networks.ensemble import Ensemble
from InteractiveSegLib.networks.network import Member, Network
from InteractiveSegLib.predict import (
    PromptedFeatures,
    classical_answer,
    foreground_probability,
    prompted_feature_steps,
    slice_axis,
)
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts import BACKGROUND, BoundingBox, Scribbles
from InteractiveSegLib.refine import Border, EnergySettings, label_steps
from InteractiveSegLib.working_grid import GridSettings, WorkingGrid

_VOXELS_OF_ONE_OF_SEVERAL = 8192  # that an update sees: half as many as of a network that answers alone
_MOST_OTHERS = 12  # told apart, as each takes a pass over the image: with all of 254 the time would be quadratic
_MARKED_FOR_START = 0.3  # part of the slices marked, from which the answer to the box is shown at full strength


@dataclass(frozen=True)
class BifsegSettings:
    """Settings of the stages, each documented where it is used.

    Lengths that should grow with the object are given in voxels of the working grid along its finest axis, so that a
    hippocampus, a liver and a cell are treated alike; ``on`` turns them into mm for a grid.

    smoothness_voxels, smoothness_voxels_of_box : lambda of the energy: where there are scribbles, and where there is a
        box alone, None for the same
    contrast_voxels : of the geodesic distance
    contradiction_voxels : epsilon of the interaction weights
    classical_share, classical_share_of_box : how much the classical answer counts in the log-odds, beside what the
        network says: where there are scribbles, and where there is a box alone
    adapt_to_box : fine-tune from a box alone, too; a network that sees the box is surer of it than its own first labels
    """

    grid: GridSettings = field(default_factory=GridSettings)
    energy: EnergySettings = field(default_factory=EnergySettings)
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    geodesic: GeodesicSettings = field(default_factory=GeodesicSettings)
    cues: CueSettings = field(default_factory=CueSettings)
    smoothness_voxels: float = 2.0
    smoothness_voxels_of_box: float | None = None
    contrast_voxels: float = 20.0
    contradiction_voxels: float = 4.0
    classical_share: float = 1.0
    classical_share_of_box: float = 0.5
    adapt_to_box: bool = True

    @classmethod
    def for_network(cls, network: Network) -> "BifsegSettings":
        """Defaults for a network: one that sees prompts needs less fine-tuning, a 2D one affords a finer grid than a 3D
        one; t1 of both is the paper's."""
        if isinstance(network, Ensemble):
            return cls(grid=GridSettings(max_voxels=60**3), smoothness_voxels_of_box=4.0)
        if network.takes_prompts:
            return cls(
                grid=GridSettings(max_voxels=64**3),
                adapt=AdaptSettings(rounds=1),
                smoothness_voxels=4.0,
                classical_share=0.0,
                classical_share_of_box=0.0,
                adapt_to_box=False,
            )
        if network.dimensions == 2:
            return cls(grid=GridSettings(max_voxels=60**3), adapt=AdaptSettings(unsure_below=0.7))
        return cls(grid=GridSettings(max_voxels=48**3), adapt=AdaptSettings(unsure_below=0.6))

    def for_member(self, member: Member) -> "BifsegSettings":
        """Defaults for one of several networks that answer together; what a user may change holds for all of them."""
        own = self.for_network(member)
        adapt = replace(
            own.adapt, rounds=min(own.adapt.rounds, self.adapt.rounds), max_voxels=_VOXELS_OF_ONE_OF_SEVERAL
        )
        return replace(
            own,
            grid=self.grid,
            energy=self.energy,
            cues=self.cues,
            smoothness_voxels=self.smoothness_voxels,
            smoothness_voxels_of_box=self.smoothness_voxels_of_box,
            adapt=adapt,
        )

    def on(self, grid: WorkingGrid, scribbled: bool = True) -> "BifsegSettings":
        """The same settings with the lengths of the stages in mm, of an object with or without scribbles."""
        unit = min(grid.spacing_kji_mm)
        contradiction_mm = self.contradiction_voxels * unit
        smoothness = self.smoothness_voxels if scribbled else self.smoothness_voxels_of_box
        if smoothness is None:
            smoothness = self.smoothness_voxels
        return replace(
            self,
            energy=replace(self.energy, smoothness_mm=smoothness * unit),
            # what is farther contradicts nothing
            geodesic=replace(self.geodesic, contrast_mm=self.contrast_voxels * unit, bound_mm=contradiction_mm),
            adapt=replace(self.adapt, contradiction_mm=contradiction_mm),
        )


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """An object on the working grid.

    probability : (K, J, I) float32, of the foreground
    labels : (K, J, I) bool
    rounds : of adaptation
    classical : (K, J, I) log-odds, the classical answer to the prompts
    """

    probability: Tensor
    labels: Tensor
    rounds: int
    classical: Tensor


@dataclass(frozen=True, eq=False)
class ObjectMarks:
    """Scribbles as one object sees them on its working grid, (K, J, I) bool each.

    background : all that is not the object
    others, of_nothing : the parts of it that mark another object each, and the rest
    """

    foreground: Tensor
    background: Tensor
    of_nothing: Tensor
    others: list[Tensor]


def other_objects(
    scribbles: Scribbles,
    label: int,
    box: BoundingBox,
    crop: BoundingBox,
    spacing_kji_mm: tuple[float, float, float],
) -> list[NDArray[np.int32]]:
    """Marks (N, 3) of the other objects, each by itself, in the order of their labels.

    Of more than 12 the 11 with a mark nearest to the middle of the box come by themselves, and all others together as
    the last.

    Parameters
    ----------
    box : of the object
    crop : what is marked beyond it has no say
    """
    inside = crop.contains(scribbles.indices_kji) & ~np.isin(scribbles.labels, (label, BACKGROUND))
    marks, labels = scribbles.indices_kji[inside], scribbles.labels[inside]
    others = np.unique(labels)
    apart = others
    if len(others) > _MOST_OTHERS:
        middle = (np.add(box.start_kji, box.stop_kji) - 1) / 2
        away = np.full(BACKGROUND, np.inf)
        np.minimum.at(away, labels, (((marks - middle) * spacing_kji_mm) ** 2).sum(axis=1))
        apart = np.sort(np.argsort(away, kind="stable")[: _MOST_OTHERS - 1])
    kinds = [marks[labels == other] for other in apart]
    if len(apart) < len(others):
        kinds.append(marks[~np.isin(labels, apart)])
    return kinds


def object_marks(
    grid: WorkingGrid,
    foreground_kji: NDArray[np.int32],
    background_kji: NDArray[np.int32],
    others_kji: Sequence[NDArray[np.int32]],
    device: torch.device,
) -> ObjectMarks:
    """Marks on the working grid; where one working voxel has both kinds it has none: full resolution settles it.

    Parameters
    ----------
    foreground_kji, background_kji : (N, 3) scribbled voxels of the image, all within ``grid.crop``
    others_kji : those of ``background_kji`` that mark other objects, (N, 3) each
    """
    foreground, background = _marked(grid, foreground_kji, device), _marked(grid, background_kji, device)
    shared = foreground & background
    foreground, background = foreground & ~shared, background & ~shared
    others = [_marked(grid, marks, device) & background for marks in others_kji]
    of_nothing = background.clone()
    for other in others:
        of_nothing &= ~other
    return ObjectMarks(foreground, background, of_nothing, others)


def marked_part(foreground: Tensor, inside: Tensor, spacing_mm: Sequence[float]) -> float:
    """Part of a box's slices in which the object is marked, 0 to 1; slices as ``slice_axis`` has them.

    foreground, inside : (K, J, I) bool, marks of the object and the box
    """
    axis = slice_axis(inside.shape, spacing_mm)
    marked, within = (int(mask.movedim(axis, 0).flatten(1).any(dim=1).sum()) for mask in (foreground & inside, inside))
    return marked / within


def corrected_answer(
    network: Member,
    of_box: PromptedFeatures,
    marks: ObjectMarks,
    inside: Tensor,
    spacing_mm: Sequence[float],
    settings: BifsegSettings,
) -> Tensor:
    """The mask (K, J, I) in [0, 1] from which scribbles in a drawn box start.

    The probability of the object from its box alone, put right where it is marked and beyond the box. It is paler the
    fewer slices are marked: a network that is shown a mask changes little of it for a short stroke or two.
    """
    found = foreground_probability(network.block6, of_box.features, settings.classical_share_of_box * of_box.classical)
    corrected = torch.where(marks.foreground, 1.0, torch.where(marks.background | ~inside, 0.0, found))
    return min(1.0, marked_part(marks.foreground, inside, spacing_mm) / _MARKED_FOR_START) * corrected


def object_steps(
    boxed: BoxedImage,
    box: BoundingBox,
    foreground_kji: NDArray[np.int32],
    background_kji: NDArray[np.int32],
    network: Member,
    settings: BifsegSettings,
    *,
    box_drawn: bool,
    adapt: bool,
    seed: int,
    start: Tensor | None = None,
    others_kji: Sequence[NDArray[np.int32]] = (),
    classical: Tensor | None = None,
) -> Steps[ObjectLabels]:
    """Segment one object on the working grid with one network.

    Parameters
    ----------
    box : holds the object; every voxel outside it is background
    box_drawn : the box comes from the user, rather than from the scribbles
    foreground_kji, background_kji : (N, 3) scribbled voxels of the image, all within ``boxed.grid.crop``
    others_kji : those of ``background_kji`` that mark other objects, (N, 3) each
    adapt : fit block 6 to this image; the network itself is not changed. With scribbles in a box it learns what the
        share of the classical answer, if it has one, leaves unsaid; else it learns the labels, since people's scribbles
        without a box mark most slices, and of a box alone the classical answer knows little
    start : (K, J, I) float in [0, 1] on the working grid, a mask to start from; only networks that see prompts use it.
        Without one, scribbles in a drawn box correct the answer to the box alone, where ``boxed`` has it
    classical : (K, J, I), the classical answer to these prompts, where another network has found it already; one
        that sees the prompts finds it with its features
    """
    device, grid = boxed.image.device, boxed.grid
    settings = settings.on(grid, bool(len(foreground_kji) + len(background_kji)))
    inside = grid.inside(box).to(device)
    outside = ~inside
    marks = object_marks(grid, foreground_kji, background_kji, others_kji, device)
    foreground, background, others = marks.foreground, marks.background, marks.others
    fit_labels = partial(
        label_steps,
        image=boxed.image,
        spacing_mm=grid.spacing_kji_mm,
        settings=settings.energy,
        border=Border(),
    )
    scribbled = bool(foreground.any() or background.any())
    shown = torch.ones_like(inside)
    if box_drawn:
        shown = inside if scribbled else shown_box(grid, box).to(device)  # scribbles say what is not the object
    prompts = (shown, foreground, marks.of_nothing)
    spacing, share = grid.spacing_kji_mm, settings.classical_share if scribbled else settings.classical_share_of_box
    features = boxed.features
    if network.takes_prompts:
        seen = boxed.of_box if box_drawn and start is None else None
        if seen is not None and scribbled:
            start = corrected_answer(network, seen, marks, inside, spacing, settings)
        if seen is None or scribbled:
            seen = yield from prompted_feature_steps(
                network, boxed.image, spacing, *prompts, start, others, settings.cues
            )
        features, classical = seen.features, seen.classical
    elif classical is None:
        classical = classical_answer(boxed.image, spacing, *prompts, others, settings.cues)
    added = share * classical
    probability = foreground_probability(network.block6, features, added)
    labels = yield from fit_labels(probability, foreground=foreground & inside, background=(background | outside))
    if not adapt or not (scribbled or settings.adapt_to_box):
        return ObjectLabels(probability, labels, 0, classical)
    first = labels
    if scribbled:
        first = yield from fit_labels(probability, background=outside)
    distance = (
        geodesic_distance(boxed.image, torch.stack([foreground, background]), grid.spacing_kji_mm, settings.geodesic)
        if scribbled
        else torch.full((2, *labels.shape), torch.inf, device=device)
    )
    head, rounds = network.block6, 0
    for rounds in range(1, settings.adapt.rounds + 1):
        weights = interaction_weights(probability, first, foreground, background, distance, settings.adapt)
        head = yield from adapt_steps(
            head, features, labels, weights, settings.adapt, seed + rounds, added if scribbled and box_drawn else None
        )
        probability = foreground_probability(head, features, added)
        before = labels
        labels = yield from fit_labels(probability, foreground=foreground & inside, background=(background | outside))
        if (labels != before).float().mean() < settings.adapt.changed_fraction:
            break
    return ObjectLabels(probability, labels, rounds, classical)


def _marked(grid: WorkingGrid, indices_kji: NDArray[np.int32], device: torch.device) -> Tensor:
    mask = torch.zeros(grid.shape_kji, dtype=torch.bool)
    mask[grid.working_indices(indices_kji)] = True
    return mask.to(device)
