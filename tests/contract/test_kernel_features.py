"""What of C++ device code uses: lambdas, templates, classes, globals, shared memory of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contract_device import Module


def test_two_types_of_dynamic_shared_memory_beside_static(cuda: Any, context: Any) -> None:
    module = Module("language")
    values = np.random.default_rng(1).random(128, dtype=np.float32)
    out = np.zeros_like(values)
    module["as_floats"](cuda.In(values), cuda.Out(out), block=(128, 1, 1), shared=128 * 4)
    assert np.array_equal(out, values[::-1] + 1)
    pairs = np.arange(128, dtype=np.int32).reshape(64, 2)
    swapped = np.zeros_like(pairs)
    module["as_pairs"](cuda.In(pairs), cuda.Out(swapped), block=(64, 1, 1), shared=64 * 8)
    assert np.array_equal(swapped, pairs.reshape(32, 2, 2)[:, ::-1, ::-1].reshape(64, 2))


def test_arrays_carved_out_of_one(cuda: Any, context: Any) -> None:
    values = np.random.default_rng(2).random(50)
    out = np.zeros_like(values)
    Module("language")["carved"](cuda.In(values), cuda.Out(out), np.int32(50), block=(50, 1, 1), shared=50 * 12)
    assert np.array_equal(out, np.roll(values, -1))


@pytest.mark.parametrize("a", [1.0, 3.0])
def test_features(cuda: Any, context: Any, a: float) -> None:
    out = np.zeros(15, np.float32)
    Module("language")["features"](cuda.Out(out), np.float32(a), block=(1, 1, 1))
    kind = -a if a > 2 else a
    table = 0.5 * a + 3 + [2, 3, 5, 7][int(a)] + 3
    expected = [2 * a + 2 + 20, 69410, a / 3, 0.5, 3 + a, a * a + a, 3 * a, kind, -a, 9, table, 77, 34, 114, 1005]
    assert np.allclose(out, expected, rtol=1e-5)


def test_globals_live_as_long_as_the_module(cuda: Any, context: Any) -> None:
    module = Module("language")
    for total in (96, 192):
        module["count"](block=(32, 1, 1), grid=(3, 1))
        address, size = module.module.get_global("counter")
        assert size == 4
        assert cuda.from_device(address, 1, np.uint32)[0] == total
    again = Module("language")
    again["count"](block=(1, 1, 1))
    assert cuda.from_device(again.module.get_global("counter")[0], 1, np.uint32)[0] == 1


def test_vectors_have_cudas_sizes(cuda: Any, context: Any) -> None:
    values = np.random.default_rng(3).integers(-128, 128, (32, 4), dtype=np.int8)
    out, wide = np.zeros((32, 4), np.float32), np.zeros((32, 2), np.uint64)
    Module("language")["vectors"](cuda.In(values), cuda.Out(out), cuda.Out(wide), block=(32, 1, 1))
    assert np.array_equal(out, values)
    assert (wide == [1216, 1216]).all()
