"""From label maps to images: intensities, texture and the effects of a CT, MR or ultrasound scanner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.training.procedural.procedural_fields import (
    Array,
    along_axes,
    blur_matrix,
    smooth_noise,
    thick_slices,
)
from InteractiveSegLib.training.procedural.procedural_shapes import AIR, LabelMap, draw_labels


def check_range(name: str, pair: Sequence[float]) -> None:
    if len(pair) != 2 or not 0 <= pair[0] <= pair[1]:
        raise InputError(f"{name} {pair} must be a range (low, high) with 0 <= low <= high")


def check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} {value} must be a probability")


@dataclass(frozen=True)
class SceneSettings:
    """What a scene may look like. Pairs are ranges; intensities are on a scale where an image spans about [0, 1].

    objects : objects drawn
    distractors : small bodies that look like an object and are background
    modes : weights of the machines: MR, CT, ultrasound
    air : probability of a body outlined in dark air
    low_contrast : probability that an object's mean is near that of what surrounds it
    texture : standard deviation of the texture within a class
    bias : standard deviation of the logarithm of the multiplicative field (MR)
    blur_voxels : sigma of the point spread, voxels
    noise : standard deviation, drawn log-uniformly
    thick_slices : probability, in 3D, that 2-6 slices along k are averaged into one
    """

    objects: tuple[int, int] = (6, 11)
    distractors: tuple[int, int] = (0, 10)
    modes: tuple[float, float, float] = (0.55, 0.27, 0.18)
    air: float = 0.35
    low_contrast: float = 0.4
    texture: tuple[float, float] = (0.0, 0.09)
    bias: tuple[float, float] = (0.0, 0.35)
    blur_voxels: tuple[float, float] = (0.25, 1.1)
    noise: tuple[float, float] = (0.004, 0.12)
    thick_slices: float = 0.3

    def __post_init__(self) -> None:
        for name in ("objects", "distractors", "texture", "bias", "blur_voxels", "noise"):
            check_range(name, getattr(self, name))
        if self.objects[0] < 1:
            raise InputError(f"objects {self.objects}: a scene needs at least one")
        if self.noise[0] <= 0:
            raise InputError(f"noise {self.noise} must be above 0: it is drawn log-uniformly")
        if len(self.modes) != 3 or min(self.modes) < 0 or sum(self.modes) <= 0:
            raise InputError(f"modes {self.modes} must be three weights for MR, CT and ultrasound")
        for name in ("air", "low_contrast", "thick_slices"):
            check_probability(name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and its objects.

    image : float32 in [0, 1], (J, I) or (K, J, I)
    labels : int16, the image's shape; 0 = background, objects 1..n
    groups : tuples of objects that also make one object together
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int16]
    groups: tuple[tuple[int, ...], ...] = ()


def generate_scene(shape: Sequence[int], rng: np.random.Generator, settings: SceneSettings | None = None) -> Scene:
    """Draw one scene of ``shape`` (J, I) or (K, J, I); a short axis is one of thick slices.

    Raises
    ------
    InputError : ``shape`` is not two or three axes of at least 4 voxels.
    """
    if len(shape) not in (2, 3) or min(shape) < 4:
        raise InputError(f"a scene of shape {tuple(shape)}: give 2 or 3 axes of at least 4 voxels")
    settings = settings or SceneSettings()
    drawn = draw_labels(shape, rng, settings.objects, settings.distractors, settings.air)
    return painted(drawn, settings, rng)


# ---- intensities -----------------------------------------------------------------------------------------------------


def _drawn_means(labels: LabelMap, mode: str, low_contrast: float, rng: np.random.Generator) -> Array:
    """Mean of each class, on a scale where the image spans about [0, 1]."""
    means = np.zeros(len(labels.object_of), np.float32)
    for n in range(len(means)):
        if n == AIR:
            means[n] = rng.uniform(0, 0.05)
        elif labels.kin[n] >= 0:
            means[n] = means[labels.kin[n]] + rng.choice([-1, 0, 1]) * rng.uniform(0.03, 0.15)
        elif labels.near[n] > AIR and rng.random() < low_contrast:
            means[n] = means[labels.near[n]] + rng.choice([-1, 1]) * rng.uniform(0.05, 0.2)
        elif mode == "ct":
            level = rng.random()
            if level < 0.62:
                means[n] = rng.uniform(0.4, 0.68)  # soft tissue
            elif level < 0.78:
                means[n] = rng.uniform(0.15, 0.35)  # fat
            elif level < 0.92:
                means[n] = rng.uniform(0.7, 1.5)  # contrast medium, bone
            else:
                means[n] = rng.uniform(0, 0.1)  # gas, lung
        elif mode == "ultrasound":
            means[n] = np.exp(rng.uniform(np.log(0.03), np.log(0.9)))
        else:
            means[n] = rng.uniform(0.08, 1.0)
    return np.abs(means)


def _add_texture(image: Array, labels: LabelMap, strength: float, rng: np.random.Generator) -> None:
    """Slow drifts, correlated grain and stripes, each class with its own amounts."""
    shape, classes = image.shape, labels.classes
    count = len(labels.object_of)
    fields = [smooth_noise(shape, rng.uniform(2, 5), rng)]
    uneven = 0.7 if rng.random() < 0.15 else 0.15
    grain = np.array(shape) / (rng.uniform(1.2, 5) * np.exp(rng.uniform(-uneven, uneven, len(shape))))
    fields.append(smooth_noise(shape, grain, rng))
    if rng.random() < 0.12:
        direction = rng.standard_normal(len(shape))
        direction *= rng.uniform(8, 45) / np.linalg.norm(direction)
        phase = 2 * smooth_noise(shape, 3, rng)
        for axis, weight in enumerate(direction):
            ramp = np.linspace(-1, 1, shape[axis], dtype=np.float32) * np.float32(weight)
            phase += ramp.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        fields.append(np.sin(phase))
    for field in fields:
        amounts = strength * rng.gamma(0.6, 1.0, count).clip(0, 3)
        amounts[AIR] = 0
        image += amounts.astype(np.float32)[classes] * field


# ---- machines --------------------------------------------------------------------------------------------------------


def _white(shape: Sequence[int], rng: np.random.Generator) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def _correlated(shape: Sequence[int], sigmas: Sequence[float], rng: np.random.Generator) -> Array:
    """White noise blurred by ``sigmas`` voxels per axis, with unit variance."""
    matrices = [blur_matrix(n, s) for n, s in zip(shape, sigmas, strict=True)]
    matrices = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in matrices]
    return along_axes(_white(shape, rng), matrices)


def _mr(image: Array, settings: SceneSettings, rng: np.random.Generator) -> Array:
    bias = rng.uniform(*settings.bias) * smooth_noise(image.shape, rng.choice([1, 1, 2, 3]), rng)
    image = image * np.exp(bias)
    noise = np.exp(rng.uniform(*np.log(settings.noise)))
    kind = rng.random()
    if kind < 0.4:
        real = image + noise * _white(image.shape, rng)
        return np.sqrt(real**2 + (noise * _white(image.shape, rng)) ** 2)
    if kind < 0.8:
        return image + noise * _correlated(image.shape, rng.uniform(0.3, 1.0) * rng.uniform(0.7, 1.3, image.ndim), rng)
    shift = int(rng.integers(image.shape[-1] // 4, image.shape[-1] // 2 + 1))  # a ghost along the phase axis
    image = image + rng.uniform(0.02, 0.12) * np.roll(image, shift, axis=-1)
    return image + noise * _white(image.shape, rng)


def _ct(image: Array, settings: SceneSettings, rng: np.random.Generator) -> Array:
    noise = 0.6 * np.exp(rng.uniform(*np.log(settings.noise)))
    in_plane = rng.uniform(0.4, 0.9)
    sigmas = [0.3] * (image.ndim - 2) + [in_plane, in_plane]
    image = image + noise * _correlated(image.shape, sigmas, rng)
    if rng.random() < 0.2:
        image += _streaks(image.shape, rng) * rng.uniform(0.01, 0.07)
    low = rng.uniform(-0.1, 0.3)
    return np.clip(image, low, low + rng.uniform(0.45, 1.3))


def _streaks(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Rays from a point in plane, of random sign, fading away from it and from slice to slice."""
    rows, columns = shape[-2:]
    j, i = rng.uniform(0, rows), rng.uniform(0, columns)
    y, x = np.arange(rows)[:, None] - j, np.arange(columns)[None] - i
    angle = np.arctan2(y, x) * (90 / np.pi) + 90
    rays = rng.standard_normal(181)
    rays[-1] = rays[0]
    plane = np.interp(angle.ravel(), np.arange(181), rays).reshape(rows, columns)
    plane *= np.exp(-np.hypot(y, x) / (0.5 * columns))
    plane = plane.astype(np.float32)
    return plane if len(shape) == 2 else plane[None] * smooth_noise(shape[:1], 4, rng)[:, None, None]


