"""What a window shows of a casebook: plain values that need neither PyTorch nor the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from InteractiveSegLib.casebook.effort import Effort, Event
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts


@dataclass(frozen=True)
class CaseRow:
    """One line of the worklist."""

    name: str
    state: str
    split: str
    effort: Effort


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case to work on.

    revision : of ``CaseEntry``; goes back with what is done to the case
    volume : the image
    prompts, masks : as it was left, masks by label; of a reopened case those that were accepted
    reason : why this case
    """

    name: str
    revision: int
    volume: Volume
    prompts: Prompts
    masks: Mapping[int, PackedMask]
    reason: str


@dataclass(frozen=True, eq=False)
class CasebookView:
    """A casebook as it stands.

    labels : value -> name
    model : folder of the version of the interactive network that is in use; "" where it is the shipped one
    version : the same in words
    waiting : accepted cases that are still to be learnt
    opened : the case that was opened by the request
    said : what the request did, in words
    """

    rows: tuple[CaseRow, ...]
    labels: Mapping[int, str]
    model: str
    version: str
    waiting: int
    said: str = ""
    opened: OpenedCase | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class CaseWork:
    """What a person did to a case in a window.

    revision : as the case was opened
    masks : label -> mask as it stands; proposed : label -> mask as the network answered last
    events : since they were sent last
    """

    case: str
    revision: int
    prompts: Prompts = field(default_factory=Prompts)
    masks: Mapping[int, PackedMask] = field(default_factory=dict)
    proposed: Mapping[int, PackedMask] = field(default_factory=dict)
    events: Sequence[Event] = ()
