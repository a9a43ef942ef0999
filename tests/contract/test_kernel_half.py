"""Half precision, bit for bit against NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from contract_device import KIND, Module, compile_text
from numpy.typing import NDArray

Halves = NDArray[np.float16]

#: Every half there is.
ALL: Halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
SPECIAL: Halves = np.array(
    [0, -0.0, 1, -1, 0.5, 6e-8, -6e-8, 6.1e-5, 6.09e-5, 65504, -65504, 2048, 2049, np.inf, -np.inf, np.nan], np.float16
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """NumPy warns of overflow and of NaNs, which these tests are about."""
    with np.errstate(all="ignore"):
        yield


def pairs() -> tuple[Halves, Halves]:
    """Special values against each other, and values of every magnitude."""
    rng = np.random.default_rng(5)
    a, b = (rng.integers(0, 1 << 16, 50_000, dtype=np.uint16).view(np.float16) for _ in range(2))
    near = (ALL[1000:20000].astype(np.float32) * np.float32(1.001)).astype(np.float16)
    first = [np.repeat(SPECIAL, SPECIAL.size), a, ALL[1000:20000], ALL]
    second = [np.tile(SPECIAL, SPECIAL.size), b, near, np.roll(ALL, 12345)]
    return np.concatenate(first), np.concatenate(second)


def assert_same(result: Halves, expected: NDArray[Any], what: object) -> None:
    """The same bits, or both a NaN."""
    expected = expected.astype(np.float16)
    same = (result.view(np.uint16) == expected.view(np.uint16)) | (np.isnan(result) & np.isnan(expected))
    at = np.flatnonzero(~same)
    assert not at.size, f"{what}: {at.size} differ, the first at {at[0]}: {result[at[0]]} is not {expected[at[0]]}"


def launch(kernel: str, n: int, *arguments: Any) -> None:
    Module("half")[kernel](*arguments, np.int32(n), block=(128, 1, 1), grid=(-(-n // 128), 1))


def fused(a: Halves, b: Halves, c: Halves) -> Halves:
    """a * b + c, rounded once: exact in double up to what no half can show."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float16)


def test_functions_of_every_half(cuda: Any, context: Any) -> None:
    out = np.zeros((10, ALL.size), np.float16)
    launch("of_one", ALL.size, cuda.In(ALL), cuda.Out(out))
    single, double = ALL.astype(np.float32), ALL.astype(np.float64)
    expected = [-ALL, -ALL, np.abs(ALL), np.sqrt(single), np.ceil(ALL), np.floor(ALL), np.trunc(ALL), np.rint(ALL)]
    expected += [single * np.float32(0.3), double * 0.3]
    for row, (result, right) in enumerate(zip(out, expected, strict=True)):
        assert_same(result, right, row)


APPROXIMATIONS: list[Callable[[Any], Any]] = [
    np.exp, np.exp2, lambda x: 10.0**x, np.log, np.log2, np.log10, np.sin, np.cos, lambda x: 1 / x,
    lambda x: 1 / np.sqrt(x),
]  # fmt: skip


def test_approximations(cuda: Any, context: Any) -> None:
    x = ALL[(ALL > 1e-3) & (ALL < 10)]
    out = np.zeros((len(APPROXIMATIONS), x.size), np.float16)
    launch("approximations", x.size, cuda.In(x), cuda.Out(out))
    for row, (function, result) in enumerate(zip(APPROXIMATIONS, out, strict=True)):
        expected = function(x.astype(np.float64)).astype(np.float16).astype(np.float64)
        finite = np.isfinite(expected)
        assert np.array_equal(finite, np.isfinite(result)), row
        # Two units in the last place, and what the hardware's sine and cosine have.
        assert np.allclose(result[finite], expected[finite], rtol=2e-3, atol=1e-3 if row in (6, 7) else 1e-4), row


def clipped(x: Halves) -> Halves:
    return np.where(np.isnan(x), np.float16(0), np.clip(x, np.float16(0), np.float16(1))).astype(np.float16)


def test_functions_of_two(cuda: Any, context: Any) -> None:
    a, b = pairs()
    out = np.zeros((15, a.size), np.float16)
    launch("of_two", a.size, cuda.In(a), cuda.In(b), cuda.Out(out))
    relu = fused(a, b, a)
    relu[relu < 0] = 0
    one = np.float16(1)
    most, least = np.fmax(a, b), np.fmin(a, b)
    # Zeros of different sign are equal to NumPy; here the positive one is the greater.
    zeros = (a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))
    most[zeros], least[zeros] = 0.0, -0.0
    expected = [a + b, a - b, a * b, a / b, a + b, a * b, clipped(a + b), fused(a, b, a), fused(a, a, b), relu]
    expected += [most, least, (a + b) * b, a + one, (a + one) - one]
    for row, (result, right) in enumerate(zip(out, expected, strict=True)):
        if row in (6, 9):
            result, right = result + np.float16(0), right + np.float16(0)  # a negative zero may stay one
        assert_same(result, right, row)


