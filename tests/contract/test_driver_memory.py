"""Devices, contexts, device memory, host memory, copies and sets, through PyCUDA."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import mmap
import os
from typing import Any

import numpy as np
import pytest

ALREADY_REGISTERED = 712  # CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
NOT_REGISTERED = 713  # CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED


def test_a_device_describes_itself(cuda: Any) -> None:
    device = cuda.Device(0)
    assert cuda.Device.count() >= 1
    assert device.name()
    assert device.total_memory() > 1 << 20
    assert device.get_attribute(cuda.device_attribute.WARP_SIZE) == 32
    assert device.get_attribute(cuda.device_attribute.MAX_THREADS_PER_BLOCK) == 1024
    assert device.compute_capability() == (
        device.get_attribute(cuda.device_attribute.COMPUTE_CAPABILITY_MAJOR),
        device.get_attribute(cuda.device_attribute.COMPUTE_CAPABILITY_MINOR),
    )
    assert cuda.Device(device.pci_bus_id()) == device
    assert cuda.get_driver_version() >= 12040


def test_there_is_no_device_beyond_the_last(cuda: Any) -> None:
    with pytest.raises(cuda.LogicError, match="invalid device"):
        cuda.Device(cuda.Device.count())


def test_contexts_stack_up_per_thread(cuda: Any) -> None:
    outer = cuda.Device(0).make_context()
    try:
        inner = cuda.Device(0).make_context()
        assert cuda.Context.get_device() == cuda.Device(0)
        inner.pop()
        inner.detach()
        # The outer context is current again.
        assert cuda.mem_get_info()[1] == cuda.Device(0).total_memory()
    finally:
        outer.pop()
        outer.detach()
    with pytest.raises(cuda.LogicError, match="invalid device context"):
        cuda.mem_get_info()


def test_a_primary_context_is_shared(cuda: Any) -> None:
    first = cuda.Device(0).retain_primary_context()
    second = cuda.Device(0).retain_primary_context()
    first.push()
    try:
        memory = cuda.to_device(np.arange(4, dtype=np.int32))
        first.pop()
        second.push()
        assert list(cuda.from_device(memory, 4, np.int32)) == [0, 1, 2, 3]
        memory.free()
    finally:
        cuda.Context.pop()
    second.detach()
    first.detach()


def test_memory_is_counted(cuda: Any, context: Any) -> None:
    before = cuda.mem_get_info()[0]
    memory = cuda.mem_alloc(64 << 20)
    assert before - cuda.mem_get_info()[0] == 64 << 20
    memory.free()
    assert cuda.mem_get_info()[0] == before


def test_memory_has_an_end(cuda: Any, context: Any) -> None:
    free, total = cuda.mem_get_info()
    with pytest.raises(cuda.MemoryError, match="out of memory"):
        cuda.mem_alloc(total + 1)
    most = cuda.mem_alloc(free // 2)
    with pytest.raises(cuda.MemoryError, match="out of memory"):
        cuda.mem_alloc(free - free // 2 + (1 << 20))
    most.free()
    cuda.mem_alloc(free // 2).free()


def test_a_context_gives_its_memory_back(cuda: Any, context: Any) -> None:
    before = cuda.mem_get_info()[0]
    other = cuda.Device(0).make_context()
    memory = cuda.mem_alloc(32 << 20)
    other.pop()
    other.detach()
    assert cuda.mem_get_info()[0] >= before
    del memory


def test_addresses_are_aligned_and_apart(cuda: Any, context: Any) -> None:
    sizes = [1, 255, 256, 257, 4096, 100_000]
    allocations = [(int(memory), size, memory) for size in sizes for memory in [cuda.mem_alloc(size)]]
    assert all(address % 256 == 0 for address, _, _ in allocations)
    ordered = sorted((address, size) for address, size, _ in allocations)
    assert all(start + size <= after for (start, size), (after, _) in itertools.pairwise(ordered))


def test_copies_and_sets(cuda: Any, context: Any) -> None:
    data = np.random.default_rng(0).integers(0, 256, 100_003, dtype=np.uint8)
    first, second = cuda.to_device(data), cuda.mem_alloc(data.nbytes)
    cuda.memcpy_dtod(second, first, data.nbytes)
    assert np.array_equal(cuda.from_device_like(second, data), data)
    cuda.memset_d8(second, 7, 1000)
    cuda.memset_d16(int(second) + 1000, 0x0102, 500)
    cuda.memset_d32(int(second) + 2000, 0x01020304, 250)
    expected = data.copy()
    expected[:1000] = 7
    expected[1000:2000].view(np.uint16)[:] = 0x0102
    expected[2000:3000].view(np.uint32)[:] = 0x01020304
    assert np.array_equal(cuda.from_device_like(second, data), expected)
    part = np.empty(100, np.uint8)
    cuda.memcpy_dtoh(part, int(first) + 5000)
    assert np.array_equal(part, data[5000:5100])


def test_rectangles(cuda: Any, context: Any) -> None:
    data = np.arange(12 * 20, dtype=np.float32).reshape(12, 20)
    memory, pitch = cuda.mem_alloc_pitch(20 * 4, 12, 4)
    there = cuda.Memcpy2D()
    there.set_src_host(data)
    there.set_dst_device(memory)
    there.src_pitch, there.dst_pitch, there.width_in_bytes, there.height = 80, pitch, 80, 12
    there(aligned=True)
    result = np.zeros((6, 10), np.float32)
    back = cuda.Memcpy2D()
    back.set_src_device(memory)
    back.set_dst_host(result)
    back.src_x_in_bytes, back.src_y, back.src_pitch = 16, 3, pitch
    back.dst_pitch, back.width_in_bytes, back.height = 40, 40, 6
    back(aligned=False)
    assert np.array_equal(result, data[3:9, 4:14])


def test_a_copy_beyond_an_allocation_is_refused(cuda: Any, context: Any) -> None:
    memory = cuda.mem_alloc(1024)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(memory, np.zeros(1025 + 4096, np.uint8))
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_dtoh(np.empty(16, np.uint8), 0x1000)
    # A refused call spoils nothing.
    cuda.memcpy_htod(memory, np.zeros(1024, np.uint8))


def test_freeing_twice_is_refused(cuda: Any, context: Any) -> None:
    memory = cuda.mem_alloc(64)
    memory.free()
    with pytest.raises(cuda.LogicError):
        memory.free()


def test_page_locked_memory_copies_in_order(cuda: Any, context: Any) -> None:
    stream = cuda.Stream()
    source = cuda.pagelocked_empty(1 << 20, np.uint8)
    source[:] = np.random.default_rng(1).integers(0, 256, source.size, dtype=np.uint8)
    target = cuda.pagelocked_zeros(1 << 20, np.uint8)
    memory = cuda.mem_alloc(source.nbytes)
    cuda.memcpy_htod_async(memory, source, stream)
    cuda.memcpy_dtoh_async(target, memory, stream)
    stream.synchronize()
    assert np.array_equal(source, target)


def test_a_shared_mapping_can_be_registered(cuda: Any, context: Any) -> None:
    descriptor = os.memfd_create("contract")
    try:
        os.ftruncate(descriptor, 1 << 20)
        mapping = mmap.mmap(descriptor, 1 << 20)
    finally:
        os.close(descriptor)
    array = np.frombuffer(mapping, np.uint8)
    array[:] = np.arange(1 << 20, dtype=np.uint32).astype(np.uint8)
    # Through the driver itself: pycuda.driver.register_host_memory crashes with current NumPy.
    driver = ctypes.CDLL("libcuda.so.1")
    address = ctypes.c_void_p(array.ctypes.data)
    within = ctypes.c_void_p(array.ctypes.data + 4096)
    assert driver.cuMemHostRegister_v2(address, ctypes.c_size_t(array.nbytes), 0) == 0
    assert driver.cuMemHostRegister_v2(within, ctypes.c_size_t(4096), 0) == ALREADY_REGISTERED
    memory, stream = cuda.mem_alloc(array.nbytes), cuda.Stream()
    cuda.memcpy_htod_async(memory, array, stream)
    stream.synchronize()
    assert np.array_equal(cuda.from_device_like(memory, array), array)
    assert driver.cuMemHostUnregister(address) == 0
    assert driver.cuMemHostUnregister(address) == NOT_REGISTERED


def test_memory_pools(cuda: Any, context: Any) -> None:
    tools = importlib.import_module("pycuda.tools")  # needs a driver that is loaded already
    pool = tools.DeviceMemoryPool()
    first = pool.allocate(10_000)
    address = int(first)
    del first
    second = pool.allocate(10_000)
    assert int(second) == address
    assert pool.active_blocks == 1
    del second
    pool.free_held()
    assert pool.held_blocks == 0
    pool.stop_holding()
    locked = tools.PageLockedMemoryPool()
    array = locked.allocate((100,), np.float32)
    array[:] = 3
    assert array.sum() == 300
    locked.stop_holding()


def test_limits_are_kept(cuda: Any, context: Any) -> None:
    context.set_limit(cuda.limit.STACK_SIZE, 4096)
    assert context.get_limit(cuda.limit.STACK_SIZE) == 4096
