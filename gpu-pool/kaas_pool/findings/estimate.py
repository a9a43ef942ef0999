"""What one invocation of given sizes takes: memory, transfers, launches, and an estimate of the bytes moved. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kaas.dtypes import Number
from kaas.graph import BufferArg, CopyStep, FillStep, KernelStep, RepeatStep, Step, walk
from kaas_pool.findings.subject import Environment, Subject, whole
from kaas_pool.findings.uses import names_of
from kaas_pool.plan import private_copies
from kaas_pool.workspace import device_bytes

#: Rounds of a loop that are looked at one by one where they differ; of longer ones, so many spread over all.
_ROUNDS = 256


@dataclass(frozen=True)
class Estimate:
    """`peak_bytes` is the device memory that admission counts. `loaded_bytes` and `stored_bytes` are what moves between
    the object store and the device if nothing is cached, `bundled_bytes` what comes from the bundle's own files.

    `launches` counts kernels as if no `until` ended a loop. `moved_bytes` is what kernels, fills and copies move in the
    device's memory, if each reads every buffer it reads once, and writes every buffer it writes once.
    """

    peak_bytes: int
    loaded_bytes: int
    bundled_bytes: int
    stored_bytes: int
    launches: int
    moved_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The form of docs/check.md."""
        return asdict(self)


@dataclass(frozen=True)
class _Work:
    launches: float = 0
    moved: float = 0

    def __add__(self, other: _Work) -> _Work:
        return _Work(self.launches + other.launches, self.moved + other.moved)

    def __mul__(self, times: float) -> _Work:
        return _Work(self.launches * times, self.moved * times)


def estimate(subject: Subject) -> Estimate:
    """The estimate for a subject with a binding."""
    binding, manifest = subject.binding, subject.manifest
    assert binding is not None
    sizes = {name: buffer.nbytes for name, buffer in binding.buffers.items()}
    buffers = manifest.buffers.values()
    work = _Counter(subject, sizes).steps(manifest.steps, dict(binding.names))
    return Estimate(
        peak_bytes=device_bytes(manifest, sizes, _private(subject)),
        loaded_bytes=sum(sizes[buffer.name] for buffer in buffers if buffer.is_read and buffer.file is None),
        bundled_bytes=sum(sizes[buffer.name] for buffer in buffers if buffer.file is not None),
        stored_bytes=sum(sizes[buffer.name] for buffer in buffers if buffer.is_stored),
        launches=round(work.launches),
        moved_bytes=round(work.moved),
    )


def _private(subject: Subject) -> frozenset[str]:
    known = all(subject.signature(step) is not None for step, _ in subject.launches)
    return private_copies(subject.manifest, subject.signatures if known else None)


class _Counter:
    def __init__(self, subject: Subject, sizes: Mapping[str, int]) -> None:
        self._subject = subject
        self._sizes = sizes

    def steps(self, steps: Sequence[Step], names: Environment) -> _Work:
        return sum((self._step(step, names) for step in steps), _Work())

    def _step(self, step: Step, names: Environment) -> _Work:
        if isinstance(step, KernelStep):
            return self._launch(step, names)
        if isinstance(step, FillStep):
            return _Work(0, self._sizes[step.buffer])
        if isinstance(step, CopyStep):
            return _Work(0, 2 * self._sizes[step.source])
        return self._loop(step, names)

    def _loop(self, loop: RepeatStep, names: Environment) -> _Work:
        times = whole(loop.times, names) or 0
        if loop.index is None or not any(loop.index in names_of(step) for step in walk(loop.steps)):
            inner: dict[str, Number] = {**names, loop.index: 0} if loop.index is not None else dict(names)
            return self.steps(loop.steps, inner) * times
        looked_at = min(times, _ROUNDS)
        total = _Work()
        for at in range(looked_at):
            total += self.steps(loop.steps, {**names, loop.index: at * times // looked_at})
        return total * (times / looked_at) if looked_at else total

    def _launch(self, step: KernelStep, names: Environment) -> _Work:
        extents = [whole(extent, names) for extent in (*(step.threads or step.grid or ()), *step.block)]
        if 0 in extents:
            return _Work()
        touch = self._subject.touch(step)
        moved = 0
        for arg in step.args:
            if isinstance(arg, BufferArg):
                offset = whole(arg.offset, names) if arg.offset is not None else 0
                size = max(self._sizes[arg.buffer] - (offset or 0), 0)
                moved += size * ((arg.buffer in touch.looked_at) + (arg.buffer in touch.may_write))
        return _Work(1, moved)
