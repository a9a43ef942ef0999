"""Gives one invocation's operations to a stream, a bounded number at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from kaas_pool.executor.device import Device
from kaas_pool.operations import Copy, Fill, Launch, Leaf, Permutation, walk
from kaas_pool.plan import Plan

#: Operations handed over in one go: about 1 ms of the loop's time. Two such parts are under way at most, so that an
#: abort is prompt and the driver's own queue (1,024 launches) never blocks the thread.
PART = 256
PARTS_UNDER_WAY = 2

Call = Callable[[], Any]

_ADDRESS = struct.Struct("<Q")


class Launcher:
    """Walks a plan for one invocation. `addresses` are its buffers' storages in the plan's order."""

    def __init__(
        self, device: Device, plan: Plan, functions: Sequence[Any], addresses: Sequence[int], stream: Any
    ) -> None:
        self._device = device
        self._functions = functions
        self._addresses = addresses
        self._stream = stream
        self._where: dict[Call, str] = {}
        self._calls = self._walk(plan)
        self._marks: list[Any] = []
        #: Where the manifest has the launch that was given last, for the driver's refusal.
        self.where: str | None = None
        #: Storage of each buffer after the last operation.
        self.permutation: Permutation = ()
        self.finished = False

    def _walk(self, plan: Plan) -> Generator[Call, None, None]:
        start = tuple(range(len(plan.buffers)))
        self.permutation = yield from walk(plan.operations, plan.names, start, self._prepare)

    def advance(self) -> bool:
        """Hand over the next part if the device is ready for it; True if it was. Raises the driver's error."""
        if self.finished:
            return False
        while self._marks and self._marks[0].query():
            self._device.recycle(self._marks.pop(0))
        if len(self._marks) >= PARTS_UNDER_WAY:
            return False
        given = 0
        call: Call | None = None
        try:
            for call in islice(self._calls, PART):
                call()
                given += 1
        except self._device.driver_error:
            self.where = self._where.get(call) if call is not None else None
            raise
        if given < PART:
            self.finished = True
        else:
            self._marks.append(self._device.record(self._stream))
        return True

    def stop(self) -> None:
        """Hand over nothing more."""
        self._calls.close()
        self.finished = True

    def close(self) -> None:
        """Give the events back; the stream is past them."""
        self._device.recycle(*self._marks)
        self._marks.clear()

    def _prepare(self, operation: Leaf, permutation: Permutation) -> Call:
        addresses = self._addresses
        if isinstance(operation, Launch):
            arguments = bytearray(operation.block_of_arguments)
            for at, buffer, offset in operation.pointers:
                _ADDRESS.pack_into(arguments, at, addresses[permutation[buffer]] + offset)
            # PyCUDA's prepared calls pack the arguments anew each time, and also call cuFuncSetBlockShape.
            call: Call = partial(
                self._functions[operation.kernel]._launch_kernel,
                operation.grid,
                operation.block,
                bytes(arguments),
                operation.shared,
                self._stream,
            )
            self._where[call] = operation.where
            return call
        if isinstance(operation, Fill):
            address = addresses[permutation[operation.buffer]]
            return partial(self._device.fill, address, operation.pattern, operation.size, self._stream)
        assert isinstance(operation, Copy)
        target, source = addresses[permutation[operation.target]], addresses[permutation[operation.source]]
        return partial(self._device.copy, target, source, operation.size, self._stream)
