"""The context of requests: the image and its prompts, and networks that are kept between requests."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.prompts.prompts import Prompts

if TYPE_CHECKING:
    from InteractiveSegLib.networks.network import Network
    from InteractiveSegLib.propagate.image_propagator import ImagePropagator
    from InteractiveSegLib.propagate.slice_pool import SlicePool
    from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
    from InteractiveSegLib.segmenting.settings import BifsegSettings

_NETWORKS_KEPT = 3


class Image(Protocol):
    """An image whose voxels may have to be fetched.

    volume : its grid is that of the whole image; only voxels that were fetched are those of the image
    """

    volume: Volume

    def fetch(self, box: BoundingBox) -> Steps[None]:
        """Fetch the voxels of a box within the image."""


@dataclass(frozen=True, eq=False)
class WholeImage:
    """An image that is completely available."""

    volume: Volume

    def fetch(self, box: BoundingBox) -> Steps[None]:
        """Nothing to do."""
        yield from ()


class RequestContext:
    """Used in a command and in a worker process; everything it keeps is a cache.

    image, prompts : those of the current request; ``None`` and empty if it has none
    """

    def __init__(self, image: Image | None = None, prompts: Prompts | None = None) -> None:
        self.image = image
        self.prompts = prompts or Prompts()
        self._networks: dict[Hashable, Network] = {}
        self._segmenter: tuple[Hashable, ImageSegmenter] | None = None
        self._propagator: ImagePropagator | None = None
        self._pool: SlicePool | None = None

    @property
    def required_image(self) -> Image:
        """The image. InputError if there is none."""
        if self.image is None:
            raise InputError("there is no image to work on")
        return self.image

    def network(self, model: str) -> Network:
        """A shipped network or one from a folder, in eval mode; loaded again when its file has changed."""
        return self._loaded(model)[1]

    def segmenter(
        self, model: str, device: str, seed: int, changed: Callable[[BifsegSettings], BifsegSettings]
    ) -> ImageSegmenter:
        """Computes rounds of the image; reuses that of the previous request if image, network and device are the same.

        Parameters
        ----------
        model, device, seed : as for ``SegmentRequest``
        changed : maps the settings for the network to those to use
        """
        from InteractiveSegLib.device import device_named
        from InteractiveSegLib.segmenting.image_segmenter import ImageSegmenter
        from InteractiveSegLib.segmenting.settings import BifsegSettings

        volume, (identity, network) = self.required_image.volume, self._loaded(model)
        settings = changed(BifsegSettings.for_network(network))
        key = (identity, device, settings.grid)
        if self._segmenter is None or self._segmenter[0] != key or self._segmenter[1].volume is not volume:
            self._segmenter = None  # its memory first
            self._segmenter = key, ImageSegmenter(volume, network, device=device_named(device))
        segmenter = self._segmenter[1]
        segmenter.settings, segmenter.seed = settings, seed
        return segmenter

    def propagator(self) -> ImagePropagator:
        """Propagates slices of the image; reuses that of the previous request if the image is the same."""
        from InteractiveSegLib.propagate.image_propagator import ImagePropagator
        from InteractiveSegLib.propagate.slice_pool import SlicePool

        volume = self.required_image.volume
        if self._pool is None:
            self._pool = SlicePool()
        if self._propagator is None or self._propagator.volume is not volume:
            self._propagator = ImagePropagator(volume, self._pool)
        return self._propagator

    def forget(self) -> None:
        """Release everything that is kept."""
        self._networks.clear()
        self._segmenter, self._propagator = None, None
        if self._pool is not None:
            self._pool.close()

    def _loaded(self, model: str) -> tuple[Hashable, Network]:
        from InteractiveSegLib.networks.checkpoint import load_network, weights_paths

        states = [(str(path.resolve()), path.stat()) for path in weights_paths(model)]
        identity = tuple((path, state.st_mtime_ns, state.st_size) for path, state in states)
        network = self._networks.pop(identity, None) or load_network(model)
        while len(self._networks) >= _NETWORKS_KEPT:
            self._networks.pop(next(iter(self._networks)))
        self._networks[identity] = network
        return identity, network
