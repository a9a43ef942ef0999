"""Kernels of the gallery on sequences, tables and graphs: sorting, searching, compaction, runs, distances."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from gallery import Array, kernels, launch, lengths, put, rng, shapes, zeros
from test_gallery_sums import scan


@pytest.mark.parametrize("n", [1, 2, 64, 128, 1024])
def test_a_bitonic_sort_by_the_host(context: Any, n: int) -> None:
    keys = rng(n).integers(0, 1 << 32, n, dtype=np.uint32)
    keys[: n // 4] = keys[n // 2 : n // 2 + n // 4]  # Some twice.
    ordered, step = put(keys), kernels("bitonic")["bitonic_step"]
    size = 2
    while size <= n:
        stride = size // 2
        while stride:
            launch(step, n // 2, 64, ordered, np.int32(size), np.int32(stride), np.int32(n))
            stride //= 2
        size *= 2
    assert np.array_equal(ordered.get(), np.sort(keys))


@pytest.mark.parametrize("block", [1, 2, 32, 256])
def test_a_bitonic_sort_in_each_block(context: Any, block: int) -> None:
    keys = rng(block).integers(0, 100, (3, 2 * block), dtype=np.uint32)
    ordered = put(keys)
    launch(kernels("bitonic")["bitonic_block"], 3 * block, block, ordered, shared=2 * block * 4)
    assert np.array_equal(ordered.get(), np.sort(keys, axis=1))


def radix_pass(keys: Array, values: Array, shift: int, n: int) -> tuple[Array, Array]:
    module, block = kernels("radix"), 64
    counts = -(-n // block) * 16
    offsets, sizes = Array(counts, np.uint32), (np.int32(shift), np.int32(n))
    out = Array(n, np.uint32), Array(n, np.uint32)
    launch(module["count_digits"], n, block, keys, offsets, *sizes)
    launch(module["scan_counts"], 128, 128, offsets, np.int32(counts), shared=4 * 128)
    launch(module["scatter"], n, block, keys, values, offsets, *out, *sizes, shared=block)
    return out


@lengths(64, most=1500)
def test_radix_passes(context: Any, n: int) -> None:
    words = rng(n).integers(0, 1 << 12, n, dtype=np.uint32)
    keys, values = put(words), put(np.arange(n, dtype=np.uint32))
    for digits in (1, 2, 3):
        keys, values = radix_pass(keys, values, 4 * digits - 4, n)
        order = np.argsort(words & (1 << 4 * digits) - 1, kind="stable")
        assert np.array_equal(values.get(), order)
        assert np.array_equal(keys.get(), words[order])


@lengths(64)
def test_compaction_in_any_order(context: Any, n: int) -> None:
    values = rng(n).integers(-50, 50, n, dtype=np.int32)
    out, count = Array(n, np.int32), zeros(1, np.uint32)
    launch(kernels("compact")["compact_atomic"], n, 64, put(values), out, count, np.int32(n))
    chosen = values[values > 0]
    assert count.get()[0] == chosen.size
    assert np.array_equal(np.sort(out.get()[: chosen.size]), np.sort(chosen))


@lengths(96)
def test_compaction_in_order(context: Any, n: int) -> None:
    values = rng(n).integers(-50, 50, n, dtype=np.int32)
    module, blocks = kernels("compact"), -(-n // 96)
    offsets, out = Array(blocks + 1, np.int32), Array(n, np.int32)
    launch(module["count_blocks"], n, 96, put(values), offsets, np.int32(n))
    launch(module["offsets_of_blocks"], 1, 1, offsets, np.int32(blocks))
    launch(module["compact_stable"], n, 96, put(values), offsets, out, np.int32(n))
    chosen = values[values > 0]
    assert offsets.get()[-1] == chosen.size
    assert np.array_equal(out.get()[: chosen.size], chosen)


@lengths(64)
def test_run_lengths(context: Any, n: int) -> None:
    data = rng(n).integers(0, 3, n, dtype=np.uint8)
    module, given = kernels("runs"), put(data)
    heads, count = Array(n, np.int32), zeros(1, np.int32)
    values, starts, run_lengths = Array(n, np.uint8), Array(n + 1, np.int32), Array(n, np.int32)
    launch(module["mark_heads"], n, 64, given, heads, np.int32(n))
    launch(module["write_runs"], n, 64, given, scan(heads, n), values, starts, count, np.int32(n))
    launch(module["lengths_of_runs"], n, 64, starts, run_lengths, count)
    expected = [(value, len(list(run))) for value, run in groupby(data.tolist())]
    assert count.get()[0] == len(expected)
    found = zip(values.get().tolist(), run_lengths.get().tolist(), strict=True)
    assert [pair for pair, _ in zip(found, expected, strict=False)] == expected


@shapes((0, 1), (1, 1), (1, 2), (63, 3), (64, 64), (65, 2), (500, 1), n=500, wanted=64)
def test_a_string_search(cuda: Any, context: Any, n: int, wanted: int) -> None:
    wanted = max(wanted, 1)
    text = rng(n).integers(ord("a"), ord("c"), n, dtype=np.uint8)
    start = int(rng(n, wanted).integers(0, max(n - wanted, 0) + 1))
    pattern = text[start : start + wanted] if wanted <= n else np.full(wanted, ord("a"), np.uint8)
    module = kernels("search")
    cuda.memcpy_htod(module.module.get_global("pattern")[0], pattern)
    matches, count = Array(n, np.uint8), zeros(1, np.int32)
    arguments = put(text), np.int32(n), np.int32(wanted), matches, count
    launch(module["search"], n, 64, *arguments, shared=64 + wanted - 1)
    whole, part = text.tobytes(), pattern.tobytes()
    expected = [whole.startswith(part, place) for place in range(n)]
    assert np.array_equal(matches.get(), expected)
    assert count.get()[0] == sum(expected)


@shapes((0, 0), (0, 3), (1, 1), (31, 32), (33, 32), (90, 64), rows=90, columns=90)
def test_an_edit_distance(context: Any, rows: int, columns: int) -> None:
    a, b = (rng(size, seed).integers(97, 101, size, dtype=np.uint8) for size, seed in ((rows, 1), (columns, 2)))
    out = Array(1, np.int32)
    arguments = put(a), np.int32(rows), put(b), np.int32(columns), out
    launch(kernels("edit_distance")["edit_distance"], 32, 32, *arguments, shared=3 * (rows + 1) * 4)
    line = list(range(columns + 1))
    for i in range(rows):
        corner, line[0] = line[0], i + 1
        for j in range(columns):
            corner, line[j + 1] = line[j + 1], min(line[j] + 1, line[j + 1] + 1, corner + int(a[i] != b[j]))
    assert out.get()[0] == line[-1]


@lengths(64)
def test_a_hash_table(context: Any, n: int) -> None:
    module, capacity = kernels("hash_table"), 4096
    words = rng(n).integers(0, max(n, 1), n, dtype=np.uint32) * np.uint32(4096)  # Many share their low bits.
    keys, counts = put(np.full(capacity, 0xFFFFFFFF, np.uint32)), zeros(capacity, np.uint32)
    launch(module["count_keys"], n, 64, put(words), keys, counts, np.uint32(capacity), np.int32(n))
    wanted = np.concatenate([np.unique(words), [7]]).astype(np.uint32)
    found = Array(wanted.size, np.uint32)
    arguments = put(wanted), keys, counts, found, np.uint32(capacity), np.int32(wanted.size)
    launch(module["look_up"], wanted.size, 64, *arguments)
    assert list(found.get()) == [*np.unique(words, return_counts=True)[1], 0]
    assert counts.get().sum() == n


@shapes((1, 1), (2, 1), (64, 2), (65, 1), (300, 3), n=300, degree=4)
def test_breadth_first(context: Any, n: int, degree: int) -> None:
    n = max(n, 1)
    edges = rng(n, degree).integers(0, n, (n, degree), dtype=np.int32)
    starts = np.arange(n + 1, dtype=np.int32) * np.int32(degree)
    expected, level, reached = np.full(n, -1, np.int32), 0, np.array([0])
    while reached.size:
        expected[reached] = level
        level += 1
        following = np.unique(edges[reached])
        reached = following[expected[following] == -1]
    distance = np.full(n, -1, np.int32)
    distance[0] = 0
    graph, distances = (put(starts), put(edges)), put(distance)
    frontier, after = put(np.zeros(n, np.int32)), Array(n, np.int32)
    size, level = 1, 1
    while size:
        next_size = zeros(1, np.int32)
        arguments = *graph, distances, frontier, np.int32(size), after, next_size, np.int32(level)
        launch(kernels("bfs")["expand"], size, 64, *arguments)
        frontier, after = after, frontier
        size, level = int(next_size.get()[0]), level + 1
    assert np.array_equal(distances.get(), expected)
