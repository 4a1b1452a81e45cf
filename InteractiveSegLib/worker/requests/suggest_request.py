"""The request ``suggest``: which slice to annotate next, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import Index
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.propagate.guidance import (
    Advice,
    Evidence,
    GuidanceSettings,
    Suggestion,
    expected_outlines,
    from_front_end,
    from_prediction,
    from_proxy,
    from_rounds,
    suggest,
)
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.records.prompt_record import box_fields, box_of
from InteractiveSegLib.segmenting.segment_result import SegmentResult, WorkingProbability
from InteractiveSegLib.worker.requests.slices_request import SlicesToPropagate

if TYPE_CHECKING:
    from InteractiveSegLib.propagate.proxy_mask import ProxyMask
    from InteractiveSegLib.worker.requests.request_context import RequestContext


@dataclass(frozen=True, eq=False)
class SuggestRequest:
    """Rank slices by the propagated mask and, if there are any, by the network's last two rounds.

    proposed : (axis, index) of slices that were suggested before and are not suggested again
    prediction, before : label -> probability in the network's last round, and in the previous one
    """

    kind: ClassVar[str] = "suggest"
    needs_image: ClassVar[bool] = True

    slices: SlicesToPropagate
    settings: GuidanceSettings = field(default_factory=GuidanceSettings)
    proposed: tuple[tuple[int, int], ...] = ()
    prediction: Mapping[int, WorkingProbability] = field(default_factory=dict)
    before: Mapping[int, WorkingProbability] = field(default_factory=dict)

    def to_message(self) -> Message:
        fields = {**self.slices.fields(), "settings": asdict(self.settings), "proposed": list(map(list, self.proposed))}
        arrays = self.slices.arrays()
        for name, found in (("prediction", self.prediction), ("before", self.before)):
            fields[name] = {str(label): box_fields(each.crop) for label, each in found.items()}
            arrays |= {f"{name}/{label}": each.values for label, each in found.items()}
        return Message(self.kind, fields, arrays)

    @classmethod
    def from_message(cls, message: Message) -> SuggestRequest:
        """InputError if the fields are not those of a request."""
        fields, arrays = message.fields, message.arrays
        try:
            axes = fields["settings"]["axes"]
            settings = GuidanceSettings(**{**fields["settings"], "axes": None if axes is None else tuple(axes)})
            proposed = tuple((axis, index) for axis, index in fields["proposed"])
            prediction, before = (
                {
                    int(label): WorkingProbability(box_of(box), arrays[f"{name}/{label}"])
                    for label, box in fields[name].items()
                }
                for name in ("prediction", "before")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is not a valid request for suggestions: {error!r}") from error
        return cls(SlicesToPropagate.of(fields, arrays), settings, proposed, prediction, before)

    def steps(self, bench: RequestContext) -> Steps[Advice]:
        """Propagate, or reuse the last propagated mask, and rank."""
        proxy = yield from self.slices.steps(bench)
        geometry = bench.required_image.volume.geometry
        voxels = float(proxy.probabilities.sum(dtype=np.float64))
        evidence = self._evidence(proxy, geometry.shape_kji)
        outlines = expected_outlines(proxy)
        return suggest(evidence, geometry, proxy.annotated, voxels, self.settings, self.proposed, outlines)

    def _evidence(self, proxy: ProxyMask, shape: Index) -> list[Evidence]:
        found = [from_proxy(proxy)]
        if self.prediction:
            last = _on_image(self.prediction, shape)
            found += [from_front_end(proxy, last), from_prediction(last)]
            if self.before:
                found.append(from_rounds(_on_image(self.before, shape), last))
        return found

    @staticmethod
    def result_message(result: Advice) -> Message:
        return Message("suggest", asdict(result))

    @staticmethod
    def result_of(message: Message) -> Advice:
        """The result of ``result_message``. TypeError or KeyError if it is invalid."""
        fields = message.fields
        return Advice(tuple(Suggestion(**each) for each in fields["suggestions"]), fields["enough"], fields["text"])


def _on_image(found: Mapping[int, WorkingProbability], shape: Index) -> NDArray[np.float32]:
    for label, each in found.items():
        crop, values = each.crop, each.values
        fits = values.ndim == 3 and values.dtype.kind == "f" and values.size > 0
        if not fits or any(n > full for n, full in zip(values.shape, crop.shape_kji, strict=True)):
            raise InputError(f"the probability {values.dtype} {values.shape} of label {label} does not match {crop}")
        if crop.clipped(shape) != crop:
            raise InputError(f"the probability of label {label} in {crop} reaches outside the image")
    return SegmentResult({}, found).probability_map(shape)
