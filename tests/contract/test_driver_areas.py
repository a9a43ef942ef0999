"""Parts of device memory: rectangles, ranges, offsets, sets of every width; and what a refused call leaves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16), (32, np.uint32)])
@pytest.mark.parametrize("is_async", [False, True])
def test_rectangles_are_set(cuda: Any, context: Any, bits: int, kind: Any, is_async: bool) -> None:
    """The rest of each row keeps what it had."""
    size = np.dtype(kind).itemsize
    memory, pitch = cuda.mem_alloc_pitch(50 * size, 7, max(size, 4))
    assert pitch >= 50 * size
    before = np.random.default_rng(bits).integers(0, 256, (7, pitch), dtype=np.uint8)
    cuda.memcpy_htod(memory, before)
    value = 0x01020304 % (1 << bits)
    start = int(memory) + 2 * pitch + 3 * size
    if is_async:
        stream = cuda.Stream()
        getattr(cuda, f"memset_d2d{bits}_async")(start, pitch, value, 40, 4, stream)
        stream.synchronize()
    else:
        getattr(cuda, f"memset_d2d{bits}")(start, pitch, value, 40, 4)
    expected = before.copy()
    expected[2:6, 3 * size : 43 * size].view(kind)[:] = value
    assert np.array_equal(cuda.from_device_like(memory, before), expected)


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16), (32, np.uint32)])
def test_lines_are_set_in_a_stream(cuda: Any, context: Any, bits: int, kind: Any) -> None:
    memory, stream = cuda.to_device(np.zeros(100, kind)), cuda.Stream(1)
    memset = getattr(cuda, f"memset_d{bits}_async")
    memset(memory, 1, 100, stream)
    memset(int(memory) + 10 * np.dtype(kind).itemsize, 0x11223344 % (1 << bits), 30, stream)
    stream.synchronize()
    expected = np.ones(100, kind)
    expected[10:40] = 0x11223344 % (1 << bits)
    assert np.array_equal(cuda.from_device(memory, 100, kind), expected)


def test_rectangles_are_copied_in_a_stream(cuda: Any, context: Any) -> None:
    """From the host to the device, within the device, and back, each with a pitch of its own."""
    data = np.random.default_rng(0).integers(0, 1 << 16, (9, 13), dtype=np.uint16)
    source, target = cuda.pagelocked_empty(data.shape, data.dtype), cuda.pagelocked_zeros((4, 20), data.dtype)
    source[:] = data
    first, second, stream = cuda.mem_alloc(9 * 64), cuda.mem_alloc(9 * 96), cuda.Stream(1)

    def copy(set_source: str, given: Any, set_target: str, taken: Any, **fields: int) -> None:
        move = cuda.Memcpy2D()
        getattr(move, set_source)(given)
        getattr(move, set_target)(taken)
        for name, value in fields.items():
            setattr(move, name, value)
        move(stream)

    copy("set_src_host", source, "set_dst_device", first, src_pitch=26, dst_pitch=64, width_in_bytes=26, height=9)
    copy(
        "set_src_device", first, "set_dst_device", second,
        src_pitch=64, src_y=2, dst_pitch=96, dst_x_in_bytes=6, width_in_bytes=26, height=6,
    )  # fmt: skip
    copy(
        "set_src_device", second, "set_dst_host", target,
        src_pitch=96, src_y=1, src_x_in_bytes=10, dst_pitch=40, dst_x_in_bytes=4, dst_y=1, width_in_bytes=12, height=3,
    )  # fmt: skip
    stream.synchronize()
    expected = np.zeros((4, 20), np.uint16)
    expected[1:4, 2:8] = data[3:6, 2:8]
    assert np.array_equal(target, expected)


def test_a_row_wider_than_its_pitch_is_refused(cuda: Any, context: Any) -> None:
    memory = cuda.mem_alloc(1024)
    move = cuda.Memcpy2D()
    move.set_src_host(np.zeros(1024, np.uint8))
    move.set_dst_device(memory)
    move.src_pitch, move.dst_pitch, move.width_in_bytes, move.height = 64, 32, 64, 4
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        move(aligned=True)


def test_an_address_tells_its_allocation(cuda: Any, context: Any) -> None:
    memory = cuda.mem_alloc(1000)
    assert cuda.mem_get_address_range(memory) == (int(memory), 1000)
    assert cuda.mem_get_address_range(int(memory) + 999) == (int(memory), 1000)
    memory.free()


def test_copies_may_begin_and_end_anywhere(cuda: Any, context: Any) -> None:
    rng = np.random.default_rng(5)
    model = rng.integers(0, 256, 5000, dtype=np.uint8)
    memory, other = cuda.to_device(model), cuda.mem_alloc(5000)
    for _ in range(50):
        size, to, start = (int(number) for number in rng.integers(1, 1000, 3))
        part = rng.integers(0, 256, size, dtype=np.uint8)
        cuda.memcpy_htod(int(memory) + to, part)
        model[to : to + size] = part
        cuda.memcpy_dtod(int(other) + start, int(memory) + to, size)
        back = np.empty(size, np.uint8)
        cuda.memcpy_dtoh(back, int(other) + start)
        assert np.array_equal(back, part)
    assert np.array_equal(cuda.from_device_like(memory, model), model)


def test_copies_in_the_device_keep_their_order_in_a_stream(cuda: Any, context: Any) -> None:
    data = np.arange(1000, dtype=np.int32)
    chain = [cuda.to_device(data), *(cuda.mem_alloc(data.nbytes) for _ in range(20))]
    stream = cuda.Stream(1)
    for first, second in pairwise(chain):
        cuda.memcpy_dtod_async(second, first, data.nbytes, stream)
        cuda.memset_d32_async(first, 0, 1000, stream)
    stream.synchronize()
    assert np.array_equal(cuda.from_device_like(chain[-1], data), data)
    assert not cuda.from_device_like(chain[0], data).any()


REFUSED: dict[str, Callable[[Any, int], object]] = {
    "nothing": lambda cuda, memory: cuda.mem_alloc(0),
    "a set beyond the end": lambda cuda, memory: cuda.memset_d8(memory, 0, 1 << 20),
    "a set of null": lambda cuda, memory: cuda.memset_d32(0, 0, 1),
    "a set between elements": lambda cuda, memory: cuda.memset_d32(memory + 2, 0, 1),
    "a copy within the device beyond the end": lambda cuda, memory: cuda.memcpy_dtod(memory, memory, 1 << 20),
    "a copy from null": lambda cuda, memory: cuda.memcpy_dtoh(np.empty(4, np.uint8), 0),
    "a range of null": lambda cuda, memory: cuda.mem_get_address_range(0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_call_changes_nothing(cuda: Any, context: Any, name: str) -> None:
    data = np.arange(1024, dtype=np.uint8)
    memory = cuda.to_device(data)
    with pytest.raises(cuda.LogicError):
        REFUSED[name](cuda, int(memory))
    assert np.array_equal(cuda.from_device_like(memory, data), data)


def test_memory_that_was_freed_is_no_argument(cuda: Any, context: Any) -> None:
    memory = cuda.mem_alloc(1 << 20)
    address = int(memory)
    memory.free()
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_dtoh(np.empty(16, np.uint8), address)


def test_memory_comes_back_without_end(cuda: Any, context: Any) -> None:
    """More in all than the device has, a quarter at a time."""
    free, _ = cuda.mem_get_info()
    quarter = min(free // 4, 256 << 20)
    for number in range(24):
        memory = cuda.mem_alloc(quarter)
        cuda.memset_d8(memory, number, 4096)
        assert (cuda.from_device(memory, 4096, np.uint8) == number).all()
        memory.free()
    assert cuda.mem_get_info()[0] == free
