"""Which cached block goes first when device memory runs short. A policy is one class; see docs/contracts.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class EvictionPolicy(Protocol):
    """Ranks blocks by handle. It is told of every block, pinned or not; whoever asks skips what may not go."""

    def used(self, handle: int, size: int) -> None:
        """The block of `size` bytes was made or used just now."""

    def gone(self, handle: int) -> None:
        """The block is no more."""

    def victims(self) -> Iterator[int]:
        """All blocks, the best to evict first. The iterator ends before the next call of `used` or `gone`."""


class LeastRecentlyUsed:
    """Evicts what was used longest ago."""

    def __init__(self) -> None:
        #: Handle to size, oldest use first: a dict keeps the order of insertion.
        self._order: dict[int, int] = {}

    def used(self, handle: int, size: int) -> None:
        """Move the block to the young end."""
        self._order.pop(handle, None)
        self._order[handle] = size

    def gone(self, handle: int) -> None:
        """Forget the block."""
        del self._order[handle]

    def victims(self) -> Iterator[int]:
        """Oldest first."""
        return iter(self._order)
