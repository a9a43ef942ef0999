"""One invocation's work on a device: its memory made ready, its operations handed over, its outputs copied back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kaas_pool.executor.device import Device, Function, Slot
from kaas_pool.executor.launcher import Launcher
from kaas_pool.executor.timer import Timer
from kaas_pool.plan import Plan
from kaas_pool.workspace import WORKSPACE

if TYPE_CHECKING:
    from kaas_pool.executor.invocation import Output

#: Outputs of at most this size in all are copied in the compute stream, right behind the last operation: they take the
#: device a few microseconds, less than the executor's thread needs to see the end and to start them.
SMALL_BYTES = 64 << 10

#: Outputs up to this size go through page-locked memory of our own, so that the copy does not hold the thread; larger
#: ones go straight to their segment, which is page-locked where that pays.
STAGED_BYTES = 1 << 20


class Computation:
    """Uses a slot's streams until `close`. Whatever is called raises the driver's error."""

    def __init__(self, device: Device, slot: Slot, plan: Plan, outputs: Sequence[Output]) -> None:
        """Nothing is on the device yet."""
        self.slot = slot
        self._device = device
        self._plan = plan
        self._outputs = outputs
        #: Addresses by name, the workspace's temporaries among them.
        self._own: dict[str, int] = {}
        self._launcher: Launcher
        self._start: Any = None
        #: After the last operation.
        self._end: Any = None
        #: After small outputs were copied in the same stream.
        self._copied: Any = None

    @property
    def is_done(self) -> bool:
        """Whether all that was handed over has ended, the last operation among it."""
        last = self._copied or self._end
        return last is not None and last.query()

    @property
    def has_copied(self) -> bool:
        """Whether the outputs are copied with the operations."""
        return self._copied is not None

    @property
    def gpu_ms(self) -> float:
        """From the first stream's first operation to the end of all streams."""
        return float(self._end.time_since(self._start))

    @property
    def rounds(self) -> list[int]:
        """Rounds done by each loop that a check may end."""
        return self._launcher.rounds

    @property
    def where(self) -> str:
        """Where the manifest has the launch that was handed over last."""
        return self._launcher.where or "the graph"

    def begin(
        self,
        functions: Sequence[Function],
        own: Mapping[str, int],
        cached: Mapping[str, int],
        *,
        scrub: bool,
        timing: Callable[[Any], Timer] | None = None,
    ) -> None:
        """Make the memory ready: `own` are the addresses of the invocation's blocks, `cached` those of its inputs.

        `scrub` clears outputs and temporaries; `timing` makes a timer from the event at the first stream's beginning.
        """
        device, plan, stream = self._device, self._plan, self.slot.stream
        self._own |= own
        self._start = device.record(stream)
        for name, size in plan.memory.blocks.items():
            if name in plan.private:
                device.copy(own[name], cached[name], size, stream)
            elif name in plan.zeroed or (scrub and not device.checked):
                device.clear(own[name], size, stream)
            elif device.checked:
                device.poison(own[name], size, stream)
        for name, offset in plan.memory.workspace.offsets.items():
            self._own[name] = own[WORKSPACE] + offset
            if name in plan.zeroed and not scrub:
                device.clear(self._own[name], plan.size_of(name), stream)
        timer = None
        if timing is not None:
            timer = timing(self._start)
            timer.prepared(stream)
        # A temporary that no step names has no address.
        addresses = [self._own[name] if name in self._own else cached.get(name, 0) for name in plan.buffers]
        self._launcher = Launcher(device, plan, functions, addresses, self.slot.lanes(plan.lanes), timer)

    def advance(self) -> bool:
        """Hand over more operations; True if any were handed over.

        Raises KaasError, too, for a step that is checked when its turn comes.
        """
        return self._end is None and self._launcher.advance()

    def conclude(self) -> None:
        """After the last operation, mark the end, and have small outputs copied at once."""
        if self._end is None and self._launcher.finished:
            self._end = self._device.record(self.slot.stream)
            if sum(output.size for output in self._outputs) <= SMALL_BYTES:
                # Not worth waiting to see the end first.
                self.copy_out(self.slot.stream)
                self._copied = self._device.record(self.slot.stream)

    def copy_out(self, stream: Any) -> None:
        """Have the outputs copied behind what is on a stream."""
        device, buffers = self._device, self._plan.buffers
        for output in self._outputs:
            output.storage = buffers[self._launcher.permutation[buffers.index(output.buffer)]]
            address = self._own[output.storage]
            if output.segment is None or output.size <= STAGED_BYTES:
                output.staging = device.staging(output.size)
                device.copy_out(output.staging, address, stream)
            else:
                device.page_lock(output.segment)
                device.copy_out(output.segment.array, address, stream)

    def stop(self) -> None:
        """Hand over nothing more; it is done when the device is done with what it has."""
        self._launcher.stop()
        if self._end is None:
            self._end = self._device.record(self.slot.stream)

    def close(self) -> None:
        """Give the events back; it is done."""
        self._launcher.close()
        events = (self._start, self._end, self._copied)
        self._device.recycle(*(event for event in events if event is not None))
