"""Intrinsic functions against exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from contract_device import Module
from numpy.typing import NDArray

Words = NDArray[np.uint32]
N = 600


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(12)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def launch(kernel: str, *arguments: Any) -> None:
    Module("intrinsics")[kernel](*arguments, np.int32(N), block=(64, 1, 1), grid=(-(-N // 64), 1))


# ***** rounding *****


def directed(exact: Fraction, kind: Any, rounding: str) -> float:
    """The number of the type that is `exact` rounded to nearest, to zero, up or down."""
    # Twice the digits of a double are ample to be rounded from, but for the tie that random numbers do not make.
    nearest = kind(exact.numerator / exact.denominator)
    error = Fraction(float(nearest)) - exact
    up, down = np.nextafter(nearest, kind(np.inf)), np.nextafter(nearest, kind(-np.inf))
    floor, ceiling = (down if error > 0 else nearest), (up if error < 0 else nearest)
    if rounding == "n" or error == 0:
        return float(nearest)
    return float({"d": floor, "u": ceiling, "z": floor if exact > 0 else ceiling}[rounding])


def root(x: Fraction) -> Fraction:
    """Good to 200 bits, which tells on which side of a double it is, and exact where it can be."""
    scaled = x * (1 << 400)
    return Fraction(math.isqrt(scaled.numerator // scaled.denominator), 1 << 200)


Exact = Callable[[Fraction, Fraction], Fraction]
SUM: Exact = lambda x, y: x + y  # noqa: E731
SINGLES: list[tuple[str, Exact]] = [
    ("n", SUM), ("z", SUM), ("d", SUM), ("u", SUM), ("u", lambda x, y: x - y), ("z", lambda x, y: x * y),
    ("d", lambda x, y: x * y), ("d", lambda x, y: x / y), ("u", lambda x, y: x / y), ("z", lambda x, y: root(abs(x))),
    ("u", lambda x, y: root(abs(x))), ("d", lambda x, y: 1 / y), ("z", lambda x, y: x * y + x),
    ("u", lambda x, y: x * y + x), ("z", lambda x, y: x * y), ("d", lambda x, y: x * y),
]  # fmt: skip
DOUBLES: list[tuple[str, Exact]] = [
    ("d", SUM), ("u", SUM), ("z", lambda x, y: x * y), ("u", lambda x, y: x * y), ("d", lambda x, y: x / y),
    ("u", lambda x, y: x / y), ("z", lambda x, y: root(abs(x))), ("d", lambda x, y: x * y + x),
]  # fmt: skip


def test_roundings_of_singles(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=N).astype(np.float32) * np.exp2(rng.integers(-9, 9, N)).astype(np.float32) for _ in "ab")
    out = np.zeros((18, N), np.float32)
    launch("directed", cuda.In(a), cuda.In(b), cuda.Out(out))
    for row, (rounding, exact) in enumerate(SINGLES):
        for result, x, y in zip(out[row], a, b, strict=True):
            assert result == directed(exact(Fraction(float(x)), Fraction(float(y))), np.float32, rounding), (row, x, y)
    for result, word in zip(out[16], a.view(np.int32), strict=True):
        assert result == directed(Fraction(int(word)), np.float32, "d")
    for result, word in zip(out[17], a.view(np.uint32), strict=True):
        assert result == directed(Fraction(int(word)), np.float32, "u")


def test_roundings_of_doubles(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=N) * np.exp2(rng.integers(-30, 30, N)) for _ in "ab")
    out = np.zeros((9, N))
    launch("directed_doubles", cuda.In(a), cuda.In(b), cuda.Out(out))
    for row, (rounding, exact) in enumerate(DOUBLES):
        for result, x, y in zip(out[row], a, b, strict=True):
            assert result == directed(exact(Fraction(float(x)), Fraction(float(y))), np.float64, rounding), (row, x, y)
    for result, word in zip(out[8], a.view(np.int64), strict=True):
        assert result == directed(Fraction(int(word)), np.float64, "z")


# ***** functions *****


def asymptotic_erfcx(x: float) -> float:
    """exp(x**2) * erfc(x) by its continued fraction, good for x > 2."""
    value = 0.0
    for k in range(200, 0, -1):
        value = k / 2 / (x + value)
    return 1 / (x + value) / math.sqrt(math.pi)


def bessel_i1(x: float) -> float:
    """The mean of exp(x cos t) cos t over a circle, which equal steps give to every digit."""
    t = np.arange(400) * (2 * math.pi / 400)
    return float(np.mean(np.exp(x * np.cos(t)) * np.cos(t)))


def test_special_functions(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x = np.sort(rng.random(N) * 0.98 + 0.01)
    x[:3] = 1e-12, 1e-5, 0.5
    out = np.zeros((14, N))
    launch("special", cuda.In(x), cuda.Out(out))
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf(p) for p in x])
    assert np.allclose([math.erf(y) for y in out[0]], x, rtol=1e-13)
    assert np.allclose([math.erfc(y) for y in out[1]], x, rtol=1e-12)
    assert np.allclose(out[2], quantiles, rtol=1e-9, atol=1e-12)
    assert np.allclose(out[3], [normal.cdf(p) for p in x], rtol=1e-13)
    far = 30 * x > 3
    assert np.allclose(out[4][far], [asymptotic_erfcx(30 * p) for p in x[far]], rtol=1e-11)
    assert np.allclose(out[4][~far], [math.exp(900 * p * p) * math.erfc(30 * p) for p in x[~far]], rtol=1e-12)
    assert np.allclose(out[5], np.i0(60 * x), rtol=1e-12)
    assert np.allclose(out[6], [bessel_i1(60 * p) for p in x], rtol=1e-11, atol=1e-13)
    assert np.allclose(out[7], out[0], rtol=2e-6)
    assert np.allclose(out[8], quantiles, rtol=2e-5, atol=2e-6)
    sums = np.sin(np.pi * x) + 2 * np.cos(np.pi * x)
    assert np.allclose(out[9], sums, rtol=1e-12, atol=1e-14)
    for row, expected in (10, 3 * x), (11, 1 / (3 * x)), (12, 1 / (5 * x)), (13, 1 / x):
        assert np.allclose(out[row], expected, rtol=1e-13), row


# ***** whole numbers *****


def by_lanes(kind: str, compute: Callable[..., Any]) -> Callable[..., Words]:
    """A function of words from one of their halves or bytes, whose results wrap."""

    def of_words(*words: Words) -> Words:
        lanes = [np.ascontiguousarray(word).view(kind).astype(np.int64) for word in words]
        return np.asarray(compute(*lanes)).astype(np.int64).astype(kind).view(np.uint32)

    return of_words


def clamped(kind: str, compute: Callable[..., Any]) -> Callable[..., Words]:
    bounds = np.iinfo(kind)
    return by_lanes(kind, lambda *lanes: np.clip(compute(*lanes), bounds.min, bounds.max))


def summed(kind: str) -> Callable[..., Words]:
    def of_words(x: Words, y: Words) -> Words:
        lanes = [np.ascontiguousarray(word).view(kind).astype(np.int64).reshape(N, -1) for word in (x, y)]
        return np.asarray(np.abs(lanes[0] - lanes[1]).sum(axis=1).astype(np.uint32))

    return of_words


LANES: list[Callable[..., Words]] = [
    by_lanes("u2", np.add), by_lanes("u1", np.add), by_lanes("u1", np.subtract), clamped("i2", np.add),
    clamped("i1", np.subtract), clamped("u1", np.add), clamped("u2", np.subtract),
    by_lanes("u1", lambda x, y: abs(x - y)), by_lanes("i2", lambda x, y: abs(x - y)),
    by_lanes("u1", lambda x, y: (x + y + 1) >> 1), by_lanes("u2", lambda x, y: (x + y) >> 1),
    by_lanes("i1", np.maximum),
    by_lanes("u2", np.maximum), by_lanes("i2", np.minimum), by_lanes("u1", np.minimum),
    by_lanes("u1", lambda x, y: -(x == y).astype(int)), by_lanes("i2", lambda x, y: -(x > y).astype(int)),
    by_lanes("u1", lambda x, y: -(x <= y).astype(int)), by_lanes("i1", np.greater_equal), by_lanes("u2", np.less),
    by_lanes("i1", lambda x, y: abs(x)), clamped("i2", lambda x, y: abs(x)), by_lanes("i2", lambda x, y: -x),
    clamped("i1", lambda x, y: -x), summed("i1"), summed("u2"),
]  # fmt: skip


def words(rng: np.random.Generator) -> tuple[Words, Words]:
    x, y = (rng.integers(0, 1 << 32, N, dtype=np.uint32) for _ in "xy")
    x[:6] = 0x80007FFF, 0xFF01807F, 0, 0xFFFFFFFF, 0x80808080, 0x7F7F7F7F
    y[:6] = 0x80018000, 0x7F80FF01, 0, 1, 0x80808080, 0x01010101
    x[6:60] &= y[6:60]
    y[60:90] = x[60:90]
    return x, y


def test_halves_and_bytes_of_a_word(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x, y = words(rng)
    out = np.zeros((len(LANES), N), np.uint32)
    launch("lanes", cuda.In(x), cuda.In(y), cuda.Out(out))
    for row, function in enumerate(LANES):
        assert np.array_equal(out[row], function(x, y)), row


def signed(x: int, bits: int = 32) -> int:
    x &= (1 << bits) - 1
    return x - (x >> (bits - 1) << bits)


def dot(x: int, y: int, width: int, first_byte: int, is_signed: bool) -> int:
    """3 and the products of parts of `x` with bytes of `y`."""
    part = signed if is_signed else lambda value, bits: value & ((1 << bits) - 1)
    return 3 + sum(
        part(x >> width * place, width) * part(y >> 8 * (first_byte + place), 8) for place in range(32 // width)
    )


def nth_set(mask: int, base: int, offset: int) -> int:
    if offset == 0:
        return base if mask >> base & 1 else -1
    places = range(base, 32) if offset > 0 else range(base, -1, -1)
    found = [place for place in places if mask >> place & 1]
    return found[abs(offset) - 1] if len(found) >= abs(offset) else -1


WORDS: list[Callable[[int, int], int]] = [
    lambda x, y: (y << 32 | x) >> 13,
    lambda x, y: (y << 32 | x) << min(y % 40, 32) >> 32,
    lambda x, y: (y << 32 | x) >> min(y % 40, 32),
    lambda x, y: signed(x, 24) * signed(y, 24),
    lambda x, y: (x & 0xFFFFFF) * (y & 0xFFFFFF),
    lambda x, y: x * y >> 32,
    lambda x, y: (x << 32 | y) * (y << 32 | x) >> 96,
    lambda x, y: (signed(x) + signed(y)) >> 1,
    lambda x, y: (x + y + 1) >> 1,
    lambda x, y: abs(signed(x) - signed(y)) + 7,
    lambda x, y: abs(x - y) + 7,
    lambda x, y: dot(x, y, 8, 0, is_signed=True),
    lambda x, y: dot(x, y, 8, 0, is_signed=False),
    lambda x, y: dot(x, y, 16, 0, is_signed=True),
    lambda x, y: dot(x, y, 16, 2, is_signed=False),
    lambda x, y: nth_set(x, y % 32, (y >> 28) - 8),
]


def test_words(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    x, y = words(rng)
    out = np.zeros((len(WORDS), N), np.uint32)
    launch("words", cuda.In(x), cuda.In(y), cuda.Out(out))
    for row, function in enumerate(WORDS):
        expected = [function(int(a), int(b)) & 0xFFFFFFFF for a, b in zip(x, y, strict=True)]
        assert list(map(int, out[row])) == expected, row


def test_loads_stores_and_clocks(cuda: Any, context: Any, rng: np.random.Generator) -> None:
    values = rng.random((32, 4), dtype=np.float32)
    out, clocks = np.zeros_like(values), np.zeros(32, np.int64)
    Module("intrinsics")["rest"](cuda.In(values), cuda.Out(out), cuda.Out(clocks), block=(32, 1, 1))
    assert np.array_equal(out[:, 1:], values[:, 1:])
    assert np.allclose(out[:, 0], 2 * values[:, 0] + values[:, 1] + values[:, 2])
    assert (clocks > 0).all()