def _ultrasound(image: Array, settings: SceneSettings, rng: np.random.Generator) -> Array:
    """Speckle, bright interfaces, shadows and fading along depth (axis -2), log compression, sometimes a fan."""
    shape = image.shape
    edges = np.abs(np.diff(image, axis=-2, prepend=image[..., :1, :]))
    image = np.abs(image) + rng.uniform(0, 2) * edges
    sigmas = [*rng.uniform(0.5, 1.2, image.ndim - 2), rng.uniform(0.3, 0.8), rng.uniform(0.6, 2.0)]
    speckle = np.hypot(_correlated(shape, sigmas, rng), _correlated(shape, sigmas, rng)) * np.float32(0.8)
    amount = rng.uniform(0.4, 1.0)
    image = image * ((1 - amount) + amount * speckle)
    depth = np.linspace(0, 1, shape[-2], dtype=np.float32)[:, None]
    image *= np.exp(-rng.uniform(0, 1.5) * depth)
    if rng.random() < 0.5:
        shade = np.clip(1.5 * smooth_noise((shape[-1],), rng.uniform(4, 12), rng) - rng.uniform(1, 2.5), 0, 1)
        image *= 1 - np.float32(0.9) * shade * np.clip(8 * (depth - np.float32(rng.uniform(0, 0.6))), 0, 1)
    dynamic = rng.uniform(15, 200)
    image = np.log1p(dynamic * np.clip(image, 0, None)) / np.log1p(dynamic)
    image += 0.5 * np.exp(rng.uniform(*np.log(settings.noise))) * _white(shape, rng)
    return image


