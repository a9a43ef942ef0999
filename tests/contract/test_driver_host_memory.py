"""Page-locked and registered host memory: flags, device pointers, kernels that use it, life and order."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest
from contract_device import Gate, Module

DEVICEMAP = 2  # CU_MEMHOSTREGISTER_DEVICEMAP
INVALID = 1  # CUDA_ERROR_INVALID_VALUE


def saxpy(x: Any, y: Any, z: Any, n: int, **options: Any) -> None:
    arguments = np.float32(2), x, y, z, np.int32(n)
    Module("elementwise")["saxpy"](*arguments, block=(128, 1, 1), grid=(-(-n // 128), 1), **options)


def test_kernels_read_and_write_mapped_memory(cuda: Any, context: Any) -> None:
    flags = cuda.host_alloc_flags.DEVICEMAP
    x, z = (cuda.pagelocked_empty(1000, np.float32, mem_flags=flags) for _ in range(2))
    x[:] = np.arange(1000)
    places = [np.uintp(array.base.get_device_pointer()) for array in (x, z)]
    saxpy(places[0], places[0], places[1], 1000)
    context.synchronize()
    assert np.array_equal(z, 3 * x)


def test_mapped_memory_and_its_copies_are_one(cuda: Any, context: Any) -> None:
    array = cuda.pagelocked_zeros(100, np.int32, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    address = array.base.get_device_pointer()
    cuda.memset_d32(address, 7, 50)
    context.synchronize()
    assert list(array) == [7] * 50 + [0] * 50
    array[:] = np.arange(100)
    assert list(cuda.from_device(address, 100, np.int32)) == list(range(100))


@pytest.mark.parametrize("names", [[], ["PORTABLE"], ["DEVICEMAP"], ["PORTABLE", "DEVICEMAP", "WRITECOMBINED"]])
def test_flags_are_kept(cuda: Any, context: Any, names: list[str]) -> None:
    flags = sum(int(getattr(cuda.host_alloc_flags, name)) for name in names)
    array = cuda.pagelocked_empty((3, 5), np.float64, mem_flags=flags)
    # With unified addresses all page-locked memory is portable and mapped, and may say so.
    assert array.base.get_flags() & flags == flags
    assert array.shape == (3, 5)
    array[:] = 1
    assert array.sum() == 15


def test_arrays_of_every_shape(cuda: Any, context: Any) -> None:
    like = np.ones((4, 6), np.complex64, order="F")
    for array in (cuda.pagelocked_empty_like(like), cuda.pagelocked_zeros_like(like)):
        assert (array.shape, array.dtype, array.strides) == (like.shape, like.dtype, like.strides)
    assert not cuda.pagelocked_zeros((2, 3), np.int8).any()
    aligned = cuda.aligned_zeros((100,), np.float32, alignment=4096)
    assert aligned.ctypes.data % 4096 == 0


def test_views_of_page_locked_memory_are_copied(cuda: Any, context: Any) -> None:
    source, target = cuda.pagelocked_empty((10, 100), np.int32), cuda.pagelocked_zeros((10, 100), np.int32)
    source[:] = np.arange(1000).reshape(10, 100)
    memory, stream = cuda.mem_alloc(400), cuda.Stream(1)
    for row in range(10):
        cuda.memcpy_htod_async(memory, source[row], stream)
        cuda.memcpy_dtoh_async(target[9 - row], memory, stream)
    stream.synchronize()
    assert np.array_equal(target, source[::-1])


def test_a_copy_takes_what_page_locked_memory_holds_when_it_runs(cuda: Any, context: Any, gate: Gate) -> None:
    """And not what it held at the call: that is what makes it asynchronous."""
    stream = cuda.Stream(1)
    source = cuda.pagelocked_zeros(1000, np.int32)
    memory = cuda.mem_alloc(source.nbytes)
    Module("control")["wait_for"](np.uintp(gate.address), block=(1, 1, 1), stream=stream)
    cuda.memcpy_htod_async(memory, source, stream)
    source[:] = 5
    gate.open()
    stream.synchronize()
    assert (cuda.from_device_like(memory, source) == 5).all()


def test_freed_page_locked_memory_is_no_device_memory(cuda: Any, context: Any) -> None:
    array = cuda.pagelocked_empty(1000, np.uint8, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    allocation = array.base
    allocation.free()
    with pytest.raises(cuda.LogicError):
        allocation.free()


@pytest.fixture
def mapping() -> Any:
    """Two megabytes of shared memory, page aligned."""
    memory = np.frombuffer(mmap.mmap(-1, 2 << 20), np.uint8)
    memory[:] = np.random.default_rng(1).integers(0, 256, memory.size, dtype=np.uint8)
    return memory


@pytest.fixture
def library(cuda: Any, context: Any) -> ctypes.CDLL:
    """The driver itself: PyCUDA's own call for registering crashes with current NumPy."""
    return ctypes.CDLL("libcuda.so.1")


