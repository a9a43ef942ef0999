"""An invocation in hand: its life, its work, and who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from kaas_pool.front.admission import Admitted
from kaas_pool.front.invocation import Invocation
from kaas_pool.front.sightings import Stored
from kaas_pool.front.work import Work


@dataclass(eq=False)
class Ticket:
    """One accepted invocation of this process. `domain` is its tenant's trust domain."""

    life: Invocation
    domain: str
    #: Whether other tenants' work runs in the same process.
    shared: bool
    #: The request's body, for the journal.
    request: dict[str, Any]
    admitted: Admitted
    #: Done, with nothing, once the invocation has ended.
    ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    #: Requests that wait for the end. When the last one goes, so does the invocation, unless it is on disk.
    waiters: int = 0
    journalled: bool = False
    #: It comes from the journal of an earlier front, which may have begun to store its outputs.
    recovered: bool = False
    #: An input had another version when it was loaded, and the call was bound again.
    renewed: bool = False
    #: What was stored of its outputs.
    stored: list[Stored] = field(default_factory=list)
    #: The attempt under way; None when it waits, has ended, or has been told to stop.
    attempt: asyncio.Task[None] | None = None

    @property
    def work(self) -> Work:
        """What it does."""
        return self.admitted.work
