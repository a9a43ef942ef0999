"""Room in the mover's host tier for attempts' results. Pure but for the futures that wait.

Results hold their segments until they are stored, inputs only until they are copied. If the results under way left no
room for the largest input, several attempts would hold room and wait for more in a circle, until their budgets ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

#: Segments are whole pages.
_PAGE = 4096


def pages(size: int) -> int:
    """`size` in whole pages, in bytes."""
    return -(-size // _PAGE) * _PAGE


@dataclass(eq=False)
class Room:
    """What one attempt has or waits for, in bytes."""

    results: int
    largest_input: int
    granted: asyncio.Future[None]


class HostRoom:
    """Grants in order of asking. `capacity` gives the host tier's bytes; 0 while they are not known.

    Who is alone is always granted: the mover then tells what does not fit at all.
    """

    def __init__(self, capacity: Callable[[], int]) -> None:
        self._capacity = capacity
        self._granted: set[Room] = set()
        self._waiting: deque[Room] = deque()

    async def take(self, results: int, largest_input: int) -> Room:
        """Wait for room; `give_back` it."""
        room = Room(results, largest_input, asyncio.get_running_loop().create_future())
        self._waiting.append(room)
        self._grant()
        try:
            await room.granted
        except BaseException:
            self.give_back(room)
            raise
        return room

    def give_back(self, room: Room) -> None:
        """It is needed no longer, or not wanted any more."""
        if room in self._granted:
            self._granted.remove(room)
        else:
            self._waiting.remove(room)
        self._grant()

    def _grant(self) -> None:
        while self._waiting and (not self._granted or self._fits(self._waiting[0])):
            room = self._waiting.popleft()
            self._granted.add(room)
            if not room.granted.done():
                room.granted.set_result(None)

    def _fits(self, room: Room) -> bool:
        rooms = [*self._granted, room]
        needed = sum(one.results for one in rooms) + max(one.largest_input for one in rooms)
        return needed <= self._capacity() or self._capacity() == 0
