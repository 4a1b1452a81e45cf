"""Seconds of each stage, and ratios to a familiar method, within one run."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from scipy import ndimage

from InteractiveSegLib.evaluation.baselines.grow_from_seeds import grow_from_seeds
from InteractiveSegLib.evaluation.tables import markdown_table
from InteractiveSegLib.evaluation.users.robot import correct
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.networks.cues import CHANNELS
from InteractiveSegLib.networks.losses import dice_cross_entropy_of
from InteractiveSegLib.networks.network import Member
from InteractiveSegLib.progress import Progress, Steps, finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.adapt import AdaptSettings, adapt_steps
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.training.procedural.procedural import generate_scene

_REPEATS = 5
_IMAGE_SIDE, _BOX_SIDE = 128, 96


def speed_steps(model: str, seed: int, device: torch.device) -> Steps[str]:
    """Time first masks and scribble rounds for a box of 96^3 voxels in a procedural image of 128^3.

    3D Slicer's Grow from seeds gets the same scribbles in the same box. An update of block 6 on cached features is
    compared with a forward and backward pass through the whole network (the first one, if there are several) on the
    same grid. All values are medians of five runs.

    Returns
    -------
    a Markdown table

    Raises
    ------
    MissingPackageError : slicer-core is not installed.
    """
    network = load_network(model)
    scene = generate_scene((_IMAGE_SIDE,) * 3, np.random.default_rng(seed))
    volume = Volume(scene.image, Geometry(scene.image.shape, np.eye(4)))
    margin = (_IMAGE_SIDE - _BOX_SIDE) // 2
    box = BoundingBox((margin,) * 3, (margin + _BOX_SIDE,) * 3)
    truth = np.zeros(scene.image.shape, bool)
    largest = np.bincount(scene.labels[box.slices].ravel(), minlength=2)[1:].argmax() + 1
    truth[box.slices] = scene.labels[box.slices] == largest
    depth = ndimage.distance_transform_edt(truth)
    on_object = np.argwhere(depth == depth.max())[:1]
    first: list[float] = []
    adapted: list[float] = []
    scribbled: list[float] = []
    looked_ahead: list[float] = []
    clicked: list[float] = []
    grown: list[float] = []
    for repeat in range(_REPEATS):
        yield Progress(repeat, _REPEATS, "timing rounds")
        session = ImageSession(volume, network, seed=seed, device=device)
        session.set_box(1, box)
        first.append(_seconds(lambda session=session: finish(session.segment(adapt=False))))
        adapted.append(_seconds(lambda session=session: finish(session.fine_tune())))
        rng = np.random.default_rng(seed)
        drawn = correct(session.labelmap().astype(np.uint8), truth.astype(np.uint8), (1.0, 1.0, 1.0), rng).scribbles
        session.add_scribbles(drawn)
        scribbled.append(_seconds(lambda session=session: finish(session.fine_tune())))
        session = ImageSession(volume, network, seed=seed, device=device)
        session.set_box(1, box)
        finish(session.segment(adapt=False))
        finish(session.segmenter.look_steps(session.prompts))
        session.add_scribbles(drawn)
        looked_ahead.append(_seconds(lambda session=session: finish(session.fine_tune())))
        session = ImageSession(volume, network, seed=seed, device=device)
        session.add_scribbles(Scribbles(on_object, np.ones(1, int)))
        clicked.append(_seconds(lambda session=session: finish(session.segment(adapt=False))))
        seeds = session.prompts.scribbles.within(box).to_labelmap(box.shape_kji)
        seeds[0], seeds[-1] = BACKGROUND, BACKGROUND
        grown.append(_seconds(lambda seeds=seeds: grow_from_seeds(scene.image[box.slices], seeds, (1.0, 1.0, 1.0))))
    update, whole = _update_and_pass(network.members[0], device)
    reference = median(grown)
    rows = [
        (name, f"{median(values):.2f}", f"{median(values) / reference:.2f}")
        for name, values in (
            ("first mask (box, no fine-tuning)", first),
            ("fine-tuned without scribbles", adapted),
            ("scribble round (adapt, predict, refine)", scribbled),
            ("scribble round, where P-Net looked while scribbles were drawn", looked_ahead),
            ("first mask (one click, no box)", clicked),
            ("Grow from seeds, in the box", grown),
        )
    ]
    table = markdown_table(("step", "seconds", "relative to Grow from seeds"), rows)
    return (
        f"{table}\n\nupdate on cached features: {1000 * update:.1f} ms, "
        f"pass forward and backward: {1000 * whole:.0f} ms, ratio 1/{whole / update:.0f} "
        f"({torch.get_num_threads()} threads, {device})"
    )


def _update_and_pass(network: Member, device: torch.device) -> tuple[float, float]:
    """Seconds of one update on cached features and of one pass through the whole network, on a grid of 48^3 voxels."""
    flat = not network.takes_prompts and network.dimensions == 2
    shape = (48**2, 48) if flat else (48,) * 3
    channels = len(CHANNELS) if network.takes_prompts else 1
    image = torch.rand((1, channels, *shape), generator=torch.Generator().manual_seed(0)).to(device)
    label = (image[:, :1] > 0.5).float()
    spacing = (1.0,) * 3
    network.to(device)

    def whole() -> None:
        network.zero_grad(set_to_none=True)
        dice_cross_entropy_of(network.block6(finish(network.feature_steps(image, spacing))), label).backward()

    with torch.no_grad():
        features = finish(network.feature_steps(image, spacing))[0]
    settings = AdaptSettings(updates=20)
    labels, weights = label[0, 0].bool(), torch.ones(shape, device=device)

    def updates() -> None:
        finish(adapt_steps(network.block6, features, labels, weights, settings, 0))

    per_update = median(_seconds(updates) for _ in range(_REPEATS)) / settings.updates
    passes = median(_seconds(whole) for _ in range(_REPEATS))
    network.zero_grad(set_to_none=True)
    return per_update, passes


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
