"""Kernels of the gallery on planes and volumes: products, transposes, stencils, convolution, cellular automata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import Array, kernels, launch, put, rng, shapes, zeros

#: One element, one tile, one over it, several; and results without elements.
PRODUCTS = ((0, 3, 4), (4, 3, 0), (1, 1, 1), (16, 16, 16), (17, 1, 15), (33, 40, 31))
PLANES = ((0, 4), (4, 0), (1, 1), (16, 16), (17, 15), (32, 33))


def tiles(width: int, height: int, tile: int, rows: int) -> tuple[int, int]:
    """The threads for tiles of which a block of `tile` by `rows` threads each does one."""
    return width, -(-height // tile) * rows


@shapes(*PRODUCTS, rows=50, inner=50, columns=50)
def test_matrix_products(context: Any, rows: int, inner: int, columns: int) -> None:
    a = rng(rows, inner).normal(size=(rows, inner)).astype(np.float32)
    b = rng(inner, columns, 1).normal(size=(inner, columns)).astype(np.float32)
    module, sizes = kernels("matmul"), [np.int32(size) for size in (rows, inner, columns)]
    for name, threads, block in [
        ("matmul", (columns, rows), (16, 16)),
        ("matmul_registers", tiles(columns, rows, 32, 8), (32, 8)),
    ]:
        c = Array((rows, columns), np.float32)
        launch(module[name], threads, block, put(a), put(b), c, *sizes)
        assert np.allclose(c.get(), a.astype(np.float64) @ b, rtol=1e-4, atol=1e-4), name


def test_an_inner_dimension_of_nothing(context: Any) -> None:
    c = Array((20, 5), np.float32)
    nothing = Array(0, np.float32)
    launch(kernels("matmul")["matmul"], (5, 20), (16, 16), nothing, nothing, c, np.int32(20), np.int32(0), np.int32(5))
    assert not c.get().any()


@shapes(*PRODUCTS, rows=40, inner=40, columns=40)
def test_products_of_halves(context: Any, rows: int, inner: int, columns: int) -> None:
    a = rng(rows, inner).normal(size=(rows, inner)).astype(np.float16)
    b = rng(inner, columns, 1).normal(size=(inner, columns)).astype(np.float16)
    c = Array((rows, columns), np.float16)
    sizes = [np.int32(size) for size in (rows, inner, columns)]
    launch(kernels("half_gemm")["half_gemm"], (columns, rows), (16, 16), put(a), put(b), c, *sizes)
    assert np.allclose(c.get(), a.astype(np.float64) @ b.astype(np.float64), rtol=1e-3, atol=1e-3)


@shapes((0,), (1,), (63,), (64,), (65,), n=500)
def test_sums_of_halves_by_pairs(context: Any, n: int) -> None:
    x, y = rng(n).normal(size=(2, 2 * n)).astype(np.float16)
    z, a = Array(2 * n, np.float16), np.float16(1.7)
    launch(kernels("half_gemm")["half_axpy"], n, 64, a.view(np.uint16), put(x), put(y), z, np.int32(n))
    assert np.array_equal(z.get(), a * x + y)


@shapes(*PLANES, width=70, height=70)
def test_transposes(context: Any, width: int, height: int) -> None:
    data = rng(width, height).normal(size=(height, width)).astype(np.float32)
    module, sizes = kernels("transpose"), (np.int32(width), np.int32(height))
    naive, tiled = Array((width, height), np.float32), Array((width, height), np.float32)
    launch(module["transpose_naive"], (width, height), (32, 8), put(data), naive, *sizes)
    launch(module["transpose_tiled"], tiles(width, height, 32, 8), (32, 8), put(data), tiled, *sizes)
    assert np.array_equal(naive.get(), data.T)
    assert np.array_equal(tiled.get(), data.T)


@shapes(*PLANES, width=50, height=50)
def test_five_points(context: Any, width: int, height: int) -> None:
    data = rng(width, height).normal(size=(height, width)).astype(np.float32)
    now, after = put(data), Array(data.shape, np.float32)
    expected = data.astype(np.float64)
    for _ in range(3):
        launch(
            kernels("stencil")["five_points"], (width, height), (16, 16),
            now, after, np.int32(width), np.int32(height), np.float32(0.2),
        )  # fmt: skip
        now, after = after, now
        p = np.pad(expected, 1)
        around = p[1:-1, :-2] + p[1:-1, 2:] + p[:-2, 1:-1] + p[2:, 1:-1]
        expected = expected + 0.2 * (around - 4 * expected)
    assert np.allclose(now.get(), expected, rtol=1e-4, atol=1e-5)


@shapes((0, 3, 3), (3, 3, 0), (1, 1, 1), (8, 4, 5), (9, 5, 2), (7, 9, 1), width=20, height=20, depth=8)
def test_seven_points(context: Any, width: int, height: int, depth: int) -> None:
    data = rng(width, height, depth).normal(size=(depth, height, width)).astype(np.float32)
    out = Array(data.shape, np.float32)
    sizes = [np.int32(size) for size in (width, height, depth)]
    function = kernels("stencil")["seven_points"]
    launch(function, (width, height), (8, 4), put(data), out, *sizes, shared=10 * 6 * 4)
    p = np.pad(data.astype(np.float64), 1)
    inner = slice(1, -1)
    around = p[inner, inner, :-2] + p[inner, inner, 2:] + p[inner, :-2, inner] + p[inner, 2:, inner]
    expected = around + p[:-2, inner, inner] + p[2:, inner, inner] - 6 * p[inner, inner, inner]
    assert np.allclose(out.get(), expected, rtol=1e-4, atol=1e-4)


@shapes((1, 1, 0), (1, 1, 4), (16, 16, 1), (17, 15, 4), width=50, height=50, radius=4)
def test_a_convolution(cuda: Any, context: Any, width: int, height: int, radius: int) -> None:
    width, height = max(width, 1), max(height, 1)  # A border to continue is needed.
    image = rng(width, height).normal(size=(height, width)).astype(np.float32)
    side = 2 * radius + 1
    weights = rng(radius).normal(size=(side, side)).astype(np.float32)
    module = kernels("convolution")
    cuda.memcpy_htod(module.module.get_global("weights")[0], weights)
    out = Array(image.shape, np.float32)
    sizes = [np.int32(size) for size in (width, height, radius)]
    launch(module["convolve"], (width, height), (16, 16), put(image), out, *sizes)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, radius, mode="edge"), (side, side))
    assert np.allclose(out.get(), np.einsum("yxij,ij->yx", windows, weights, dtype=np.float64), rtol=1e-4, atol=1e-4)


@shapes((1, 1), (2, 2), (3, 3), (16, 16), (17, 18), width=40, height=40)
def test_jacobi_between_two_buffers(context: Any, width: int, height: int) -> None:
    data = rng(width, height).normal(size=(height, width))
    now, after, expected = put(data), Array(data.shape, np.float64), data.copy()
    for _ in range(5):
        change = zeros(1, np.uint64)
        launch(
            kernels("jacobi")["jacobi"], (width, height), (16, 8),
            now, after, change, np.int32(width), np.int32(height),
        )  # fmt: skip
        now, after = after, now
        e, last = expected, expected.copy()
        last[1:-1, 1:-1] = (e[1:-1, :-2] + e[1:-1, 2:] + e[:-2, 1:-1] + e[2:, 1:-1]) / 4
        assert np.isclose(change.get().view(np.float64)[0], np.abs(last - e).max(initial=0), rtol=1e-12)
        expected = last
    assert np.allclose(now.get(), expected, rtol=1e-12, atol=1e-14)


@shapes((1, 1), (1, 4), (2, 5), (3, 17), words=4, height=40)
def test_the_game_of_life(context: Any, words: int, height: int) -> None:
    cells = rng(words, height).integers(0, 2, (height, 32 * words), dtype=np.uint8)
    packed = np.packbits(cells, axis=1, bitorder="little").view(np.uint32)
    now, after = put(packed), Array(packed.shape, np.uint32)
    for _ in range(4):
        arguments = now, after, np.int32(words), np.int32(height)
        launch(kernels("life")["life"], (32 * words, height), (32, 4), *arguments)
        now, after = after, now
        moves = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
        around = sum(np.roll(cells, move, (0, 1)) for move in moves) if cells.size else cells
        cells = ((around == 3) | ((around == 2) & (cells == 1))).astype(np.uint8)
    assert np.array_equal(np.unpackbits(now.get().view(np.uint8), axis=1, bitorder="little"), cells)


def test_a_glider_comes_back_on_a_torus(context: Any) -> None:
    """It moves by one cell along both axes in four generations: around 32 by 32 cells in 128."""
    glider = np.zeros(32, np.uint32)
    glider[:3] = 0b010, 0b100, 0b111
    now, after = put(glider), Array(32, np.uint32)
    for _ in range(128):
        launch(kernels("life")["life"], (32, 32), (32, 8), now, after, np.int32(1), np.int32(32))
        now, after = after, now
    assert np.array_equal(now.get(), glider)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 200])
def test_gravity_between_all_pairs(context: Any, n: int) -> None:
    bodies = rng(n).normal(size=(n, 4)).astype(np.float32)
    out = Array((n, 4), np.float32)
    function = kernels("nbody")["accelerations"]
    launch(function, n, 64, put(bodies), out, np.int32(n), np.float32(0.01), shared=64 * 16)
    exact = bodies.astype(np.float64)
    apart = exact[None, :, :3] - exact[:, None, :3]
    factor = exact[:, 3] / ((apart**2).sum(axis=2) + 0.01) ** 1.5
    expected = (factor[:, :, None] * apart).sum(axis=1)
    result = out.get()
    assert np.allclose(result[:, :3], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max(initial=1))
    assert not result[:, 3].any()


@shapes((0,), (1,), (15,), (16,), (17,), n=40)
def test_shortest_paths(context: Any, n: int) -> None:
    far = 1 << 20
    lengths = rng(n).integers(1, 100, (n, n), dtype=np.int32)
    lengths[rng(n, 1).random((n, n)) < 0.7] = far
    np.fill_diagonal(lengths, 0)
    distance, through, expected = put(lengths), put(np.full((n, n), -1, np.int32)), lengths.copy()
    for via in range(n):
        arguments = distance, through, np.int32(via), np.int32(n)
        launch(kernels("paths")["relax_through"], (n, n), (16, 8), *arguments)
        expected = np.minimum(expected, expected[:, via : via + 1] + expected[via : via + 1])
    assert np.array_equal(distance.get(), expected)
    assert np.array_equal(through.get() >= 0, expected < lengths)
