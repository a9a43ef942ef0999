"""The order of operations, swaps, and that calls are prepared once per permutation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from kaas.dtypes import Number
from kaas_pool.operations import (
    PAUSE_ROUNDS,
    Check,
    Copy,
    Fill,
    Leaf,
    Loop,
    Operation,
    Pause,
    Permutation,
    Until,
    Varying,
    on_lane,
    walk,
)

START: Permutation = (0, 1, 2)


def copy(source: int, target: int) -> Copy:
    return Copy(source, target, 1)


class Recorder:
    """Prepares a call as (storage read, storage written) and counts how often it is asked to."""

    def __init__(self) -> None:
        self.prepared: Counter[tuple[Leaf, Permutation]] = Counter()

    def __call__(self, leaf: Leaf, permutation: Permutation) -> tuple[int, int]:
        self.prepared[leaf, permutation] += 1
        assert isinstance(leaf, Copy)
        return permutation[leaf.source], permutation[leaf.target]

    def run(self, *operations: Operation, **names: int) -> tuple[list[tuple[int, int]], Permutation]:
        end: list[Permutation] = []

        def whole() -> Iterator[tuple[int, int]]:
            end.append((yield from walk(operations, names, START, self)))

        return list(whole()), end[0]


def test_a_sequence_keeps_its_order() -> None:
    calls, permutation = Recorder().run(copy(0, 1), copy(1, 2))
    assert calls == [(0, 1), (1, 2)]
    assert permutation == START


def test_a_swap_follows_every_round_the_last_included_and_stays() -> None:
    recorder = Recorder()
    calls, permutation = recorder.run(Loop(3, None, (0, 1), (copy(0, 1),)), copy(0, 2))
    assert calls == [(0, 1), (1, 0), (0, 1), (1, 2)]
    assert permutation == (1, 0, 2)


def test_a_body_without_an_index_is_prepared_once_per_permutation() -> None:
    recorder = Recorder()
    recorder.run(Loop(1000, "k", (0, 1), (copy(0, 1), copy(1, 2))))
    assert len(recorder.prepared) == 4
    assert set(recorder.prepared.values()) == {1}


def test_a_static_loop_in_a_loop_is_prepared_once_per_permutation() -> None:
    recorder = Recorder()
    inner = Loop(3, None, (0, 1), (copy(0, 1),))
    calls, _ = recorder.run(Loop(10, None, (1, 2), (inner, copy(0, 2))))
    assert len(calls) == 40
    # Any loop visits at most the six orders of three storages.
    assert set(recorder.prepared.values()) == {1}
    assert len(recorder.prepared) <= 12


def test_an_operation_of_an_index_is_made_every_round_and_its_neighbours_are_not() -> None:
    recorder = Recorder()
    made: list[Mapping[str, Number]] = []

    def make(names: Mapping[str, Number]) -> tuple[Operation, ...]:
        made.append(dict(names))
        return (copy(int(names["k"]) % 3, 2),)

    calls, _ = recorder.run(Loop(4, "k", None, (copy(0, 1), Varying(make))), n=7)
    assert calls == [(0, 1), (0, 2), (0, 1), (1, 2), (0, 1), (2, 2), (0, 1), (0, 2)]
    assert made == [{"n": 7, "k": k} for k in range(4)]
    assert recorder.prepared[copy(0, 1), START] == 1


def test_a_loop_whose_length_depends_on_the_outer_index() -> None:
    def make(names: Mapping[str, Number]) -> tuple[Operation, ...]:
        return (Loop(int(names["i"]), None, (0, 1), (copy(0, 1),)),)

    calls, permutation = Recorder().run(Loop(4, "i", None, (Varying(make),)))
    assert calls == [(0, 1), (1, 0), (0, 1), (1, 0), (0, 1), (1, 0)]
    assert permutation == START


def test_a_skipped_operation_and_no_rounds_yield_nothing() -> None:
    calls, permutation = Recorder().run(Loop(2, "k", None, (Varying(lambda names: ()),)), Loop(0, None, (0, 1), ()))
    assert (calls, permutation) == ([], START)


def test_fills_are_prepared_like_all_others() -> None:
    steps = walk((Fill(1, b"\0", 4),), {}, START, lambda leaf, permutation: (leaf, permutation))
    assert list(steps) == [(Fill(1, b"\0", 4), START)]


class Elements:
    """Answers checks from a list, whatever they ask; remembers the calls and the storages that the checks looked at."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Leaf, Permutation]] = []

    def run(self, *operations: Operation, untils: int = 1) -> tuple[list[int], Permutation]:
        rounds = [0] * untils
        walked = walk(operations, {}, START, lambda leaf, permutation: (leaf, permutation), rounds)
        answer = None
        while True:
            try:
                call = walked.send(answer)
            except StopIteration as end:
                permutation: Permutation = end.value
                return rounds, permutation
            self.calls.append(call)
            answer = self.answers.pop(0) if isinstance(call[0], Check) else None

    @property
    def kinds(self) -> str:
        """`c` for a copy, `?` for a check."""
        return "".join("?" if isinstance(leaf, Check) else "c" for leaf, _ in self.calls)


