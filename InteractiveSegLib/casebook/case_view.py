"""Contents of a casebook for a window: plain values that need neither PyTorch nor the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from InteractiveSegLib.casebook.effort import Effort, Event
from InteractiveSegLib.casebook.review import Review
from InteractiveSegLib.image.geometry import Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.prompts import Prompts


@dataclass(frozen=True)
class CaseRow:
    """One line of the worklist.

    has_start : it opens with a starting mask
    """

    name: str
    state: str
    split: str
    effort: Effort
    has_start: bool = False


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case to work on.

    revision : of ``CaseEntry``; returned with the work on the case
    volume : the image
    prompts, masks : of the last round, masks by label; the accepted ones for a reopened case
    reason : why this case was chosen
    review : of the masks; None if they count as a whole, as for ``LeftWork``
    confidences : label -> the network's confidence in the starting mask, 0 to 1; empty if there is none
    """

    name: str
    revision: int
    volume: Volume
    prompts: Prompts
    masks: Mapping[int, PackedMask]
    reason: str
    review: Review | None = None
    confidences: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CasebookView:
    """The present state of a casebook.

    labels : value -> name
    model : folder of the version of the interactive network in use; "" for the shipped one
    version : the same in words
    waiting : accepted cases that are still to be learnt
    standing : sentences on the progress of the study
    is_ignited : a network that was trained on labelled images gives cases starting masks
    opened : the case that was opened by the request
    said : what the request did, in words
    """

    rows: tuple[CaseRow, ...]
    labels: Mapping[int, str]
    model: str
    version: str
    waiting: int
    standing: tuple[str, ...]
    is_ignited: bool = False
    said: str = ""
    opened: OpenedCase | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class CaseWork:
    """The work on a case in a window.

    revision : of the case when it was opened
    masks : label -> present mask; proposed : label -> the network's last mask
    events : since the last ones were sent
    review : of the masks; None if they count as a whole
    """

    case: str
    revision: int
    prompts: Prompts = field(default_factory=Prompts)
    masks: Mapping[int, PackedMask] = field(default_factory=dict)
    proposed: Mapping[int, PackedMask] = field(default_factory=dict)
    events: Sequence[Event] = ()
    review: Review | None = None
