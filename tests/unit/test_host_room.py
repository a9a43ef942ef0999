"""Room in the host tier: in order, never so that those who have some can only wait for each other."""

from __future__ import annotations

import asyncio

from kaas_pool.front.host_room import HostRoom, Room


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_results_leave_room_for_the_largest_input() -> None:
    async def scenario() -> None:
        rooms = HostRoom(lambda: 10)
        first = await rooms.take(4, 4)
        second = asyncio.ensure_future(rooms.take(4, 1))
        small = asyncio.ensure_future(rooms.take(1, 0))
        await settle()
        assert not second.done() and not small.done(), "nobody is overtaken"
        rooms.give_back(first)
        await settle()
        assert second.done() and small.done()

    asyncio.run(scenario())


def test_who_is_alone_is_always_granted() -> None:
    async def scenario() -> None:
        rooms = HostRoom(lambda: 10)
        large = await rooms.take(20, 20)
        waiting = asyncio.ensure_future(rooms.take(1, 1))
        await settle()
        assert not waiting.done()
        rooms.give_back(large)
        assert isinstance(await waiting, Room)

    asyncio.run(scenario())


def test_who_gives_up_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        rooms = HostRoom(lambda: 10)
        first = await rooms.take(8, 1)
        waiting = [asyncio.ensure_future(rooms.take(8, 1)) for _ in range(2)]
        await settle()
        waiting[0].cancel()
        await settle()
        rooms.give_back(first)
        # Granted and cancelled at once: what it had has to come back too.
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.wait_for(rooms.take(9, 1), 10)

    asyncio.run(scenario())
