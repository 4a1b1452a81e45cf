"""Ways to teach the same network, from the same images, with the same number of updates."""

from __future__ import annotations

from dataclasses import dataclass, replace

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.learning.scribble_batches import LIGHT, STRONG
from InteractiveSegLib.learning.scribble_objective import ScribbleLossSettings
from InteractiveSegLib.learning.scribble_training import MIDDLE, ScribbleSettings
from InteractiveSegLib.learning.strong_augmentation import AugmentationSettings

SCRIBBLES, ENSEMBLE, MASKS = "scribbles", "ensemble", "masks"


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    learns_from : ``SCRIBBLES``; ``ENSEMBLE``, masks that the interactive networks make of them; or ``MASKS``, experts'
    augmentation : of the images; None mirrors and turns alone
    crf, attentive : weights
    """

    name: str
    title: str
    learns_from: str = SCRIBBLES
    augmentation: AugmentationSettings | None = LIGHT
    crf: float = 0.0
    attentive: float = 0.0

    def settings(self, base: ScribbleSettings) -> ScribbleSettings:
        """Those of its training."""
        dice = 0.0 if self.learns_from == SCRIBBLES else 1.0
        loss = ScribbleLossSettings(crf=self.crf, attentive=self.attentive, dice=dice)
        patches = replace(base.patches, augmentation=self.augmentation)
        return replace(base, loss=loss, patches=patches, attention=MIDDLE if self.attentive else "")


VARIANTS: dict[str, Variant] = {
    each.name: each
    for each in (
        Variant("partial", "partial cross-entropy", augmentation=None),
        Variant("strong", "strong augmentation", augmentation=STRONG),
        Variant("crf", "CRF", crf=0.1),
        Variant("attentive", "attentive similarity", attentive=0.1),
        Variant("both", "CRF and attentive similarity", crf=0.1, attentive=0.1),
        Variant("ensemble", "masks made of the scribbles", ENSEMBLE),
        Variant("ensemble-attentive", "these masks, attentive similarity", ENSEMBLE, attentive=0.1),
        Variant("full", "full supervision", MASKS),
    )
}


def variants_named(names: str | None) -> list[Variant]:
    """Those of a list such as "partial,full"; all where there is none. InputError for an unknown one."""
    words = [word.strip() for word in names.split(",")] if names else list(VARIANTS)
    if unknown := [word for word in words if word not in VARIANTS]:
        raise InputError(f"--variants {', '.join(unknown)}: there are {', '.join(VARIANTS)}")
    return [VARIANTS[word] for word in words]
