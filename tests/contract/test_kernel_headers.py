"""Headers of the C and C++ libraries in kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from contract_device import Module


def test_whole_numbers(cuda: Any, context: Any) -> None:
    out = np.zeros(13, np.uint64)
    values = np.array([7, 3, -20], np.int32)
    Module("headers")["whole"](cuda.Out(out), cuda.In(values), block=(1, 1, 1))
    most = (1 << 64) - 1
    limits = [most, 1 << 63, (1 << 32) - 1, most, (1 << 32) + (1 << 31) - 2, most + 1 - (1 << 15)]
    assert list(map(int, out)) == [*limits, 5, 3 + 256 * 7, 24, 1, 7, 21, 16]


def test_copies_of_groups_and_atomics_of_exact_width(cuda: Any, context: Any) -> None:
    values = np.arange(64, dtype=np.uint64) * np.uint64(1 << 40)
    out, total, most = np.zeros_like(values), np.zeros(1, np.uint64), np.zeros(1, np.int64)
    arguments = cuda.Out(out), cuda.In(values), cuda.InOut(total), cuda.InOut(most)
    Module("headers")["together"](*arguments, block=(64, 1, 1))
    assert list(out) == [*values[32:], *values[:32]]
    assert (total[0], most[0]) == (values.sum(), values[-1])


def test_floating_numbers(cuda: Any, context: Any) -> None:
    out = np.zeros(12)
    Module("headers")["floating"](cuda.Out(out), np.float32(4), block=(1, 1, 1))
    limits = [float(np.finfo(np.float32).max), float(np.finfo(np.float64).eps), math.inf, 1, math.pi, 2 + 4 + 16 + 4]
    small = float(np.float32(5) + np.finfo(np.float32).eps)
    expected = [math.pi, math.sqrt(2), *limits, math.inf, float(np.finfo(np.float64).min), 3, small]
    assert list(out) == expected
