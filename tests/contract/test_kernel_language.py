"""Kernels of every kind against NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contract_device import INSTANCES, Module

Function = Callable[[Any], Any]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


# ***** no waiting *****


@pytest.mark.parametrize(("n", "block"), [(1, 32), (1000, 256), (100_003, 97)])
def test_saxpy(cuda: Any, context: Any, rng: np.random.Generator, n: int, block: int) -> None:
    x, y = rng.random(n, dtype=np.float32), rng.random(n, dtype=np.float32)
    z = np.zeros(n + 64, np.float32)
    arguments = np.float32(1.5), cuda.In(x), cuda.In(y), cuda.InOut(z), np.int32(n)
    Module("elementwise")["saxpy"](*arguments, block=(block, 1, 1), grid=(-(-n // block), 1))
    assert np.allclose(z[:n], 1.5 * x + y, rtol=1e-6)
    assert not z[n:].any()


def test_saxpy_in_place(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x, y = rng.random(5000, dtype=np.float32), rng.random(5000, dtype=np.float32)
    gy = cuda.to_device(y)
    Module("elementwise")["saxpy"](np.float32(2), cuda.In(x), gy, gy, np.int32(5000), block=(256, 1, 1), grid=(20, 1))
    assert np.allclose(cuda.from_device_like(gy, y), 2 * x + y, rtol=1e-6)


def test_three_dimensions(cuda: Any, context: Any) -> None:
    shape = (3 * 4, 5 * 3, 2 * 7)
    out = np.zeros(shape, np.uint32)
    Module("elementwise")["indices"](cuda.Out(out), block=(7, 3, 4), grid=(2, 5, 3))
    z, y, x = np.indices(shape)
    assert np.array_equal(out, x + 1000 * y + 1000000 * z)


def test_a_grid_stride(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    values = rng.random(10_000)
    memory = cuda.to_device(values)
    Module("elementwise")["grid_stride"](memory, np.uint64(10_000), block=(128, 1, 1), grid=(3, 1))
    assert np.allclose(cuda.from_device_like(memory, values), 2 * values + np.arange(10_000))


def test_arguments_of_every_size(cuda: Any, context: Any) -> None:
    function = Module("elementwise")["mixed_arguments"]
    four = cuda.to_device(np.array([4], np.int32))
    out = cuda.mem_alloc(64)
    packed = np.zeros(88, np.uint8)
    places = {0: ("i1", -1), 8: ("f8", 2.5), 16: ("i2", -3), 24: ("u8", int(four)), 32: ("?", True)}
    places |= {48: ("f4", 1), 52: ("f4", 2), 56: ("f4", 3), 60: ("f4", 4)}
    places |= {64: ("u1", 200), 72: ("i8", -(1 << 40)), 80: ("u8", int(out))}
    for offset, (kind, value) in places.items():
        packed[offset : offset + np.dtype(kind).itemsize].view(kind)[0] = value
    function._launch_kernel((1, 1), (1, 1, 1), packed.tobytes(), 0, None)
    expected = [-1, 2.5, -3, 4, 1, 4321, 200, -(1 << 40)]
    assert list(cuda.from_device(out, 8, np.float64)) == expected


def test_a_structure_by_value(cuda: Any, context: Any) -> None:
    pair = np.array([(3, 0.5)], np.dtype([("first", "i4"), ("second", "f8")], align=True))
    out = np.zeros(1)
    Module("elementwise")["pair_argument"](pair[0], cuda.Out(out), block=(1, 1, 1))
    assert out[0] == 3.5


def test_recursion(cuda: Any, context: Any) -> None:
    out = np.zeros(16, np.uint32)
    Module("elementwise")["recursive"](cuda.Out(out), block=(16, 1, 1))
    assert list(out) == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610]


def test_vector_types(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    data = rng.random((64, 4, 4), dtype=np.float32)
    out = np.zeros_like(data)
    Module("elementwise")["transpose4"](cuda.In(data), cuda.Out(out), block=(32, 1, 1), grid=(2, 1))
    assert np.array_equal(out, data.transpose(0, 2, 1))
    pixels = rng.integers(0, 256, (1000, 4), dtype=np.uint8)
    gray = np.zeros(1000, np.uint8)
    Module("elementwise")["gray"](cuda.In(pixels), cuda.Out(gray), np.int32(1000), block=(64, 1, 1), grid=(16, 1))
    weighted = pixels[:, :3].astype(np.int32) @ np.array([77, 151, 28])
    assert np.array_equal(gray, (weighted >> 8).astype(np.uint8))


def test_templates_and_namespaces(cuda: Any, context: Any) -> None:
    module = Module("elementwise")
    for name, dtype, times in zip(INSTANCES["elementwise"], (np.float32, np.int64), (3, 5), strict=True):
        values = np.arange(32).astype(dtype)
        out = np.zeros_like(values)
        module[name](cuda.In(values), cuda.Out(out), block=(32, 1, 1))
        assert np.array_equal(out, values * times)
    values = np.arange(32, dtype=np.int32)
    module["numbers::negate"](cuda.InOut(values), block=(32, 1, 1))
    assert np.array_equal(values, -np.arange(32))


# ***** shared memory and barriers *****


@pytest.mark.parametrize("n", [16, 50, 128])
def test_tiled_sgemm(cuda: Any, context: Any, rng: np.random.Generator, n: int) -> None:
    a, b = rng.random((n, n), dtype=np.float32), rng.random((n, n), dtype=np.float32)
    c = np.zeros_like(a)
    tiles = -(-n // 16)
    Module("shared")["sgemm"](cuda.In(a), cuda.In(b), cuda.Out(c), np.int32(n), block=(16, 16, 1), grid=(tiles, tiles))
    assert np.allclose(c, a @ b, rtol=1e-4)


def test_neighbours_through_dynamic_shared_memory(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x = rng.random(1000, dtype=np.float32)
    first, second = cuda.to_device(x), cuda.mem_alloc(x.nbytes)
    relax = Module("shared")["relax"]
    expected = x.astype(np.float64)
    for _ in range(10):
        relax(first, second, np.int32(x.size), block=(128, 1, 1), grid=(8, 1), shared=(128 + 2) * 4)
        first, second = second, first
        padded = np.pad(expected, 1)
        expected = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    assert np.allclose(cuda.from_device_like(first, x), expected, rtol=1e-5)


@pytest.mark.parametrize("block", [32, 256, 1024])
def test_sums_of_blocks(cuda: Any, context: Any, rng: np.random.Generator, block: int) -> None:
    values = rng.integers(-1000, 1000, 10_000, dtype=np.int32)
    blocks = -(-values.size // block)
    out = np.zeros(blocks, np.int32)
    arguments = cuda.In(values), cuda.Out(out), np.int32(values.size)
    Module("shared")["block_sums"](*arguments, block=(block, 1, 1), grid=(blocks, 1), shared=block * 4)
    assert np.array_equal(out, np.add.reduceat(values, range(0, values.size, block)))


def test_a_histogram(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, 100_000, dtype=np.uint8)
    bins = np.zeros(256, np.uint32)
    Module("shared")["histogram"](
        cuda.In(values), cuda.InOut(bins), np.int32(values.size), block=(96, 1, 1), grid=(10, 1)
    )
    assert np.array_equal(bins, np.bincount(values, minlength=256))


def test_threads_may_end_before_and_after_a_barrier(cuda: Any, context: Any) -> None:
    out = np.zeros(256, np.int32)
    Module("shared")["early_return"](cuda.InOut(out), np.uint32(100), block=(256, 1, 1))
    assert list(out[:100]) == [42, 0] * 50
    assert not out[100:].any()


def test_a_transpose_through_shared_memory(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    data = rng.random((50, 70), dtype=np.float32)
    out = np.zeros((70, 50), np.float32)
    Module("shared")["transpose"](
        cuda.In(data), cuda.Out(out), np.int32(70), np.int32(50), block=(16, 16, 1), grid=(5, 4)
    )
    assert np.array_equal(out, data.T)


def test_barriers_and_shared_memory_in_device_functions(cuda: Any, context: Any) -> None:
    out = np.zeros(5 * 192, np.int32)
    Module("shared")["through_functions"](cuda.Out(out), block=(192, 1, 1), grid=(5, 1))
    assert (out == 192).all()


def test_barriers_that_count(cuda: Any, context: Any) -> None:
    function = Module("shared")["barrier_votes"]
    for positive in (0, 40, 96):
        values = np.array([1] * positive + [-1] * (96 - positive), np.int32)
        out = np.zeros(96, np.int32)
        function(cuda.In(values), cuda.Out(out), block=(96, 1, 1))
        assert (out == positive * 100 + (positive == 96) * 10 + (positive > 0)).all()


# ***** warps *****


def test_a_reduction_by_shuffles(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    values = rng.random(10_000, dtype=np.float32)
    total = np.zeros(1, np.float32)
    Module("warp")["sums"](cuda.In(values), cuda.InOut(total), np.int32(values.size), block=(256, 1, 1), grid=(40, 1))
    assert np.isclose(total[0], values.sum(dtype=np.float64), rtol=1e-5)


def test_shuffles_of_every_kind(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    module = Module("warp")
    values = rng.integers(-100, 100, 96, dtype=np.int32)
    out = np.zeros_like(values)
    module["scan"](cuda.In(values), cuda.Out(out), block=(96, 1, 1))
    assert np.array_equal(out.reshape(3, 32), values.reshape(3, 32).cumsum(axis=1))
    module["rotate"](cuda.In(values), cuda.Out(out), block=(96, 1, 1))
    assert np.array_equal(out.reshape(3, 32), np.roll(values.reshape(3, 32), -1, axis=1))
    doubles = rng.random(64)
    sums = np.zeros_like(doubles)
    module["butterfly"](cuda.In(doubles), cuda.Out(sums), block=(64, 1, 1))
    assert np.allclose(sums.reshape(8, 8), doubles.reshape(8, 8).sum(axis=1, keepdims=True))


def test_votes(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2, 96, dtype=np.int32)
    values[32:64], values[64:] = 1, 0
    ballots, any_, all_ = np.zeros(96, np.uint32), np.zeros(96, np.int32), np.zeros(96, np.int32)
    Module("warp")["votes"](cuda.In(values), cuda.Out(ballots), cuda.Out(any_), cuda.Out(all_), block=(96, 1, 1))
    for warp, bits in enumerate(values.reshape(3, 32)):
        part = slice(32 * warp, 32 * warp + 32)
        assert (ballots[part] == sum(int(bit) << lane for lane, bit in enumerate(bits))).all()
        assert (any_[part] == bits.any()).all()
        assert (all_[part] == bits.all()).all()


def test_masks_of_a_part_of_a_warp(cuda: Any, context: Any) -> None:
    out = np.zeros(64, np.int32)
    Module("warp")["partial_masks"](cuda.Out(out), block=(64, 1, 1))
    expected = [3] * 16 + [min(lane + 1, 31) + 100 for lane in range(16, 32)]
    assert list(out) == expected * 2


def test_the_lanes_that_are_left(cuda: Any, context: Any) -> None:
    out = np.zeros(64, np.uint32)
    Module("warp")["active"](cuda.InOut(out), block=(64, 1, 1))
    for warp in range(2):
        lanes = [lane for lane in range(32) if (32 * warp + lane) % 3 == 0]
        assert {int(out[32 * warp + lane]) for lane in lanes} == {sum(1 << lane for lane in lanes)}


def test_matches(cuda: Any, context: Any) -> None:
    values = np.array([lane % 3 for lane in range(32)] + [5] * 32, np.int32)
    any_, all_ = np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    Module("warp")["matches"](cuda.In(values), cuda.Out(any_), cuda.Out(all_), block=(64, 1, 1))
    for lane in range(32):
        assert any_[lane] == sum(1 << other for other in range(32) if other % 3 == lane % 3)
    assert (any_[32:] == 0xFFFFFFFF).all()
    assert not all_[:32].any()
    assert (all_[32:] == 0).all()  # all 32 lanes and the flag: 2**32 - 1 + 1


def test_reductions_of_a_warp(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    if cuda.Device(0).compute_capability() < (8, 0):
        pytest.skip("reductions of a warp need compute capability 8.0")
    values = rng.integers(-50, 50, 32, dtype=np.int32)
    sums, bits = np.zeros(32, np.int32), np.zeros(32, np.uint32)
    Module("warp")["reductions"](cuda.In(values), cuda.Out(sums), cuda.Out(bits), block=(32, 1, 1))
    assert (sums == values.sum() + values.min() * values.max()).all()
    words = values.view(np.uint32)
    combined = [int(f.reduce(words)) for f in (np.bitwise_and, np.bitwise_or, np.bitwise_xor)]
    assert (bits == sum(combined) % (1 << 32)).all()


# ***** atomics *****


def test_atomics(cuda: Any, context: Any) -> None:
    n = 64 * 50
    integers = np.zeros(4, np.int32)
    words = np.array([0, 0, 0xFFFFFFFF, 0, 0, 0], np.uint32)
    wide, single, twice = np.zeros(2, np.uint64), np.zeros(1, np.float32), np.zeros(1)
    arguments = [cuda.InOut(array) for array in (integers, words, wide, single, twice)]
    Module("atomics")["atomics"](*arguments, block=(64, 1, 1), grid=(50, 1))
    assert list(integers) == [n * (n - 1) // 2, -n, -(n - 1), n - 1]
    assert list(words[:4]) == [n, 0xFFFFFFFF, 0xFFFF0000, int(np.bitwise_xor.reduce(np.arange(n, dtype=np.uint32)))]
    assert list(words[4:]) == [n % 10, 0]
    assert list(wide) == [n << 33, (n - 1) << 20]
    assert (single[0], twice[0]) == (n / 2, n / 4)


def test_a_lock(cuda: Any, context: Any) -> None:
    lock, counter = np.zeros(1, np.int32), np.zeros(1, np.int32)
    Module("atomics")["locked"](cuda.InOut(lock), cuda.InOut(counter), block=(32, 1, 1), grid=(200, 1))
    assert counter[0] == 200


def test_compare_and_swap_makes_other_atomics(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    values, most = rng.random(1024, dtype=np.float32), np.zeros(1, np.float32)
    Module("atomics")["float_max"](cuda.In(values), cuda.InOut(most), block=(128, 1, 1), grid=(8, 1))
    assert most[0] == values.max()


def test_the_last_block_sees_the_others(cuda: Any, context: Any) -> None:
    values = np.arange(500, dtype=np.int32)
    sums, ended, total = np.zeros_like(values), np.zeros(1, np.uint32), np.zeros(1, np.int32)
    Module("atomics")["last_block"](
        cuda.In(values), cuda.InOut(sums), cuda.InOut(ended), cuda.Out(total), block=(64, 1, 1), grid=(500, 1)
    )
    assert total[0] == values.sum()


# ***** arithmetic *****

#: One per row of kernels/arithmetic.cu; approximate functions are as exact as a GPU's at most.
SINGLES: list[Function] = [
    np.sqrt, lambda x: 1 / np.sqrt(x), np.exp, np.log, np.sin, np.cos, np.tanh, lambda x: x**1.5,
    lambda x: x * x + 1, lambda x: np.minimum(x, 1), lambda x: np.maximum(x, 1), np.floor, np.vectorize(math.erf),
    np.exp, np.log, np.sin, lambda x: x**2, lambda x: x / 3, lambda x: np.clip(x - 0.5, 0, 1),
    lambda x: np.sin(np.pi * x), np.cbrt, np.exp2, np.log1p, lambda x: np.hypot(x, 2),
    lambda x: np.fmod(x, np.float32(0.7)), np.abs, lambda x: np.maximum(x, 1.5) + np.minimum(x, 2), lambda x: 1 / x,
]  # fmt: skip

DOUBLES: list[Function] = [
    np.sqrt, lambda x: 1 / np.sqrt(x), np.exp, np.log, np.sin, lambda x: x**3, lambda x: x * x - x,
    lambda x: np.cos(np.pi * x), lambda x: np.maximum(x, 1), lambda x: -x,
]  # fmt: skip


def bits_of(x: int) -> str:
    return format(x % (1 << 32), "032b")


def as_int(x: int) -> int:
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def byte_perm(x: int) -> int:
    data = (x % (1 << 32)).to_bytes(4, "little") + (0x12345678).to_bytes(4, "little")
    return as_int(int.from_bytes(bytes(data[i] for i in (0, 4, 1, 5)), "little"))


INTEGERS: list[Callable[[int], int]] = [
    lambda x: bits_of(x).count("1"),
    lambda x: len(bits_of(x)) - len(bits_of(x).lstrip("0")),
    lambda x: bits_of(x)[::-1].find("1") + 1,
    lambda x: as_int(int(bits_of(x)[::-1], 2)),
    lambda x: x * 123456789 >> 32,
    lambda x: min(x, 7),
    lambda x: max(x, -7),
    abs,
    lambda x: round(x / 2),
    lambda x: int(np.float32(x).view(np.int32)),
    byte_perm,
    lambda x: as_int(((0x9ABCDEF0 << 32 | x % (1 << 32)) << 8 >> 32) % (1 << 32)),
    lambda x: format(x % (1 << 64), "b").count("1"),
    lambda x: ((1 << 31) - 1) // 2 - (1 << 30),
    lambda x: min(x % (1 << 32), 9),
]


def test_functions_of_singles(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x = (rng.random(1000, dtype=np.float32) * 3 + 0.01).astype(np.float32)
    out = np.zeros((len(SINGLES), x.size), np.float32)
    Module("arithmetic")["singles"](cuda.In(x), cuda.Out(out), np.int32(1000), block=(128, 1, 1), grid=(8, 1))
    for row, (function, result) in enumerate(zip(SINGLES, out, strict=True)):
        assert np.allclose(result, function(x.astype(np.float64)), rtol=2e-5, atol=2e-6), row


def test_functions_of_doubles(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x = rng.random(1000) * 3 + 0.01
    out = np.zeros((len(DOUBLES), x.size))
    Module("arithmetic")["doubles"](cuda.In(x), cuda.Out(out), np.int32(1000), block=(128, 1, 1), grid=(8, 1))
    for row, (function, result) in enumerate(zip(DOUBLES, out, strict=True)):
        assert np.allclose(result, function(x), rtol=1e-12, atol=1e-13), row


def test_functions_of_integers(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x = rng.integers(-(1 << 23), 1 << 23, 200, dtype=np.int32)
    x[:4] = 0, 1, -1, 1 << 20
    out = np.zeros((len(INTEGERS), x.size), np.int32)
    Module("arithmetic")["integers"](cuda.In(x), cuda.Out(out), np.int32(200), block=(64, 1, 1), grid=(4, 1))
    for row, (function, result) in enumerate(zip(INTEGERS, out, strict=True)):
        assert list(result) == [function(int(value)) for value in x], row