def _fan(shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The part of a plane that an ultrasound probe sees."""
    depth, across = np.linspace(0, 1, shape[-2])[:, None], np.linspace(-1, 1, shape[-1])[None]
    return np.abs(across) < rng.uniform(0.6, 1.1) * (depth + rng.uniform(0.1, 0.6))


_MACHINES = {"mr": _mr, "ct": _ct, "ultrasound": _ultrasound}


def painted(labels: LabelMap, settings: SceneSettings, rng: np.random.Generator) -> Scene:
    """Image and objects of a label map, as one random machine would show them."""
    shape = labels.classes.shape
    mode = str(rng.choice(list(_MACHINES), p=np.array(settings.modes) / sum(settings.modes)))
    means = _drawn_means(labels, mode, settings.low_contrast, rng)
    image = means[labels.classes]
    texture = rng.uniform(*settings.texture) * (0.4 if mode == "ct" else 1.0)
    _add_texture(image, labels, texture, rng)

    objects = labels.object_of[labels.classes]
    sigma = rng.uniform(*settings.blur_voxels)
    matrices = [blur_matrix(n, sigma * rng.uniform(0.7, 1.3)) for n in shape]
    if len(shape) == 3 and shape[0] >= 24 and rng.random() < settings.thick_slices:
        slabs, source = thick_slices(shape[0], int(rng.integers(2, 7)), rng.random() < 0.4)
        matrices[0] = slabs @ matrices[0]
        objects = objects[source]
    image = along_axes(image, matrices)
    if rng.random() < 0.2:  # borders that are sharp here and diffuse there
        diffuse = along_axes(image, [blur_matrix(n, rng.uniform(1, 3)) for n in shape])
        image += np.clip(smooth_noise(shape, 3, rng), 0, 1) * (diffuse - image)
    image = _MACHINES[mode](image, settings, rng)

    if mode == "ultrasound" and rng.random() < 0.3:
        seen = _fan(shape, rng)
        image, objects = np.where(seen, image, 0), np.where(seen, objects, np.int16(0))
    low, high = float(image.min()), float(image.max())
    image = ((image - low) / max(high - low, 1e-6)).astype(np.float32, copy=False)
    image = np.clip(image, 0, 1, out=image)
    if rng.random() < 0.4:
        image **= np.float32(np.exp(rng.uniform(-0.5, 0.5)))
    if mode == "mr" and rng.random() < 0.12:
        image = 1 - image
    return Scene(image, np.ascontiguousarray(objects), labels.groups)
