"""Cooperative groups against what the definitions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contract_device import Module
from numpy.typing import NDArray

Ints = NDArray[np.int32]


def launch(kernel: str, *arguments: Any, block: int, shared: int = 0) -> None:
    Module("groups")[kernel](*arguments, block=(block, 1, 1), grid=(1, 1), shared=shared)


@pytest.fixture
def values() -> Ints:
    return np.random.default_rng(2).integers(-100, 100, 96, dtype=np.int32)


@pytest.mark.parametrize("block", [32, 96, 1024])
def test_sums_by_tiles(cuda: Any, context: Any, block: int) -> None:
    data = np.random.default_rng(1).random(5000, dtype=np.float32)
    total = np.zeros(1, np.float32)
    arguments = cuda.In(data), cuda.InOut(total), np.int32(data.size)
    Module("groups")["sums"](*arguments, block=(block, 1, 1), grid=(-(-data.size // block), 1))
    assert np.isclose(total[0], data.sum(dtype=np.float64), rtol=1e-5)


def test_ranks_and_sizes(cuda: Any, context: Any) -> None:
    grid, block = (2, 3), (8, 3, 2)
    out = np.zeros((6, 48, 14), np.uint32)
    Module("groups")["ranks"](cuda.Out(out), block=block, grid=grid)
    for number in range(6):
        for rank in range(48):
            tile = [rank % 16, 16, rank // 16, 3, rank % 4, rank % 16 // 4, 4]
            expected = [rank, 48, number // 2, rank // 24, 8, *tile, 6 * 48, rank + 16000]
            assert list(out[number, rank]) == expected, (number, rank)


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 32])
def test_what_a_tile_exchanges(cuda: Any, context: Any, values: Ints, size: int) -> None:
    values[32:64] = 7  # so that some tiles agree
    out = np.zeros((15, 96), np.int32)
    launch(f"exchange{size}", cuda.In(values), cuda.Out(out), np.int32(96), block=96)
    tiles = values.reshape(-1, size)
    rank = np.arange(size)
    positive = tiles > 0
    remainders = np.fmod(tiles, 3)
    weights = 1 << rank.astype(np.int64)
    same = (remainders[:, :, None] == remainders[:, None, :]) @ weights
    agree = (tiles == tiles[:, :1]).all(axis=1)
    sums = tiles.cumsum(axis=1)
    of_tile = [positive.any(axis=1), positive.all(axis=1), positive @ weights]
    reduced = [tiles.sum(axis=1), tiles.min(axis=1), tiles.max(axis=1), np.bitwise_xor.reduce(tiles, axis=1)]
    expected = [
        np.repeat(tiles[:, -1], size),
        tiles[:, np.minimum(rank + 1, size - 1)],
        tiles[:, np.maximum(rank - 1, 0)],
        tiles[:, (rank ^ size // 2) % max(size, 1)],
        *(np.repeat(row, size) for row in of_tile),
        same,
        *(np.repeat(row, size) for row in reduced),
        sums,
        sums - tiles,
        np.repeat(agree.astype(np.int32), size),
    ]
    for row, (result, right) in enumerate(zip(out, expected, strict=True)):
        assert np.array_equal(result, np.asarray(right).ravel().astype(np.int64).astype(np.int32)), row


def test_lanes_that_are_together_count_as_one(cuda: Any, context: Any, values: Ints) -> None:
    count, places = np.zeros(1, np.int32), np.full(96, -1, np.int32)
    launch("count_positive", cuda.In(values), cuda.InOut(count), cuda.InOut(places), block=96)
    positive = values > 0
    assert count[0] == positive.sum()
    assert sorted(places[positive]) == list(range(count[0]))
    assert (places[~positive] == -1).all()


def test_a_coalesced_group(cuda: Any, context: Any, values: Ints) -> None:
    out = np.zeros((7, 96), np.int32)
    launch("coalesced", cuda.In(values), cuda.InOut(out), np.int32(96), block=96)
    for warp in range(3):
        lanes = [i for i in range(32 * warp, 32 * warp + 32) if i % 3 == 0]
        x = values[lanes]
        ranks = np.arange(len(lanes))
        ballot = sum(1 << rank for rank in ranks if x[rank] > 0)
        down = [x[min(rank + 1, len(lanes) - 1)] for rank in ranks]
        up = [x[rank - 2] if rank >= 2 else x[rank] for rank in ranks]
        of_four = [min(4, len(lanes) - rank // 4 * 4) for rank in ranks]
        size = len(lanes)
        expected = [[size] * size, ranks, down, up, [ballot] * size, [x.sum()] * size, of_four]
        for row, right in enumerate(expected):
            assert np.array_equal(out[row, lanes], np.asarray(right)), (warp, row)


def test_partitions_by_label_and_predicate(cuda: Any, context: Any) -> None:
    labels = np.random.default_rng(8).integers(0, 5, 64, dtype=np.int32)
    out = np.zeros((4, 64), np.int32)
    launch("partitions", cuda.In(labels), cuda.Out(out), np.int32(64), block=64)
    for row, keys in (0, labels), (2, labels % 2):
        for number, of_warp in enumerate(keys.reshape(2, 32)):
            for lane, label in enumerate(of_warp):
                members = np.flatnonzero(of_warp == label)
                at = 32 * number + lane
                assert (out[row, at], out[row + 1, at]) == (members.size, np.searchsorted(members, lane))


def test_a_function_of_any_group(cuda: Any, context: Any, values: Ints) -> None:
    of_block, of_tiles = np.zeros(1, np.int32), np.zeros(8, np.int32)
    arguments = cuda.In(values[:64]), cuda.Out(of_block), cuda.Out(of_tiles)
    launch("by_any_group", *arguments, block=64, shared=64 * 4)
    assert of_block[0] == values[:64].sum()
    assert np.array_equal(of_tiles, values[:64].reshape(8, 8).sum(axis=1))


def test_copies_and_structures(cuda: Any, context: Any) -> None:
    data = np.random.default_rng(4).random(96, dtype=np.float32)
    out, wide = np.zeros(96, np.float32), np.zeros(96)
    launch("copies", cuda.In(data), cuda.Out(out), cuda.Out(wide), block=96)
    assert np.array_equal(out, data[::-1])
    source = np.repeat([5, 37, 69], 32)
    assert np.array_equal(wide, source * 1.5)
