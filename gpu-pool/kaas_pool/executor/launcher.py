"""Gives one invocation's operations to its streams, a bounded number at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from kaas.errors import CallerError
from kaas_pool.executor.device import Device, Function
from kaas_pool.executor.host import Bytes
from kaas_pool.executor.timer import Timer
from kaas_pool.operations import Await, Check, Copy, Fill, Launch, Leaf, Pause, Permutation, Signal, walk
from kaas_pool.plan import Plan

#: Operations handed over in one go: about 1 ms of the loop's time. Two such parts are under way at most, so that an
#: abort is prompt and the driver's own queue (1,024 launches) never blocks the thread.
PART = 256
PARTS_UNDER_WAY = 2

Call = Callable[[], Any]

_ADDRESS = struct.Struct("<Q")

#: What a call returns after which nothing more is to be handed over at once: a check's answer comes later.
_LATER = object()


@dataclass(frozen=True)
class _Question:
    """A check whose element is on its way to `element`; it is there when `event` is done."""

    check: Check
    element: Bytes
    event: Any


class Launcher:
    """Walks a plan for one invocation.

    `addresses` are its buffers' storages in the plan's order, `lanes` the streams that the plan needs, no more. With a
    `timer` each operation costs three more calls.
    """

    def __init__(
        self,
        device: Device,
        plan: Plan,
        functions: Sequence[Function],
        addresses: Sequence[int],
        lanes: Sequence[Any],
        timer: Timer | None = None,
    ) -> None:
        self._device = device
        self._kernels = plan.kernels
        self._functions = functions
        self._addresses = addresses
        self._lanes = lanes
        self._timer = timer
        self._signals: dict[int, Any] = {}
        self._calls = self._walk(plan)
        #: Ends of the parts that are under way: an event for each lane.
        self._marks: list[list[Any]] = []
        self._question: _Question | None = None
        #: Where the manifest has the launch that was given last, for the driver's refusal.
        self.where: str | None = None
        #: Storage of each buffer after the last operation.
        self.permutation: Permutation = ()
        #: Rounds done by each loop that a check may end.
        self.rounds = [0] * plan.untils
        self.finished = False

    def _walk(self, plan: Plan) -> Generator[Call, bool | None, None]:
        start = tuple(range(len(plan.buffers)))
        prepare = self._prepare if self._timer is None else partial(self._prepare_timed, self._timer)
        self.permutation = yield from walk(plan.operations, plan.names, start, prepare, self.rounds)

    def advance(self) -> bool:
        """Hand over the next part if the device is ready for it; True if it was. Raises the driver's error."""
        if self._timer is not None:
            self._timer.collect()
        if self.finished:
            return False
        while self._marks and all(event.query() for event in self._marks[0]):
            self._device.recycle(*self._marks.pop(0))
        if len(self._marks) >= PARTS_UNDER_WAY:
            return False
        calls = self._calls if self._question is None else self._answered(self._question)
        if calls is None:
            return False
        given = 0
        call: Call | None = None
        try:
            for call in islice(calls, PART):
                given += 1
                if call() is _LATER:
                    return True
        except self._device.driver_error:
            self.where = vars(call).get("where") if call is not None else None
            raise
        if given < PART:
            self.finished = True
        else:
            self._marks.append([self._device.record(stream) for stream in self._lanes])
        return True

    def _answered(self, question: _Question) -> Iterable[Call] | None:
        """What follows a check; None as long as its element is not here."""
        if not question.event.query():
            return None
        self._question = None
        self._device.recycle(question.event)
        check = question.check
        value = question.element.view(check.dtype)[0].item()
        try:
            return chain((self._calls.send(value < check.below),), self._calls)
        except StopIteration:
            return ()

    def stop(self) -> None:
        """Hand over nothing more, and let the first stream wait for the others."""
        self._calls.close()
        self.finished = True
        for stream in self._lanes[1:]:
            self._marks.append([self._device.record(stream)])
            self._lanes[0].wait_for_event(self._marks[-1][0])

    def close(self) -> None:
        """Give the events back; the first stream is past all of them."""
        if self._timer is not None:
            self._timer.collect()
        self._device.recycle(*chain.from_iterable(self._marks), *self._signals.values())
        if self._question is not None:
            self._device.recycle(self._question.event)
        self._marks.clear()
        self._signals.clear()
        self._question = None

    def _prepare_timed(self, timer: Timer, operation: Leaf, permutation: Permutation) -> Call:
        call = self._prepare(operation, permutation)
        if isinstance(operation, (Signal, Await, Pause)):
            return call
        timed = timer.around(operation, call, self._lanes[operation.lane])
        vars(timed)["where"] = vars(call).get("where")
        return timed

    def _prepare(self, operation: Leaf, permutation: Permutation) -> Call:
        addresses, stream = self._addresses, self._lanes[operation.lane]
        if isinstance(operation, Launch):
            function = self._functions[operation.kernel]
            if operation.shared > function.allowed_shared:
                self._allow_shared(function, operation)
            arguments = bytearray(operation.block_of_arguments)
            for at, buffer, offset in operation.pointers:
                _ADDRESS.pack_into(arguments, at, addresses[permutation[buffer]] + offset)
            # PyCUDA's prepared calls pack the arguments anew each time, and also call cuFuncSetBlockShape.
            call: Call = partial(
                function.launch,
                operation.grid,
                operation.block,
                bytes(arguments),
                operation.shared,
                stream,
            )
            vars(call)["where"] = operation.where
            return call
        if isinstance(operation, Fill):
            address = addresses[permutation[operation.buffer]]
            return partial(self._device.fill, address, operation.pattern, operation.size, stream)
        if isinstance(operation, Signal):
            return partial(self._signal(operation.number).record, stream)
        if isinstance(operation, Await):
            return partial(stream.wait_for_event, self._signal(operation.number))
        if isinstance(operation, Check):
            return partial(self._ask, operation, addresses[permutation[operation.buffer]], stream)
        if isinstance(operation, Pause):
            return lambda: _LATER
        assert isinstance(operation, Copy)
        target, source = addresses[permutation[operation.target]], addresses[permutation[operation.source]]
        return partial(self._device.copy, target, source, operation.size, stream)

    def _allow_shared(self, function: Function, launch: Launch) -> None:
        limit = self._device.limits.shared_bytes
        if function.static_shared + launch.shared > limit:
            _, kernel = self._kernels[launch.kernel]
            raise CallerError(
                "launch_invalid",
                f"{kernel}: {launch.shared} bytes of shared memory beside its own {function.static_shared} "
                f"are over the device's {limit}",
                where=launch.where,
                hint="keep less in shared memory, for example a tile instead of a whole row",
            )
        function.allow_shared(launch.shared)

    def _signal(self, number: int) -> Any:
        if number not in self._signals:
            self._signals[number] = self._device.event()
        return self._signals[number]

    def _ask(self, check: Check, address: int, stream: Any) -> object:
        element = self._device.staging(np.dtype(check.dtype).itemsize)
        self._device.copy_out(element, address, stream)
        self._question = _Question(check, element, self._device.record(stream))
        return _LATER
