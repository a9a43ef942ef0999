"""The pool of executors: started once, shared, replaced when they die, made room for; with a supervisor in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kaas.errors import PlatformError
from kaas_pool.frames import AsyncLink, Frame, Link
from kaas_pool.front.executor import Executor
from kaas_pool.front.executors import PER_DEVICE, Executors, usable_bytes
from kaas_pool.front.supervisor_client import SupervisorClient

MEMORY = 1 << 30


class LoopSupervisor:
    """Answers `spawn` with an executor that greets, and `kill` with its end."""

    def __init__(self, link: Link) -> None:
        self.spawned: list[str] = []
        self.killed: list[str] = []
        self._executors: dict[str, AsyncLink] = {}
        self._link = AsyncLink(link, self._on_frame, lambda _: None)

    def _on_frame(self, frame: Frame, _: list[int]) -> None:
        if frame["type"] == "kill":
            self.killed.append(frame["child"])
            self.end(frame["child"])
            return
        name = f"{frame['domain']}-{len(self.spawned)}"
        self.spawned.append(name)
        theirs, ours = Link.pair()
        self._link.send({"type": "spawned", "id": frame["id"], "child": name, "pid": 1}, [theirs.fileno()])
        theirs.close()
        self._executors[name] = AsyncLink(ours, lambda _, __: None, lambda _: None)
        self._executors[name].send(
            {"type": "hello", "name": "x", "memory_bytes": MEMORY, "compute_capability": [9, 0], "resident": []}
        )

    def close(self) -> None:
        """End the link."""
        self._link.close()

    def end(self, name: str) -> None:
        """An executor ends."""
        if (link := self._executors.pop(name, None)) is not None:
            link.close()
            self._link.send({"type": "exited", "child": name, "status": -9})


def with_executors(
    use: Callable[[Executors, LoopSupervisor], Awaitable[None]],
    on_up: Callable[[Executors, str], None] = lambda _, __: None,
) -> None:
    """Run `use` with a pool of executors on one device with two slots."""

    async def main() -> None:
        theirs, ours = Link.pair()
        executors = Executors("emulated", ["0"], 2, lambda _, domain: on_up(executors, domain), lambda _, __: None)
        supervisor = LoopSupervisor(ours)
        client = SupervisorClient(theirs, lambda *_: None, lambda: None)
        executors.use(client)
        try:
            await use(executors, supervisor)
        finally:
            for name in supervisor.spawned:
                supervisor.end(name)
            while any(True for _ in executors):
                await asyncio.sleep(0)
            client.close()
            supervisor.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_one_executor_serves_a_domain() -> None:
    async def use(executors: Executors, supervisor: LoopSupervisor) -> None:
        first, second = await asyncio.gather(executors.acquire("0", "a"), executors.acquire("0", "a"))
        assert first is second
        assert first.users == 2
        assert supervisor.spawned == ["a-0"]
        other = await executors.acquire("0", "b")
        assert other is not first

    with_executors(use)


def test_who_asks_at_the_moment_it_is_ready_gets_it() -> None:
    asked: list[asyncio.Task[Executor]] = []

    def on_up(executors: Executors, domain: str) -> None:
        asked.append(asyncio.get_running_loop().create_task(executors.acquire("0", domain)))

    async def use(executors: Executors, _: LoopSupervisor) -> None:
        first = await executors.acquire("0", "a")
        assert await asked[0] is first

    with_executors(use, on_up)


def test_a_dead_one_is_replaced_and_its_memory_is_free() -> None:
    async def use(executors: Executors, supervisor: LoopSupervisor) -> None:
        first = await executors.acquire("0", "a")
        await executors.reserve(first, MEMORY // 2)
        supervisor.end("a-0")
        while first.is_alive:
            await asyncio.sleep(0)
        second = await executors.acquire("0", "a")
        assert second is not first
        await executors.reserve(second, MEMORY // 2)
        with pytest.raises(PlatformError) as caught:
            await executors.reserve(first, 1)
        assert caught.value.code == "executor_lost"
        executors.unreserve(first, MEMORY // 2)
        assert executors.deaths == 1

    with_executors(use)


def test_memory_is_waited_for() -> None:
    async def use(executors: Executors, supervisor: LoopSupervisor) -> None:
        one, two = await executors.acquire("0", "a"), await executors.acquire("0", "b")
        capacity = executors.capacity()
        assert capacity == usable_bytes(MEMORY, "emulated", PER_DEVICE)
        await executors.reserve(one, capacity)
        waiting = asyncio.get_running_loop().create_task(executors.reserve(two, capacity))
        done, _ = await asyncio.wait({waiting}, timeout=0.01)
        assert not done
        executors.unreserve(one, capacity)
        await waiting

    with_executors(use)


def test_an_idle_one_makes_room_and_a_busy_one_does_not() -> None:
    async def use(executors: Executors, supervisor: LoopSupervisor) -> None:
        held = [await executors.acquire("0", f"d{index}") for index in range(PER_DEVICE)]
        waiting = asyncio.get_running_loop().create_task(executors.acquire("0", "late"))
        done, _ = await asyncio.wait({waiting}, timeout=0.01)
        assert not done
        executors.release(held[2])
        assert (await waiting).domain == "late"
        assert supervisor.killed == ["d2-2"]

    with_executors(use)


def test_one_that_ends_before_it_serves_is_an_error_for_all_who_wait() -> None:
    async def use(executors: Executors, supervisor: LoopSupervisor) -> None:
        supervisor._on_frame = lambda frame, _: _refuse(supervisor, frame)  # type: ignore[method-assign]
        supervisor._link._on_frame = supervisor._on_frame
        waiting = [asyncio.ensure_future(executors.acquire("0", "a")) for _ in range(3)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [one.code for one in outcomes if isinstance(one, PlatformError)] == ["sandbox_unavailable"] * 3

    with_executors(use)


def _refuse(supervisor: LoopSupervisor, frame: Frame) -> None:
    error = {"code": "sandbox_unavailable", "message": "no walls"}
    supervisor._link.send({"type": "error", "id": frame["id"], "error": error})
