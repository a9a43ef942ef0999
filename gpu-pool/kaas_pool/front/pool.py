"""Everything the front is made of, started in order and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sqlite3
import time

from kaas_pool.compiler.messages import Target
from kaas_pool.frames import Link
from kaas_pool.front.admission import Admission
from kaas_pool.front.attempt import Tools
from kaas_pool.front.bundles import Bundles
from kaas_pool.front.config import FrontConfig
from kaas_pool.front.controller import Controller
from kaas_pool.front.devices import Devices
from kaas_pool.front.dispatch import Dispatcher
from kaas_pool.front.executors import Executors
from kaas_pool.front.fetching import BundleFetcher
from kaas_pool.front.heads import Heads
from kaas_pool.front.host_room import HostRoom
from kaas_pool.front.invocations import Invocations
from kaas_pool.front.journal import Journal
from kaas_pool.front.metrics import Metrics
from kaas_pool.front.mover_client import MoverClient
from kaas_pool.front.objects import Objects
from kaas_pool.front.outcomes import Outcomes
from kaas_pool.front.status import Status
from kaas_pool.front.supervisor_client import SupervisorClient
from kaas_pool.front.tokens import Tokens
from kaas_pool.front.writes import Writes
from kaas_pool.scheduler import POLICIES

#: Seconds between looks at what is old: idle executors, outcomes of more than an hour.
_SWEEP_SECONDS = 15.0

#: Seconds between looks for bundles that nobody has; the first is at the start.
_COLLECT_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class Pool:
    """The front's parts. Made inside the loop; `lost` is done when the supervisor is gone."""

    def __init__(self, config: FrontConfig, tokens: Tokens) -> None:
        loop = asyncio.get_running_loop()
        self.config = config
        self.tokens = tokens
        self.controller = Controller(config.controller, config.authorisation) if config.controller else None
        self.lost: asyncio.Future[None] = loop.create_future()
        self.journal = Journal(config.journal)
        self.metrics = Metrics()
        self.mover = MoverClient(config.mover)
        self.executors = Executors(config.kind, config.devices, config.slots, self._executor_up, self._executor_down)
        self._first_device = asyncio.Event()
        self.bundles = Bundles(
            config.bundles,
            config.images,
            config.kind,
            self.journal,
            lambda: self._supervisor,
            self._targets,
            self._first_device.wait,
        )
        self.fetcher = BundleFetcher(self.mover, self.bundles, config.domains)
        self.outcomes = Outcomes(self.journal)
        room = HostRoom(lambda: self.mover.host_bytes)
        self.writes = Writes(self.mover, self.journal, self.executors, room, self.metrics, self.outcomes.amend)
        self.objects = Objects(self.mover, self.journal, self.writes, config.authorisation)
        heads = Heads(self.mover, config.domains)
        self.admission = Admission(self.bundles, self.objects, heads, self.executors.capacity)
        self.invocations = Invocations(config, self.admission, self.objects, self.journal, self.outcomes, self.metrics)
        tools = Tools(self.executors, self.mover, self.bundles, room, self.writes)
        policy = POLICIES[config.policy](config.devices, config.slots)
        self.dispatcher = Dispatcher(
            policy, tools, self.invocations.on_end, self.invocations.renew, lambda: self.devices.why_none()
        )
        self.invocations.use(self.dispatcher)
        self.devices = Devices(config.devices, self.executors, self._device_up, self.dispatcher.device_down)
        self.status = Status(config, self.devices, self.executors, self.dispatcher, self.mover)
        self._supervisor = SupervisorClient(
            Link.from_descriptor(config.control), self.executors.adopted, lambda: self.lost.set_result(None)
        )
        self.executors.use(self._supervisor)
        self.invocations.recover()
        self._tasks = [loop.create_task(self._sweep())]

    def not_ready(self) -> str | None:
        """Why bundles and invocations would not be served now; None when they would."""
        if self.invocations.draining:
            return "the front is going down"
        if (problem := self.devices.why_none()) is not None:
            return problem
        if not self.mover.is_connected:
            return "the mover does not answer"
        return None

    def refresh_gauges(self) -> None:
        """Bring the gauges up to date."""
        metrics = self.metrics
        metrics.waiting.set(self.dispatcher.policy.waiting)
        metrics.executors.set(sum(1 for _ in self.executors))
        metrics.executor_deaths.inc(self.executors.deaths - metrics.deaths_told)
        metrics.deaths_told = self.executors.deaths
        metrics.in_flight.clear()
        for tenant, count in self.invocations.in_flight.items():
            metrics.in_flight.labels(tenant).set(count)

    async def purge(self, tenant: str) -> int:
        """Drop what nobody uses of a tenant's cached data, on devices and in the host tier; returns the bytes."""
        domain = self.config.domain_of(tenant)
        own = [executor for executor in self.executors if executor.domain == domain and executor.facts is not None]
        on_devices = await asyncio.gather(*(executor.purge() for executor in own))
        return sum(on_devices) + await self.mover.purge(domain)

    async def drain(self) -> None:
        """Accept nothing more, and give what runs the time that the configuration says."""
        self.invocations.draining = True
        until = time.monotonic() + self.config.drain
        waited_for = [ticket.ended for ticket in self.dispatcher.unfinished]
        _log.info("draining: %d invocations are in flight", len(waited_for))
        if waited_for:
            await asyncio.wait(waited_for, timeout=self.config.drain)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle(), max(0.0, until - time.monotonic()))

    async def _idle(self) -> None:
        await self.dispatcher.idle()
        await self.writes.idle()

    async def close(self) -> None:
        """Stop the front's own tasks and close its files. Executors live on for the next front."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.devices.close()
        await self.writes.close()
        await self.mover.close()
        if self.controller is not None:
            self.controller.close()
        self.journal.close()

    def _targets(self) -> set[Target]:
        known = (self.executors.facts(device) for device in self.config.devices)
        return {self.bundles.target(facts) for facts in known if facts is not None}

    def _device_up(self, device: str) -> None:
        self._first_device.set()
        self.dispatcher.device_up(device)
        self.invocations.take_up()

    def _executor_up(self, device: str, domain: str) -> None:
        self.dispatcher.executor_up(device, domain)

    def _executor_down(self, device: str, domain: str) -> None:
        self.dispatcher.executor_down(device, domain)

    async def _sweep(self) -> None:
        collected = -math.inf
        while True:
            self.executors.stop_idle(self.config.idle_stop)
            self.writes.expire()
            with contextlib.suppress(sqlite3.Error):  # The journal has told its log; the next round tries again.
                await self.outcomes.expire()
            if time.monotonic() - collected >= _COLLECT_SECONDS:
                collected = time.monotonic()
                try:
                    gone = await self.bundles.collect()
                except OSError as error:
                    _log.error("bundles that nobody has cannot be deleted: %s", error)
                else:
                    _log.log(logging.INFO if gone else logging.DEBUG, "deleted %d bundles that nobody has", gone)
            await asyncio.sleep(min(_SWEEP_SECONDS, self.config.idle_stop / 4))
