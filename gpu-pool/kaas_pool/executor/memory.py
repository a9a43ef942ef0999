"""Device memory in blocks that are reused by exact size, so that what is used is what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: CUDA's own alignment of allocations; no block is smaller.
ALIGNMENT = 256


def charge(size: int) -> int:
    """What an allocation of `size` bytes takes, in bytes."""
    return max(-(-size // ALIGNMENT) * ALIGNMENT, ALIGNMENT)


@dataclass(frozen=True)
class Allocation:
    """`size` bytes of device memory at `address`."""

    address: int
    size: int
    #: PyCUDA's object; the memory lives as long as it does.
    owner: Any


class DeviceMemory:
    """A pool over `allocate_on_device(bytes)`.

    Freeing on the device waits for everything that runs there, so freed blocks are held back and given to the next
    request of the same size: the invocations of an action ask for the same sizes again. Held blocks count against the
    budget and go when it is short. (PyCUDA's own pool rounds up by up to a sixteenth, which no budget could follow.)
    `exact`: the device is asked for as many bytes as are wanted, because it checks where a block ends; what they take
    is the same.
    """

    def __init__(self, allocate_on_device: Callable[[int], Any], *, exact: bool = False) -> None:
        self._allocate_on_device = allocate_on_device
        self._exact = exact
        self._held: dict[int, list[Allocation]] = {}
        self.active_bytes = 0
        self.held_bytes = 0

    def allocate(self, size: int, budget: int) -> Allocation:
        """A block of `size` bytes, which takes `charge(size)`; held blocks go first if all would be over `budget`.

        Raises the driver's error when the device has no memory even with no block held back.
        """
        taken = charge(size)
        size = max(size, 1) if self._exact else taken
        same = self._held.get(size)
        if same:
            allocation = same.pop()
            self.held_bytes -= taken
        else:
            self.trim(max(budget - self.active_bytes - taken, 0))
            allocation = self._new(size)
        self.active_bytes += taken
        return allocation

    def _new(self, size: int) -> Allocation:
        try:
            owner = self._allocate_on_device(size)
        except Exception:
            if not self.held_bytes:
                raise
            self.trim(0)
            owner = self._allocate_on_device(size)
        return Allocation(int(owner), size, owner)

    def free(self, allocation: Allocation) -> None:
        """Take a block back; nothing on the device may use it any more."""
        self._held.setdefault(allocation.size, []).append(allocation)
        taken = charge(allocation.size)
        self.active_bytes -= taken
        self.held_bytes += taken

    def trim(self, most: int) -> None:
        """Give held blocks to the driver until at most `most` bytes are held."""
        while self.held_bytes > most:
            size = next(iter(self._held))
            blocks = self._held[size]
            if blocks:
                blocks.pop().owner.free()
                self.held_bytes -= charge(size)
            if not blocks:
                del self._held[size]
