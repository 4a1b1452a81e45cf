"""The request ``casebook``: the actions of a window on a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib.casebook.case_view import CasebookView, CaseRow, CaseWork, OpenedCase
from InteractiveSegLib.casebook.effort import Effort, Event
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import Index
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.progress import Progress, Steps
from InteractiveSegLib.records.message import Message
from InteractiveSegLib.records.prompt_record import box_fields, mask_of, prompt_record, prompts_of

if TYPE_CHECKING:
    from InteractiveSegLib.worker.requests.request_context import RequestContext

_Masks = Mapping[int, PackedMask]
_TEXTS = ("folder", "action", "case", "order", "organs", "images")


@dataclass(frozen=True, eq=False)
class CasebookRequest:
    """One of ``casebook_actions.ACTIONS``, or "create" or "add".

    folder : of the casebook, on the worker's machine
    work, shape_kji : of the open case, and the grid of its image
    case, order : as for ``casebook_actions.act``
    organs : for "create", as for ``casebook_setup.create``
    images : for "add", the folder that holds them
    """

    kind: ClassVar[str] = "casebook"
    needs_image: ClassVar[bool] = False

    folder: str
    action: str
    work: CaseWork | None = None
    shape_kji: Index | None = None
    case: str = ""
    order: str = "fixed"
    organs: str = ""
    images: str = ""

    def __post_init__(self) -> None:
        for name in _TEXTS:
            if not isinstance(getattr(self, name), str) or "\0" in getattr(self, name):
                raise InputError(f"{name} of a request for a casebook is text, not {getattr(self, name)!r}")

    def to_message(self) -> Message:
        fields: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        arrays: dict[str, NDArray] = {}
        if self.work is not None and self.shape_kji is not None:
            work = self.work
            prompts, arrays = prompt_record(work.prompts, self.shape_kji)
            fields["shape_kji"] = list(self.shape_kji)
            fields["work"] = {
                "case": work.case,
                "revision": work.revision,
                "prompts": prompts,
                "masks": _mask_fields(work.masks),
                "proposed": _mask_fields(work.proposed),
                "events": [asdict(event) for event in work.events],
                "review": _review_field(work.review),
            }
            arrays |= _mask_arrays("masks", work.masks) | _mask_arrays("proposed", work.proposed)
        return Message(self.kind, fields, arrays)

    @classmethod
    def from_message(cls, message: Message) -> CasebookRequest:
        """InputError if the fields are not those of a request."""
        fields = dict(message.fields)
        try:
            given, shape = fields.pop("work", None), fields.pop("shape_kji", None)
            if given is None:
                return cls(**fields)
            shape_kji = tuple(shape)
            work = CaseWork(
                given["case"],
                given["revision"],
                prompts_of(given["prompts"], message.arrays, shape_kji),
                _masks_of("masks", given["masks"], message.arrays),
                _masks_of("proposed", given["proposed"], message.arrays),
                tuple(Event(**event) for event in given["events"]),
                _review_of(given["review"]),
            )
            return cls(**fields, work=work, shape_kji=shape_kji)
        except (KeyError, TypeError) as error:
            raise InputError(f"this is not a valid casebook request: {error!r}") from error

    def steps(self, bench: RequestContext) -> Steps[CasebookView]:
        """Run the action."""
        from InteractiveSegLib.worker.requests.casebook_actions import act
        from InteractiveSegLib.worker.requests.casebook_setup import add_steps, create

        yield Progress(0, 1, f"casebook: {self.action}")
        if self.action == "add":
            return (yield from add_steps(Path(self.folder), Path(self.images)))
        if self.action == "create":
            create(Path(self.folder), self.organs)
            return act(Path(self.folder), "look")
        return act(Path(self.folder), self.action, self.work, self.case, self.order)

    @staticmethod
    def result_message(result: CasebookView) -> Message:
        fields = {
            "rows": [asdict(row) for row in result.rows],
            "labels": {str(value): name for value, name in result.labels.items()},
            "standing": list(result.standing),
            **{name: getattr(result, name) for name in ("model", "version", "waiting", "is_ignited", "said")},
            "notes": list(result.notes),
        }
        if result.opened is None:
            return Message("casebook", fields)
        opened = result.opened
        geometry = opened.volume.geometry
        prompts, arrays = prompt_record(opened.prompts, geometry.shape_kji)
        fields["opened"] = {
            **{name: getattr(opened, name) for name in ("name", "revision", "reason")},
            "prompts": prompts,
            "masks": _mask_fields(opened.masks),
            "review": _review_field(opened.review),
            "confidences": {str(label): value for label, value in opened.confidences.items()},
        }
        arrays |= _mask_arrays("masks", opened.masks)
        arrays |= {"image": opened.volume.array_kji, "ijk_to_ras": geometry.ijk_to_ras}
        return Message("casebook", fields, arrays)

    @staticmethod
    def result_of(message: Message) -> CasebookView:
        """The result of ``result_message``. TypeError or KeyError if it is invalid."""
        fields, arrays = dict(message.fields), message.arrays
        given = fields.pop("opened", None)
        rows = tuple(CaseRow(**{**row, "effort": Effort(**row["effort"])}) for row in fields.pop("rows"))
        labels = {int(value): name for value, name in fields.pop("labels").items()}
        opened = None
        if given is not None:
            geometry = Geometry(arrays["image"].shape, arrays["ijk_to_ras"])
            opened = OpenedCase(
                given["name"],
                given["revision"],
                Volume(arrays["image"], geometry, given["name"]),
                prompts_of(given["prompts"], arrays, geometry.shape_kji),
                _masks_of("masks", given["masks"], arrays),
                given["reason"],
                _review_of(given["review"]),
                {int(label): value for label, value in given["confidences"].items()},
            )
        notes = tuple(fields.pop("notes"))
        standing = tuple(fields.pop("standing"))
        return CasebookView(rows, labels, **fields, standing=standing, opened=opened, notes=notes)


def _review_field(review: Review | None) -> str | None:
    return None if review is None else review.to_text()


def _review_of(text: str | None) -> Review | None:
    return None if text is None else Review.from_text(text)


def _mask_fields(masks: _Masks) -> dict[str, list]:
    return {str(label): box_fields(mask.box) for label, mask in masks.items()}


def _mask_arrays(name: str, masks: _Masks) -> dict[str, NDArray[np.uint8]]:
    return {f"{name}/{label}": mask.bits for label, mask in masks.items()}


def _masks_of(name: str, fields: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> dict[int, PackedMask]:
    return {int(label): mask_of(box, arrays[f"{name}/{label}"]) for label, box in fields.items()}
