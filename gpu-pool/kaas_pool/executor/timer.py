"""Times an invocation's operations by two events around each, on the operation's own stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from kaas_pool.access import kernel_access
from kaas_pool.executor.bundles import DeviceBundle
from kaas_pool.executor.device import Device
from kaas_pool.executor.profile import Profile, Row, Span
from kaas_pool.operations import Check, Copy, Fill, Launch
from kaas_pool.plan import Plan

Timed = Launch | Fill | Copy | Check


class Timer:
    """Fills a profile for one invocation. `origin` is the event at the beginning of its first stream.

    What lies between two events includes what the driver does there, some microseconds on a GPU. As many pairs of
    events are under way as operations are; `collect` gives back those that are done.
    """

    def __init__(self, device: Device, plan: Plan, bundle: DeviceBundle, profile: Profile, origin: Any) -> None:
        self._device = device
        self._plan = plan
        self._profile = profile
        self._origin = origin
        self._sizes = dict(zip(plan.buffers, plan.sizes, strict=True))
        self._bytes: dict[str, int] = {}
        for step in bundle.manifest.kernel_steps:
            access = kernel_access(step, bundle.signatures[step.source, step.kernel])
            self._bytes[step.where] = sum(self._sizes[name] for one in (access.reads, access.writes) for name in one)
        self._rows: dict[tuple[object, ...], Row] = {}
        #: In the order handed over: row, operation, lane, and the events before and after it.
        self._pending: deque[tuple[Row, Launch | None, int, Any, Any]] = deque()
        #: Where the last span of each lane ends.
        self._ends: dict[int, float] = {}

    def prepared(self, stream: Any) -> None:
        """All is on the first stream that comes before the operations: own copies of inputs, and cleared buffers."""
        copied = sum(self._sizes[name] for name in self._plan.private)
        cleared = sum(self._sizes[name] for name in self._plan.zeroed)
        if copied or cleared:
            row = self._row(("prepare",), "copy, clear", "before the first step", "", 2 * copied + cleared)
            self._pending.append((row, None, 0, self._origin, self._device.record(stream)))

    def around(self, operation: Timed, call: Callable[[], Any], stream: Any) -> Callable[[], Any]:
        """A call that does the same, timed."""
        row = self._row_of(operation)
        launch = operation if isinstance(operation, Launch) else None

        def timed() -> Any:
            before = self._device.record(stream)
            answer = call()
            self._pending.append((row, launch, operation.lane, before, self._device.record(stream)))
            return answer

        return timed

    def collect(self) -> None:
        """Take the times of what is done. Raises the driver's error."""
        while self._pending and self._pending[0][4].query():
            row, launch, lane, before, after = self._pending.popleft()
            # Times since the beginning are single-precision numbers: those of neighbours may cross by a digit.
            begin = max(before.time_since(self._origin), self._ends.get(lane, 0.0))
            end = self._ends[lane] = max(after.time_since(self._origin), begin)
            self._profile.add(row, after.time_since(before), Span(row, lane, begin, end, launch))
            self._device.recycle(*(event for event in (before, after) if event is not self._origin))

    def _row_of(self, operation: Timed) -> Row:
        names = self._plan.buffers
        if isinstance(operation, Launch):
            _, kernel = self._plan.kernels[operation.kernel]
            where = operation.where
            return self._row((where,), "kernel", kernel, where, self._bytes[where])
        if isinstance(operation, Copy):
            source, target = names[operation.source], names[operation.target]
            return self._row(("copy", source, target), "copy", f"{source} to {target}", "", 2 * operation.size)
        name = names[operation.buffer]
        if isinstance(operation, Fill):
            return self._row(("fill", name), "fill", name, "", operation.size)
        return self._row(("until", name), "until", name, "", np.dtype(operation.dtype).itemsize)

    def _row(self, key: tuple[object, ...], kind: str, name: str, where: str, nbytes: int) -> Row:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(kind, name, where, nbytes)
            self._profile.rows.append(row)
        return row
