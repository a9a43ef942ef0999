"""Temporaries that share memory: never two that are live at once, and never another result than without sharing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from plan_cases import binding_of, manifest_of, signatures_of

from kaas.manifest import Manifest
from kaas_pool import workspace
from kaas_pool.branches import LANES
from kaas_pool.limits import Limits
from kaas_pool.operations import Await, Copy, Fill, Launch, Leaf, Permutation, Signal, walk
from kaas_pool.plan import Plan
from kaas_pool.workspace import (
    APART_BYTES,
    WORKSPACE,
    Workspace,
    arrange,
    charge,
    device_bytes,
    own_memory,
    place,
    spans,
    swapped,
)

MIB = 1 << 20

#: Two kinds of temporaries, of n and of 3n elements.
SMALL, LARGE = ["s0", "s1", "s2", "s3"], ["l0", "l1", "l2"]
HEAD = """
kaas: 1
name: test
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n], zero: true}
"""


def manifest(graph: str, zeroed: frozenset[str] = frozenset()) -> Manifest:
    temporaries = "".join(
        f"  {name}: {{io: temp, dtype: float32, shape: [{'n' if name in SMALL else '3 * n'}]"
        f"{', zero: true' if name in zeroed else ''}}}\n"
        for name in [*SMALL, *LARGE]
    )
    return manifest_of(graph, f"{HEAD}{temporaries}graph:\n")


def sizes_of(one: Manifest, n: int) -> dict[str, int]:
    return {name: 4 * n * (3 if name in LARGE else 1) for name in one.buffers}


def copies(*pairs: str) -> str:
    """A graph of copies, `from to`."""
    return "".join("  - copy: {{from: {}, to: {}}}\n".format(*pair.split()) for pair in pairs)


def test_what_is_not_live_together_shares_a_place() -> None:
    one = manifest(copies("x s0", "s0 s1", "s1 s2", "s2 z"))
    assert spans(one) == {"s0": (0, 1), "s1": (1, 2), "s2": (2, 3)}
    found = arrange(one, sizes_of(one, MIB))
    assert found.bytes == 8 * MIB
    assert found.offsets["s0"] == found.offsets["s2"] != found.offsets["s1"]


def test_what_is_little_lies_side_by_side() -> None:
    one = manifest(copies("x s0", "s0 s1", "s1 s2", "s2 z"))
    n = APART_BYTES // 3 // 256 * 256 // 4
    assert arrange(one, sizes_of(one, n)).bytes == 3 * charge(4 * n)
    assert arrange(one, sizes_of(one, n + 256)).bytes == 2 * charge(4 * (n + 256))


def test_a_loop_counts_as_a_whole() -> None:
    loop = "  - repeat: {times: 2, steps: [{copy: {from: x, to: s0}}, {copy: {from: s0, to: s1}}]}\n"
    one = manifest(f"{copies('x s2')}{loop}{copies('s1 s3')}")
    assert spans(one) == {"s0": (1, 1), "s1": (1, 2), "s2": (0, 0), "s3": (2, 2)}


def test_what_is_exchanged_is_live_together_and_what_is_exchanged_with_a_result_lies_apart() -> None:
    def swap(first: str, second: str) -> str:
        return (
            f"  - repeat: {{times: 3, swap: [{first}, {second}], steps: [{{fill: {{buffer: {first}, value: 1}}}}]}}\n"
        )

    one = manifest(copies("x s0") + swap("s0", "s1") + swap("s1", "s2") + copies("s2 z", "x s3"))
    assert swapped(one)["s0"] == {"s0", "s1", "s2"}
    assert spans(one) == {"s0": (0, 3), "s1": (0, 3), "s2": (0, 3), "s3": (4, 4)}
    one = manifest(copies("x s0") + swap("s0", "z") + swap("s1", "s0") + copies("x s3"))
    assert spans(one) == {"s3": (3, 3)}
    assert set(own_memory(one, sizes_of(one, 64), frozenset()).blocks) == {"z", "s0", "s1", WORKSPACE}


def test_memory_is_counted_with_inputs_copies_and_places() -> None:
    one = manifest(copies("x s0", "s0 s1", "s1 s2", "s2 z"))
    sizes = sizes_of(one, MIB)
    assert device_bytes(one, sizes, frozenset()) == (2 + 1 + 2) * 4 * MIB
    assert device_bytes(one, sizes, frozenset({"x"})) == (2 + 1 + 1 + 2) * 4 * MIB


def test_temporaries_of_a_device_that_checks_have_blocks_of_their_own() -> None:
    one = manifest(copies("x s0", "s0 s1", "s1 s2", "s2 z"))
    sizes = sizes_of(one, 64)
    memory = own_memory(one, sizes, frozenset(), apart=True)
    assert memory.blocks == dict.fromkeys(("s0", "s1", "s2", "z"), 256)
    assert memory.workspace == Workspace({}, 0)
    assert device_bytes(one, sizes_of(one, MIB), frozenset(), apart=True) == (2 + 1 + 3) * 4 * MIB


items = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20)).map(
        lambda item: ((min(item[:2]), max(item[:2])), 256 * item[2])
    ),
    max_size=12,
)


@given(items)
def test_no_two_that_are_live_together_overlap(parts: list[tuple[tuple[int, int], int]]) -> None:
    live = {f"t{at}": span for at, (span, _) in enumerate(parts)}
    sizes = {f"t{at}": size for at, (_, size) in enumerate(parts)}
    found = place(live, sizes)
    for one in live:
        for other in live:
            together = one < other and live[one][0] <= live[other][1] and live[other][0] <= live[one][1]
            first, second = found.offsets[one], found.offsets[other]
            assert not together or first + sizes[one] <= second or second + sizes[other] <= first
    at_once = [sum(sizes[one] for one in live if live[one][0] <= step <= live[one][1]) for step in range(10)]
    assert max(at_once) <= found.bytes <= sum(sizes.values())
    assert all(offset % 256 == 0 for offset in found.offsets.values())


# Whole graphs, run by a small machine.

Words = npt.NDArray[np.uint32]


class Machine:
    """Runs a plan over one flat memory: each lane in order, the lanes in any order that the signals allow."""

    def __init__(self, plan: Plan, sharing: bool, seed: int) -> None:
        self.plan, self.random = plan, random.Random(seed)
        self.addresses: dict[str, int] = {}
        end = 0
        for name, size in zip(plan.buffers, plan.sizes, strict=True):
            if sharing and name in plan.memory.workspace.offsets:
                continue
            self.addresses[name] = end
            end += charge(size)
        if sharing:
            for name, offset in plan.memory.workspace.offsets.items():
                self.addresses[name] = end + offset
            end += plan.memory.workspace.bytes
        # What is undefined at the start differs from run to run.
        self.memory = np.random.default_rng(seed).integers(0, 1 << 32, end // 4, dtype=np.uint32)
        for at, name in enumerate(("x", "y")):
            words = self.words(self.addresses[name], plan.size_of(name))
            words[:] = np.arange(len(words)) * (at + 3)
        for name in plan.zeroed if sharing else [name for name in plan.buffers if name not in plan.inputs]:
            self.words(self.addresses[name], plan.size_of(name))[:] = 0

    def words(self, address: int, size: int) -> Words:
        return self.memory[address // 4 : (address + size) // 4]

    def run(self) -> Words:
        """The contents of `z`."""
        queues: list[list[tuple[Leaf, Permutation, int]]] = [[] for _ in range(LANES)]
        marked: dict[int, int] = {}
        start = tuple(range(len(self.plan.buffers)))
        calls = walk(self.plan.operations, self.plan.names, start, lambda leaf, permutation: (leaf, permutation))
        ends: list[Permutation] = []

        def whole() -> Iterator[tuple[Leaf, Permutation]]:
            ends.append((yield from calls))

        for at, (leaf, permutation) in enumerate(whole()):
            if isinstance(leaf, Signal):
                marked[leaf.number] = at
            queues[leaf.lane].append((leaf, permutation, marked[leaf.number] if isinstance(leaf, Await) else at))
        done: set[int] = set()
        while any(queues):
            ready = [q for q in queues if q and (not isinstance(q[0][0], Await) or q[0][2] in done)]
            leaf, permutation, number = self.random.choice(ready).pop(0)
            done.add(number)
            self.do(leaf, permutation)
        z = self.plan.buffers[ends[0][self.plan.buffers.index("z")]]
        return self.words(self.addresses[z], self.plan.size_of("z"))

    def do(self, leaf: Leaf, permutation: Permutation) -> None:
        def words(buffer: int, size: int) -> Words:
            return self.words(self.addresses[self.plan.buffers[permutation[buffer]]], size)

        if isinstance(leaf, Fill):
            words(leaf.buffer, leaf.size)[:] = int.from_bytes(leaf.pattern.ljust(4, b"\0"), "little")
        elif isinstance(leaf, Copy):
            words(leaf.target, leaf.size)[:] = words(leaf.source, leaf.size)
        elif isinstance(leaf, Launch):
            (_, source, _), (_, target, _) = leaf.pointers
            read, written = words(source, self.plan.size_of("z")), words(target, self.plan.size_of("z"))
            written[:] = written * np.uint32(5) + read + np.uint32(1)


names = st.sampled_from([*SMALL, *LARGE])
step_texts = st.one_of(
    st.tuples(st.sampled_from(["x", "y", *SMALL, *LARGE]), st.sampled_from(["x", "z", *SMALL, *LARGE])).map(
        lambda pair: (
            "{{kernel: axpy, source: a.cu, grid: [1], block: [1], args: [float32(1), {}, {}, int32(n)]}}".format(*pair)
        )
    ),
    st.tuples(names, st.integers(0, 9)).map(lambda pair: "{{fill: {{buffer: {}, value: {}}}}}".format(*pair)),
    st.permutations(SMALL).map(lambda order: f"{{copy: {{from: {order[0]}, to: {order[1]}}}}}"),
    st.permutations(LARGE).map(lambda order: f"{{copy: {{from: {order[0]}, to: {order[1]}}}}}"),
    names.filter(SMALL.__contains__).map(lambda name: f"{{copy: {{from: {name}, to: z}}}}"),
)
swaps = st.one_of(
    st.just(""),
    st.permutations(SMALL).map(lambda order: f"swap: [{order[0]}, {order[1]}], "),
    st.sampled_from(SMALL).map(lambda name: f"swap: [{name}, z], "),
    st.permutations(LARGE).map(lambda order: f"swap: [{order[0]}, {order[1]}], "),
)
loops = st.builds(
    lambda times, swap, body: f"{{repeat: {{times: {times}, {swap}steps: [{', '.join(body)}]}}}}",
    st.integers(0, 3),
    swaps,
    st.lists(step_texts, min_size=1, max_size=2),
)
graphs = st.lists(st.one_of(step_texts, loops), min_size=1, max_size=12)


@given(graphs, st.frozensets(names), st.integers(0, 1000))
def test_any_graph_gives_the_same_with_sharing_as_without(steps: list[str], zeroed: frozenset[str], seed: int) -> None:
    # What is not zero before its first step is given contents there, as a program that is right would.
    one = manifest("".join(f"  - {step}\n" for step in steps), zeroed)
    filled: list[str] = []
    known: set[str] = set()
    for at, step in enumerate(steps):
        first = [name for name, span in _first_steps(one).items() if span == at and name not in zeroed | known]
        filled += [f"{{fill: {{buffer: {name}, value: 0}}}}" for name in first]
        known.update(first)
        filled.append(step)
    one = manifest("".join(f"  - {step}\n" for step in filled), zeroed)
    binding = binding_of(one, {"x": (64,), "y": (64,)})
    with patch.object(workspace, "APART_BYTES", 0):
        plan = Plan.build(one, binding, signatures_of(one), Limits())
    with patch.object(workspace, "APART_BYTES", 1 << 40):
        apart = Plan.build(one, binding, signatures_of(one), Limits())
    expected = Machine(apart, False, 0).run()
    np.testing.assert_array_equal(Machine(plan, True, seed).run(), expected)
    np.testing.assert_array_equal(Machine(apart, True, seed).run(), expected)
    checked = Plan.build(one, binding, signatures_of(one), Limits(apart=True))
    np.testing.assert_array_equal(Machine(checked, True, seed).run(), expected)
    assert plan.device_bytes <= apart.device_bytes
    sizes = {name: buffer.nbytes for name, buffer in binding.buffers.items()}
    with patch.object(workspace, "APART_BYTES", 0):
        assert plan.device_bytes == device_bytes(one, sizes, plan.private)


def _first_steps(one: Manifest) -> Mapping[str, int]:
    """The first outermost step that names each temporary."""
    return {name: span[0] for name, span in workspace._used(one).items() if name in SMALL or name in LARGE}
