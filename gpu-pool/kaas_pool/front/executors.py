"""All executors: started when an invocation needs one, stopped when idle, each with its share of a device's memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from kaas.errors import KaasError, PlatformError
from kaas_pool.front.executor import Executor, Facts
from kaas_pool.front.memory import MemoryBroker
from kaas_pool.front.supervisor_client import Child, SupervisorClient

#: The domain of the executor that only looks at a device; no tenant can be called that.
PROBE = "(probe)"

#: Executors that may live on one device at a time; a CUDA context takes some 400 MB of it.
PER_DEVICE = 4
CONTEXT_BYTES = 400 << 20

_log = logging.getLogger(__name__)


class _Shelf:
    """One device: its memory broker, its living executors by domain, and who waits for a change there."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        self.broker: MemoryBroker | None = None
        self.executors: dict[str, Executor] = {}
        self.starting: dict[str, asyncio.Task[Executor]] = {}
        self.reserving = asyncio.Lock()
        self._waiters: list[asyncio.Future[None]] = []

    async def change(self) -> None:
        """Wait for the next `changed`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def start(self, domain: str, start: Coroutine[Any, Any, Executor]) -> asyncio.Task[Executor]:
        """Follow an executor's start; whoever needs it waits for the one task."""
        task = asyncio.get_running_loop().create_task(start, name=f"start {domain}")

        def ended(_: asyncio.Task[Executor]) -> None:
            if self.starting.get(domain) is task:
                del self.starting[domain]
            if not task.cancelled():
                task.exception()  # Perhaps nobody waits for it.
            self.changed()

        self.starting[domain] = task
        task.add_done_callback(ended)
        return task

    def changed(self) -> None:
        """Wake who waits, and tell executors their new budgets."""
        if self.broker is not None:
            for executor, budget in self.broker.step():
                assert isinstance(executor, Executor)
                executor.set_budget(budget)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Executors:
    """The executors of all devices. `on_up` and `on_down` get (device, domain)."""

    def __init__(
        self,
        kind: str,
        devices: Sequence[str],
        slots: int,
        on_up: Callable[[str, str], None],
        on_down: Callable[[str, str], None],
    ) -> None:
        self._kind = kind
        # With fewer executors than slots, one that has to go might be busy with nothing else to wait for.
        self._limit = max(PER_DEVICE, slots)
        self._shelves = {device: _Shelf() for device in devices}
        self._supervisor: SupervisorClient | None = None
        self._on_up = on_up
        self._on_down = on_down
        self._on_start: Callable[[str, KaasError | None], None] = lambda _, __: None
        #: Executors that died while they had work.
        self.deaths = 0

    def use(self, supervisor: SupervisorClient) -> None:
        """Start processes through this supervisor from now on."""
        self._supervisor = supervisor

    def __iter__(self) -> Iterator[Executor]:
        return (executor for shelf in self._shelves.values() for executor in shelf.executors.values())

    def facts(self, device: str) -> Facts | None:
        """What is known about a device; None before its first executor greeted."""
        return self._shelves[device].facts

    def capacity(self) -> int | None:
        """Bytes that one invocation can have on the largest device; None while no device is known."""
        return max((shelf.broker.capacity for shelf in self._shelves.values() if shelf.broker), default=None)

    def report_starts(self, on_start: Callable[[str, KaasError | None], None]) -> None:
        """Call `on_start` with the device, and the error if there was one, whenever an executor was to start."""
        self._on_start = on_start

    async def probe(self, device: str) -> None:
        """Learn what a device is, and whether executors start there, by starting one for a moment. Raises KaasError."""
        executor = await self.acquire(device, PROBE)
        self.release(executor)
        executor.kill("it only looked at the device")

    async def acquire(self, device: str, domain: str) -> Executor:
        """The domain's executor on a device, started if need be; `release` it. Raises KaasError."""
        shelf = self._shelves[device]
        while True:
            task = shelf.starting.get(domain)
            if task is not None and task.done():
                # Its callback has not run yet, and waiting for what is done would not let it.
                task = None
            executor = shelf.executors.get(domain)
            if task is None and executor is not None:
                if executor.is_alive:
                    executor.users += 1
                    return executor
                await shelf.change()  # It is dying: its memory is not free yet.
            else:
                await asyncio.shield(task or shelf.start(domain, self._start(device, domain)))

    def release(self, executor: Executor) -> None:
        """One attempt needs it no longer."""
        executor.users -= 1
        if executor.users == 0:
            executor.idle_since = time.monotonic()
            self._shelves[executor.device].changed()

    async def reserve(self, executor: Executor, size: int) -> None:
        """Wait until `size` bytes of the device are the executor's to pin; `unreserve` them. Raises `executor_lost`."""
        shelf = self._shelves[executor.device]
        broker = shelf.broker
        assert broker is not None
        # The lock makes waiting fair: small invocations do not overtake a large one for ever.
        async with shelf.reserving:
            while self._living(executor) and not broker.reserve(executor, size):
                await shelf.change()
        shelf.changed()
        try:
            while self._living(executor) and not broker.covers(executor):
                await shelf.change()
        except BaseException:
            self.unreserve(executor, size)
            raise

    def unreserve(self, executor: Executor, size: int) -> None:
        """What an attempt pinned is free again."""
        shelf = self._shelves[executor.device]
        if shelf.broker is not None and shelf.executors.get(executor.domain) is executor:
            shelf.broker.release(executor, size)
            shelf.changed()

    def adopted(self, child: Child, device: str, domain: str) -> None:
        """An executor outlived an earlier front."""
        if device not in self._shelves or domain in self._shelves[device].executors or domain == PROBE:
            child.link.close()
            child.kill("the front does not want it")
            return
        self._shelves[device].start(domain, self._greet(child, device, domain))

    def stop_idle(self, seconds: float) -> None:
        """Stop executors that nobody has used for so long."""
        limit = time.monotonic() - seconds
        for executor in list(self):
            if executor.users == 0 and executor.idle_since <= limit:
                executor.kill("idle")

    def _living(self, executor: Executor) -> bool:
        if self._shelves[executor.device].executors.get(executor.domain) is executor:
            return True
        raise PlatformError("executor_lost", f"the executor of device {executor.device} died")

    async def _start(self, device: str, domain: str) -> Executor:
        if self._supervisor is None:
            raise PlatformError("device_unavailable", "the front has no supervisor yet")
        shelf = self._shelves[device]
        while len(shelf.executors.keys() | shelf.starting.keys()) > self._limit:
            idle = [executor for executor in shelf.executors.values() if executor.users == 0 and executor.is_alive]
            if idle:
                min(idle, key=lambda executor: executor.idle_since).kill("its place is needed")
            await shelf.change()
        try:
            child = await self._supervisor.spawn("executor", device, domain)
            executor = await self._greet(child, device, domain)
        except KaasError as error:
            self._on_start(device, error)
            raise
        self._on_start(device, None)
        return executor

    async def _greet(self, child: Child, device: str, domain: str) -> Executor:
        shelf = self._shelves[device]
        executor = Executor(
            child,
            device,
            domain,
            on_usage=lambda held: self._on_usage(executor, held),
            on_dead=lambda: self._on_dead(executor),
        )
        shelf.executors[domain] = executor
        facts = await executor.greeting()
        if shelf.broker is None:
            shelf.facts = facts
            shelf.broker = MemoryBroker(usable_bytes(facts.memory_bytes, self._kind, self._limit))
        shelf.broker.join(executor, sum(executor.resident.values()))
        shelf.changed()
        self._on_up(device, domain)
        return executor

    def _on_usage(self, executor: Executor, held: int) -> None:
        shelf = self._shelves[executor.device]
        if shelf.broker is not None and shelf.executors.get(executor.domain) is executor:
            shelf.broker.used(executor, held)
            shelf.changed()

    def _on_dead(self, executor: Executor) -> None:
        shelf = self._shelves[executor.device]
        self.deaths += executor.users > 0
        del shelf.executors[executor.domain]
        if executor.facts is not None and shelf.broker is not None:
            shelf.broker.leave(executor)
            self._on_down(executor.device, executor.domain)
        shelf.changed()


def usable_bytes(memory_bytes: int, kind: str, executors: int) -> int:
    """What executors may share of a device: the rest is for their contexts and what the driver takes unasked."""
    contexts = executors * CONTEXT_BYTES if kind == "cuda" else 0
    return max(0, memory_bytes - memory_bytes // 16 - contexts)
