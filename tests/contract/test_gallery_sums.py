"""Kernels of the gallery that bring many numbers together: reductions, scans, histograms, rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gallery import NULL, Array, kernels, launch, lengths, put, rng, shapes, zeros


@lengths(256)
@pytest.mark.parametrize("block", [32, 128])
def test_a_sum_by_a_tree(context: Any, block: int, n: int) -> None:
    values = rng(n).integers(-(1 << 31), 1 << 31, n).astype(np.int32)
    blocks = -(-n // (2 * block))
    sums = Array(blocks, np.int64)
    launch(kernels("reduce")["sum_tree"], blocks * block, block, put(values), sums, np.int32(n), shared=8 * block)
    assert sums.get().sum() == values.sum(dtype=np.int64)


@lengths(96)
def test_extremes_in_one_launch(context: Any, n: int) -> None:
    values = rng(n).normal(size=n).astype(np.float32)
    threads = min(max(n, 1), 7 * 96)
    found, result = Array((7, 2), np.float32), Array(2, np.float32)
    launch(kernels("reduce")["min_max"], threads, 96, put(values), found, zeros(1, np.uint32), result, np.int32(n))
    expected = values.min(initial=np.inf), values.max(initial=-np.inf)
    assert tuple(result.get()) == expected


@lengths(64)
def test_where_the_greatest_is(context: Any, n: int) -> None:
    values = rng(n).integers(-9, 3, n).astype(np.float32)
    best, value, place = zeros(1, np.uint64), Array(1, np.float32), Array(1, np.int32)
    module = kernels("argmax")
    launch(module["argmax"], n, 64, put(values), best, np.int32(n))
    launch(module["unpack"], 1, 1, best, value, place)
    if n:
        assert (value.get()[0], place.get()[0]) == (values.max(), values.argmax())
    else:
        assert place.get()[0] == -1


@lengths(64)
def test_a_sum_that_loses_nothing(context: Any, n: int) -> None:
    values = rng(n).normal(size=n) * 10.0 ** rng(n, 1).integers(-20, 20, n)
    out = Array(1, np.float64)
    launch(kernels("exact_sums")["sum_compensated"], 64, 64, put(values), out, np.int32(n))
    exact = math.fsum(values)
    assert abs(out.get()[0] - exact) <= 4e-16 * abs(exact) + 1e-30 * np.abs(values).sum()


@shapes((0, 4), (1, 0), (1, 8), (1, 9), (32, 17), (33, 1000), rows=40, columns=1000)
def test_sums_by_pairs(context: Any, rows: int, columns: int) -> None:
    values = rng(rows, columns).random((rows, columns), dtype=np.float32)
    out = Array(rows, np.float32)
    arguments = put(values), out, np.int32(columns), np.int32(rows)
    launch(kernels("exact_sums")["sum_pairwise"], rows, 32, *arguments)
    assert np.allclose(out.get(), values.sum(axis=1, dtype=np.float64), rtol=1e-6)


# ***** scans *****


def scan(values: Array, n: int, block: int = 64) -> Array:
    """The inclusive scan of `n` numbers, over as many levels as it takes."""
    module, blocks = kernels("scan"), -(-n // block)
    out, totals = Array(n, np.int32), Array(blocks, np.int32)
    launch(module["scan_blocks"], n, block, values, out, totals, np.int32(n))
    if blocks > 1:
        launch(module["add_totals"], n, block, out, scan(totals, blocks, block), np.int32(n))
    return out


@lengths(64, most=10_000)
def test_an_inclusive_scan_of_any_length(context: Any, n: int) -> None:
    values = rng(n).integers(-1000, 1000, n, dtype=np.int32)
    assert np.array_equal(scan(put(values), n).get(), values.cumsum())


@shapes((0,), (1,), (63,), (64,), (127,), (128,), n=128)
def test_an_exclusive_scan_in_a_block(context: Any, n: int) -> None:
    values = rng(n).integers(-1000, 1000, n, dtype=np.int32)
    out = Array(n, np.int32)
    launch(kernels("scan")["scan_exclusive"], 64, 64, put(values), out, np.int32(n), shared=4 * 128)
    assert np.array_equal(out.get(), values.cumsum() - values)


@shapes((1,), (2,), (31,), (32,), (33,), n=200)
def test_a_scan_of_matrices(context: Any, n: int) -> None:
    """Products do not commute; those of [[1, 1], [1, 0]] hold Fibonacci's numbers."""
    n = max(n, 1)
    matrices = rng(n).integers(0, 1 << 32, (n, 2, 2), dtype=np.uint32)
    matrices[: n // 2] = [[1, 1], [1, 0]]
    out = Array((n, 2, 2), np.uint32)
    launch(kernels("scan")["scan_matrices"], n, n, put(matrices), out, shared=2 * n * 16)
    expected = [matrices[0]]
    for matrix in matrices[1:]:
        expected.append(expected[-1] @ matrix)
    assert np.array_equal(out.get(), expected)


@shapes((0, 1), (1, 1), (63, 7), (64, 32), (65, 300), (3000, 1000), n=3000, bins=1000)
def test_histograms(context: Any, n: int, bins: int) -> None:
    bins = max(bins, 1)
    values = rng(n, bins).integers(0, 1 << 16, n, dtype=np.uint16)
    module, sizes = kernels("histogram"), (np.int32(bins), np.int32(n))
    in_global, in_shared = zeros(bins, np.uint32), zeros(bins, np.uint32)
    launch(module["histogram_global"], n, 64, put(values), in_global, *sizes)
    launch(module["histogram_shared"], min(n, 256), 64, put(values), in_shared, *sizes, shared=4 * bins)
    expected = np.bincount(values % bins, minlength=bins)
    assert np.array_equal(in_global.get(), expected)
    assert np.array_equal(in_shared.get(), expected)


# ***** rows *****


@shapes((0, 5), (1, 0), (1, 1), (64, 3), (65, 90), (7, 200), rows=100, columns=200)
def test_a_sparse_matrix_times_a_vector(context: Any, rows: int, columns: int) -> None:
    dense = rng(rows, columns).normal(size=(rows, columns))
    # Rows of every density, empty and full ones among them.
    dense[rng(rows, columns, 1).random((rows, columns)) > rng(rows).random((rows, 1)) * 1.4 - 0.2] = 0
    x = rng(columns).normal(size=columns)
    where = [np.flatnonzero(row) for row in dense]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in where])]).astype(np.int32)
    indices = np.concatenate([[], *where]).astype(np.int32)
    matrix = put(starts), put(indices), put(dense[dense != 0])
    for name, threads_per_row in (("spmv_scalar", 1), ("spmv_warp", 32)):
        y = Array(rows, np.float64)
        launch(kernels("spmv")[name], rows * threads_per_row, 64, *matrix, put(x), y, np.int32(rows))
        assert np.allclose(y.get(), dense @ x, rtol=1e-12, atol=1e-12), name


