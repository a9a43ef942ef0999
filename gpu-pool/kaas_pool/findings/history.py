"""What happens to the data of each buffer from the first step to the last. Pure.

The steps are followed in order, loops for a few rounds, as long as nothing new can happen: `swap` has returned to
where it began, and every step has met what the round before it left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kaas.graph import RepeatStep, Step
from kaas.manifest import Manifest
from kaas_pool.findings.touches import Touch

#: Rounds of a loop that are followed; of loops deeper than this, two.
_ROUNDS = 3
_DEEP = 2


@dataclass(eq=False)
class Data:
    """What one step, or nobody before the first (`step` is None), left in a buffer then called `name`.

    `is_certain` if the step surely wrote it; `is_used` once something read it or may have, or it became a result.
    `lost_to` is the step that wrote over all of it.
    """

    step: Step | None
    name: str
    is_certain: bool
    is_used: bool = False
    lost_to: Step | None = None


@dataclass(frozen=True)
class Lost:
    """Data that nothing ever used, written by `step` to `name`, and the step that wrote over it, if one did."""

    step: Step
    name: str
    to: Step | None


@dataclass
class _Cell:
    """One storage: whether it has contents, those that nothing has used yet, and whose first contents it still has."""

    is_defined: bool
    unused: list[Data]
    untouched: str | None


@dataclass
class History:
    """The facts. `unread` are inputs whose first contents nothing used; `replaced` those of them written over.

    `undefined` are reads of what nothing had written, (step, buffer); `unwritten` and `untouched` the outputs that
    nobody wrote, without and with contents from the beginning; `lost` what was written in vain.
    """

    undefined: list[tuple[Step, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)

    @staticmethod
    def follow(manifest: Manifest, touches: Mapping[int, Touch], idle: Collection[RepeatStep] = ()) -> History:
        """Follow the steps of a manifest, without those inside the loops that are `idle`."""
        return _Follower(manifest, touches, frozenset(map(id, idle))).history()


class _Follower:
    def __init__(self, manifest: Manifest, touches: Mapping[int, Touch], idle: frozenset[int]) -> None:
        self._manifest = manifest
        self._touches = touches
        self._idle = idle
        self._storage = {name: name for name in manifest.buffers}
        self._cells: dict[str, _Cell] = {}
        self._first: dict[str, Data] = {}
        self._all: list[Data] = []
        self._undefined: dict[tuple[int, str], tuple[Step, str]] = {}
        for name, buffer in manifest.buffers.items():
            self._first[name] = Data(None, name, is_certain=True)
            is_defined = buffer.is_read or buffer.zero
            self._cells[name] = _Cell(is_defined, [self._first[name]] if is_defined else [], name)

    def history(self) -> History:
        self._sequence(self._manifest.steps, 0)
        found = History(undefined=list(self._undefined.values()))
        for name, buffer in self._manifest.buffers.items():
            if not buffer.is_stored:
                continue
            cell = self._cells[self._storage[name]]
            if not cell.is_defined:
                found.unwritten.append(name)
            elif cell.untouched == name:
                found.untouched.append(name)
            _use(cell)
        for name, buffer in self._manifest.buffers.items():
            first = self._first[name]
            if buffer.is_read and not first.is_used:
                (found.replaced if first.lost_to is not None else found.unread).append(name)
        found.lost = self._lost()
        return found

    def _lost(self) -> list[Lost]:
        """What a step wrote in vain each time it ran."""
        runs: dict[tuple[int, str], list[Data]] = {}
        for data in self._all:
            runs.setdefault((id(data.step), data.name), []).append(data)
        found = []
        for times in runs.values():
            if all(data.is_certain and not data.is_used for data in times):
                step = times[0].step
                assert step is not None
                found.append(Lost(step, times[0].name, next((data.lost_to for data in times if data.lost_to), None)))
        return found

    def _sequence(self, steps: Sequence[Step], depth: int) -> None:
        for step in steps:
            if isinstance(step, RepeatStep):
                self._loop(step, depth)
            else:
                self._step(step, self._touches[id(step)])

    def _loop(self, loop: RepeatStep, depth: int) -> None:
        rounds = _ROUNDS if depth < _DEEP else 2
        if loop.times.constant is not None:
            rounds = min(rounds, int(loop.times.constant))
        if id(loop) in self._idle:
            rounds = 0
        for _ in range(rounds):
            self._sequence(loop.steps, depth + 1)
            if loop.until is not None:
                self._read(loop, loop.until.buffer, is_certain=True)
            if loop.swap is not None:
                first, second = loop.swap
                self._storage[first], self._storage[second] = self._storage[second], self._storage[first]

    def _step(self, step: Step, touch: Touch) -> None:
        for name in sorted(touch.looked_at):
            self._read(step, name, is_certain=name in touch.reads)
        for name in sorted(touch.may_write):
            cell = self._cells[self._storage[name]]
            if name in touch.overwrites:
                for data in cell.unused:
                    data.lost_to = step
                cell.unused = []
            written = Data(step, name, is_certain=name in touch.writes)
            self._all.append(written)
            cell.unused.append(written)
            cell.is_defined = True
            cell.untouched = None

    def _read(self, step: Step, name: str, *, is_certain: bool) -> None:
        cell = self._cells[self._storage[name]]
        _use(cell)
        if is_certain and not cell.is_defined:
            self._undefined.setdefault((id(step), name), (step, name))


def _use(cell: _Cell) -> None:
    for data in cell.unused:
        data.is_used = True
    cell.unused = []
