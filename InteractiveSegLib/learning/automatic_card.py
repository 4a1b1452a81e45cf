"""The card of an automatic model: its input and its output."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks import AUTOMATIC

if TYPE_CHECKING:
    from InteractiveSegLib.learning.automatic_network import AutomaticNetwork

MODEL, CARD = "model.ts", "model.json"


@dataclass(frozen=True)
class AutomaticCard:
    """Input and output of an automatic model.

    labels : of its outputs after the background -> name
    spacing_mm : of the voxels it sees, along its three axes
    slices_first : as for ``AutomaticNetwork``
    dimensions : 2 if it processes slices one by one, otherwise 3
    window : side of the sliding window, in voxels
    largest_part : labels of which only the largest connected part is kept, as for ``largest_parts``
    facts : how it was trained, for readers of the card
    """

    labels: Mapping[int, str]
    spacing_mm: tuple[float, float, float]
    slices_first: bool
    dimensions: int
    window: int
    largest_part: tuple[int, ...] = ()
    facts: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        network: AutomaticNetwork,
        names: Mapping[int, str],
        largest_part: tuple[int, ...],
        facts: Mapping[str, Any],
    ) -> AutomaticCard:
        labels = {label: names.get(label, f"label {label}") for label in network.labels}
        spacing, first = network.spacing_mm, network.slices_first
        return cls(labels, spacing, first, network.dimensions, network.window, largest_part, facts)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": AUTOMATIC,
            "spatial_axes": self.dimensions,
            "channels": ["image"],
            "outputs": 1 + len(self.labels),
            "labels": {str(label): name for label, name in self.labels.items()},
            "spacing_mm": list(self.spacing_mm),
            "slices_first": self.slices_first,
            "window": self.window,
            "largest_part": list(self.largest_part),
            "training": dict(self.facts or {}),
        }

    @classmethod
    def read(cls, path: Path) -> AutomaticCard:
        """InputError if the card is missing or damaged, or contains impossible values."""
        try:
            kept = json.loads(path.read_text("utf-8"))
            labels = {int(label): str(name) for label, name in kept["labels"].items()}
            s, p, q = (float(mm) for mm in kept["spacing_mm"])
            card = cls(
                labels,
                (s, p, q),
                bool(kept["slices_first"]),
                int(kept["spatial_axes"]),
                int(kept["window"]),
                tuple(int(label) for label in kept["largest_part"]),
                dict(kept.get("training", {})),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the card {path} of an automatic model cannot be read: {error!r}") from error
        right = all(0 < mm < math.inf for mm in card.spacing_mm) and card.dimensions in (2, 3) and card.window > 0
        if not right or not labels or min(labels) < 1 or max(labels) > 254:
            raise InputError(
                f"the card {path} states {card.dimensions} spatial_axes, a window of {card.window}, voxels of "
                f"{card.spacing_mm} mm and the labels {sorted(labels)}: axes are 2 or 3, sizes above 0, labels 1 to 254"
            )
        return card


def is_automatic(folder: str | Path) -> bool:
    """Whether a folder holds an automatic model, which needs no prompts."""
    card = Path(folder) / CARD
    try:
        return (Path(folder) / MODEL).is_file() and json.loads(card.read_text("utf-8")).get("kind") == AUTOMATIC
    except (OSError, ValueError, AttributeError):
        return False
