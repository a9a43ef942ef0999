"""What the host tier knows of one segment: an input or results, who waits for it and who uses it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from kaas_pool.content import ObjectRange
from kaas_pool.mover.decisions import Request
from kaas_pool.mover.spares import Spare

State = Literal["queued", "loading", "aborting", "ready"]

_STAGES: dict[State, str] = {
    "queued": "waiting for room in host memory",
    "loading": "loading from the object store",
    "aborting": "loading from the object store",
    "ready": "being answered",
}


class Waiter(NamedTuple):
    """An unanswered request, and the tenant whose rights it comes with."""

    request: Request
    tenant: str


@dataclass
class Entry:
    """One segment, from its first request to its end. Sizes in bytes; `charge` is what it takes of the budget."""

    name: str
    domain: str
    charge: int
    size: int
    #: What to load and its content key; None for results.
    item: ObjectRange | None
    key: str
    state: State = "queued"
    #: Unanswered requests, oldest first; none when ready.
    waiters: list[Waiter] = field(default_factory=list)
    #: Under whose rights the transfer runs; set while loading or aborting.
    loader: str = ""
    #: The request that the transfer was started for, if it still waits.
    starter: Request | None = None
    #: By holder; no zeros.
    leases: Counter[int] = field(default_factory=Counter)
    #: Stores that read the segment at this moment.
    holds: int = 0
    #: Somebody who holds no lease may still read or write the memory: it must not serve for anything else.
    may_be_mapped: bool = False
    #: The number of this end of use among all; 0 before.
    since: int = 0

    @property
    def in_use(self) -> bool:
        """Whether somebody leases or holds it."""
        return bool(self.leases) or self.holds > 0

    @property
    def stage(self) -> str:
        """What it is at, in words."""
        return _STAGES[self.state]

    @property
    def spare(self) -> Spare:
        """Its memory, once it has gone."""
        return Spare(self.name, self.domain, self.item is None, self.charge, self.since)
