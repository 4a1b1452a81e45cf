"""The request ``source``: what the labelled images show that a study could start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.progress import Steps
from InteractiveSegLib.records.message import Message

if TYPE_CHECKING:
    from InteractiveSegLib.worker.requests.request_context import RequestContext


@dataclass(frozen=True)
class SourceView:
    """Labelled images, as a window shows them.

    images : that have a labelmap
    images_with : label of the source -> how many of them show it, ascending
    study : label -> name in the study
    notes : sentences on files that are left out, and on what was converted
    """

    images: int
    images_with: Mapping[int, int]
    study: Mapping[int, str]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class SourceRequest:
    """Look at labelled images.

    casebook, images, labels : folders on the worker's machine; the latter two as for ``source_pairs``
    """

    kind: ClassVar[str] = "source"
    needs_image: ClassVar[bool] = False

    casebook: str
    images: str
    labels: str

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, str) or "\0" in value:
                raise InputError(f"{name} of a request for a source is the path of a folder, not {value!r}")

    def to_message(self) -> Message:
        return Message(self.kind, asdict(self))

    @classmethod
    def from_message(cls, message: Message) -> SourceRequest:
        """InputError if the fields are not those of a request."""
        try:
            return cls(**message.fields)
        except TypeError as error:
            raise InputError(f"this is not a valid request for a source: {error!r}") from error

    def steps(self, bench: RequestContext) -> Steps[SourceView]:
        """Read all of it. InputError as ``source_pairs`` and ``look_steps``, or where no labelmap shows anything."""
        from InteractiveSegLib.casebook.casebook import Casebook
        from InteractiveSegLib.learning.source_look import look_steps
        from InteractiveSegLib.learning.source_set import source_pairs

        notes: list[str] = []
        pairs = source_pairs(Path(self.images), Path(self.labels), notes)
        with Casebook(Path(self.casebook)) as casebook:
            look = yield from look_steps(casebook, pairs, notes)
            study = casebook.labels()
        if not look.images_with:
            raise InputError(f"the labelmaps in {self.labels} are empty: there is nothing to learn from them")
        return SourceView(len(pairs), look.images_with, study, tuple(dict.fromkeys(notes)))

    @staticmethod
    def result_message(result: SourceView) -> Message:
        fields = {"images": result.images, "notes": list(result.notes)}
        for name in ("images_with", "study"):
            fields[name] = {str(label): value for label, value in getattr(result, name).items()}
        return Message("source", fields)

    @staticmethod
    def result_of(message: Message) -> SourceView:
        """The result of ``result_message``. TypeError or KeyError if it is invalid."""
        fields = message.fields
        images_with, study = (
            {int(label): value for label, value in fields[name].items()} for name in ("images_with", "study")
        )
        return SourceView(fields["images"], images_with, study, tuple(fields["notes"]))
