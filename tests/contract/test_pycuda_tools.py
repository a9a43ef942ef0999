"""PyCUDA's own tools, unchanged: modules from source, generated kernels, arrays. Their compiler is `nvcc_program`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_device import KIND

PROGRAM = Path(__file__).with_name("nvcc_program.py")


@pytest.fixture(scope="module")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps what one test compiled for the others."""
    return tmp_path_factory.mktemp("pycuda")


@pytest.fixture
def tools(context: Any, _compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of PyCUDA by its name; what it keeps per context goes before the context does."""
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n')
    nvcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    monkeypatch.setenv("PYCUDA_CACHE_DIR", str(_compiled))
    yield lambda name: importlib.import_module(f"pycuda.{name}")
    importlib.import_module("pycuda.tools").clear_context_caches()


@pytest.fixture
def values() -> Any:
    return np.random.default_rng(0).normal(size=1000).astype(np.float32)


def test_a_module_from_source(cuda: Any, tools: Any, values: Any) -> None:
    module = tools("compiler").SourceModule(
        """
        #define TWICE(x) (2.0f * (x))
        __constant__ float offset;
        __device__ float change(float x) { return TWICE(x) + offset; }
        __global__ void apply(float* x) {
            const int i = blockIdx.x * blockDim.x + threadIdx.x;
            x[i] = change(x[i]);
        }
        """
    )
    cuda.memcpy_htod(module.get_global("offset")[0], np.array([0.5], np.float32))
    result = values.copy()
    module.get_function("apply")(cuda.InOut(result), block=(100, 1, 1), grid=(10, 1))
    assert np.allclose(result, 2 * values + 0.5)


def test_a_source_that_does_not_compile(cuda: Any, tools: Any) -> None:
    with pytest.raises(cuda.CompileError, match="missing"):
        tools("compiler").SourceModule("__global__ void f(float* x) { *x = missing; }")


@pytest.mark.skipif(KIND != "emulated", reason="about what the emulated device lacks")
def test_the_linker_says_why_there_is_none(cuda: Any, tools: Any) -> None:
    told: list[tuple[bool, str, str]] = []
    with pytest.raises(cuda.LogicError, match=r"not supported - The emulated device has no linker: .* of one source.$"):
        tools("compiler").DynamicModule(message_handler=lambda *message: told.append(message))
    ((worked, info, error),) = told
    assert (worked, info) == (False, "")
    assert error.startswith("The emulated device has no linker")


def test_an_elementwise_kernel(tools: Any, values: Any) -> None:
    arrays = tools("gpuarray")
    kernel = tools("elementwise").ElementwiseKernel(
        "float a, const float *x, const float *y, float *z", "z[i] = a * x[i] + y[i]", "axpy"
    )
    x, y = arrays.to_gpu(values), arrays.to_gpu(values[::-1].copy())
    z = arrays.empty_like(x)
    kernel(np.float32(3), x, y, z)
    assert np.allclose(z.get(), 3 * values + values[::-1], rtol=1e-5, atol=1e-6)
    kernel(np.float32(0), x, x, z, slice=slice(10, 20))
    assert np.array_equal(z.get()[10:20], values[10:20])


#: PyCUDA's reductions leave out __syncwarp(): they go well where the lanes of a warp keep step, and only there.
needs_lockstep = pytest.mark.xfail(KIND == "emulated", reason="lanes of the emulated device do not keep step")


@pytest.mark.parametrize(
    "n", [1, pytest.param(1000, marks=needs_lockstep), pytest.param(100_003, marks=needs_lockstep)]
)
def test_a_reduction_kernel(tools: Any, n: int) -> None:
    arrays = tools("gpuarray")
    dot = tools("reduction").ReductionKernel(
        np.float64, "0", "a + b", "(double)x[i] * y[i]", "const float *x, const float *y"
    )
    x, y = np.random.default_rng(n).normal(size=(2, n)).astype(np.float32)
    result = dot(arrays.to_gpu(x), arrays.to_gpu(y)).get()
    assert np.isclose(result, x.astype(np.float64) @ y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [1, 500, 10_000])
def test_scan_kernels(tools: Any, n: int) -> None:
    arrays, scan = tools("gpuarray"), tools("scan")
    numbers = np.random.default_rng(n).integers(-100, 100, n, dtype=np.int32)
    inclusive, exclusive = arrays.to_gpu(numbers), arrays.to_gpu(numbers)
    scan.InclusiveScanKernel(np.int32, "a + b")(inclusive)
    scan.ExclusiveScanKernel(np.int32, "a + b", neutral=0)(exclusive)
    assert np.array_equal(inclusive.get(), numbers.cumsum())
    assert np.array_equal(exclusive.get(), numbers.cumsum() - numbers)


def test_arithmetic_of_arrays(tools: Any, values: Any) -> None:
    x = tools("gpuarray").to_gpu(values)
    assert np.allclose((2 * x - x / 4 + 1).get(), 2 * values - values / 4 + 1)
    assert np.allclose((x * x).get(), values * values)
    assert np.allclose(abs(x).get(), abs(values))
    assert np.array_equal((-x)[100:900:3].get(), -values[100:900:3])
    assert np.array_equal(x.astype(np.float64).get(), values.astype(np.float64))


def test_functions_of_arrays(tools: Any, values: Any) -> None:
    arrays, maths = tools("gpuarray"), tools("cumath")
    x = arrays.to_gpu(values)
    assert np.allclose(maths.exp(x).get(), np.exp(values), rtol=1e-5)
    assert np.allclose(maths.sin(x).get(), np.sin(values), atol=1e-6)
    assert np.array_equal(arrays.if_positive(x, x, arrays.zeros_like(x)).get(), values.clip(0))
    assert np.array_equal(arrays.minimum(x, 0.5).get(), np.minimum(values, np.float32(0.5)))


@needs_lockstep
def test_reductions_of_arrays(tools: Any, values: Any) -> None:
    arrays = tools("gpuarray")
    x = arrays.to_gpu(values)
    results = arrays.sum(x).get(), arrays.max(x).get(), arrays.dot(x, x).get()
    assert np.allclose(results, [values.sum(), values.max(), values @ values], rtol=1e-4, atol=1e-3)


def test_complex_arrays(tools: Any) -> None:
    numbers = np.random.default_rng(1).normal(size=(2, 300)).view(np.complex128)
    x, y = (tools("gpuarray").to_gpu(row.astype(np.complex64)) for row in numbers)
    assert np.allclose((x * y + x).get(), numbers[0] * numbers[1] + numbers[0], rtol=1e-4, atol=1e-5)
    assert np.allclose(x.conj().get(), numbers[0].conj())
    assert np.allclose(x.imag.get(), numbers[0].imag)


def test_arrays_of_more_dimensions(tools: Any) -> None:
    arrays = tools("gpuarray")
    block = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    x = arrays.to_gpu(block)
    assert np.array_equal(x[1].get(), block[1])
    assert np.array_equal(x.reshape(6, 4).get(), block.reshape(6, 4))
    assert np.array_equal(arrays.to_gpu(block[0]).T.get(), block[0].T)
    assert np.array_equal(arrays.arange(0, 100, 7, dtype=np.int32).get(), np.arange(0, 100, 7))


def test_arrays_from_a_pool(cuda: Any, tools: Any, values: Any) -> None:
    pool = tools("tools").DeviceMemoryPool()
    stream = cuda.Stream()
    x = tools("gpuarray").to_gpu_async(values, allocator=pool.allocate, stream=stream)
    y = x + 1
    assert np.allclose(y.get_async(stream), values + 1)
    assert pool.active_blocks == 2
    del x, y
    assert pool.active_blocks == 0
    pool.stop_holding()