@shapes((0, 5), (1, 1), (2, 63), (2, 64), (3, 65), (5, 400), rows=8, columns=400)
def test_softmax(context: Any, rows: int, columns: int) -> None:
    values = (10 * rng(rows, columns).normal(size=(rows, columns))).astype(np.float32)
    values[:, : columns // 3] -= 1000  # Only the difference to the greatest matters.
    values[:, : columns // 4] = -np.inf
    out = Array(values.shape, np.float32)
    launch(kernels("softmax")["softmax"], rows * 64, 64, put(values), out, np.int32(columns))
    powers = np.exp(values - values.max(axis=1, keepdims=True, initial=-1e30), dtype=np.float64)
    assert np.allclose(out.get(), powers / powers.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-7)


@shapes((0, 5), (1, 1), (4, 31), (4, 32), (5, 33), (9, 300), rows=12, columns=300)
def test_layer_normalisation(context: Any, rows: int, columns: int) -> None:
    values = (5 + rng(rows, columns).normal(size=(rows, columns))).astype(np.float32)
    scale, shift = rng(columns).normal(size=(2, columns)).astype(np.float32)
    exact = values.astype(np.float64)
    if columns:
        exact = (exact - exact.mean(axis=1, keepdims=True)) / np.sqrt(exact.var(axis=1, keepdims=True) + 1e-5)
    for factor, offset, expected in ((NULL, NULL, exact), (put(scale), put(shift), exact * scale + shift)):
        out = Array(values.shape, np.float32)
        arguments = put(values), factor, offset, out, np.int32(rows), np.int32(columns), np.float32(1e-5)
        launch(kernels("layer_norm")["layer_norm"], (-(-rows // 4) * 32, 4), (32, 4), *arguments)
        assert np.allclose(out.get(), expected, rtol=1e-3, atol=1e-4)


@shapes((0, 1), (1, 1), (4, 32), (5, 33), rows=20, words=70)
def test_products_of_bytes(context: Any, rows: int, words: int) -> None:
    weights = rng(rows, words).integers(-128, 128, (rows, 4 * words), dtype=np.int8)
    x = rng(words).integers(-128, 128, 4 * words, dtype=np.int8)
    scales = rng(rows).random(rows, dtype=np.float32)
    out = Array(rows, np.float32)
    arguments = put(weights), put(x), put(scales), out, np.int32(rows), np.int32(words)
    launch(kernels("quantised")["quantised_matvec"], (-(-rows // 4) * 32, 4), (32, 4), *arguments)
    sums = weights.astype(np.int32) @ x.astype(np.int32)
    assert np.array_equal(out.get(), scales * sums.astype(np.float32))


@pytest.mark.parametrize("block", [1, 31, 32, 33, 200])
def test_dynamic_shared_memory_of_two_types(context: Any, block: int) -> None:
    module = kernels("dynamic_shared")
    values = rng(block).integers(0, 50, (5, block)).astype(np.float32)
    medians = Array(5, np.float32)
    launch(module["median_of_block"], 5 * block, block, put(values), medians, shared=4 * block)
    assert np.array_equal(medians.get(), np.sort(values, axis=1)[:, block // 2])
    words = rng(block, 1).integers(0, 1 << 16, (5, block), dtype=np.uint16)
    reversed_words = put(words)
    launch(module["reverse_block"], 5 * block, block, reversed_words, shared=2 * block)
    assert np.array_equal(reversed_words.get(), words[:, ::-1])


@shapes((0,), (1,), (7,), (31,), n=100)
def test_dynamic_shared_memory_in_two_parts(context: Any, n: int) -> None:
    values, keys = rng(n).random(n), rng(n, 1).integers(0, 40, n, dtype=np.uint8)
    means = Array(32, np.float64)
    arguments = put(values), put(keys), means, np.int32(n)
    launch(kernels("dynamic_shared")["means_by_key"], 32, 32, *arguments, shared=9 * n)
    expected = [values[keys == key].mean() if (keys == key).any() else 0 for key in range(32)]
    assert np.allclose(means.get(), expected)
