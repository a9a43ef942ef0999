"""The operations of a plan and the order in which a device gets them. Pure: no CUDA, no I/O, no clock.

Operations name buffers by number. What a number stands for, its storage, changes with `swap`: a permutation says
which storage each buffer has at that moment. `walk` yields one prepared call per operation, and prepares a call once
per permutation and not once per round, unless the operation depends on a loop's index.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from kaas.dtypes import Number

Extent = tuple[int, int, int]

#: Storage of each buffer, by number.
Permutation = tuple[int, ...]

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


@dataclass(frozen=True)
class Fill:
    """The first `size` bytes of a buffer become a repetition of `pattern` (1, 2, 4, 8 or 16 bytes)."""

    buffer: int
    pattern: bytes
    size: int


@dataclass(frozen=True)
class Copy:
    """The first `size` bytes of one buffer are copied to another."""

    source: int
    target: int
    size: int


@dataclass(frozen=True)
class Loop:
    """`body`, `times` over; after every round the buffers of `swap` exchange their storage."""

    times: int
    index: str | None
    swap: tuple[int, int] | None
    body: tuple[Operation, ...]


@dataclass(frozen=True)
class Varying:
    """An operation that depends on the indices of the loops around it; `make` gives it for their values."""

    make: Callable[[Mapping[str, Number]], tuple[Operation, ...]]


Operation = Launch | Fill | Copy | Loop | Varying
Leaf = Launch | Fill | Copy


def walk(
    operations: tuple[Operation, ...],
    names: Mapping[str, Number],
    permutation: Permutation,
    prepare: Callable[[Leaf, Permutation], Call],
) -> Generator[Call, None, Permutation]:
    """Yield `prepare`'s result for every operation in order; returns the last permutation."""
    return _Walk(dict(names), prepare).sequence(operations, permutation)


def exchanged(permutation: Permutation, swap: tuple[int, int] | None) -> Permutation:
    """The permutation after a swap of two buffers."""
    if swap is None:
        return permutation
    first, second = swap
    storages = list(permutation)
    storages[first], storages[second] = storages[second], storages[first]
    return tuple(storages)


class _Walk(Generic[Call]):
    def __init__(self, environment: Environment, prepare: Callable[[Leaf, Permutation], Call]) -> None:
        self.environment = environment
        self.prepare = prepare
        #: Calls of operations inside loops, by identity and permutation.
        self.prepared: dict[tuple[int, Permutation], Call] = {}

    def sequence(
        self, operations: tuple[Operation, ...], permutation: Permutation, repeated: bool = False
    ) -> Generator[Call, None, Permutation]:
        for operation in operations:
            if isinstance(operation, Loop):
                permutation = yield from self.loop(operation, permutation)
            elif isinstance(operation, Varying):
                made = operation.make(self.environment)
                # A walk of its own: `made` lives for this round only, and the memory of identities must not outlive it.
                permutation = yield from _Walk(self.environment, self.prepare).sequence(made, permutation)
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

    def loop(self, loop: Loop, permutation: Permutation) -> Generator[Call, None, Permutation]:
        leaves = [operation for operation in loop.body if not isinstance(operation, (Loop, Varying))]
        if len(leaves) == len(loop.body):
            rounds: dict[Permutation, list[Call]] = {}
            for _ in range(loop.times):
                if permutation not in rounds:
                    rounds[permutation] = [self.once(operation, permutation) for operation in leaves]
                yield from rounds[permutation]
                permutation = exchanged(permutation, loop.swap)
            return permutation
        for index in range(loop.times):
            if loop.index is not None:
                self.environment[loop.index] = index
            permutation = yield from self.sequence(loop.body, permutation, repeated=True)
            permutation = exchanged(permutation, loop.swap)
        return permutation
