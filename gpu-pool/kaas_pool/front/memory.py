"""The memory broker of one device: how many bytes each executor may hold there.

Pure: events in, budgets out. What is over the executors' floors (what their running invocations pin) is shared equally.
A budget grows only out of memory that nobody holds, so the budgets never add up to more than the device has: a lowered
budget counts as returned when its executor reports that it holds no more than that.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass
class _Share:
    #: The budget last told, in bytes.
    budget: int = 0
    #: What the executor was seen to hold, in bytes.
    held: int = 0
    #: What its granted invocations need at once, in bytes.
    floor: int = 0

    @property
    def claim(self) -> int:
        """What nobody else may have: a lowered budget is not free before the executor is down to it."""
        return max(self.budget, self.held)

    @property
    def lack(self) -> int:
        """What the budget lacks to the floor."""
        return max(0, self.floor - self.budget)


class MemoryBroker:
    """Budgets for the executors of one device, in whole chunks."""

    def __init__(self, capacity: int, chunk: int = 1 << 20) -> None:
        self.capacity = capacity - capacity % chunk
        self._chunk = chunk
        self._shares: dict[Hashable, _Share] = {}

    def join(self, executor: Hashable, held: int = 0) -> None:
        """An executor came; `held` is what it keeps from before (an adopted one)."""
        self._shares[executor] = _Share(held=held)

    def leave(self, executor: Hashable) -> None:
        """It ended; all of its memory is free."""
        del self._shares[executor]

    def used(self, executor: Hashable, held: int) -> None:
        """It reports what it holds."""
        self._shares[executor].held = held

    def reserve(self, executor: Hashable, size: int) -> bool:
        """Raise its floor by what another invocation needs; False (and no change) while the floors leave no room."""
        if sum(share.floor for share in self._shares.values()) + self._round(size) > self.capacity:
            return False
        self._shares[executor].floor += self._round(size)
        return True

    def release(self, executor: Hashable, size: int) -> None:
        """Undo one `reserve`."""
        self._shares[executor].floor -= self._round(size)

    def covers(self, executor: Hashable) -> bool:
        """Whether its budget has reached its floor, so that what was reserved may run."""
        share = self._shares[executor]
        return share.budget >= share.floor

    def budget(self, executor: Hashable) -> int:
        """The budget last decided, in bytes."""
        return self._shares[executor].budget

    def step(self) -> list[tuple[Hashable, int]]:
        """The budgets that change now; call after each event. Lowered ones come first."""
        if len(self._shares) == 1:
            return self._step_alone(*self._shares.items())
        if not self._shares:
            return []
        extra = (self.capacity - sum(share.floor for share in self._shares.values())) // len(self._shares)
        targets = {executor: self._round_down(share.floor + extra) for executor, share in self._shares.items()}
        changes: list[tuple[Hashable, int]] = []
        for executor, share in self._shares.items():
            if targets[executor] < share.budget:
                share.budget = targets[executor]
                changes.append((executor, share.budget))
        free = self.capacity - sum(share.claim for share in self._shares.values())
        # The smallest lack of a floor first, so that as many as possible may run; who lacks none comes last.
        for executor, share in sorted(self._shares.items(), key=lambda item: item[1].lack or self.capacity):
            grown = self._round_down(min(targets[executor], share.claim + free))
            if grown > share.budget:
                free -= max(0, grown - share.claim)
                share.budget = grown
                changes.append((executor, grown))
        return changes

    def _step_alone(self, only: tuple[Hashable, _Share]) -> list[tuple[Hashable, int]]:
        """The usual case, and part of every invocation's way: nobody to share with."""
        executor, share = only
        if share.budget == self.capacity:
            return []
        share.budget = self.capacity
        return [(executor, share.budget)]

    def validate(self) -> None:
        """Assert the invariants; for tests."""
        assert sum(share.floor for share in self._shares.values()) <= self.capacity
        assert all(share.floor >= 0 and share.budget >= 0 for share in self._shares.values())

    def _round(self, size: int) -> int:
        return -(-size // self._chunk) * self._chunk

    def _round_down(self, size: int) -> int:
        return size // self._chunk * self._chunk
