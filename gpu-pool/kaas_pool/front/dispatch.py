"""From accepted to ended: the scheduler decides, attempts run, budgets expire, lost attempts are made again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kaas.errors import KaasError, PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.front.attempt import Attempt, Tools
from kaas_pool.front.deadlines import Deadlines
from kaas_pool.front.ticket import Ticket
from kaas_pool.scheduler import Job, Policy

#: Pause before an attempt that the store's trouble lost is made again, times the attempts so far, in seconds.
_STORE_PAUSE = 0.2

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Waiting:
    ticket: Ticket
    job: Job


#: Binds a ticket's call again because the store refused the version of an input; raises KaasError if it cannot.
Renew = Callable[[Ticket, ObjectRange, KaasError], Awaitable[None]]


class Dispatcher:
    """Drives tickets to their ends. `on_end(ticket)` is called once for each, in the loop.

    `why_none` tells why no device serves, or None.
    """

    def __init__(
        self,
        policy: Policy,
        tools: Tools,
        on_end: Callable[[Ticket], None],
        renew: Renew,
        why_none: Callable[[], str | None],
    ) -> None:
        self.policy = policy
        self._tools = tools
        self._on_end = on_end
        self._renew = renew
        self._why_none = why_none
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, _Waiting] = {}
        self._unfinished: set[Ticket] = set()
        self._attempts: set[asyncio.Task[None]] = set()
        self._budgets: Deadlines[Ticket] = Deadlines()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        #: Mean time that an invocation held its slot lately, in seconds; what `retry_after_ms` is computed from.
        self.service_seconds = 0.05

    @property
    def slots(self) -> int:
        """Slots of all devices together."""
        return self.policy.slots.total

    @property
    def unfinished(self) -> frozenset[Ticket]:
        """Tickets that have not ended."""
        return frozenset(self._unfinished)

    def submit(self, ticket: Ticket) -> None:
        """Take over an accepted invocation."""
        self._unfinished.add(ticket)
        self._budgets.add(ticket, ticket.life.deadline)
        self._set_alarm()
        self._queue(ticket, "queued")

    def cancel(self, ticket: Ticket, why: str) -> None:
        """End an invocation; one that has ended stays as it is."""
        if not ticket.life.is_final:
            self._stop(ticket)
            ticket.life.cancel(why, time.monotonic())
            self._finish(ticket)

    def executor_up(self, device: str, domain: str) -> None:
        """An executor serves."""
        self.policy.executor_up(device, domain, time.monotonic())

    def executor_down(self, device: str, domain: str) -> None:
        """An executor is gone."""
        self.policy.executor_down(device, domain, time.monotonic())

    def device_up(self, device: str) -> None:
        """A device takes invocations from now on."""
        self.policy.device_up(device, time.monotonic())
        self._decide()

    def device_down(self, device: str) -> None:
        """A device takes no invocations for now."""
        self.policy.device_down(device, time.monotonic())

    async def idle(self) -> None:
        """Wait until every attempt under way has given everything back."""
        while self._attempts:
            await asyncio.wait(self._attempts)

    def _queue(self, ticket: Ticket, event: str) -> None:
        life, now = ticket.life, time.monotonic()
        if life.stage == "accepted":
            life.move("queued", now, event)
        job = Job(
            life.name,
            life.tenant,
            ticket.domain,
            ticket.work.digest,
            ticket.work.sizes,
            ticket.work.memory,
            retried=life.attempts > 0,
        )
        self._waiting[job.name] = _Waiting(ticket, job)
        self.policy.submitted(job, now)
        self._decide()

    def _decide(self) -> None:
        now = time.monotonic()
        for job, device in self.policy.decide(now):
            ticket = self._waiting.pop(job.name).ticket
            ticket.life.grant(device, now)
            task = self._loop.create_task(self._try(ticket, job, device))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _try(self, ticket: Ticket, job: Job, device: str) -> None:
        life = ticket.life

        def free_slot() -> None:
            self.policy.slot_freed(job.name, time.monotonic())
            self.service_seconds += (time.monotonic() - began - self.service_seconds) / 16
            self._decide()

        began = time.monotonic()
        if life.is_final:
            free_slot()
            return
        # Not before: a task that is cancelled before its first step would never free its slot.
        ticket.attempt = asyncio.current_task()
        attempt = Attempt(ticket, device, self._tools, free_slot)
        error: KaasError | None = None
        try:
            result = await attempt.go()
            ticket.attempt = None
        except asyncio.CancelledError:
            pass  # Its end has been told already; what it holds is given back below.
        except KaasError as failed:
            error = failed
        except Exception:
            _log.exception("invocation %s of %s", life.id, life.tenant)
            error = PlatformError("internal", "the front failed; its log has the details")
        else:
            self.policy.measured(job, float(attempt.stats.get("gpu_ms", 0.0)) / 1e3, time.monotonic())
            life.succeed(result, time.monotonic())
            self._finish(ticket)
        # From here on it is not to be cancelled: it gives back what it holds.
        ticket.attempt = None
        await attempt.retire()
        if error is not None and not life.is_final:
            if attempt.gone is not None and not ticket.renewed:
                await self._look_again(ticket, attempt.gone, error)
            else:
                self._lose(ticket, error)

    async def _look_again(self, ticket: Ticket, item: ObjectRange, error: KaasError) -> None:
        """Go on with the present version of an input, where any version will do."""
        ticket.attempt = asyncio.current_task()
        try:
            await self._renew(ticket, item, error)
        except KaasError as final:
            ticket.attempt = None
            self._lose(ticket, final)
        else:
            ticket.attempt, ticket.renewed = None, True
            ticket.life.move("queued", time.monotonic(), f"{error.code} while loading: its inputs were looked at again")
            self._queue(ticket, "again")

    def _lose(self, ticket: Ticket, error: KaasError) -> None:
        life = ticket.life
        if not life.lose(error, time.monotonic()):
            self._finish(ticket)
        elif error.code == "executor_lost":
            self._queue(ticket, "again")
        else:
            self._loop.call_later(_STORE_PAUSE * life.attempts, self._again, ticket)

    def _again(self, ticket: Ticket) -> None:
        if not ticket.life.is_final:
            self._queue(ticket, "again")

    def _stop(self, ticket: Ticket) -> None:
        """Take a ticket out of wherever it is."""
        name = ticket.life.name
        if self._waiting.pop(name, None) is not None:
            self.policy.withdrawn(name, time.monotonic())
        elif ticket.attempt is not None:
            attempt, ticket.attempt = ticket.attempt, None
            attempt.cancel()

    def _finish(self, ticket: Ticket) -> None:
        self._unfinished.discard(ticket)
        self._budgets.discard(ticket)
        ticket.ended.set_result(None)
        self._on_end(ticket)

    # Budgets.

    def _set_alarm(self) -> None:
        due = self._budgets.next_due()
        if due is None or (self._alarm is not None and self._alarm_at <= due):
            return  # It rings in time; when it rings too early, it is set anew.
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = self._loop.call_at(due, self._ring), due

    def _ring(self) -> None:
        self._alarm = None
        now = time.monotonic()
        # The loop's timers may fire early by its clock's resolution.
        for ticket in self._budgets.due(now + 1e-3):
            self._stop(ticket)
            problem = self._why_none() if ticket.life.stage == "queued" else None
            if problem is None:
                ticket.life.spend(now)
            else:
                error = PlatformError("device_unavailable", f"{problem}; the budget was spent waiting for one")
                ticket.life.fail(error, now)
            self._finish(ticket)
        self._set_alarm()
