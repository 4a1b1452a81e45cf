"""What a window shows of a casebook: plain values that need neither PyTorch nor the database."""

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


@dataclass(frozen=True)
class Standing:
    """Skipped cases count nowhere.

    cases, accepted : how many there are, and how many of them are accepted
    organs, verified : organs of all cases, and those of accepted ones that were looked at in every slice
    partly : organs of accepted cases that were looked at in some slices
    seconds : active time of each accepted case, in the order of acceptance, without those of the test split, which are
        annotated without help
    """

    cases: int = 0
    accepted: int = 0
    organs: int = 0
    verified: int = 0
    partly: int = 0
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class OpenedCase:
    """A case to work on.

    revision : of ``CaseEntry``; goes back with what is done to the case
    volume : the image
    prompts, masks : as it was left, masks by label; of a reopened case those that were accepted
    reason : why this case
    review : what was looked at in the masks; None where they are a person's as a whole, as ``LeftWork.review``
    confidences : label -> how sure the network is of it in the starting mask, 0 to 1; empty where there is none
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
    """A casebook as it stands.

    labels : value -> name
    model : folder of the version of the interactive network that is in use; "" where it is the shipped one
    version : the same in words
    waiting : accepted cases that are still to be learnt
    standing : how far the study is
    is_ignited : a network was taught by labelled images, which gives cases starting masks
    opened : the case that was opened by the request
    said : what the request did, in words
    """

    rows: tuple[CaseRow, ...]
    labels: Mapping[int, str]
    model: str
    version: str
    waiting: int
    standing: Standing
    is_ignited: bool = False
    said: str = ""
    opened: OpenedCase | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class CaseWork:
    """What a person did to a case in a window.

    revision : as the case was opened
    masks : label -> mask as it stands; proposed : label -> mask as the network answered last
    events : since they were sent last
    review : what was looked at in the masks; None where the person stands for them as a whole
    """

    case: str
    revision: int
    prompts: Prompts = field(default_factory=Prompts)
    masks: Mapping[int, PackedMask] = field(default_factory=dict)
    proposed: Mapping[int, PackedMask] = field(default_factory=dict)
    events: Sequence[Event] = ()
    review: Review | None = None
