"""A heap of points in time, for budgets. Pure: times are arguments, in seconds of one monotonic clock."""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

_Key = TypeVar("_Key")


class Deadlines(Generic[_Key]):
    """Which key is due when. Removing is lazy; the heap is rebuilt when most of it is removed entries.

    Most invocations end long before their budget, so a removal has to cost next to nothing.
    """

    def __init__(self) -> None:
        self._when: dict[_Key, float] = {}
        self._heap: list[tuple[float, int, _Key]] = []
        self._made = 0

    def __len__(self) -> int:
        return len(self._when)

    def add(self, key: _Key, when: float) -> None:
        """Make `key` due at `when`, instead of any earlier setting."""
        self._when[key] = when
        self._made += 1
        heapq.heappush(self._heap, (when, self._made, key))

    def discard(self, key: _Key) -> None:
        """Forget `key`, known or not."""
        self._when.pop(key, None)
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._when):
            self._heap = [entry for entry in self._heap if self._when.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        """The earliest point in time, or None."""
        while self._heap and self._when.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[_Key]:
        """Remove and return the keys whose time has come, earliest first."""
        keys: list[_Key] = []
        while (when := self.next_due()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._when[key]
            keys.append(key)
        return keys
