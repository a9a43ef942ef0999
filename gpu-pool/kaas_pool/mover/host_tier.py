"""The host tier's decisions: what to load, keep, evict and refuse. No I/O, no clock, no memory of its own.

    queued ──room──> loading ──loaded──> ready ──evicted, purged──> gone
                        │  ↑
              last waiter │  │ a new waiter came meanwhile, the I/O has ended
                 cancelled ↓  │
                     aborting ──load ended──> gone

Inputs are entries named by (domain, content key) and shared by whoever leases them; results belong to who asked for
them and go when the last lease ends. The memory of what is gone is kept as a spare of its domain until something else
needs the room, unless somebody may still map it. Events are method calls, answers are lists of decisions that the
caller carries out in order. Requests that find no room wait, first come first served; `cancel` bounds their wait.
"""

from __future__ import annotations

import mmap
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from kaas.errors import CallerError, KaasError
from kaas_pool.content import ObjectRange
from kaas_pool.mover.decisions import (
    AbortLoad,
    Create,
    Decision,
    Free,
    Grant,
    Keep,
    Refuse,
    Request,
    Source,
    StartLoad,
)
from kaas_pool.mover.entries import Entry, Waiter
from kaas_pool.mover.spares import Spare, Spares

PAGE_BYTES = mmap.PAGESIZE


