"""Operations on several lanes mean what they mean one after the other, and a chain stays on one."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from kaas_pool.branches import LANES, SMALL_BYTES, Node, assign, lanes_of
from kaas_pool.operations import Await, Copy, Fill, Launch, Loop, Operation, Signal, walk

STORAGES = 5


def launch(number: int) -> Launch:
    """A launch that is told from others by its number."""
    return Launch(number, (1, 1, 1), (1, 1, 1), 0, b"", (), "")


def node(number: int, reads: str = "", writes: str = "") -> Node:
    """A launch that reads and writes these storages, by digit."""
    return Node((launch(number),), frozenset(map(int, reads)), frozenset(map(int, writes)))


def placed(*nodes: Node) -> tuple[Operation, ...]:
    numbers = count()
    return assign(nodes, lambda: next(numbers))


def lanes(operations: tuple[Operation, ...]) -> dict[int, int]:
    """The lane of each launch, by number."""
    return {one.kernel: one.lane for one in operations if isinstance(one, Launch)}


def signals(operations: tuple[Operation, ...]) -> int:
    return sum(isinstance(one, (Signal, Await)) for one in operations)


def test_a_chain_is_left_as_it_is() -> None:
    chain = [node(0, "0", "1"), node(1, "1", "2"), node(2, "02", "3"), node(3, "3", "3")]
    assert placed(*chain) == tuple(one.operations[0] for one in chain)


def test_readers_of_one_storage_run_beside_each_other_and_join() -> None:
    operations = placed(node(0, "0", "1"), node(1, "0", "2"), node(2, "12", "3"))
    assert lanes(operations) == {0: 0, 1: 1, 2: 0}
    assert lanes_of(operations) == 2
    # The beginning for the second lane, and its end for the first.
    assert signals(operations) == 4


def test_what_overwrites_waits_for_who_reads() -> None:
    operations = placed(node(0, "0", "1"), node(1, "0", "2"), node(2, "", "0"))
    second = lanes(operations)[2]
    other = next(lane for number, lane in lanes(operations).items() if number < 2 and lane != second)
    at = operations.index(next(one for one in operations if isinstance(one, Launch) and one.kernel == 2))
    awaited = {one.number for one in operations[:at] if isinstance(one, Await) and one.lane == second}
    assert any(isinstance(one, Signal) and one.lane == other and one.number in awaited for one in operations[:at])


def test_no_more_lanes_than_there_are() -> None:
    operations = placed(*(node(number, "", str(number)) for number in range(10)))
    assert set(lanes(operations).values()) == set(range(LANES))


def test_a_small_fill_goes_with_who_needs_it() -> None:
    fill = Node((Fill(1, b"\0", SMALL_BYTES),), frozenset(), frozenset({1}))
    chain = [node(0, "0", "2"), fill, node(1, "12", "3")]
    assert lanes_of(placed(*chain)) == 1
    operations = placed(node(0, "0", "2"), fill, node(1, "0", "1"))
    moved = next(one for one in operations if isinstance(one, Fill))
    assert moved.lane == lanes(operations)[1] != lanes(operations)[0]
    large = Node((Fill(1, b"\0", SMALL_BYTES + 1),), frozenset(), frozenset({1}))
    assert lanes_of(placed(node(0, "0", "2"), large)) == 2


def test_a_loop_with_lanes_of_its_own_runs_with_nothing_beside_it() -> None:
    body = placed(node(1, "0", "1"), node(2, "0", "2"))
    loop = Node((Loop(2, None, None, body),), frozenset({0}), frozenset({1, 2}))
    operations = placed(node(0, "", "3"), loop, node(3, "", "4"))
    assert lanes(operations) == {0: 0, 3: 0}
    plain = Node((Loop(2, None, None, (launch(9),)),), frozenset({0}), frozenset({1}))
    assert lanes_of(placed(node(0, "", "3"), plain)) == 2


nodes = st.lists(
    st.tuples(
        st.frozensets(st.integers(0, STORAGES - 1), max_size=2),
        st.frozensets(st.integers(0, STORAGES - 1), max_size=2),
        st.sampled_from(["launch", "small", "loop"]),
    ),
    max_size=10,
)


@given(nodes, st.integers(1, 3), st.data())
def test_any_order_that_the_signals_allow_gives_the_same_contents(
    parts: list[tuple[frozenset[int], frozenset[int], str]], times: int, data: st.DataObject
) -> None:
    access: dict[int, tuple[frozenset[int], frozenset[int]]] = {}
    given_nodes: list[Node] = []
    for number, (reads, writes, kind) in enumerate(parts):
        access[number] = reads, writes
        operation: Operation = launch(number)
        if kind == "small":
            operation = Copy(number, number, 0)
        elif kind == "loop":
            operation = Loop(2, None, None, (launch(number),))
        given_nodes.append(Node((operation,), reads, writes))
    body = placed(*given_nodes)
    whole: tuple[Operation, ...] = (Loop(times, None, None, body), launch(len(parts)))
    everything = frozenset(range(STORAGES))
    access[len(parts)] = everything, frozenset({0})

    def contents(operations: tuple[Operation, ...], *, in_order: bool) -> list[int]:
        """A lane's queue is worked off from its front; a signal counts from its place in its own queue on."""
        queues: list[list[tuple[str, int]]] = [[] for _ in range(LANES)]
        recorded: dict[int, int] = {}
        for records, call in enumerate(walk(operations, {}, (), lambda leaf, _: leaf)):
            lane = 0 if in_order else call.lane
            if isinstance(call, Signal):
                recorded[call.number] = records
                queues[lane].append(("signal", records))
            elif isinstance(call, Await):
                queues[lane].append(("await", recorded[call.number]))
            else:
                assert isinstance(call, (Launch, Copy))
                queues[lane].append(("do", call.kernel if isinstance(call, Launch) else call.source))
        storages, done = list(range(STORAGES)), set[int]()
        while any(queues):
            ready = [queue for queue in queues if queue and (queue[0][0] != "await" or queue[0][1] in done)]
            queue = ready[0] if in_order else data.draw(st.sampled_from(ready))
            kind, number = queue.pop(0)
            if kind == "signal":
                done.add(number)
            elif kind == "do":
                reads, writes = access[number]
                value = hash((number, *(storages[one] for one in sorted(reads))))
                for one in writes:
                    storages[one] = value
        return storages

    plain: tuple[Operation, ...] = tuple(one for each in given_nodes for one in each.operations)
    expected = contents((Loop(times, None, None, plain), launch(len(parts))), in_order=True)
    assert contents(whole, in_order=False) == expected


@given(nodes)
def test_the_beginning_and_the_end_are_on_the_first_lane(
    parts: list[tuple[frozenset[int], frozenset[int], str]],
) -> None:
    operations = placed(*(Node((launch(at),), reads, writes) for at, (reads, writes, _) in enumerate(parts)))
    known: list[set[int]] = [set() for _ in range(LANES)]
    signalled: dict[int, set[int]] = {}
    started: set[int] = {0}
    for one in operations:
        if isinstance(one, Signal):
            signalled[one.number] = set(known[one.lane])
        elif isinstance(one, Await):
            known[one.lane] |= signalled[one.number]
            started.add(one.lane)
        elif isinstance(one, Launch):
            assert one.lane in started, "a lane begins before it has waited for the first one"
            known[one.lane].add(one.kernel)
    assert known[0] == set(range(len(parts)))
