"""What the emulated device costs against plain C++ on one core (docs/emulator.md, Speed): host work, never a GPU's.

Every figure is a ratio of two measurements made one after the other, or is taken many times over, because machines are
shared: the median counts, and the spread is recorded.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np

from kaas.graph import Source
from kaas_emulator import compiler, toolchain
from kaas_emulator.library import activate
from kaas_pool.compiler.images import ImageCache
from kaas_pool.compiler.messages import CompiledSource, Unit

REPEATS = 15
ELEMENTS = 1 << 22
SIDE = 384
BARS = {"saxpy_of_plain": 0.7, "sgemm_gflops": 0.4, "compile_s": 1.0, "from_cache_ms": 5.0}

SAXPY = """\
extern "C" __global__ void saxpy(float a, const float* x, const float* y, float* z, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) z[i] = a * x[i] + y[i];
}
"""
PLAIN = """\
extern "C" void saxpy(float a, const float* x, const float* y, float* z, int n) {
    for (int i = 0; i < n; ++i) z[i] = a * x[i] + y[i];
}
"""
SGEMM = """\
#define TILE 16
extern "C" __global__ void sgemm(const float* a, const float* b, float* c, int n) {
    __shared__ float of_a[TILE][TILE], of_b[TILE][TILE];
    const int column = blockIdx.x * TILE + threadIdx.x, row = blockIdx.y * TILE + threadIdx.y;
    float sum = 0;
    for (int start = 0; start < n; start += TILE) {
        of_a[threadIdx.y][threadIdx.x] = a[row * n + start + threadIdx.x];
        of_b[threadIdx.y][threadIdx.x] = b[(start + threadIdx.y) * n + column];
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += of_a[threadIdx.y][k] * of_b[k][threadIdx.x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}
"""


def seconds(call: Callable[[], object]) -> float:
    """How long the call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def image_of(folder: Path, text: str, kernel: str) -> bytes:
    """A source compiled for the emulated device."""
    source = folder / f"{kernel}.cu"
    source.write_text(text)
    return toolchain.compile_image(source, [kernel], includes=[], defines={}, workdir=folder)


def plain_saxpy(folder: Path) -> Callable[..., object]:
    """The loop as a shared library, with the flags of a careful C++ programmer."""
    (folder / "plain.cpp").write_text(PLAIN)
    command = [compiler.compiler(), "-O3", "-march=native", "-shared", "-fPIC", "plain.cpp", "-o", "plain.so"]
    subprocess.run(command, cwd=folder, check=True)
    function: Any = ctypes.CDLL(str(folder / "plain.so")).saxpy
    function.argtypes = [ctypes.c_float, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    return function  # type: ignore[no-any-return]


def saxpy_ratios(cuda: Any, folder: Path) -> list[float]:
    """Speed of the kernel over that of the loop, pair by pair, on the same memory."""
    kernel = cuda.module_from_buffer(image_of(folder, SAXPY, "saxpy")).get_function("saxpy")
    plain = plain_saxpy(folder)
    x, y, z = (cuda.mem_alloc(4 * ELEMENTS) for _ in range(3))
    cuda.memset_d32(x, 0x3F800000, ELEMENTS)
    cuda.memset_d32(y, 0x3F800000, ELEMENTS)

    def emulated() -> None:
        kernel(np.float32(2), x, y, z, np.int32(ELEMENTS), block=(256, 1, 1), grid=(ELEMENTS // 256, 1))
        cuda.Context.synchronize()

    def native() -> None:
        plain(2.0, int(x), int(y), int(z), ELEMENTS)

    emulated()
    native()
    ratios = []
    for round_number in range(REPEATS):
        # Whoever comes second finds warmer caches: take turns.
        first, second = (native, emulated) if round_number % 2 else (emulated, native)
        took = {first: seconds(first), second: seconds(second)}
        ratios.append(took[native] / took[emulated])
    return ratios


def sgemm_speeds(cuda: Any, folder: Path) -> list[float]:
    """GFLOP/s of the tiled matrix product."""
    kernel = cuda.module_from_buffer(image_of(folder, SGEMM, "sgemm")).get_function("sgemm")
    a, b, c = (cuda.mem_alloc(4 * SIDE * SIDE) for _ in range(3))
    for buffer in (a, b):
        cuda.memset_d32(buffer, 0x3F800000, SIDE * SIDE)

    def product() -> None:
        tiles = SIDE // 16
        kernel(a, b, c, np.int32(SIDE), block=(16, 16, 1), grid=(tiles, tiles))
        cuda.Context.synchronize()

    product()
    return [2 * SIDE**3 / seconds(product) / 1e9 for _ in range(REPEATS)]


def compile_times(folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Seconds of the clock and of the processor for one source, milliseconds from the pool's cache of images."""
    elapsed, used = [], []
    for number in range(REPEATS):
        before = os.times()
        elapsed.append(seconds(lambda: image_of(folder, SGEMM + f"// {number}\n", "sgemm")))  # noqa: B023
        after = os.times()
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    unit = Unit(Source("sgemm.cu"), ("sgemm",))
    images = ImageCache(folder / "images")
    images.keep("0" * 64, CompiledSource(unit, image_of(folder, SGEMM, "sgemm"), {}, "", 0.0, cached=False))
    cached = [1000 * seconds(lambda: images.find("0" * 64, unit)) for _ in range(REPEATS)]
    return elapsed, used, cached


def main() -> int:
    """Measure, print, write down; the status says whether every median keeps its bar."""
    os.environ["KAAS_EMULATOR_WORKERS"] = "1"
    about = machine.describe()
    activate()
    toolchain.build_prefix()
    import pycuda.driver as cuda

    cuda.init()
    context = cuda.Device(0).make_context()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            elapsed, used, cached = compile_times(folder)
            figures = {
                "saxpy_of_plain": machine.spread(saxpy_ratios(cuda, folder)),
                "sgemm_gflops": machine.spread(sgemm_speeds(cuda, folder)),
                "compile_s": machine.spread(elapsed),
                "compile_processor_s": machine.spread(used),
                "from_cache_ms": machine.spread(cached),
            }
    finally:
        context.pop()
    upper = {"compile_s", "from_cache_ms"}
    missed = [
        name
        for name, bar in BARS.items()
        if (figures[name]["median"] > bar if name in upper else figures[name]["median"] < bar)
    ]
    sizes = {"saxpy_elements": ELEMENTS, "sgemm_side": SIDE, "repeats": REPEATS}
    path = machine.record("emulator", about, {"sizes": sizes, "bars": BARS, "figures": figures, "missed": missed})
    print(json.dumps(figures, indent=1), "->", path)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
