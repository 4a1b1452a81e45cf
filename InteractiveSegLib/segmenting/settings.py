"""Settings of all stages, and their defaults for each network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from InteractiveSegLib.image.geodesic import GeodesicSettings
from InteractiveSegLib.image.working_grid import GridSettings, WorkingGrid
from InteractiveSegLib.networks.cues import CueSettings
from InteractiveSegLib.networks.network import Member, Network
from InteractiveSegLib.segmenting.adapt import AdaptSettings
from InteractiveSegLib.segmenting.refine import EnergySettings

_VOXELS_OF_ONE_OF_SEVERAL = 8192  # used in an update: half as many as for a network that answers alone


@dataclass(frozen=True)
class RegionSettings:
    """How a region is searched for.

    reaches_mm : around the marks; those after the fifth are tried only while the object touches the faces of the one
        before
    least_view_mm : in an image whose longest side is shorter than this, the reaches are scaled down in proportion
    most_voxels : of the image in a region; larger regions are not tried, to limit memory and time
    growth : bonus for each larger region: of two that fit equally well, the larger one shows the network more
    touching_weight : of the fraction of the faces that the mask touches, relative to the certainty of the network
    touching : fraction of the faces above which the object is taken to continue beyond them
    """

    reaches_mm: tuple[float, ...] = (10.0, 16.0, 26.0, 42.0, 64.0, 100.0)
    least_view_mm: float = 40.0
    most_voxels: int = 16_000_000
    growth: float = 0.02
    touching_weight: float = 3.0
    touching: float = 0.01


@dataclass(frozen=True)
class BifsegSettings:
    """Settings of the stages, each documented where it is used.

    Lengths that should grow with the object are given in voxels of the working grid along its finest axis, so that a
    hippocampus, a liver and a cell are treated alike; ``on`` turns them into mm for a grid.

    smoothness_voxels, smoothness_voxels_of_box : lambda of the energy with scribbles, and with a box alone (None for
        the same value)
    contrast_voxels : of the geodesic distance
    contradiction_voxels : epsilon of the interaction weights
    classical_share, classical_share_of_box : weight of the classical answer in the log-odds, added to the network's:
        with scribbles, and with a box alone
    coarse_voxels : of the grid on which boxes are looked at before anything is marked, and regions are compared; at
        most as many as that of a round has
    adapt_to_box : fine-tune from a box alone, too; a network that sees the box is more certain than its own first
        labels
    """

    grid: GridSettings = field(default_factory=GridSettings)
    energy: EnergySettings = field(default_factory=EnergySettings)
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    geodesic: GeodesicSettings = field(default_factory=GeodesicSettings)
    cues: CueSettings = field(default_factory=CueSettings)
    region: RegionSettings = field(default_factory=RegionSettings)
    smoothness_voxels: float = 2.0
    smoothness_voxels_of_box: float | None = None
    contrast_voxels: float = 20.0
    contradiction_voxels: float = 4.0
    classical_share: float = 1.0
    classical_share_of_box: float = 0.5
    coarse_voxels: int = 40**3
    adapt_to_box: bool = True

    @classmethod
    def for_network(cls, network: Network) -> BifsegSettings:
        """Defaults for a network: one that sees prompts needs less fine-tuning, a 2D one affords a finer grid than a 3D
        one; t1 of both is the paper's."""
        if len(network.members) > 1:
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
        if network.members[0].dimensions == 2:
            return cls(grid=GridSettings(max_voxels=60**3), adapt=AdaptSettings(unsure_below=0.7))
        return cls(grid=GridSettings(max_voxels=48**3), adapt=AdaptSettings(unsure_below=0.6))

    @property
    def coarse(self) -> BifsegSettings:
        """The same on the coarse grid. The margin round a box is at least as wide there."""
        return replace(self, grid=replace(self.grid, max_voxels=min(self.coarse_voxels, self.grid.max_voxels)))

    def for_member(self, member: Member) -> BifsegSettings:
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
            coarse_voxels=self.coarse_voxels,
            smoothness_voxels=self.smoothness_voxels,
            smoothness_voxels_of_box=self.smoothness_voxels_of_box,
            adapt=adapt,
        )

    def on(self, grid: WorkingGrid, scribbled: bool = True) -> BifsegSettings:
        """The same settings with the lengths of the stages in mm, of an object with or without scribbles."""
        unit = min(grid.spacing_kji_mm)
        contradiction_mm = self.contradiction_voxels * unit
        smoothness = self.smoothness_voxels if scribbled else self.smoothness_voxels_of_box
        if smoothness is None:
            smoothness = self.smoothness_voxels
        return replace(
            self,
            energy=replace(self.energy, smoothness_mm=smoothness * unit),
            # anything farther contradicts nothing
            geodesic=replace(self.geodesic, contrast_mm=self.contrast_voxels * unit, bound_mm=contradiction_mm),
            adapt=replace(self.adapt, contradiction_mm=contradiction_mm),
        )
