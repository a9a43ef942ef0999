"""Device memory by purpose: the residency's decisions, carried out on a device."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from kaas.errors import CallerError, KaasError
from kaas_pool.executor.device import Device
from kaas_pool.executor.memory import Allocation, charge
from kaas_pool.executor.residency import Busy, Changes, Pinned, Residency, TooLarge
from kaas_pool.frames import Frame
from kaas_pool.plan import Plan


class DeviceCache:
    """Blocks with memory behind them, and what the front has not been told about them yet."""

    def __init__(self, device: Device, budget: int) -> None:
        self._device = device
        self._memory: dict[int, Allocation] = {}
        self._untold = Changes()
        #: Bytes that the front was told last.
        self._told = 0
        self.residency = Residency(budget)

    def address(self, handle: int) -> int:
        """Where a block lies."""
        return self._memory[handle].address

    def grant(self, inv: str, plan: Plan, keys: Mapping[str, str]) -> Pinned | Busy | KaasError:
        """Memory for all that an invocation needs: `keys` (buffer -> content key) and the plan's workspaces.

        `device_out_of_memory` if it can never fit, or if the device has less than it says. Raises the driver's error.
        """
        inputs = {key: plan.size_of(buffer) for buffer, key in keys.items()}
        work = plan.memory.blocks
        outcome = self.residency.pin_set(inv, _charged(inputs), _charged(work))
        if isinstance(outcome, TooLarge):
            return CallerError(
                "device_out_of_memory",
                f"the buffers take {outcome.needed} bytes; the device has {outcome.budget} for them",
                hint="use smaller arrays, or split the work; an input that a step writes is held twice",
            )
        if isinstance(outcome, Pinned):
            sizes = {outcome.inputs[key]: inputs[key] for key in outcome.loads}
            sizes |= {outcome.work[name]: size for name, size in work.items()}
            if (error := self._allocate(sizes)) is not None:
                self.residency.release(inv)
                return error
            if self._device.checked:
                names = {outcome.inputs[key]: buffer for buffer, key in keys.items()}
                for handle, name in (names | {handle: name for name, handle in outcome.work.items()}).items():
                    self._device.name_buffer(self.address(handle), name)
        return outcome

    def _allocate(self, sizes: Mapping[int, int]) -> KaasError | None:
        self.collect()
        for handle, size in sizes.items():
            allocation = self._one(size)
            if isinstance(allocation, KaasError):
                return allocation
            self._memory[handle] = allocation
        return None

    def _one(self, size: int) -> Allocation | KaasError:
        memory, budget = self._device.memory, self.residency.budget
        try:
            return memory.allocate(size, budget)
        except self._device.driver_error as error:
            if not self._device.is_out_of_memory(error):
                raise
        # Others use the device too. What is idle here makes room: as much as is wanted, and then, because memory may
        # be in pieces, all of it.
        for most in (charge(size), self.residency.used):
            self.residency.evict_idle(most)
            self.collect()
            memory.trim(0)
            with contextlib.suppress(self._device.driver_error):
                return memory.allocate(size, budget)
        return CallerError(
            "device_out_of_memory",
            f"the device has no {size} bytes left; this domain holds {memory.active_bytes} of it",
            hint="other programs or domains use the device; try again later, or use smaller arrays",
        )

    def collect(self) -> None:
        """Free the memory of blocks that are no more; nothing on the device may use it."""
        self._untold.extend(self.residency.take_changes())
        memory, budget = self._device.memory, self.residency.budget
        for handle in self._untold.freed:
            # A block may have gone before it got memory.
            if (allocation := self._memory.pop(handle, None)) is not None:
                memory.free(allocation)
        self._untold.freed.clear()
        if memory.active_bytes + memory.held_bytes > budget:
            memory.trim(max(budget - memory.active_bytes, 0))

    def hello(self) -> list[tuple[str, int]]:
        """The cache as a new front learns it: (key, bytes). What changed until now is told with it."""
        self.collect()
        self._untold, self._told = Changes(), self.residency.used
        return self.residency.resident()

    def news(self, *, always: bool = False) -> Frame | None:
        """A `usage` frame if the cache changed, or memory over the budget has come back."""
        self.collect()
        changes, used = self._untold, self.residency.used
        returned = used < self._told and self._told > self.residency.budget
        if not (always or returned or changes.keys):
            return None
        self._untold, self._told = Changes(), used
        return {
            "type": "usage",
            "bytes": used,
            "pinned": self.residency.pinned,
            "evicted": changes.evicted,
            "added": changes.added,
        }


def _charged(sizes: Mapping[str, int]) -> Mapping[str, int]:
    return {name: charge(size) for name, size in sizes.items()}
