"""The operations of a plan and the order in which a device gets them. Pure: no CUDA, no I/O, no clock.

Operations name buffers by number. What a number stands for, its storage, changes with `swap`: a permutation says
which storage each buffer has at that moment. `walk` yields one prepared call per operation, and prepares a call once
per permutation and not once per round, unless the operation depends on a loop's index.

An operation has a *lane*: those of one lane run in order, those of different lanes as `Signal` and `Await` say
(branches.py). At the beginning and the end of every sequence and of every round all lanes are at lane 0's point.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kaas.dtypes import Number

Extent = tuple[int, int, int]

#: Storage of each buffer, by number.
Permutation = tuple[int, ...]

#: Rounds between two pauses, of loops whose rounds may be empty: about 1 ms.
PAUSE_ROUNDS = 2048

Call = TypeVar("Call")
Environment = dict[str, Number]


@dataclass(frozen=True)
class Launch:
    """One kernel launch.

    `kernel` counts in the plan's kernels; `shared` is dynamic shared memory in bytes. `block_of_arguments` holds all
    arguments at their offsets, with zeros where a pointer goes; `pointers` are (offset in it, buffer, bytes after the
    buffer's beginning).
    """

    kernel: int
    grid: Extent
    block: Extent
    shared: int
    block_of_arguments: bytes
    pointers: tuple[tuple[int, int, int], ...]
    where: str
    lane: int = 0


@dataclass(frozen=True)
class Fill:
    """The first `size` bytes of a buffer become a repetition of `pattern` (1, 2, 4, 8 or 16 bytes)."""

    buffer: int
    pattern: bytes
    size: int
    lane: int = 0


@dataclass(frozen=True)
class Copy:
    """The first `size` bytes of one buffer are copied to another."""

    source: int
    target: int
    size: int
    lane: int = 0


@dataclass(frozen=True)
class Signal:
    """Marks a lane's present point under a number."""

    number: int
    lane: int


@dataclass(frozen=True)
class Await:
    """What follows on the lane begins after the point that was marked last under the number."""

    number: int
    lane: int


@dataclass(frozen=True)
class Check:
    """Whether element 0 of a buffer, of a NumPy type, is less than `below`: the walk is resumed with the answer."""

    buffer: int
    dtype: str
    below: Number
    lane: int = 0


@dataclass(frozen=True)
class Pause:
    """Nothing to do but to look at something else: many rounds may go by without any operation."""

    lane: int = 0


@dataclass(frozen=True)
class Until:
    """A loop's `check` in rounds divisible by `every`, counted from 1; `number` counts the manifest's such loops."""

    check: Check
    every: int
    number: int


@dataclass(frozen=True)
class Loop:
    """`body`, `times` over or until a check says so; after every round the buffers of `swap` exchange their storage."""

    times: int
    index: str | None
    swap: tuple[int, int] | None
    body: tuple[Operation, ...]
    until: Until | None = None


@dataclass(frozen=True)
class Varying:
    """An operation that depends on the indices of the loops around it; `make` gives it for their values."""

    make: Callable[[Mapping[str, Number]], tuple[Operation, ...]]


Leaf = Launch | Fill | Copy | Signal | Await | Check | Pause
Operation = Leaf | Loop | Varying


def walk(
    operations: tuple[Operation, ...],
    names: Mapping[str, Number],
    permutation: Permutation,
    prepare: Callable[[Leaf, Permutation], Call],
    rounds: list[int] | None = None,
) -> Generator[Call, bool | None, Permutation]:
    """Yield `prepare`'s result for every operation in order; returns the last permutation.

    After the call of a `Check` the generator has to be resumed by `send` with the answer. `rounds` counts the rounds
    done, by the number of a loop's `Until`.
    """
    state = _State(dict(names), [] if rounds is None else rounds)
    return _Walk(state, prepare).sequence(operations, permutation)


def exchanged(permutation: Permutation, swap: tuple[int, int] | None) -> Permutation:
    """The permutation after a swap of two buffers."""
    if swap is None:
        return permutation
    first, second = swap
    storages = list(permutation)
    storages[first], storages[second] = storages[second], storages[first]
    return tuple(storages)


def on_lane(operation: Operation, lane: int) -> Operation:
    """The same on another lane; its inside must be on one lane."""
    if lane == 0:
        return operation
    if isinstance(operation, Loop):
        until = operation.until
        if until is not None:
            until = replace(until, check=replace(until.check, lane=lane))
        return replace(operation, body=tuple(on_lane(inner, lane) for inner in operation.body), until=until)
    if isinstance(operation, Varying):
        make = operation.make
        return Varying(lambda names: tuple(on_lane(made, lane) for made in make(names)))
    return replace(operation, lane=lane)


@dataclass
class _State:
    """What all parts of a walk share."""

    environment: Environment
    rounds: list[int]
    #: Rounds since the last pause.
    since_pause: int = 0


class _Walk(Generic[Call]):
    def __init__(self, state: _State, prepare: Callable[[Leaf, Permutation], Call]) -> None:
        self.state = state
        self.prepare = prepare
        #: Calls of operations inside loops, by identity and permutation.
        self.prepared: dict[tuple[int, Permutation], Call] = {}

    def sequence(
        self, operations: tuple[Operation, ...], permutation: Permutation, repeated: bool = False
    ) -> Generator[Call, bool | None, Permutation]:
        for operation in operations:
            if isinstance(operation, Loop):
                permutation = yield from self.loop(operation, permutation)
            elif isinstance(operation, Varying):
                made = operation.make(self.state.environment)
                # A walk of its own: `made` lives for this round only, and the memory of identities must not outlive it.
                inner = _Walk(self.state, self.prepare)
                permutation = yield from inner.sequence(made, permutation)
            elif repeated:
                yield self.once(operation, permutation)
            else:
                yield self.prepare(operation, permutation)
        return permutation

    def once(self, operation: Leaf, permutation: Permutation) -> Call:
        key = (id(operation), permutation)
        if key not in self.prepared:
            self.prepared[key] = self.prepare(operation, permutation)
        return self.prepared[key]

    def loop(self, loop: Loop, permutation: Permutation) -> Generator[Call, bool | None, Permutation]:
        leaves = [operation for operation in loop.body if not isinstance(operation, (Loop, Varying))]
        plain = len(leaves) == len(loop.body)
        calls: dict[Permutation, list[Call]] = {}
        until = loop.until
        for index in range(loop.times):
            if plain:
                if permutation not in calls:
                    calls[permutation] = [self.once(operation, permutation) for operation in leaves]
                yield from calls[permutation]
            else:
                if loop.index is not None:
                    self.state.environment[loop.index] = index
                permutation = yield from self.sequence(loop.body, permutation, repeated=True)
            if not plain or not leaves:
                self.state.since_pause += 1
                if self.state.since_pause == PAUSE_ROUNDS:
                    self.state.since_pause = 0
                    yield self.prepare(Pause(), permutation)
            stop = None
            if until is not None:
                self.state.rounds[until.number] += 1
                if (index + 1) % until.every == 0:
                    stop = yield self.once(until.check, permutation)
            permutation = exchanged(permutation, loop.swap)
            if stop:
                break
        return permutation
