"""The position of voxels in the patient: the grid of a volume, and the volume itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox, three_integers
from InteractiveSegLib.image.index_order import in_ijk

if TYPE_CHECKING:
    from InteractiveSegLib.image.nifti_header import NiftiForms

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
_SHEAR_TOLERANCE = 1e-4  # cosine between axes; ITK's NIfTI writer coerces a direction somewhere above this


@dataclass(frozen=True, eq=False)
class Geometry:
    """Grid of a volume in patient space.

    shape_kji : voxels along k, j, i (slowest to fastest, the order of ``slicer.util.arrayFromVolume``)
    ijk_to_ras : (4, 4) float64, mm. Column 0 is the i axis. Any parent transform is already applied.

    Raises
    ------
    InputError : a shape that is not three positive integers, or a matrix that is not finite, affine and invertible.
    """

    shape_kji: tuple[int, int, int]
    ijk_to_ras: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = three_integers(self.shape_kji, "shape_kji")
        if min(shape) < 1:
            raise InputError(f"shape_kji must be positive, not {shape}")
        try:
            matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"ijk_to_ras must be a (4, 4) matrix of numbers, not {self.ijk_to_ras!r}") from None
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(f"ijk_to_ras must be a finite (4, 4) matrix, not {matrix.tolist()}")
        if not np.array_equal(matrix[3], (0, 0, 0, 1)):
            raise InputError(f"ijk_to_ras must have the last row 0 0 0 1, not {matrix[3].tolist()}")
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
            raise InputError(f"ijk_to_ras must be invertible, not {matrix.tolist()}")
        matrix.flags.writeable = False
        object.__setattr__(self, "shape_kji", shape)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def from_lps(
        cls,
        shape_kji: tuple[int, int, int],
        origin_lps: ArrayLike,
        spacing_ijk_mm: ArrayLike,
        direction_lps: ArrayLike,
    ) -> Geometry:
        """Grid as ITK states it.

        origin_lps : (3,) mm, centre of the first voxel
        spacing_ijk_mm : (3,)
        direction_lps : (9,) or (3, 3), row by row; column 0 is the i axis
        """
        matrix = np.eye(4)
        matrix[:3, :3] = _LPS_FROM_RAS @ np.reshape(direction_lps, (3, 3)) * np.asarray(spacing_ijk_mm)
        matrix[:3, 3] = _LPS_FROM_RAS @ np.asarray(origin_lps)
        return cls(shape_kji, matrix)

    def to_lps(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Origin (3,) mm, spacing (3,) mm along i, j, k, and direction (9,) as in ITK.

        Raises
        ------
        InputError : the axes are sheared, which ITK cannot represent.
        """
        axes = _LPS_FROM_RAS @ self.ijk_to_ras[:3, :3]
        spacing = np.linalg.norm(axes, axis=0)
        direction = axes / spacing
        shear = np.abs(direction.T @ direction - np.eye(3)).max()
        if shear > _SHEAR_TOLERANCE:
            raise InputError(
                f"the volume's axes are sheared (cosine {shear:.2g} between two of them): "
                "its grid cannot be written to a file without resampling"
            )
        origin = _LPS_FROM_RAS @ self.ijk_to_ras[:3, 3]
        return tuple(origin.tolist()), tuple(spacing.tolist()), tuple(direction.ravel().tolist())

    @property
    def spacing_kji_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along k, j, i."""
        return tuple(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)[::-1].tolist())

    @property
    def voxel_count(self) -> int:
        k, j, i = self.shape_kji
        return k * j * i

    def cropped(self, box: BoundingBox) -> Geometry:
        """Grid of ``array[box.slices]``. InputError if the box reaches outside."""
        if min(box.start_kji) < 0 or any(b > n for b, n in zip(box.stop_kji, self.shape_kji, strict=True)):
            raise InputError(f"box {box.start_kji} to {box.stop_kji} reaches outside the shape {self.shape_kji}")
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = kji_to_ras(np.array([box.start_kji]), self)[0]
        return Geometry(box.shape_kji, matrix)

    def surrounded(self, box: BoundingBox, part: float, least_voxels: int = 0) -> BoundingBox:
        """A box and its surroundings within the image, as wide in mm on all sides, of at least one voxel.

        part : fraction of the largest extent of the box in mm
        least_voxels : of the finest axis
        """
        spacing = self.spacing_kji_mm
        extent_mm = max(n * mm for n, mm in zip(box.shape_kji, spacing, strict=True))
        margin_mm = max(part * extent_mm, least_voxels * min(spacing))
        margin = tuple(max(1, round(margin_mm / mm)) for mm in spacing)
        return box.expanded(margin).intersected(self.shape_kji)

    def difference_mm(self, other: Geometry) -> float:
        """Largest distance between corresponding corner voxel centres; inf where the shapes differ."""
        if self.shape_kji != other.shape_kji:
            return float("inf")
        corners = np.stack(np.meshgrid(*((0, n - 1) for n in self.shape_kji), indexing="ij"), axis=-1).reshape(-1, 3)
        return float(np.linalg.norm(kji_to_ras(corners, self) - kji_to_ras(corners, other), axis=1).max())

    def require_same(self, other: Geometry, what: str, tolerance_mm: float = 1e-3) -> None:
        """InputError if ``other``, the grid of ``what``, is not this one."""
        if self.shape_kji != other.shape_kji:
            raise InputError(f"{what} has the shape {in_ijk(other.shape_kji)}, not {in_ijk(self.shape_kji)} (i, j, k)")
        difference = self.difference_mm(other)
        if difference > tolerance_mm:
            raise InputError(
                f"{what} lies up to {difference:.4g} mm away from where it should be ({tolerance_mm:g} mm allowed)"
            )


@dataclass(frozen=True, eq=False)
class Volume:
    """An image on its grid.

    array_kji : (K, J, I) real numbers of any type; the given array itself, neither copied nor converted
    name : for messages and lists
    notes : sentences on what was assumed or converted when it was read
    nifti_forms : sform and qform of a NIfTI file in which they differ, for masks to keep both

    Raises
    ------
    InputError : not an array of real numbers, or not of the grid's shape.
    """

    array_kji: NDArray
    geometry: Geometry
    name: str = ""
    notes: tuple[str, ...] = ()
    nifti_forms: NiftiForms | None = None

    def __post_init__(self) -> None:
        array = self.array_kji
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            raise InputError(f"a volume needs an array of real numbers, not {getattr(array, 'dtype', type(array))}")
        if array.ndim == 2:
            raise InputError(f"a 2D image of shape {array.shape} is given as one slice: shape {(1, *array.shape)}")
        if array.ndim != 3 or array.size == 0:
            raise InputError(f"a volume needs a (K, J, I) array with at least one voxel, not the shape {array.shape}")
        if array.shape != self.geometry.shape_kji:
            raise InputError(f"the array has the shape {array.shape}, but its grid {self.geometry.shape_kji} (k, j, i)")


def ras_to_kji(points_ras: NDArray[np.floating], geometry: Geometry) -> NDArray[np.float64]:
    """World points as continuous array indices.

    Parameters
    ----------
    points_ras : (N, 3) float, mm
    geometry : Geometry of the target array

    Returns
    -------
    (N, 3) float64, voxels. Voxel centres are integers; nothing is clipped.

    Raises
    ------
    InputError : ``points_ras`` is not (N, 3).
    """
    from_origin = _points(points_ras, "points_ras") - geometry.ijk_to_ras[:3, 3]
    return np.linalg.solve(geometry.ijk_to_ras[:3, :3], from_origin.T).T[:, ::-1]


def kji_to_ras(points_kji: NDArray, geometry: Geometry) -> NDArray[np.float64]:
    """Continuous array indices (N, 3) as world points (N, 3) in mm; the inverse of ``ras_to_kji``."""
    ijk = _points(points_kji, "points_kji")[:, ::-1]
    return ijk @ geometry.ijk_to_ras[:3, :3].T + geometry.ijk_to_ras[:3, 3]


def _points(points: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"{name} must be of shape (N, 3), not {array.shape}")
    return array
