"""Kernels of the gallery on several streams: events alone say what waits for what, and no clock is looked at.

Freed memory waits for all work, so the tests keep what they launched on until they have synchronised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gallery import Array, kernels, launch, rng, shapes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

N = 1000
BLOCK = 128


def made(seed: int, n: int = N) -> Any:
    """What `make_part` writes."""
    return np.uint32(seed * 2654435761 % (1 << 32)) + np.arange(n, dtype=np.uint32)


def mixed(values: Any, rounds: int) -> Any:
    """What `mix` makes of it."""
    for number in range(rounds):
        values = (values ^ (values >> np.uint32(13))) * np.uint32(1274126177) + np.uint32(number)
    return values


def joined(parts: Any) -> Any:
    """What `join_parts` makes of parts of one length."""
    value = np.zeros_like(parts[0])
    for part in parts:
        value = value * np.uint32(31) + part
    return value


def test_a_producer_and_a_consumer_share_two_slots(cuda: Any, context: Any) -> None:
    module, items = kernels("flow"), 25
    producer, consumer = cuda.Stream(1), cuda.Stream(1)
    slots, results = [Array(N, np.uint32) for _ in range(2)], Array((items, N), np.uint32)
    is_full, is_empty = [cuda.Event() for _ in slots], [cuda.Event() for _ in slots]
    for item in range(items):
        slot = item % 2
        producer.wait_for_event(is_empty[slot])
        launch(module["make_part"], N, BLOCK, slots[slot], np.uint32(item), np.int32(N), stream=producer)
        is_full[slot].record(producer)
        consumer.wait_for_event(is_full[slot])
        arguments = slots[slot], results.at(item * N), np.int32(20), np.int32(N)
        launch(module["mix"], N, BLOCK, *arguments, stream=consumer)
        is_empty[slot].record(consumer)
    consumer.synchronize()
    assert np.array_equal(results.get(), [mixed(made(item), 20) for item in range(items)])


def test_work_fans_out_and_in(cuda: Any, context: Any) -> None:
    module, branches = kernels("flow"), 6
    start, streams, end = cuda.Stream(1), [cuda.Stream(1) for _ in range(branches)], cuda.Stream(1)
    source, parts, result = Array(N, np.uint32), Array((branches, N), np.uint32), Array(N, np.uint32)
    host = cuda.pagelocked_empty(N, np.uint32)
    is_ready = cuda.Event(cuda.event_flags.DISABLE_TIMING)
    launch(module["make_part"], N, BLOCK, source, np.uint32(7), np.int32(N), stream=start)
    is_ready.record(start)
    for branch, stream in enumerate(streams):
        stream.wait_for_event(is_ready)
        arguments = source, parts.at(branch * N), np.int32(10 * branch), np.int32(N)
        launch(module["mix"], N, BLOCK, *arguments, stream=stream)
        is_done = cuda.Event(cuda.event_flags.DISABLE_TIMING)
        is_done.record(stream)
        end.wait_for_event(is_done)
    launch(module["join_parts"], N, BLOCK, parts, result, np.int32(branches), np.int32(N), stream=end)
    cuda.memcpy_dtoh_async(host, result.gpudata, end)
    end.synchronize()
    assert np.array_equal(host, joined([mixed(made(7), 10 * branch) for branch in range(branches)]))


@shapes((1, 1), (127, 2), (128, 3), (129, 1), n=1000, chunks=6)
def test_copies_and_kernels_make_a_pipeline(cuda: Any, context: Any, n: int, chunks: int) -> None:
    n, chunks = max(n, 1), max(chunks, 1)
    inward, compute, outward = cuda.Stream(1), cuda.Stream(1), cuda.Stream(1)
    source, target = cuda.pagelocked_empty((chunks, n), np.uint32), cuda.pagelocked_zeros((chunks, n), np.uint32)
    source[:] = rng(n, chunks).integers(0, 1 << 32, (chunks, n), dtype=np.uint32)
    given, changed = Array(n, np.uint32), Array(n, np.uint32)
    has_room, has_left = cuda.Event(), cuda.Event()
    for chunk in range(chunks):
        has_come, is_changed = cuda.Event(), cuda.Event()
        inward.wait_for_event(has_room)
        cuda.memcpy_htod_async(given.gpudata, source[chunk], inward)
        has_come.record(inward)
        compute.wait_for_event(has_come)
        compute.wait_for_event(has_left)
        launch(kernels("flow")["mix"], n, BLOCK, given, changed, np.int32(chunk), np.int32(n), stream=compute)
        is_changed.record(compute)
        has_room.record(compute)
        outward.wait_for_event(is_changed)
        cuda.memcpy_dtoh_async(target[chunk], changed.gpudata, outward)
        has_left.record(outward)
    outward.synchronize()
    assert np.array_equal(target, [mixed(source[chunk], chunk) for chunk in range(chunks)])


#: A step of a random graph: its stream, the two slots it reads and the one it writes.
STEPS = st.lists(st.tuples(*(st.integers(0, 3) for _ in range(4))), min_size=1, max_size=25)


@settings(max_examples=20, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_graph_comes_to_what_its_steps_do_in_order(
    cuda: Any, context: Any, steps: list[tuple[int, int, int, int]]
) -> None:
    """Each step waits for who wrote what it reads and for who read or wrote what it writes, and for nobody else."""
    module = kernels("flow")
    streams, slots = [cuda.Stream(1) for _ in range(4)], [Array(N, np.uint32) for _ in range(4)]
    scratch = [Array((2, N), np.uint32) for _ in steps]
    expected = [made(slot) for slot in range(4)]
    users: list[list[Any]] = [[] for _ in slots]
    writer: list[Any] = [None] * 4
    for slot, array in enumerate(slots):
        launch(module["make_part"], N, BLOCK, array, np.uint32(slot), np.int32(N), stream=streams[slot])
        writer[slot] = cuda.Event()
        writer[slot].record(streams[slot])
    for number, (place, first, second, out) in enumerate(steps):
        stream = streams[place]
        for event in [writer[first], writer[second], writer[out], *users[out]]:
            stream.wait_for_event(event)
        launch(module["mix"], N, BLOCK, slots[first], scratch[number], np.int32(5), np.int32(N), stream=stream)
        launch(module["mix"], N, BLOCK, slots[second], scratch[number].at(N), np.int32(1), np.int32(N), stream=stream)
        launch(module["join_parts"], N, BLOCK, scratch[number], slots[out], np.int32(2), np.int32(N), stream=stream)
        is_done = cuda.Event()
        is_done.record(stream)
        users[first].append(is_done)
        users[second].append(is_done)
        writer[out], users[out] = is_done, []
        expected[out] = joined([mixed(expected[first], 5), mixed(expected[second], 1)])
    context.synchronize()
    assert all(np.array_equal(slot.get(), values) for slot, values in zip(slots, expected, strict=True))
