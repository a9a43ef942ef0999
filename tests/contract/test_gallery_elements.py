"""Kernels of the gallery whose threads work apart: maps, complex numbers, random numbers, recursion, tables, views."""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
import pytest
from gallery import NULL, Array, kernels, launch, lengths, put, rng, shapes, zeros
from hypothesis import example, given, settings
from hypothesis import strategies as st


@lengths(128)
def test_gelu(context: Any, n: int) -> None:
    x = rng(n).normal(size=n).astype(np.float32)
    out = Array(n, np.float32)
    # Fewer threads than elements: each takes several.
    launch(kernels("maps")["gelu"], min(n, 256), 128, put(x), out, np.int32(n))
    expected = 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x.astype(np.float64) ** 3)))
    assert np.allclose(out.get(), expected, rtol=1e-4, atol=1e-6)


@shapes(*((n,) for n in (0, 1, 2, 3, 4, 5, 7, 8, 511, 512, 513)), n=2000)
def test_axpby_by_vectors_of_four(context: Any, n: int) -> None:
    x, y = rng(n).normal(size=(2, n)).astype(np.float32)
    out = put(y)
    threads = max(n // 4, 4) if n else 0
    launch(kernels("maps")["axpby"], threads, 128, np.float32(1.5), put(x), np.float32(-0.5), out, np.int32(n))
    assert np.allclose(out.get(), 1.5 * x - 0.5 * y, rtol=1e-5, atol=1e-6)


@lengths(64)
def test_luminance(context: Any, n: int) -> None:
    pixels = rng(n).integers(0, 256, (n, 4), dtype=np.uint8)
    out = Array(n, np.uint8)
    launch(kernels("maps")["luminance"], n, 64, put(pixels), out, np.int32(n))
    weighted = pixels[:, :3].astype(np.uint32) @ np.array([77, 150, 29], np.uint32) + 128
    assert np.array_equal(out.get(), (weighted >> 8).astype(np.uint8))


@lengths(96)
def test_complex_products(context: Any, n: int) -> None:
    a, b = rng(n).normal(size=(2, n, 2)).astype(np.float32).view(np.complex64).reshape(2, n)
    out = Array(n, np.complex64)
    launch(kernels("complex")["multiply_conjugate"], n, 96, put(a), put(b), out, np.int32(n))
    assert np.allclose(out.get(), a * b.conj(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [2, 4, 64, 128, 1024])
def test_a_fourier_transform_by_stages(context: Any, n: int) -> None:
    values = rng(n).normal(size=(n, 2)).astype(np.float32).view(np.complex64).reshape(n)
    now, after = put(values), Array(n, np.complex64)
    stage = kernels("complex")["fourier_stage"]
    stride = 1
    while stride < n:
        launch(stage, n // 2, 64, now, after, np.int32(n // 2), np.int32(stride))
        now, after = after, now
        stride *= 2
    assert np.allclose(now.get(), np.fft.fft(values), rtol=1e-4, atol=1e-4 * np.sqrt(n))


# ***** random numbers *****


def philox(counter: Any, key: int) -> Any:
    """Philox 4x32-10 of rows of four words, in NumPy."""
    words = np.asarray(counter, np.uint64).T.copy()
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    keys = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        first, second = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
        words = np.stack(
            [
                (second >> high) ^ words[1] ^ np.uint64(keys[0]),
                second & low,
                (first >> high) ^ words[3] ^ np.uint64(keys[1]),
                first & low,
            ]
        )
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return words.T.astype(np.uint32)


def counters(first: int, n: int) -> Any:
    at = np.uint64(first) + np.arange(n, dtype=np.uint64)
    return np.stack([at & np.uint64(0xFFFFFFFF), at >> np.uint64(32), 0 * at, 0 * at], axis=1)


def test_the_reference_for_random_words_is_the_published_one() -> None:
    """The known answers of the algorithm's authors (Random123, kat_vectors) for zeros and for ones."""
    assert [hex(word) for word in philox([[0] * 4], 0)[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    ones = philox([[0xFFFFFFFF] * 4], (1 << 64) - 1)[0]
    assert [hex(word) for word in ones] == ["0x408f276d", "0x41c83b0e", "0xa20bc7c6", "0x6d5451fd"]


@settings(max_examples=6, derandomize=True, database=None)
@given(seed=st.integers(0, (1 << 64) - 1), first=st.integers(0, (1 << 63) - 1), n=st.integers(1, 300))
@example(seed=0, first=0, n=1)
@example(seed=1, first=(1 << 32) - 2, n=5)
def test_random_words(cuda: Any, seed: int, first: int, n: int) -> None:
    context = cuda.Device(0).make_context()
    try:
        out = Array((n, 4), np.uint32)
        function = kernels("philox")["random_words"]
        launch(function, n, 64, out, np.uint64(seed), np.uint64(first), np.int32(n))
        assert np.array_equal(out.get(), philox(counters(first, n), seed))
    finally:
        context.pop()
        context.detach()


@lengths(64, most=3000)
def test_monte_carlo_pi(context: Any, n: int) -> None:
    seed = 0x1234_5678_9ABC_DEF0
    inside = zeros(1, np.uint64)
    launch(kernels("philox")["points_in_circle"], min(n, 512), 64, inside, np.uint64(seed), np.int32(n))
    points = (philox(counters(0, n), seed) >> 8).astype(np.uint64).reshape(-1, 2)
    assert inside.get()[0] == ((points**2).sum(axis=1) < 1 << 48).sum()


# ***** control flow *****


@shapes((0, 3), (1, 1), (16, 8), (17, 9), width=60, height=40)
def test_mandelbrot(context: Any, width: int, height: int) -> None:
    left, top, step, most = -(2 << 28), -(1 << 28), (3 << 28) // 60, 100
    rounds = Array((height, width), np.uint16)
    arguments = [np.int32(value) for value in (width, height, left, top, step, most)]
    launch(kernels("mandelbrot")["mandelbrot"], (width, height), (16, 8), rounds, *arguments)
    cy, cx = np.meshgrid(top + step * np.arange(height), left + step * np.arange(width), indexing="ij")
    zx, zy, expected = np.zeros_like(cx), np.zeros_like(cy), np.zeros_like(cx)
    for _ in range(most):
        xx, yy = zx * zx >> 28, zy * zy >> 28
        goes_on = xx + yy <= 4 << 28
        zx, zy = np.where(goes_on, xx - yy + cx, zx), np.where(goes_on, (zx * zy >> 27) + cy, zy)
        expected += goes_on
    assert np.array_equal(rounds.get(), expected)


def adaptive(f: Any, a: float, b: float, tolerance: float = 1e-9, depth: int = 12) -> float:
    """What kernels/gallery/recursion.cu does, of one function and interval."""

    def simpson(a: float, b: float) -> float:
        return float((b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b)))

    middle = (a + b) / 2
    halves = simpson(a, middle) + simpson(middle, b)
    if depth == 0 or abs(halves - simpson(a, b)) <= 15 * tolerance:
        return halves
    return adaptive(f, a, middle, tolerance / 2, depth - 1) + adaptive(f, middle, b, tolerance / 2, depth - 1)


@lengths(32, most=100)
def test_recursive_quadrature(context: Any, n: int) -> None:
    lower = rng(n).uniform(-3, 0, n)
    upper = lower + rng(n + 1).uniform(0, 3, n)
    out = Array(n, np.float64)
    launch(kernels("recursion")["integrate"], n, 32, put(lower), put(upper), out, np.int32(n))
    functions = (lambda x: 1 / (1 + x * x), lambda x: math.sin(10 * x), lambda x: math.sqrt(abs(x)))
    expected = [adaptive(functions[i % 3], lower[i], upper[i]) for i in range(n)]
    assert np.allclose(out.get(), expected, rtol=1e-7, atol=1e-8)


def test_functions_that_call_each_other(context: Any) -> None:
    values = np.arange(33, dtype=np.uint32)
    even, results = Array(33, np.uint8), Array(33, np.uint32)
    launch(kernels("recursion")["recursions"], 33, 32, put(values), even, results, np.int32(33))
    assert np.array_equal(even.get(), values % 2 == 0)
    assert np.array_equal(results.get(), 2 * values + 3)


# ***** constant memory *****


def constant(module: Any, name: str, values: Any, cuda: Any) -> None:
    """Fills a table in constant memory, wholly or from its start."""
    address, size = module.module.get_global(name)
    data = np.ascontiguousarray(values)
    assert data.nbytes <= size
    cuda.memcpy_htod(address, data)


@shapes((0, 5), (1, 0), (1, 1), (64, 9), (65, 33), n=150, width=40)
def test_checksums_with_a_table(cuda: Any, context: Any, n: int, width: int) -> None:
    module = kernels("tables")
    remainders = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        remainders = np.where(remainders & 1, remainders >> 1 ^ 0xEDB88320, remainders >> 1).astype(np.uint32)
    constant(module, "remainders", remainders, cuda)
    rows = rng(n, width).integers(0, 256, (n, width), dtype=np.uint8)
    out = Array(n, np.uint32)
    launch(module["crc32_rows"], n, 64, put(rows), np.int32(width), out, np.int32(n))
    assert list(out.get()) == [zlib.crc32(row.tobytes()) for row in rows]


@pytest.mark.parametrize("degree", [0, 1, 7])
def test_a_structure_in_constant_memory(cuda: Any, context: Any, degree: int) -> None:
    module = kernels("tables")
    polynomial = np.zeros(1, np.dtype([("degree", "i4"), ("coefficients", "f8", 8)], align=True))
    polynomial["degree"], polynomial["coefficients"] = degree, np.arange(8) - 3.5
    assert module.module.get_global("polynomial")[1] == polynomial.nbytes
    constant(module, "polynomial", polynomial, cuda)
    x, y = np.linspace(-1, 1, 100), Array(100, np.float64)
    launch(module["evaluate"], 100, 32, put(x), y, np.int32(100))
    assert np.allclose(y.get(), np.polynomial.polynomial.polyval(x, np.arange(degree + 1) - 3.5))


@lengths(64, most=200)
def test_a_table_that_comes_with_the_source(context: Any, n: int) -> None:
    words = rng(n).integers(0, 1 << 32, n, dtype=np.uint32)
    out = Array(8 * n, np.uint8)
    launch(kernels("tables")["hexadecimal"], 8 * n, 64, put(words), out, np.int32(n))
    assert out.get().tobytes().decode() == "".join(f"{word:08x}" for word in words)


# ***** pointers *****


@shapes((1, 0, 0), (32, 1, 3), (33, 7, 2), (100, 63, 61), n=200, first=64, second=64)
def test_views_at_any_offset(context: Any, n: int, first: int, second: int) -> None:
    values = rng(n, first, second).normal(size=400).astype(np.float32)
    whole, out = put(values), put(np.zeros(400, np.float32))
    launch(kernels("views")["add_views"], n, 32, whole.at(first), whole.at(second), out.at(first + 1), np.int32(n))
    expected = np.zeros(400, np.float32)
    expected[first + 1 : first + 1 + n] = values[first : first + n] + values[second : second + n]
    assert np.array_equal(out.get(), expected)


@shapes((0, 4), (1, 1), (8, 8), (9, 17), width=20, height=20)
def test_windows_of_matrices(context: Any, width: int, height: int) -> None:
    source = rng(width, height).integers(0, 1000, (30, 37), dtype=np.int32)
    target = put(np.zeros((25, 23), np.int32))
    pitches = np.int32(37), np.int32(23)
    launch(
        kernels("views")["copy_window"], (width, height), (8, 8),
        put(source).at(5 * 37 + 11), pitches[0], target.at(2 * 23 + 1), pitches[1], np.int32(width), np.int32(height),
    )  # fmt: skip
    expected = np.zeros((25, 23), np.int32)
    expected[2 : 2 + height, 1 : 1 + width] = source[5 : 5 + height, 11 : 11 + width]
    assert np.array_equal(target.get(), expected)


def test_addresses_are_numbers(context: Any) -> None:
    whole, out = Array(100, np.float32), Array(4, np.int64)
    launch(kernels("views")["compare"], 1, 1, whole, whole.at(33), out)
    assert list(out.get()) == [33, 1, 33 * 4, 33 * 4]


@lengths(64, most=300)
def test_arguments_that_are_null(context: Any, n: int) -> None:
    values = rng(n).normal(size=(n, 2)).astype(np.float32)
    mask = rng(n + 1).integers(0, 2, n, dtype=np.uint8)
    bias = rng(n + 2).normal(size=n).astype(np.float32)
    norms, angles = np.hypot(*values.T), np.arctan2(values[:, 1], values[:, 0])
    function = kernels("optional")["magnitude"]
    for has_mask, has_bias, has_angle in [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)]:
        length, angle = put(np.zeros(n, np.float32)), put(np.zeros(n, np.float32))
        optional = put(mask) if has_mask else NULL, put(bias) if has_bias else NULL
        launch(function, n, 64, put(values), *optional, length, angle if has_angle else NULL, np.int32(n))
        chosen = mask if has_mask else 1
        assert np.allclose(length.get(), (norms + (bias if has_bias else 0)) * chosen, rtol=1e-5, atol=1e-6)
        assert np.allclose(angle.get(), angles * chosen * has_angle, rtol=1e-5, atol=1e-6)


# ***** templates *****


@lengths(128, most=1000)
def test_instances_of_a_template(context: Any, n: int) -> None:
    module = kernels("templates")
    values = rng(n).integers(-99, 99, n)
    for name, dtype, threads, operation in [
        ("fold::blocks<float, fold::Sum, 128>", np.float32, 128, np.add),
        ("fold::blocks<long long, fold::Sum, 32>", np.int64, 32, np.add),
        ("fold::blocks<short, fold::Most, 64>", np.int16, 64, np.maximum),
    ]:
        out = Array(-(-n // threads), dtype)
        launch(module[name], n, threads, put(values.astype(dtype)), out, np.int32(n))
        expected: Any = operation.reduceat(values, range(0, n, threads)) if n else []
        assert np.array_equal(out.get(), expected), name


def test_a_specialised_template(context: Any) -> None:
    module, out = kernels("templates"), Array(8, np.int32)
    launch(module["lanes_of<7>"], 8, 8, out)
    assert list(out.get()) == list(range(0, 56, 7))
    launch(module["lanes_of<1>"], 8, 8, out)
    assert list(out.get()) == [-1] * 8
