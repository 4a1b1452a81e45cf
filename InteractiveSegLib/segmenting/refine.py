"""The label step: the smoothest mask that agrees with the probabilities, the edges of the image and the scribbles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Progress, Stage, Steps
from InteractiveSegLib.wording.counting import counted


@dataclass(frozen=True)
class EnergySettings:
    """Weights of the energy and how exactly it is minimised.

    smoothness_mm : lambda, the price of a border against the price of wrong voxels; in mm, since a border is an
        area and wrong voxels are a volume, so that it means the same on every grid
    sigma : intensity change, on [0, 1], that counts as an edge
    probability_floor : probabilities are kept this far from 0 and 1
    gap : stop when the energy is proven to be within this fraction of the minimum
    iterations : at most
    """

    smoothness_mm: float = 3.0
    sigma: float = 0.1
    probability_floor: float = 1e-3
    gap: float = 0.01
    iterations: int = 300


_AT_ONCE = 8  # iterations
_TINY = 1e-6
_RELAXED = 1.9  # below 2
_LEFT = 0.05  # of the voxels that are more probable than not: fewer, and the object is wiped out
_KEPT = 0.5  # of them, which are enough
_HALVINGS = 3

Part = tuple[slice, ...]


class Border:
    """The end state of a fit; starting from it makes the next fit on the same image, to other probabilities, faster."""

    def __init__(self) -> None:
        self._part: Part | None = None
        self._reached: tuple[list[Tensor], Tensor] | None = None

    def start(self, problem: "_Problem", part: Part) -> None:
        """Start a problem on a part of the image where the last one ended, if that was on the same part."""
        if self._reached is not None and self._part == part:
            problem.start(*self._reached)

    def keep(self, problem: "_Problem", part: Part) -> None:
        self._part, self._reached = part, (problem.duals, problem.u)


def edge_weights(image: Tensor, spacing_mm: Sequence[float], settings: EnergySettings) -> tuple[Tensor, ...]:
    """``lambda exp(-(I_i - I_j)^2 / (2 sigma^2)) / d_ij`` for the neighbours along each axis.

    image : (*S) float in [0, 1]. Returns one tensor per axis, one element shorter along that axis.
    """
    return tuple(
        (settings.smoothness_mm / spacing_mm[axis])
        * torch.exp(image.diff(dim=axis).square_().mul_(-0.5 / settings.sigma**2))
        for axis in range(image.ndim)
    )


def energy(labels: Tensor, probability: Tensor, weights: Sequence[Tensor], settings: EnergySettings) -> float:
    """``sum_i -log p(y_i) + sum_ij w_ij [y_i != y_j]`` of labels (*S) bool under foreground probabilities (*S)."""
    p = probability.clamp(settings.probability_floor, 1 - settings.probability_floor)
    value = -torch.where(labels, p, 1 - p).log().sum(dtype=torch.float64)
    for axis, weight in enumerate(weights):
        value += (weight * (labels.diff(dim=axis) != 0)).sum(dtype=torch.float64)
    return value.item()


def minimise_energy_steps(
    probability: Tensor,
    image: Tensor,
    spacing_mm: Sequence[float],
    foreground: Tensor | None = None,
    background: Tensor | None = None,
    settings: EnergySettings = EnergySettings(),
    border: Border | None = None,
) -> Steps[Tensor]:
    """Minimise the energy of Wang et al. (TMI 2018, eq. 3) with scribbles as hard constraints.

    The binary problem is relaxed to labels between 0 and 1, which loses nothing for this energy (Chan et al. 2006), and
    solved by the first-order primal-dual algorithm (Chambolle and Pock 2011), each step prolonged (He and Yuan 2012).
    The dual value bounds the minimum from below, so the distance to the exact minimum is known at every check and ends
    the iterations.

    Parameters
    ----------
    probability : (*S) float, foreground probability of the network
    image : (*S) float in [0, 1]
    spacing_mm : voxel size along each axis
    foreground, background : (*S) bool, voxels whose label is given
    border : of the last fit on this image, if there was one; contains the border of this fit afterwards

    Returns
    -------
    (*S) bool labels. The same labels on every device, up to rounding.

    Raises
    ------
    InputError : the shapes differ, a probability or intensity is not finite, or a voxel is given both labels.
    """
    if probability.shape != image.shape or len(spacing_mm) != image.ndim:
        raise InputError(
            f"probability {tuple(probability.shape)}, image {tuple(image.shape)} and spacing {tuple(spacing_mm)} "
            "do not match"
        )
    for name, given in (("foreground", foreground), ("background", background)):
        if given is not None and given.shape != image.shape:
            raise InputError(f"{name} {tuple(given.shape)} and image {tuple(image.shape)} do not match")
    for name, values in (("probabilities", probability), ("intensities of the image", image)):
        if not torch.isfinite(values).all():
            raise InputError(f"the {name} hold NaN or infinite values")
    nowhere = torch.zeros_like(image, dtype=torch.bool)
    foreground, background = (nowhere if given is None else given for given in (foreground, background))
    labels = foreground.clone()
    part = _open_part(foreground | background)
    if part is None:
        return labels
    weights = edge_weights(image[part], spacing_mm, settings)
    problem = _Problem(probability[part], weights, foreground[part], background[part], settings)
    border = border or Border()
    border.start(problem, part)
    due = 0
    for done in range(0, settings.iterations, _AT_ONCE):
        yield Progress.of(Stage.BORDER, done, settings.iterations)
        problem.iterate(_AT_ONCE)
        if done < due:  # a check takes as long as three iterations
            continue
        gap = problem.relative_gap()
        if gap <= settings.gap:
            break
        halvings = math.log2(max(gap, _TINY) / max(settings.gap, _TINY))  # one for about as many iterations
        due = done + _AT_ONCE * max(1, math.floor(halvings))
    border.keep(problem, part)
    labels[part] = problem.labels()
    return labels


def fit_labels_steps(
    probability: Tensor,
    image: Tensor,
    spacing_mm: Sequence[float],
    foreground: Tensor,
    background: Tensor,
    settings: EnergySettings,
    border: Border | None = None,
) -> Steps[Tensor]:
    """As ``minimise_energy_steps``, with half the smoothness, and half again, where it wipes out an object.

    The shortest border of an object of few voxels is none at all, even if the network is fairly sure of it. Where the
    image is constant, there is no object to keep.
    """
    open_to_both = ~background
    probable = int(((probability > 0.5) & open_to_both).sum())
    labels = yield from minimise_energy_steps(probability, image, spacing_mm, foreground, background, settings, border)
    if int(labels.sum()) >= _LEFT * probable or image[open_to_both].max() == image[open_to_both].min():
        return labels
    for _ in range(_HALVINGS):
        settings = replace(settings, smoothness_mm=settings.smoothness_mm / 2)
        labels = yield from minimise_energy_steps(probability, image, spacing_mm, foreground, background, settings)
        if int(labels.sum()) >= _KEPT * probable:
            break
    return labels


def _open_part(given: Tensor) -> Part | None:
    """The smallest block that holds every voxel whose label is not given, and its neighbours; None if there is none."""
    spans = []
    for axis, size in enumerate(given.shape):
        others = [other for other in range(given.ndim) if other != axis]
        at = torch.nonzero((~given).any(dim=others) if others else ~given).flatten()
        if not at.numel():
            return None
        spans.append(slice(max(int(at[0]) - 1, 0), min(int(at[-1]) + 2, size)))
    return tuple(spans)


class _Problem:
    """min over 0 <= u <= 1 of <c, u> + sum_a |w_a * d_a u|_1, with q the dual variables of the differences d_a u."""

    def __init__(
        self,
        probability: Tensor,
        weights: tuple[Tensor, ...],
        foreground: Tensor | None,
        background: Tensor | None,
        settings: EnergySettings,
    ) -> None:
        p = probability.float().clamp(settings.probability_floor, 1 - settings.probability_floor)
        self.offset = -torch.log1p(-p).sum(dtype=torch.float64)
        self.cost = torch.log1p(-p) - torch.log(p)
        self.lower, self.upper = torch.zeros_like(p), torch.ones_like(p)
        for given, bound in ((foreground, self.lower), (background, self.upper)):
            if given is not None:
                bound.copy_(torch.where(given, 1 - bound, bound))
        if (self.lower > self.upper).any():
            count = int((self.lower > self.upper).sum())
            raise InputError(
                f"{counted(count, 'voxel is', 'voxels are')} marked as foreground and as background at once"
            )
        self.axes = [axis for axis in range(p.ndim) if p.shape[axis] > 1]
        self.weights = [weights[axis] for axis in self.axes]
        self.negative = [-weight for weight in self.weights]
        self.duals = [torch.zeros_like(weight) for weight in self.weights]
        self.steps = [torch.empty_like(weight) for weight in self.weights]
        self.u = (p > 0.5).float().clamp_(self.lower, self.upper)
        self.reached, self.extrapolated = torch.empty_like(p), torch.empty_like(p)
        edges = sum(weight.numel() for weight in self.weights)
        mean_weight = sum(weight.sum().item() for weight in self.weights) / max(edges, 1)
        ratio = min(max(mean_weight, 0.5), 10.0)  # the duals reach as far as the weights, the labels only from 0 to 1
        self.primal_step = 1 / (2 * max(len(self.axes), 1) * ratio)
        self.dual_step = ratio / 2

    def start(self, duals: Sequence[Tensor], u: Tensor) -> None:
        """Start there instead of at the probabilities."""
        self.duals = list(duals)
        self.u = torch.clamp(u, self.lower, self.upper)

    def iterate(self, count: int) -> None:
        """The last step is not prolonged, so labels and duals stay within their bounds."""
        descent = self.cost * self.primal_step
        for left in reversed(range(count)):
            prolonged = _RELAXED if left else 1.0
            torch.sub(self.u, descent, out=self.reached)
            for axis, dual in zip(self.axes, self.duals, strict=True):
                upper, lower = _neighbours(self.reached, axis)
                upper.sub_(dual, alpha=self.primal_step)
                lower.add_(dual, alpha=self.primal_step)
            torch.clamp(self.reached, self.lower, self.upper, out=self.reached)
            torch.sub(self.reached, self.u, out=self.extrapolated)
            self.u.add_(self.extrapolated, alpha=prolonged)
            self.extrapolated.add_(self.reached)
            for axis, dual, step, low, high in zip(
                self.axes, self.duals, self.steps, self.negative, self.weights, strict=True
            ):
                upper, lower = _neighbours(self.extrapolated, axis)
                torch.sub(upper, lower, out=step)
                torch.add(dual, step, alpha=self.dual_step, out=step)
                torch.clamp(step, low, high, out=step)
                dual.lerp_(step, prolonged)
        torch.clamp(self.u, self.lower, self.upper, out=self.u)

    def labels(self) -> Tensor:
        return self.u > 0.5

    def relative_gap(self) -> float:
        """(energy of the labels - lower bound) / energy of the labels."""
        labels = self.labels().float()
        primal = self.offset + (self.cost * labels).sum(dtype=torch.float64)
        slope = self.cost.clone()
        for axis, dual, weight in zip(self.axes, self.duals, self.weights, strict=True):
            upper, lower = _neighbours(slope, axis)
            upper.add_(dual)
            lower.sub_(dual)
            primal += (weight * labels.diff(dim=axis).abs()).sum(dtype=torch.float64)
        bound = self.offset + torch.minimum(slope * self.lower, slope * self.upper).sum(dtype=torch.float64)
        return ((primal - bound) / primal.clamp(min=1e-12)).item()


def _neighbours(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Views of the second and of the first of every two neighbours along ``axis``."""
    length = values.shape[axis] - 1
    return values.narrow(axis, 1, length), values.narrow(axis, 0, length)
