"""Places for processes and calls, at their end; what gets which is tested with real processes."""

from __future__ import annotations

import asyncio

import pytest

from kaas_local.openwhisk.containers.room import NotStartedError, Room


def test_a_closed_room_has_no_place() -> None:
    async def go() -> None:
        room = Room(1)
        await room.take()
        waiting = asyncio.create_task(room.take())
        await asyncio.sleep(0)
        room.close("why")
        room.give_back()
        for late in (waiting, room.take()):
            with pytest.raises(NotStartedError, match="why"):
                await late

    asyncio.run(go())
