"""The invocations of a pool: accepted once per id, waited for, cancelled, recovered after a crash."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from kaas.errors import CallerError, KaasError, PlatformError
from kaas.messages import Invocation as Answer
from kaas.messages import InvocationRequest
from kaas_pool.content import ObjectRange
from kaas_pool.front.admission import Admission, Admitted
from kaas_pool.front.config import FrontConfig
from kaas_pool.front.dispatch import Dispatcher
from kaas_pool.front.invocation import Invocation, budget_exceeded
from kaas_pool.front.journal import Journal, Outcome, Unfinished, unwritable
from kaas_pool.front.metrics import Metrics
from kaas_pool.front.objects import Objects
from kaas_pool.front.outcomes import Outcomes
from kaas_pool.front.ticket import Ticket

_Key = tuple[str, str]
_Known = TypeVar("_Known")

_log = logging.getLogger(__name__)


#: What the story of a cancelled invocation gives as the reason.
_ON_REQUEST = "on request"


@dataclass(frozen=True, eq=False)
class _Admitting:
    """A call that is looked at and not accepted yet. `withdraw` ends it as cancelled."""

    fingerprint: str
    task: asyncio.Task[Ticket]
    withdraw: Callable[[], None]


def fingerprint_of(bundle: str, arguments: Mapping[str, Any]) -> str:
    """What two requests of one id must share."""
    text = json.dumps([bundle, arguments], separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Invocations:
    """All invocations by tenant and id."""

    def __init__(
        self,
        config: FrontConfig,
        admission: Admission,
        objects: Objects,
        journal: Journal,
        outcomes: Outcomes,
        metrics: Metrics,
    ) -> None:
        self._admission = admission
        self._objects = objects
        self._journal = journal
        self._outcomes = outcomes
        self._metrics = metrics
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._tickets: dict[_Key, Ticket] = {}
        self._admitting: dict[_Key, _Admitting] = {}
        self._dispatcher: Dispatcher | None = None
        # Ids made here: no two alike over restarts, and no system call for each.
        self._prefix, self._ids = secrets.token_hex(8), count()
        self._taken_up = asyncio.Event()
        #: Set when the front goes down: nothing is accepted any more.
        self.draining = False
        self.in_flight: Counter[str] = Counter()

    def use(self, dispatcher: Dispatcher) -> None:
        """Give accepted invocations to this dispatcher."""
        self._dispatcher = dispatcher

    @property
    def dispatcher(self) -> Dispatcher:
        """Where accepted invocations go."""
        assert self._dispatcher is not None
        return self._dispatcher

    def __len__(self) -> int:
        """How many are not ended."""
        return len(self._tickets) + len(self._admitting)

    async def accept(self, tenant: str, request: InvocationRequest) -> Ticket | Invocation | Outcome:
        """The invocation of a request: a new one, or the one of this id. Raises KaasError before acceptance."""
        fingerprint = fingerprint_of(request.bundle, request.arguments)
        if request.id is None:
            return await self._admit((tenant, f"{self._prefix}{next(self._ids):016x}"), fingerprint, request)
        key = (tenant, request.id)
        known = self._tickets.get(key)
        if known is not None:
            return _same(known, known.life.fingerprint, fingerprint, request.id)
        first = self._admitting.get(key)
        if first is not None:
            return _same(await asyncio.shield(first.task), first.fingerprint, fingerprint, request.id)
        ended = self._outcomes.find(tenant, request.id)
        if ended is not None:
            same = _same(ended, ended.fingerprint, fingerprint, request.id)
            if _is_result(same):
                return same
            earlier = same.rerun if isinstance(same, Invocation) else 0
            return await self._admit(key, fingerprint, request, rerun=earlier + 1)
        return await self._admit(key, fingerprint, request)

    async def wait(self, ticket: Ticket, seconds: float) -> bool:
        """Wait for the end; whether it has come."""
        if ticket.ended.done():
            return True
        # What asyncio.wait does, at a third of its cost: every invocation passes here.
        woken: asyncio.Future[None] = self._loop.create_future()

        def wake(_: asyncio.Future[None] | None = None) -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self._loop.call_later(seconds, wake)
        ticket.ended.add_done_callback(wake)
        try:
            await woken
        finally:
            timer.cancel()
            ticket.ended.remove_done_callback(wake)
        return ticket.ended.done()

    async def promise(self, ticket: Ticket) -> None:
        """Put an invocation on disk, so that it gets its outcome whatever happens to this process."""
        if ticket.journalled or ticket.life.is_final:
            return
        # Before the write is through, so that an end in between is written too, and after it.
        ticket.journalled = True
        try:
            await self._journal.accept(_unfinished(ticket))
        except sqlite3.Error as error:
            ticket.journalled = False
            if ticket.ended.done():
                return
            # Its client is told that it was not accepted.
            self._abandon(ticket, "it could not be kept")
            raise unwritable(error) from error

    async def renew(self, ticket: Ticket, item: ObjectRange, error: KaasError) -> None:
        """Bind a call again because the store refused the version of an input (the dispatcher's callback)."""
        life, request = ticket.life, InvocationRequest.from_json(ticket.request)
        ticket.admitted = await self._admission.renew(
            life.tenant, life.id, life.fingerprint, request.bundle, request.arguments, ticket.admitted, item, error
        )
        if ticket.journalled:
            try:
                await self._journal.accept(_unfinished(ticket))
            except sqlite3.Error as failed:
                raise unwritable(failed) from failed

    def leave(self, ticket: Ticket) -> None:
        """A request stopped waiting because its client left."""
        self._abandon(ticket, "the client closed its connection")

    def _abandon(self, ticket: Ticket, why: str) -> None:
        """Cancel an invocation unless somebody waits for it, or it was promised."""
        if ticket.waiters == 0 and not ticket.journalled:
            ticket.life.abandoned = True
            self.dispatcher.cancel(ticket, why)

    def get(self, tenant: str, identifier: str) -> Answer:
        """What is known of an invocation, with its story. Raises `invocation_unknown`."""
        ticket = self._tickets.get((tenant, identifier))
        if ticket is not None:
            return ticket.life.answer(with_story=True)
        if (tenant, identifier) in self._admitting:
            return Answer(identifier, "accepted")
        ended = self._outcomes.find(tenant, identifier)
        if ended is None:
            raise CallerError(
                "invocation_unknown",
                f"no invocation {identifier!r} of this tenant is known",
                where="id",
                hint="outcomes are kept for an hour",
            )
        return ended.answer if isinstance(ended, Outcome) else ended.answer(with_story=True)

    def cancel(self, tenant: str, identifier: str) -> Answer:
        """Cancel an invocation if it has not ended; what it is then. Raises `invocation_unknown`."""
        key = (tenant, identifier)
        if key in self._tickets:
            self.dispatcher.cancel(self._tickets[key], _ON_REQUEST)
        elif key in self._admitting:
            self._admitting.pop(key).withdraw()
        return self.get(tenant, identifier)

    def on_end(self, ticket: Ticket) -> None:
        """An invocation has ended (the dispatcher's callback)."""
        life = ticket.life
        del self._tickets[life.tenant, life.id]
        self._count(life.tenant, -1)
        if ticket.work.outputs:
            self._objects.written(life.tenant, [output.reference for output in ticket.work.outputs], ticket.stored)
        large = [buffer.nbytes for buffer in ticket.work.inline.values()] + [len(one.line) for one in life.printed]
        self._outcomes.add(life, journalled=ticket.journalled, large_bytes=sum(large))
        self._metrics.end(life)

    def recover(self) -> None:
        """Know what an earlier front had promised, before anybody can ask for it; it begins with `take_up`."""
        for left in self._journal.unfinished():
            # The budget goes on while no front runs; only this machine's wall clock tells how long that was.
            began = time.monotonic() - max(0.0, time.time() - left.accepted)
            budget_ms = int(left.request["budget_ms"])
            life = Invocation(left.tenant, left.id, left.fingerprint, began, began + budget_ms / 1e3, budget_ms)
            self._begin(life, self._readmit(life, left), recovered=True)

    def take_up(self) -> None:
        """Begin what was recovered: bundles can be compiled from now on."""
        self._taken_up.set()

    # Admission.

    async def _admit(self, key: _Key, fingerprint: str, request: InvocationRequest, rerun: int = 0) -> Ticket:
        began = time.monotonic()
        self._check_room(key[0])
        life = Invocation(*key, fingerprint, began, began + request.budget_ms / 1e3, request.budget_ms, rerun)
        admitted = self._admission.again(key[0], request.bundle, fingerprint)
        if admitted is not None:
            return self._submit(life, request, admitted)
        task = self._begin(life, self._admit_slowly(life, request), recovered=False)
        return await asyncio.shield(task)

    def _begin(self, life: Invocation, work: Coroutine[Any, Any, Ticket], *, recovered: bool) -> asyncio.Task[Ticket]:
        key = (life.tenant, life.id)
        task = self._loop.create_task(work, name=f"admit {life.id}")

        def withdraw() -> None:
            life.cancel(_ON_REQUEST, time.monotonic())
            self._end_unadmitted(life, journalled=recovered)
            # After the task's first step, without which it could not tell who waits for it.
            self._loop.call_soon(task.cancel)

        def admitted(_: asyncio.Task[Ticket]) -> None:
            if self._admitting.get(key) is admitting:
                del self._admitting[key]
            if not task.cancelled():
                task.exception()  # Perhaps nobody waits for it any more.

        admitting = self._admitting[key] = _Admitting(life.fingerprint, task, withdraw)
        task.add_done_callback(admitted)
        return task

    def _end_unadmitted(self, life: Invocation, *, journalled: bool) -> None:
        self._outcomes.add(life, journalled=journalled)
        self._metrics.end(life)

    async def _admit_slowly(self, life: Invocation, request: InvocationRequest) -> Ticket:
        admission = self._admission.admit(life.tenant, life.id, life.fingerprint, request.bundle, request.arguments)
        # The budget is all an invocation may take, its acceptance included.
        bounded = asyncio.wait_for(admission, life.deadline - time.monotonic())
        try:
            admitted = await _unless_withdrawn(life, bounded)
        except asyncio.TimeoutError:
            raise budget_exceeded(request.budget_ms, "accepted") from None
        life.accepted = time.monotonic()
        return self._submit(life, request, admitted)

    async def _readmit(self, life: Invocation, left: Unfinished) -> Ticket:
        request = InvocationRequest.from_json(left.request)

        async def look_again() -> Admitted:
            await self._taken_up.wait()
            return await self._admission.admit(
                life.tenant, life.id, life.fingerprint, request.bundle, request.arguments, left.objects
            )

        try:
            admitted = await _unless_withdrawn(life, look_again())
        except KaasError as error:
            if not life.is_final:
                life.fail(error, time.monotonic())
                self._end_unadmitted(life, journalled=True)
            raise
        life.tell("taken up again after a restart of the front", time.monotonic())
        return self._submit(life, request, admitted, recovered=True)

    def _submit(
        self, life: Invocation, request: InvocationRequest, admitted: Admitted, *, recovered: bool = False
    ) -> Ticket:
        life.logs = admitted.notes()
        domain = self._config.domain_of(life.tenant)
        ticket = Ticket(
            life,
            domain,
            self._config.is_shared(domain),
            request.to_json(),
            admitted,
            journalled=recovered,
            recovered=recovered,
        )
        self._tickets[life.tenant, life.id] = ticket
        self._count(life.tenant, 1)
        self.dispatcher.submit(ticket)
        return ticket

    def _count(self, tenant: str, change: int) -> None:
        count = self.in_flight[tenant] = self.in_flight[tenant] + change
        if count == 0:
            del self.in_flight[tenant]

    def _check_room(self, tenant: str) -> None:
        if self.draining:
            raise going_down()
        waiting = self.dispatcher.policy.waiting
        # Calls being looked at count too: the object store may be slow while clients are not.
        if waiting + len(self._admitting) >= self._config.queue:
            raise self._busy(f"{waiting} invocations wait for a slot", waiting)
        if self.in_flight[tenant] >= self._config.tenant_queue:
            raise self._busy(f"{self.in_flight[tenant]} invocations of this tenant are in flight", waiting)

    def _busy(self, message: str, waiting: int) -> PlatformError:
        seconds = max(0.1, min(60.0, waiting * self.dispatcher.service_seconds / self.dispatcher.slots))
        return PlatformError(
            "pool_busy", message, hint="try again after retry_after_ms", retry_after_ms=round(seconds * 1e3)
        )


def _unfinished(ticket: Ticket) -> Unfinished:
    life, now = ticket.life, time.monotonic()
    return Unfinished(
        life.tenant,
        life.id,
        life.fingerprint,
        time.time() - (now - life.accepted),
        {**ticket.request, "budget_ms": round((life.deadline - life.accepted) * 1e3)},
        ticket.admitted.objects,
    )


async def _unless_withdrawn(life: Invocation, looking: Awaitable[_Known]) -> _Known:
    """What `looking` gives; raises the error of a `life` that was withdrawn meanwhile."""
    try:
        found = await looking
    except asyncio.CancelledError:
        if life.error is None:
            raise  # The front goes down.
        raise life.error from None
    # Up to Python 3.11 `wait_for` lets a result win over a cancellation.
    if life.error is not None:
        raise life.error
    return found


def _same(known: _Known, fingerprint: str, asked: str, identifier: str) -> _Known:
    if fingerprint != asked:
        raise CallerError(
            "id_conflict",
            f"the id {identifier!r} belongs to another call of the last hour",
            where="id",
            hint="an id names one call; leave it out to have one made",
        )
    return known


def _is_result(ended: Invocation | Outcome) -> bool:
    """Whether what came of a call is for whoever repeats it, too; else the call runs again.

    Whoever delivers an event again has nothing but its id, and neither what failed here nor that its deliverer was
    killed is a fault of the call. Outcomes that are on disk were never abandoned.
    """
    if isinstance(ended, Invocation) and ended.abandoned:
        return False
    error = (ended.answer if isinstance(ended, Outcome) else ended).error
    return error is None or error.row.blame != "platform"


def going_down() -> PlatformError:
    """What everybody is told between SIGTERM and the end."""
    return PlatformError(
        "pool_draining", "the pool is going down", hint="try again in a few seconds", retry_after_ms=2000
    )
