"""From a manifest and a binding to operations: extents, argument layouts, loops, private copies, memory."""

from __future__ import annotations

import struct

import pytest
from plan_cases import HEAD, binding_of, calls_of, manifest_of, plan_of, signatures_of

from kaas.errors import KaasError
from kaas_pool.limits import Limits
from kaas_pool.operations import Copy, Fill, Launch, Loop, Varying
from kaas_pool.plan import Plan, PlanCache, private_copies
from kaas_pool.workspace import charge

AXPY = "  - {kernel: axpy, source: a.cu, threads: [n], block: [256], args: [a, x, z, int32(n)]}\n"


def launch_of(plan: Plan) -> Launch:
    (operation,) = plan.operations
    assert isinstance(operation, Launch)
    return operation


def test_threads_are_rounded_up_to_whole_blocks() -> None:
    launch = launch_of(plan_of(AXPY, n=1000))
    assert (launch.grid, launch.block, launch.shared) == ((4, 1, 1), (256, 1, 1), 0)


def test_a_grid_is_taken_as_it_is_and_missing_extents_are_one() -> None:
    graph = (
        '  - {kernel: nothing, source: a.cu, grid: ["ceil_div(n, 100)", 2], block: [8, 4, 2], shared: n * 4, args: []}'
    )
    launch = launch_of(plan_of(graph))
    assert (launch.grid, launch.block, launch.shared) == ((10, 2, 1), (8, 4, 2), 4000)


@pytest.mark.parametrize("extents", ["threads: [n, 0]", "grid: [n - n]", "threads: [0 * n]"])
def test_a_launch_with_a_zero_extent_is_skipped(extents: str) -> None:
    graph = f"  - {{kernel: nothing, source: a.cu, {extents}, block: [8], args: []}}"
    assert plan_of(graph).operations == ()


def test_a_zero_block_is_skipped_and_divides_nothing() -> None:
    graph = "  - {kernel: nothing, source: a.cu, threads: [n], block: [n - n], args: []}"
    assert plan_of(graph).operations == ()


def test_arguments_lie_at_their_natural_alignment() -> None:
    graph = (
        "  - kernel: mixed\n    source: a.cu\n    grid: [1]\n    block: [1]\n"
        '    args: [int8(-1), float64(0.5), int16(7), {buffer: z, offset: "n * 4 - 4"}, bool(1), uint64(2**63)]\n'
    )
    plan = plan_of(graph)
    launch = launch_of(plan)
    expected = struct.pack("<b7xdh6xQ?7xQ", -1, 0.5, 7, 0, True, 2**63)
    assert launch.block_of_arguments == expected
    assert launch.pointers == ((24, plan.buffers.index("z"), 3996),)


def test_complex_numbers_are_aligned_as_a_whole() -> None:
    head = HEAD.replace("a: {type: float32, default: 2}", "a: {type: complex64, default: [1, 2]}").replace(
        "k: {type: int32, default: 3}", "k: {type: complex128, default: 3}"
    )
    graph = "  - {kernel: pair, source: a.cu, grid: [1], block: [1], args: [a, k, x]}"
    launch = launch_of(plan_of(graph, head=head))
    assert launch.block_of_arguments == struct.pack("<ff8xddQ", 1, 2, 3, 0, 0)


def test_null_is_a_null_pointer() -> None:
    graph = "  - {kernel: axpy, source: a.cu, grid: [1], block: [1], args: [a, null, z, int32(1)]}"
    plan = plan_of(graph)
    launch = launch_of(plan)
    assert launch.pointers == ((16, plan.buffers.index("z"), 0),)
    assert launch.block_of_arguments[8:16] == bytes(8)


def test_fill_and_copy_have_sizes_and_patterns() -> None:
    plan = plan_of("  - fill: {buffer: t, value: k + 0.5}\n  - copy: {from: x, to: t}\n")
    x, t = plan.buffers.index("x"), plan.buffers.index("t")
    assert plan.operations == (Fill(t, struct.pack("<f", 3.5), 4000), Copy(x, t, 4000))


def test_empty_buffers_are_neither_filled_nor_copied() -> None:
    assert plan_of("  - fill: {buffer: t, value: 0}\n  - copy: {from: x, to: t}\n", n=0).operations == ()


REPEAT = """
  - repeat:
      times: k
      as: i
      swap: [z, t]
      steps:
        - {kernel: average, source: a.cu, threads: [n], block: [64], args: [t, z, int32(n), int32(LAST)]}
"""


def test_a_body_without_the_index_is_static() -> None:
    plan = plan_of(REPEAT.replace("LAST", "7"))
    (loop,) = plan.operations
    assert isinstance(loop, Loop)
    assert (loop.times, loop.swap) == (3, (plan.buffers.index("z"), plan.buffers.index("t")))
    assert [type(operation) for operation in loop.body] == [Launch]


def test_a_body_with_the_index_is_made_for_every_round() -> None:
    plan = plan_of(REPEAT.replace("LAST", "i * 10"))
    (loop,) = plan.operations
    assert isinstance(loop, Loop)
    assert [type(operation) for operation in loop.body] == [Varying]
    launches = [leaf for leaf, _ in calls_of(plan)]
    assert all(isinstance(leaf, Launch) for leaf in launches)
    last = [struct.unpack_from("<i", leaf.block_of_arguments, 20)[0] for leaf in launches if isinstance(leaf, Launch)]
    assert last == [0, 10, 20]
    # The storages that the pointers mean are exchanged after every round.
    z, t = plan.buffers.index("z"), plan.buffers.index("t")
    assert [permutation[z] for _, permutation in calls_of(plan)] == [z, t, z]