def charged_bytes(size: int) -> int:
    """What a segment of `size` bytes takes: whole pages, at least one."""
    return max(1, -(-size // PAGE_BYTES)) * PAGE_BYTES


@dataclass
class Counts:
    """What happened so far; `bytes_*` in bytes."""

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    evictions: int = 0
    reused: int = 0
    bytes_loaded: int = 0


class HostTier:
    """Every segment of this mover, under one budget of bytes and one of descriptors.

    Invariants (`check`): the charges of all segments that have memory and of spares sum to `used_bytes` <=
    `budget_bytes`, and there are at most `max_segments` of both; only ready inputs that nobody uses are idle, and only
    idle ones are evicted; the queue's head does not fit.
    """

    def __init__(self, budget_bytes: int, max_segments: int, boot: str) -> None:
        self.budget_bytes = budget_bytes
        self.max_segments = max_segments
        self.counts = Counts()
        self.used_bytes = 0
        #: Makes names of segments unique over restarts, because executors remember mappings by name.
        self._boot = boot
        self._created = 0
        self._with_memory = 0
        self._ends = 0
        self._idle_bytes = 0
        self._spares = Spares()
        self._segments: dict[str, Entry] = {}
        self._inputs: dict[tuple[str, str], Entry] = {}
        #: Ready inputs without a lease, least recently used first.
        self._idle: OrderedDict[str, Entry] = OrderedDict()
        #: Segments that wait for room, oldest first.
        self._queue: OrderedDict[str, Entry] = OrderedDict()
        self._waiting: dict[Request, Entry] = {}

    @property
    def idle_bytes(self) -> int:
        """Bytes of cached inputs that nobody leases."""
        return self._idle_bytes

    @property
    def spare_bytes(self) -> int:
        """Bytes of memory that nothing uses at the moment."""
        return self._spares.bytes

    @property
    def segments(self) -> int:
        """How many segments have memory, spares included."""
        return self._with_memory

    @property
    def waiting(self) -> int:
        """How many requests are unanswered."""
        return len(self._waiting)

    def waits(self, request: Request) -> bool:
        """Whether the request is unanswered."""
        return request in self._waiting

    # Events

    def load(self, request: Request, tenant: str, domain: str, key: str, item: ObjectRange) -> list[Decision]:
        """Somebody needs an input."""
        segment = self._inputs.get((domain, key))
        if segment is None:
            return self._enqueue(request, tenant, domain, item.size, key, item)
        if segment.state == "ready":
            self.counts.hits += 1
            self._lease(segment, request.holder)
            return [Grant(request, segment.name, segment.size, "host")]
        self.counts.coalesced += 1
        self._wait(segment, request, tenant)
        return []

    def alloc(self, request: Request, domain: str, size: int) -> list[Decision]:
        """Somebody needs a segment for results."""
        return self._enqueue(request, "", domain, size, "", None)

    def loaded(self, name: str) -> list[Decision]:
        """A transfer has filled its segment."""
        segment = self._segments[name]
        segment.state = "ready"
        self.counts.bytes_loaded += segment.size
        decisions = self._grant_all(segment)
        if not segment.in_use:
            self._make_idle(segment)
        return decisions + self._admit()

    def load_failed(self, name: str, error: KaasError | None) -> list[Decision]:
        """A transfer ended without its data; `error` is None when it was aborted.

        The error is the answer of those whose rights it happened under; for others, and for those who came after the
        abort, the load starts again.
        """
        segment = self._segments[name]
        decisions: list[Decision] = []
        if error is not None:
            for waiter in [waiter for waiter in segment.waiters if waiter.tenant == segment.loader]:
                self._unwait(segment, waiter)
                decisions.append(Refuse(waiter.request, error))
        if segment.waiters:
            return decisions + self._start(segment)
        return decisions + self._free(segment) + self._admit()

    def cancel(self, request: Request) -> list[Decision]:
        """A request is given up; nothing happens if it was answered before."""
        segment = self._waiting.get(request)
        if segment is None:
            return []
        error = CallerError("cancelled", f"given up while {segment.stage}")
        return [Refuse(request, error), *self._leave(segment, request), *self._admit()]

    def release(self, holder: int, names: list[str], mapped: Collection[str] = ()) -> list[Decision]:
        """A holder ends one lease for each name it gives; names it does not lease are ignored.

        `mapped` are those among them that an executor may go on reading or writing.
        """
        decisions: list[Decision] = []
        for name in names:
            segment = self._segments.get(name)
            if segment is not None and segment.leases[holder] > 0:
                segment.leases[holder] -= 1
                segment.may_be_mapped |= name in mapped
                decisions += self._settle(segment)
        return decisions + self._admit()

    def gone(self, holder: int) -> list[Decision]:
        """A holder's connection has ended: its leases end, its requests are forgotten."""
        decisions: list[Decision] = []
        for request in [request for request in self._waiting if request.holder == holder]:
            decisions += self._leave(self._waiting[request], request)
        for segment in [segment for segment in self._segments.values() if segment.leases[holder] > 0]:
            segment.leases[holder] = 0
            segment.may_be_mapped = True  # Executors outlive the front that told them to read or write it.
            decisions += self._settle(segment)
        return decisions + self._admit()

    def hold(self, holder: int, name: str) -> bool:
        """Keep a result for a store whatever happens to its lease; False unless `holder` leases that result."""
        segment = self._segments.get(name)
        if segment is None or segment.item is not None or segment.leases[holder] <= 0:
            return False
        segment.holds += 1
        return True

    def unhold(self, name: str) -> list[Decision]:
        """The store has ended."""
        segment = self._segments[name]
        segment.holds -= 1
        return self._settle(segment) + self._admit()

    def purge(self, domain: str) -> tuple[int, list[Decision]]:
        """Drop a domain's idle inputs and spares; the first part of the answer is the bytes that this frees."""
        before, decisions = self.used_bytes, list[Decision]()
        for segment in [segment for segment in self._idle.values() if segment.domain == domain]:
            decisions += self._free(segment, keep=False)
        for spare in self._spares.drop_domain(domain):
            decisions += self._drop(spare)
        freed = before - self.used_bytes
        return freed, decisions + self._admit()

    # Steps

    def _enqueue(
        self, request: Request, tenant: str, domain: str, size: int, key: str, item: ObjectRange | None
    ) -> list[Decision]:
        charge = charged_bytes(size)
        if charge > self.budget_bytes:
            what = "an input of" if item is not None else "results of"
            return [
                Refuse(
                    request,
                    CallerError(
                        "host_out_of_memory",
                        f"{what} {size} bytes do not fit in the pool's host memory of {self.budget_bytes} bytes",
                        hint="use smaller objects or byte ranges, or start the mover with a larger --host-bytes",
                    ),
                )
            ]
        self._created += 1
        segment = Entry(f"{self._boot}-{self._created}", domain, charge, size, item, key)
        self._segments[segment.name] = segment
        if item is not None:
            self._inputs[domain, key] = segment
        self._queue[segment.name] = segment
        self._wait(segment, request, tenant)
        return self._admit()

    def _admit(self) -> list[Decision]:
        decisions: list[Decision] = []
        while self._queue:
            segment = next(iter(self._queue.values()))
            if not self._can_fit(segment.charge):
                break
            is_result = segment.item is None
            while (spare := self._spares.take(segment.domain, is_result, segment.charge)) is None:
                if self._fits(segment.charge):
                    self.used_bytes += segment.charge
                    self._with_memory += 1
                    break
                decisions += self._make_room(segment)
            del self._queue[segment.name]
            if spare is not None:
                self.counts.reused += 1
                segment.charge = spare.charge
            decisions.append(Create(segment.name, segment.size, is_result, spare.segment if spare else None))
            if segment.item is not None:
                decisions += self._start(segment)
            else:
                segment.state = "ready"
                decisions += self._grant_all(segment)
        return decisions

    def _fits(self, charge: int) -> bool:
        return self.used_bytes + charge <= self.budget_bytes and self._with_memory < self.max_segments

    def _can_fit(self, charge: int) -> bool:
        return (
            self.used_bytes - self._idle_bytes - self._spares.bytes + charge <= self.budget_bytes
            and self._with_memory - len(self._idle) - len(self._spares) < self.max_segments
        )

    def _make_room(self, wanted: Entry) -> list[Decision]:
        """Give up what serves least: a spare, else the cached input that is unused for longest.

        That input goes before spares that were in use since, if its memory serves at once. Otherwise loads and results
        that take turns in a full tier would give up each other's spares, and touch fresh pages every time.
        """
        oldest = next(iter(self._idle.values()), None)
        if self._spares and not (oldest and self._serves(oldest, wanted) and oldest.since < self._spares.oldest.since):
            return self._drop(self._spares.drop_oldest())
        assert oldest is not None
        self.counts.evictions += 1
        return self._free(oldest)

    @staticmethod
    def _serves(idle: Entry, wanted: Entry) -> bool:
        return not idle.may_be_mapped and idle.spare.serves(wanted.domain, wanted.item is None, wanted.charge)

    def _start(self, segment: Entry) -> list[Decision]:
        assert segment.item is not None
        first = segment.waiters[0]
        segment.state, segment.loader, segment.starter = "loading", first.tenant, first.request
        self.counts.misses += 1
        return [StartLoad(segment.name, first.tenant, segment.item)]

    def _grant_all(self, segment: Entry) -> list[Decision]:
        decisions: list[Decision] = []
        for waiter in list(segment.waiters):
            source: Source | None = None
            if segment.item is not None:
                source = "store" if waiter.request == segment.starter else "host"
            self._unwait(segment, waiter)
            self._lease(segment, waiter.request.holder)
            decisions.append(Grant(waiter.request, segment.name, segment.size, source))
        segment.starter = None
        return decisions

    def _leave(self, segment: Entry, request: Request) -> list[Decision]:
        self._unwait(segment, next(waiter for waiter in segment.waiters if waiter.request == request))
        if segment.waiters:
            return []
        if segment.state == "queued":
            self._forget(segment)
            return []
        segment.state = "aborting"
        return [AbortLoad(segment.name)]

    def _wait(self, segment: Entry, request: Request, tenant: str) -> None:
        segment.waiters.append(Waiter(request, tenant))
        self._waiting[request] = segment

    def _unwait(self, segment: Entry, waiter: Waiter) -> None:
        segment.waiters.remove(waiter)
        del self._waiting[waiter.request]

    def _lease(self, segment: Entry, holder: int) -> None:
        segment.leases[holder] += 1
        if self._idle.pop(segment.name, None) is not None:
            self._idle_bytes -= segment.charge

    def _end_use(self, segment: Entry) -> None:
        self._ends += 1
        segment.since = self._ends

    def _make_idle(self, segment: Entry) -> None:
        self._end_use(segment)
        self._idle[segment.name] = segment
        self._idle_bytes += segment.charge

    def _settle(self, segment: Entry) -> list[Decision]:
        """After a lease or hold has ended: a result goes, an input stays as cache."""
        segment.leases += Counter()  # drops zeros
        if segment.in_use:
            return []
        if segment.item is None:
            self._end_use(segment)
            return self._free(segment)
        self._make_idle(segment)
        return []

    def _free(self, segment: Entry, *, keep: bool = True) -> list[Decision]:
        if self._idle.pop(segment.name, None) is not None:
            self._idle_bytes -= segment.charge
        self._forget(segment)
        spare = segment.spare
        if segment.may_be_mapped or not keep:
            return self._drop(spare)
        self._spares.add(spare)
        return [Keep(segment.name)]

    def _drop(self, spare: Spare) -> list[Decision]:
        self.used_bytes -= spare.charge
        self._with_memory -= 1
        return [Free(spare.segment)]

    def _forget(self, segment: Entry) -> None:
        del self._segments[segment.name]
        self._queue.pop(segment.name, None)
        if segment.item is not None:
            del self._inputs[segment.domain, segment.key]

    def check(self) -> None:
        """Assert the invariants; for tests."""
        with_memory = [segment for segment in self._segments.values() if segment.state != "queued"]
        charges = sum(segment.charge for segment in with_memory)
        assert self.used_bytes == charges + self._spares.bytes <= self.budget_bytes
        assert self._with_memory == len(with_memory) + len(self._spares) <= self.max_segments
        assert self._idle_bytes == sum(segment.charge for segment in self._idle.values())
        idle = {s.name for s in with_memory if s.state == "ready" and s.item is not None and not s.in_use}
        assert set(self._idle) == idle
        assert set(self._queue) == {s.name for s in self._segments.values() if s.state == "queued"}
        inputs = {(s.domain, s.key): s for s in self._segments.values() if s.item is not None}
        assert self._inputs == inputs
        waiting = {waiter.request: s for s in self._segments.values() for waiter in s.waiters}
        assert self._waiting == waiting
        for segment in self._segments.values():
            assert all(count > 0 for count in segment.leases.values()) and segment.holds >= 0
            assert bool(segment.waiters) or segment.state in ("ready", "aborting")
            assert not segment.waiters or segment.state != "ready"
            assert segment.state == "ready" or not segment.in_use
            assert segment.item is not None or segment.state == "queued" or segment.in_use
            assert segment.item is not None or segment.state in ("queued", "ready")
        if self._queue:
            assert not self._can_fit(next(iter(self._queue.values())).charge)