def test_comparisons(cuda: Any, context: Any) -> None:
    a, b = pairs()
    out = np.zeros(a.size, np.uint32)
    launch("comparisons", a.size, cuda.In(a), cuda.In(b), cuda.Out(out))
    unordered = np.isnan(a) | np.isnan(b)
    plain = [a == b, (a != b) & ~unordered, a < b, a <= b, a > b, a >= b]
    operators = [plain[0], a != b, *plain[2:]]
    others = [np.isnan(a), np.isposinf(a), np.isneginf(a), a != 0]
    expected = [*operators, *plain, *(holds | unordered for holds in plain), *others]
    for bit, right in enumerate(expected):
        assert np.array_equal(out >> bit & 1, right.astype(np.uint32)), bit


def next_half(x: Halves, towards: float) -> Halves:
    return np.asarray(np.nextafter(x, np.float16(towards)), np.float16)


def numbers() -> NDArray[np.float64]:
    """Halves, what lies in the middle of two and next to that, and numbers far from any."""
    finite = ALL[np.isfinite(ALL)].astype(np.float64)
    middles = (finite[1:] + finite[:-1]) / 2
    near = np.concatenate([np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)])
    near_single = np.nextafter(middles.astype(np.float32), np.float32(0)).astype(np.float64)
    far = np.array([65519.99, 65520, -65520, 1e10, 1e300, -1e300, 1e-10, -1e-10, 1e-300, 5e-324, 0, -0.0, 3e38, 1e-45])
    return np.concatenate([finite, middles, near, near_single, far, [np.inf, -np.inf, np.nan]])


def test_doubles_are_rounded_once(cuda: Any, context: Any) -> None:
    x = numbers()
    out = np.zeros(x.size, np.float16)
    launch("doubles", x.size, cuda.In(x), cuda.Out(out))
    assert_same(out, x, "double")


def rounded(x: NDArray[np.float32]) -> list[Halves]:
    """To nearest, to zero, down and up; then again as the plain conversion does."""
    nearest = x.astype(np.float16)
    wide = x.astype(np.float64)
    down = np.where(nearest.astype(np.float64) > wide, next_half(nearest, -np.inf), nearest)
    up = np.where(nearest.astype(np.float64) < wide, next_half(nearest, np.inf), nearest)
    return [nearest, np.where(np.signbit(x), up, down), down, up, nearest]


