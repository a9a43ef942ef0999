"""Puts the operations of a sequence that share no data on several lanes, and orders those that do. Pure.

A node follows another if one of them writes what the other touches. It goes on the lane whose last node it follows, so
that a chain stays on lane 0 and costs nothing; else on a lane that is idle by then; else on the shortest. Across lanes
it awaits what it follows, unless what it awaits anyway, or what is before it on its lane, has done so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kaas_pool.operations import Await, Copy, Fill, Loop, Operation, Signal, on_lane

#: Streams of one invocation: more than a few small kernels at a time gain little, and a device has few queues.
LANES = 4

#: A fill or copy of at most so many bytes takes the device about as long as a signal does: it goes with a neighbour.
SMALL_BYTES = 1 << 20

_BEGINNING = -1


@dataclass(frozen=True)
class Node:
    """Operations that stay together, and what they read and write: numbers of which equal ones share storage."""

    operations: tuple[Operation, ...]
    reads: frozenset[int]
    writes: frozenset[int]

    @property
    def is_small(self) -> bool:
        """Whether it is not worth a lane."""
        return all(isinstance(one, (Fill, Copy)) and one.size <= SMALL_BYTES for one in self.operations)

    @property
    def is_alone(self) -> bool:
        """Whether it uses several lanes itself: then nothing runs beside it, and it is on lane 0."""
        return uses_lanes(self.operations)

    def then(self, later: Node) -> Node:
        """Both as one."""
        return Node(self.operations + later.operations, self.reads | later.reads, self.writes | later.writes)

    def follows(self, earlier: Node) -> bool:
        """Whether `earlier` has to end before this begins."""
        return not (self.writes.isdisjoint(earlier.reads | earlier.writes) and self.reads.isdisjoint(earlier.writes))


def uses_lanes(operations: Sequence[Operation]) -> bool:
    """Whether the operations, or those inside loops, are on several lanes."""
    return any(isinstance(one, Signal) or (isinstance(one, Loop) and uses_lanes(one.body)) for one in operations)


def lanes_of(operations: Sequence[Operation]) -> int:
    """How many lanes the operations are on."""
    numbers = [one.lane for one in operations if isinstance(one, Await)]
    inner = [lanes_of(one.body) for one in operations if isinstance(one, Loop)]
    return max((1, *(number + 1 for number in numbers), *inner))


def assign(nodes: Sequence[Node], number: Callable[[], int]) -> tuple[Operation, ...]:
    """The nodes' operations on lanes, with the signals between them; `number` gives a new signal's number.

    They begin and end with all lanes at lane 0's point.
    """
    placed = _Assignment(_gathered(nodes)).operations(number)
    return placed if placed is not None else tuple(one for node in nodes for one in node.operations)


def _gathered(nodes: Sequence[Node]) -> list[Node]:
    """Every small node moves to the first that follows it, or to the end."""
    gathered: list[Node] = []
    waiting: dict[int, Node] = {}
    #: Small nodes that wait, by what they touch.
    touching: dict[int, set[int]] = {}
    for at, node in enumerate(nodes):
        merged = node
        near = set[int]().union(*(touching.get(one, ()) for one in node.reads | node.writes))
        for earlier in sorted((one for one in near if one in waiting and node.follows(waiting[one])), reverse=True):
            merged = waiting.pop(earlier).then(merged)
        if merged.is_small:
            waiting[at] = merged
            for one in merged.reads | merged.writes:
                touching.setdefault(one, set()).add(at)
        else:
            gathered.append(merged)
    last = gathered.pop() if gathered else None
    for small in waiting.values():
        last = small if last is None else last.then(small)
    return gathered if last is None else [*gathered, last]


@dataclass
class _Lane:
    nodes: int = 0
    #: The last node.
    last: int = _BEGINNING
    #: For each lane, up to which of its nodes all is done where this lane stands.
    seen: list[int] = field(default_factory=lambda: [_BEGINNING] * LANES)


class _Assignment:
    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.lanes = [_Lane() for _ in range(LANES)]
        #: Of each node: its lane, what has been seen at its end, and what it awaits.
        self.lane_of: list[int] = []
        self.seen_by: list[list[int]] = []
        self.awaits: list[list[int]] = []
        #: By storage: the last node that writes it, and those that read it since.
        self.writer: dict[int, int] = {}
        self.readers: dict[int, list[int]] = {}
        #: The last node that nothing ran beside.
        self.alone = _BEGINNING
        for at, node in enumerate(nodes):
            self._add(at, node)

    def _add(self, at: int, node: Node) -> None:
        before = self._followed(node)
        lane_number = 0 if node.is_alone else self._choose(before)
        lane = self.lanes[lane_number]
        seen, awaited = lane.seen, list[int]()
        # The latest first: what it has seen need not be awaited too.
        for earlier in reversed(before):
            if earlier > seen[self.lane_of[earlier]]:
                awaited.append(earlier)
                seen = _both(seen, self.seen_by[earlier])
        if lane.last == _BEGINNING and lane_number != 0 and not awaited:
            awaited.append(_BEGINNING)
        lane.last, lane.nodes, lane.seen = at, lane.nodes + 1, [*seen]
        lane.seen[lane_number] = at
        self.lane_of.append(lane_number)
        self.seen_by.append(lane.seen)
        self.awaits.append(awaited)
        if node.is_alone:
            self.alone = at
        for one in node.reads:
            self.readers.setdefault(one, []).append(at)
        for one in node.writes:
            self.writer[one] = at
            self.readers[one] = []

    def _followed(self, node: Node) -> list[int]:
        """The nodes that it follows; those that these follow may be left out."""
        if node.is_alone:
            return sorted(lane.last for lane in self.lanes if lane.nodes)
        before = {self.writer[one] for one in node.reads | node.writes if one in self.writer}
        before.update(reader for one in node.writes for reader in self.readers.get(one, ()))
        if self.alone != _BEGINNING:
            before.add(self.alone)
        return sorted(before)

    def _choose(self, before: list[int]) -> int:
        """The lane for a node that follows `before`."""
        ended = [number for number, lane in enumerate(self.lanes) if lane.nodes and lane.last in before]
        if ended:
            # The first, where all lanes are joined in the end.
            return ended[0]
        known = [_BEGINNING] * LANES
        for earlier in before:
            known = _both(known, self.seen_by[earlier])
        idle = [number for number, lane in enumerate(self.lanes) if lane.last <= known[number]]
        return idle[0] if idle else min(range(LANES), key=lambda number: self.lanes[number].nodes)

    def operations(self, number: Callable[[], int]) -> tuple[Operation, ...] | None:
        """None if one lane is enough."""
        if not any(self.lane_of):
            return None
        joined = self.lanes[0].seen
        ends = [lane.last for at, lane in enumerate(self.lanes) if lane.last > joined[at]]
        awaited = {earlier for waits in self.awaits for earlier in waits}.union(ends)
        numbers = {earlier: number() for earlier in sorted(awaited)}
        placed: list[Operation] = []
        if _BEGINNING in numbers:
            placed.append(Signal(numbers[_BEGINNING], 0))
        for at, node in enumerate(self.nodes):
            lane = self.lane_of[at]
            placed += [Await(numbers[earlier], lane) for earlier in self.awaits[at]]
            placed += [on_lane(operation, lane) for operation in node.operations]
            if at in numbers:
                placed.append(Signal(numbers[at], lane))
        placed += [Await(numbers[end], 0) for end in ends]
        return tuple(placed)


def _both(one: list[int], other: list[int]) -> list[int]:
    return [max(pair) for pair in zip(one, other, strict=True)]