def test_inner_loops_may_depend_on_outer_indices() -> None:
    graph = """
  - repeat:
      times: 3
      as: i
      steps:
        - repeat:
            times: i
            as: j
            steps:
              - {kernel: average, source: a.cu, threads: [n - j], block: [64], args: [x, z, int32(i), int32(j)]}
"""
    leaves = [leaf for leaf, _ in calls_of(plan_of(graph))]
    pairs = [struct.unpack_from("<ii", leaf.block_of_arguments, 16) for leaf in leaves if isinstance(leaf, Launch)]
    assert pairs == [(1, 0), (2, 0), (2, 1)]


def test_no_rounds_are_no_operations() -> None:
    assert plan_of(REPEAT.replace("LAST", "7"), k=0).operations == ()


def test_a_loop_that_only_swaps_still_swaps() -> None:
    graph = """
  - repeat: {times: 3, swap: [z, t], steps: [{kernel: nothing, source: a.cu, grid: [0], block: [1], args: []}]}
"""
    plan = plan_of(graph)
    assert len(plan.operations) == 1
    assert calls_of(plan) == []


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("grid: [1], block: [n + 1048]", "over the device's"),
        ("grid: [1], block: [n - 936, 64]", "4096 threads"),
        ("grid: [1, n * 70], block: [1]", "grid 1x70000x1"),
        ("grid: [1], block: [1], shared: 60000", "60000 bytes of shared memory"),
    ],
)
def test_what_the_device_cannot_launch_is_refused_with_its_place(step: str, message: str) -> None:
    with pytest.raises(KaasError, match=message) as caught:
        plan_of(f"  - {{kernel: nothing, source: a.cu, {step}, args: []}}")
    assert caught.value.code == "launch_invalid"
    assert caught.value.where is not None
    assert "graph[0]" in caught.value.where


def test_limits_are_the_devices_own() -> None:
    graph = "  - {kernel: nothing, source: a.cu, grid: [1], block: [1], shared: 60000, args: []}"
    assert launch_of(plan_of(graph, limits=Limits(shared_bytes=64 << 10))).shared == 60000


def test_an_offset_stays_inside_its_buffer() -> None:
    args = "[a, x, {buffer: z, offset: n * 4 + 4}, int32(n)]"
    graph = f"  - {{kernel: axpy, source: a.cu, grid: [1], block: [1], args: {args}}}"
    with pytest.raises(KaasError, match="at most 4000") as caught:
        plan_of(graph)
    assert caught.value.code == "expression_range"


def test_written_inputs_and_results_are_private_and_the_others_are_not() -> None:
    manifest = manifest_of(AXPY)
    assert private_copies(manifest, signatures_of(manifest)) == {"y"}
    writes = "  - {kernel: axpy, source: a.cu, grid: [1], block: [1], args: [a, c, x, int32(n)]}\n"
    manifest = manifest_of(writes)
    assert private_copies(manifest, signatures_of(manifest)) == {"x", "y"}
    manifest = manifest_of("  - fill: {buffer: y, value: 0}\n  - copy: {from: c, to: x}\n")
    assert private_copies(manifest, {}) == {"x", "y"}


def test_swapped_inputs_are_private_even_if_nothing_writes_them() -> None:
    manifest = manifest_of("  - repeat: {times: 2, swap: [x, t], steps: [{fill: {buffer: z, value: 0}}]}\n")
    assert private_copies(manifest, {}) == {"x", "y"}


def test_memory_counts_private_copies_and_alignment() -> None:
    writes = "  - {kernel: axpy, source: a.cu, grid: [1], block: [1], args: [a, c, x, int32(n)]}\n"
    plan = plan_of(writes, n=100)
    # `t` is named by no step, so it has no place.
    assert plan.memory.blocks == {"x": 400, "y": 400, "z": 400}
    # The objects of x, y and c, and the blocks.
    assert plan.device_bytes == 6 * charge(400) == 6 * 512
    assert plan.zeroed == {"z"}
    assert plan.size_of("x") == 400


def test_plans_are_kept_by_shape_and_parameters() -> None:
    manifest = manifest_of(AXPY)
    signatures, limits = signatures_of(manifest), Limits()
    cache = PlanCache(bound=2)

    def get(digest: str, n: int, **parameters: float) -> Plan:
        binding = binding_of(manifest, dict.fromkeys("xyc", (n,)), **parameters).to_json()
        return cache.get(digest, manifest, binding, signatures, limits)

    first = get("d", 10)
    assert get("d", 10) is first
    assert get("d", 10, a=3) is not first
    assert get("d", 10) is first
    assert get("e", 10) is not first
    assert len(cache) == 2
    assert get("d", 10) is first
    get("d", 11)
    get("d", 12)
    assert get("d", 10) is not first


def test_what_cannot_be_planned_is_not_remembered() -> None:
    manifest = manifest_of("  - {kernel: nothing, source: a.cu, grid: [1], block: [n], args: []}")
    cache = PlanCache()
    binding = binding_of(manifest, dict.fromkeys("xyc", (5000,))).to_json()
    for _ in range(2):
        with pytest.raises(KaasError, match="block"):
            cache.get("d", manifest, binding, signatures_of(manifest), Limits())
    assert len(cache) == 0
