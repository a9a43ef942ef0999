"""How many processes there may be at a time, and how many calls in each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class NotStartedError(Exception):
    """No process was to be had; the text says why."""


class Room:
    """Places, given in the order of asking (which asyncio's Semaphore does not keep before Python 3.11)."""

    def __init__(self, places: int, make_room: Callable[[], None] = lambda: None) -> None:
        """`make_room` is called whenever no place is free, and may lead to a `give_back`."""
        self._free = places
        self._make_room = make_room
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._why_closed: str | None = None

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def take(self) -> None:
        """Wait for a place; raises NotStartedError once closed."""
        if self._why_closed is not None:
            raise NotStartedError(self._why_closed)
        if self._free > 0:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._make_room()
        try:
            await place
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
            elif place.done() and not place.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Who has a place needs it no more."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def close(self, why: str) -> None:
        """Who waits, and who comes, gets NotStartedError."""
        self._why_closed = why
        for place in self._waiting:
            if not place.done():
                place.set_exception(NotStartedError(why))
        self._waiting.clear()