def until(every: int = 1, number: int = 0, buffer: int = 0) -> Until:
    return Until(Check(buffer, "float32", 0.5), every, number)


def test_a_loop_ends_when_its_check_says_so_and_still_swaps() -> None:
    elements = Elements(False, False, True)
    rounds, permutation = elements.run(Loop(10, None, (0, 1), (copy(0, 1),), until()), copy(0, 2))
    assert (rounds, elements.kinds) == ([3], "c?c?c?c")
    # The element is read before the swap of its round; after three rounds the names stay exchanged.
    assert [permutation[0] for leaf, permutation in elements.calls if isinstance(leaf, Check)] == [0, 1, 0]
    assert permutation == (1, 0, 2)


def test_a_loop_that_no_check_ends_does_all_its_rounds() -> None:
    elements = Elements(False, False)
    rounds, _ = elements.run(Loop(7, "k", None, (copy(0, 1),), until(every=3)))
    assert (rounds, elements.kinds) == ([7], "ccc?ccc?c")


def test_a_check_that_never_comes_is_never_asked() -> None:
    elements = Elements()
    assert elements.run(Loop(4, None, None, (copy(0, 1),), until(every=5)))[0] == [4]
    assert elements.run(Loop(0, None, None, (copy(0, 1),), until()))[0] == [0]


def test_inner_loops_count_all_their_rounds_and_end_each_on_its_own() -> None:
    inner = Loop(5, None, None, (copy(0, 1),), until(number=1))
    outer = Loop(3, None, None, (inner, copy(1, 2)), until(number=0, buffer=2))
    # Two rounds inside, the outer goes on; one round inside, the outer ends.
    elements = Elements(False, True, False, True, True)
    rounds, _ = elements.run(outer, untils=2)
    assert (rounds, elements.kinds) == ([2, 3], "c?c?c?c?c?")


def test_loops_that_are_made_in_a_round_count_for_all_rounds() -> None:
    def make(names: Mapping[str, Number]) -> tuple[Operation, ...]:
        return (Loop(int(names["i"]) + 1, None, None, (copy(0, 1),), until()),)

    elements = Elements(False, True, False, True)
    assert elements.run(Loop(3, "i", None, (Varying(make),)))[0] == [1 + 1 + 2]


def test_rounds_without_operations_are_interrupted() -> None:
    empty = Loop(1000, "j", None, (Varying(lambda names: ()),))
    elements = Elements()
    elements.run(Loop(3 * PAUSE_ROUNDS, "k", None, (Varying(lambda names: ()),)))
    assert [leaf for leaf, _ in elements.calls] == [Pause()] * 3
    elements = Elements()
    elements.run(Loop(10, "i", None, (empty, Varying(lambda names: (empty,)))))
    assert [leaf for leaf, _ in elements.calls] == [Pause()] * (10 * 2001 // PAUSE_ROUNDS)
    elements = Elements()
    rounds, _ = elements.run(Loop(PAUSE_ROUNDS, None, None, (), until(every=PAUSE_ROUNDS + 1)))
    assert (rounds, [leaf for leaf, _ in elements.calls]) == ([PAUSE_ROUNDS], [Pause()])
    # Rounds of plain operations are counted by these.
    elements = Elements()
    elements.run(Loop(2 * PAUSE_ROUNDS, None, None, (copy(0, 1),)))
    assert len(elements.calls) == 2 * PAUSE_ROUNDS


def test_an_operation_goes_to_a_lane_with_all_that_is_in_it() -> None:
    loop = Loop(2, "k", (0, 1), (copy(0, 1), Varying(lambda names: (copy(1, 2),))), until())
    elements = Elements(False, False)
    elements.run(on_lane(loop, 3))
    assert {leaf.lane for leaf, _ in elements.calls} == {3}
    assert on_lane(loop, 0) is loop


bodies = st.recursive(
    st.tuples(st.integers(0, 2), st.integers(0, 2)).map(lambda pair: copy(*pair)),
    lambda inner: st.builds(
        Loop,
        st.integers(0, 4),
        st.none(),
        st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=6,
)


def unrolled(operations: tuple[Operation, ...], storages: list[int]) -> list[tuple[int, int]]:
    """What the manifest's words say, in the plainest way."""
    calls = []
    for operation in operations:
        if isinstance(operation, Copy):
            calls.append((storages[operation.source], storages[operation.target]))
        elif isinstance(operation, Loop):
            for _ in range(operation.times):
                calls += unrolled(operation.body, storages)
                if operation.swap:
                    first, second = operation.swap
                    storages[first], storages[second] = storages[second], storages[first]
    return calls


@given(st.lists(bodies, max_size=4).map(tuple))
def test_any_nesting_equals_the_unrolled_program(operations: tuple[Operation, ...]) -> None:
    storages = list(START)
    expected = unrolled(operations, storages)
    assert Recorder().run(*operations) == (expected, tuple(storages))