def test_every_rounding_of_singles(cuda: Any, context: Any) -> None:
    x = numbers().astype(np.float32)
    out = np.zeros((5, x.size), np.float16)
    launch("roundings", x.size, cuda.In(x), cuda.Out(out))
    for row, (result, right) in enumerate(zip(out, rounded(x), strict=True)):
        assert_same(result, right, row)


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_conversions_without_the_processors_help(cuda: Any, context: Any) -> None:
    text = """
    #include <cuda_fp16.h>
    using namespace kaas_device;
    extern "C" __global__ void portable(const float* in, unsigned short* out, float* back, int n) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= n) return;
        out[i] = float_to_half_bits_portable<Rounding::nearest_even>(in[i]);
        out[n + i] = float_to_half_bits_portable<Rounding::to_zero>(in[i]);
        out[2 * n + i] = float_to_half_bits_portable<Rounding::down>(in[i]);
        out[3 * n + i] = float_to_half_bits_portable<Rounding::up>(in[i]);
        if (i < 65536) back[i] = half_bits_to_float_portable(i);
    }
    """
    module = cuda.module_from_buffer(compile_text(text, "portable.cu", ["portable"]).image)
    x = numbers().astype(np.float32)
    out, back = np.zeros((4, x.size), np.float16), np.zeros(ALL.size, np.float32)
    arguments = cuda.In(x), cuda.Out(out), cuda.Out(back), np.int32(x.size)
    module.get_function("portable")(*arguments, block=(128, 1, 1), grid=(-(-x.size // 128), 1))
    for row, (result, right) in enumerate(zip(out, rounded(x), strict=False)):
        assert_same(result, right, row)
    expected = ALL.astype(np.float32)
    assert np.array_equal(back, expected, equal_nan=True)
    assert np.array_equal(np.signbit(back), np.signbit(expected))


def saturated(x: NDArray[Any], kind: Any) -> NDArray[np.int64]:
    bounds = np.iinfo(kind)
    return np.where(np.isnan(x), 0, np.clip(x, bounds.min, bounds.max)).astype(np.int64)


def test_whole_numbers(cuda: Any, context: Any) -> None:
    rng = np.random.default_rng(7)
    whole = rng.integers(-(1 << 62), 1 << 62, ALL.size) >> rng.integers(0, 62, ALL.size)
    out, halves = np.zeros((10, ALL.size), np.int64), np.zeros((5, ALL.size), np.float16)
    launch("whole_numbers", ALL.size, cuda.In(ALL), cuda.Out(out), cuda.In(whole), cuda.Out(halves))
    x = ALL.astype(np.float64)
    ints = [saturated(f(x), np.int32) for f in (np.rint, np.trunc, np.floor, np.ceil)]
    shorts = [saturated(np.trunc(x), np.int16), saturated(np.rint(x), np.uint16), saturated(np.trunc(x), np.uint32)]
    number = ~np.isnan(x)
    for row, right in enumerate([*ints, *shorts]):
        assert np.array_equal(out[row], right), row
    finite = np.isfinite(x)
    assert np.array_equal(out[7][finite], np.trunc(x[finite]).astype(np.int64))
    assert (out[7][~number] == np.iinfo(np.int64).min).all()
    assert np.array_equal(out[8], ints[1])
    assert np.array_equal(out[9], np.arange(1 << 16))
    low = whole.astype(np.int32)
    assert_same(halves[0], low.astype(np.float64), "int")
    assert_same(halves[1], whole.astype(np.float64), "long long")
    unsigned = np.minimum(whole.astype(np.uint32).astype(np.float64), 65504.0)
    assert_same(halves[2], rounded(unsigned.astype(np.float32))[1], "unsigned, to zero")
    # 2**24 and beyond may not be a float, and is far beyond any half.
    assert_same(halves[3], rounded(np.clip(low, -(1 << 24), 1 << 24).astype(np.float32))[2], "int, down")
    assert_same(halves[4], low.astype(np.float64), "cast")


def test_pairs(cuda: Any, context: Any) -> None:
    a, b = (x[: x.size // 2 * 2].reshape(-1, 2) for x in pairs())
    out, masks = np.zeros((16, *a.shape), np.float16), np.zeros(len(a), np.uint32)
    launch("pairs", len(a), cuda.In(a), cuda.In(b), cuda.Out(out), cuda.Out(masks))
    mixed = np.stack([b[:, 1], a[:, 0]], axis=1)
    crossed = np.stack([a[:, 0], b[:, 1]], axis=1)
    most = np.fmax(a, b)
    most[(a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))] = 0.0
    real = fused(-a[:, 1], b[:, 1], fused(a[:, 0], b[:, 0], b[:, 0]))
    imaginary = fused(a[:, 1], b[:, 0], fused(a[:, 0], b[:, 1], b[:, 1]))
    root = np.sqrt(np.abs(a).astype(np.float32))
    tenth = np.full_like(a, 0.1)
    expected = [a + b, a - b, a * b, a / b, fused(a, b, a), most, root, a[:, ::-1], mixed, crossed, a, tenth, crossed]
    expected += [(a == b).astype(np.float16), np.stack([real, imaginary], axis=1), a[:, [1, 1]]]
    for row, (result, right) in enumerate(zip(out, expected, strict=True)):
        assert_same(result.ravel(), right.ravel(), row)
    bits = np.where(a < b, [0xFFFF, 0xFFFF0000], 0).sum(axis=1)
    assert np.array_equal(masks, bits ^ (a >= b).all(axis=1))


def test_a_dot_product_over_warps(cuda: Any, context: Any) -> None:
    rng = np.random.default_rng(11)
    # Small whole numbers, so that no order of the sums rounds.
    a, b = (rng.integers(-3, 4, (256, 2)).astype(np.float16) for _ in range(2))
    sums, total = np.zeros(8, np.float16), np.zeros(1, np.float32)
    Module("half")["dot"](
        cuda.In(a), cuda.In(b), cuda.Out(sums), cuda.InOut(total), block=(128, 1, 1), grid=(2, 1), shared=128 * 4
    )
    expected = (a * b).reshape(8, 64).sum(axis=1)
    assert np.array_equal(sums, expected)
    assert total[0] == expected.sum()


def test_atomic_sums(cuda: Any, context: Any) -> None:
    one, two = np.zeros(1, np.float16), np.zeros(2, np.float16)
    Module("half")["count"](cuda.InOut(one), cuda.InOut(two), block=(64, 1, 1), grid=(16, 1))
    assert (one[0], *two) == (1024, 1024, 512)