def pointer(memory: Any, offset: int = 0) -> ctypes.c_void_p:
    return ctypes.c_void_p(memory.ctypes.data + offset)


def device_pointer(library: ctypes.CDLL, memory: Any, offset: int = 0) -> tuple[int, int]:
    address = ctypes.c_uint64()
    status = library.cuMemHostGetDevicePointer_v2(ctypes.byref(address), pointer(memory, offset), 0)
    return status, address.value


def test_kernels_use_registered_memory(cuda: Any, context: Any, library: ctypes.CDLL, mapping: Any) -> None:
    floats = mapping.view(np.float32)
    floats[:] = np.arange(floats.size)
    assert library.cuMemHostRegister_v2(pointer(mapping), ctypes.c_size_t(mapping.nbytes), DEVICEMAP) == 0
    try:
        status, address = device_pointer(library, mapping, 4096)
        assert status == 0
        z = cuda.mem_alloc(4000)
        saxpy(np.uintp(address), np.uintp(address + 4), z, 1000)
        first = floats[1024:2024]
        assert np.array_equal(cuda.from_device(z, 1000, np.float32), 2 * first + first + 1)
    finally:
        assert library.cuMemHostUnregister(pointer(mapping)) == 0


def test_memory_that_is_not_registered_has_no_device_pointer(library: ctypes.CDLL, mapping: Any) -> None:
    assert device_pointer(library, mapping)[0] == INVALID


def test_parts_are_registered_apart(cuda: Any, library: ctypes.CDLL, mapping: Any) -> None:
    part = ctypes.c_size_t(1 << 20)
    for offset in (0, 1 << 20):
        assert library.cuMemHostRegister_v2(pointer(mapping, offset), part, DEVICEMAP) == 0
    memory, stream = cuda.mem_alloc(1 << 20), cuda.Stream(1)
    for half in (mapping[: 1 << 20], mapping[1 << 20 :]):
        cuda.memcpy_htod_async(memory, half, stream)
        stream.synchronize()
        assert np.array_equal(cuda.from_device_like(memory, half), half)
    for offset in (1 << 20, 0):
        assert library.cuMemHostUnregister(pointer(mapping, offset)) == 0


def test_memory_can_be_registered_again_and_again(library: ctypes.CDLL, mapping: Any) -> None:
    for _ in range(100):
        assert library.cuMemHostRegister_v2(pointer(mapping), ctypes.c_size_t(mapping.nbytes), 0) == 0
        assert library.cuMemHostUnregister(pointer(mapping)) == 0


@pytest.mark.parametrize("size", [0, -1])
def test_an_impossible_size_is_not_registered(library: ctypes.CDLL, mapping: Any, size: int) -> None:
    assert library.cuMemHostRegister_v2(pointer(mapping), ctypes.c_size_t(size), 0) != 0
    assert library.cuMemHostRegister_v2(None, ctypes.c_size_t(4096), 0) != 0
