"""Invocations that have ended, for an hour: the latest in memory, the others in the journal."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice

from kaas_pool.front.invocation import Invocation
from kaas_pool.front.journal import KEEP_SECONDS, Journal, Outcome

_Key = tuple[str, str]
#: An invocation, when it ended, and whether the journal has it or is about to.
_Entry = tuple[Invocation, float, bool]

#: How many ended invocations memory holds (some 2 kB each without inline results), and how many go to disk at a time.
IN_MEMORY = 20_000
_BATCH = 1_000

#: Inline outputs and kernels' output over this leave memory as soon as they are on disk: as Python's lists outputs are
#: some 32 times as large, and IN_MEMORY of them would fill the machine.
LARGE_BYTES = 1024
#: What a printed line takes besides its text.
_LINE_BYTES = 200

#: Of large ones that cannot be written, say because the disk is full, memory keeps the latest up to so many bytes.
UNWRITTEN_BYTES = 8 << 20


class Outcomes:
    """What `GET` and a repeated `POST` see of ended invocations. `wall` is seconds since the epoch."""

    def __init__(self, journal: Journal, in_memory: int = IN_MEMORY, wall: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._limit = in_memory
        self._wall = wall
        #: Oldest first.
        self._recent: OrderedDict[_Key, _Entry] = OrderedDict()
        #: The bytes of large ones there that could not be written; oldest first.
        self._unwritten: OrderedDict[_Key, int] = OrderedDict()
        self._has_older = journal.has_outcomes()
        self._spilling = False

    def add(self, life: Invocation, *, journalled: bool, large_bytes: int = 0) -> None:
        """Keep an invocation that has ended, with the bytes of its inline outputs and of what its kernels printed.

        One that was promised in the journal is written there at once, and so is one that is large in memory. One that
        was abandoned has nothing to show and stays in memory, or is forgotten.
        """
        ended = self._wall()
        large_bytes += _LINE_BYTES * len(life.printed)
        large = large_bytes > LARGE_BYTES and not life.abandoned
        key, entry = (life.tenant, life.id), (life, ended, journalled or large)
        self._unwritten.pop(key, None)
        self._recent[key] = entry
        self._recent.move_to_end(key)  # It may have failed before, and run again.
        if journalled or large:
            self._has_older = True
            written = self._journal.record([_outcome(life, ended)])
            held = large_bytes if large else 0
            written.add_done_callback(lambda done: self._written(done, key, entry, forget=large, large_bytes=held))
        if len(self._recent) > self._limit and not self._spilling:
            self._spill()

    def amend(self, life: Invocation) -> None:
        """Something was learnt of an invocation that has ended: memory and disk are to have it.

        On disk always, since the entry may be on its way there as it was.
        """
        self._has_older = True
        self._journal.record([_outcome(life, self._wall())]).add_done_callback(_look)

    def find(self, tenant: str, identifier: str) -> Invocation | Outcome | None:
        """One that ended within the last hour."""
        entry = self._recent.get((tenant, identifier))
        if entry is not None:
            return entry[0] if entry[1] >= self._wall() - KEEP_SECONDS else None
        if not self._has_older:
            return None
        outcome = self._journal.outcome(tenant, identifier)
        return outcome if outcome is not None and outcome.ended >= self._wall() - KEEP_SECONDS else None

    async def expire(self) -> None:
        """Drop what is older than an hour."""
        limit = self._wall() - KEEP_SECONDS
        while self._recent and next(iter(self._recent.values()))[1] < limit:
            self._leave(next(iter(self._recent)))
        await self._journal.forget_before(limit)

    def _written(
        self, done: asyncio.Future[None], key: _Key, entry: _Entry, *, forget: bool, large_bytes: int = 0
    ) -> None:
        """An entry is on disk, or could not be written, which the journal has told its log: then memory keeps it."""
        is_failed = done.cancelled() or done.exception() is not None
        if self._recent.get(key) is not entry:
            return
        if is_failed and len(self._recent) <= 2 * self._limit:
            self._recent[key] = (entry[0], entry[1], False)
            if large_bytes:
                self._unwritten[key] = large_bytes
                while sum(self._unwritten.values()) > UNWRITTEN_BYTES:
                    self._leave(next(iter(self._unwritten)))
        elif is_failed or forget:
            self._leave(key)

    def _leave(self, key: _Key) -> None:
        del self._recent[key]
        self._unwritten.pop(key, None)

    def _spill(self) -> None:
        """Move the oldest to disk; until they are there, memory answers for them."""
        oldest = list(islice(self._recent.items(), _BATCH))
        self._spilling = True

        def on_disk(written: asyncio.Future[None]) -> None:
            self._spilling = False
            self._has_older = True
            for key, entry in oldest:
                self._written(written, key, entry, forget=True)

        unwritten = [(life, ended) for _, (life, ended, journalled) in oldest if not journalled]
        outcomes = [_outcome(life, ended) for life, ended in unwritten if not life.abandoned]
        self._journal.record(outcomes).add_done_callback(on_disk)


def _outcome(life: Invocation, ended: float) -> Outcome:
    return Outcome(life.tenant, life.id, life.fingerprint, ended, life.answer(with_story=True))


def _look(written: asyncio.Future[None]) -> None:
    """Take note of a failed write: the journal has told its log, and nobody else waits."""
    if not written.cancelled():
        written.exception()
