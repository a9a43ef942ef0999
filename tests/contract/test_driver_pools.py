"""PyCUDA's pools over the driver: memory is kept, used again, and given back when the device runs out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def pool(cuda: Any, context: Any) -> Iterator[Any]:
    made = importlib.import_module("pycuda.tools").DeviceMemoryPool()
    yield made
    made.stop_holding()


def test_a_pool_counts_what_it_has(pool: Any) -> None:
    first, second = pool.allocate(1000), pool.allocate(5000)
    assert (pool.active_blocks, pool.held_blocks) == (2, 0)
    assert pool.active_bytes >= 6000
    assert pool.managed_bytes >= pool.active_bytes
    first.free()
    assert (pool.active_blocks, pool.held_blocks) == (1, 1)
    assert 5000 <= pool.active_bytes < 6000
    del second
    assert (pool.active_blocks, pool.held_blocks, pool.active_bytes) == (0, 2, 0)
    pool.free_held()
    assert (pool.held_blocks, pool.managed_bytes) == (0, 0)


def test_a_pool_holds_device_memory_until_told(cuda: Any, pool: Any) -> None:
    before = cuda.mem_get_info()[0]
    pool.allocate(8 << 20).free()
    assert before - cuda.mem_get_info()[0] >= 8 << 20
    pool.free_held()
    assert cuda.mem_get_info()[0] == before


def test_memory_of_a_pool_is_device_memory(cuda: Any, pool: Any) -> None:
    data = np.random.default_rng(0).random(1000)
    memory = pool.allocate(data.nbytes)
    cuda.memcpy_htod(memory, data)
    assert np.array_equal(cuda.from_device_like(memory, data), data)
    assert int(memory) % 256 == 0


def test_a_pool_uses_what_was_freed_again(pool: Any) -> None:
    addresses = set()
    for _ in range(50):
        memory = pool.allocate(100_000)
        addresses.add(int(memory))
        del memory
    assert len(addresses) == 1


def test_a_pool_lets_go_of_what_it_holds_when_memory_runs_out(cuda: Any, pool: Any) -> None:
    tenth = cuda.mem_get_info()[0] // 10
    held = [pool.allocate(tenth) for _ in range(5)]
    del held
    assert pool.held_blocks == 5
    large = pool.allocate(6 * tenth)
    assert pool.active_blocks == 1
    assert pool.held_blocks < 5
    large.free()


def test_a_pool_says_when_there_is_no_memory(cuda: Any, pool: Any) -> None:
    _, total = cuda.mem_get_info()
    with pytest.raises(cuda.MemoryError, match="out of memory"):
        pool.allocate(2 * total)
    assert pool.active_blocks == 0
    pool.allocate(1000).free()


def test_arrays_of_a_page_locked_pool(cuda: Any, context: Any) -> None:
    locked = importlib.import_module("pycuda.tools").PageLockedMemoryPool()
    stream, memory = cuda.Stream(1), cuda.mem_alloc(400)
    for number in range(20):
        array = locked.allocate((100,), np.int32)
        array[:] = number
        cuda.memcpy_htod_async(memory, array, stream)
        stream.synchronize()
        assert (cuda.from_device_like(memory, array) == number).all()
        del array
    assert (locked.active_blocks, locked.held_blocks) == (0, 1)
    locked.free_held()
    assert locked.held_blocks == 0
    locked.stop_holding()
