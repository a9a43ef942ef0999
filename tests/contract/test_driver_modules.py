"""Modules, functions, globals, launches."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from contract_device import KERNELS, Compiled, Module, compile_file, compile_text


def test_constants_and_globals(cuda: Any, context: Any) -> None:
    loaded = Module("globals")
    address, size = loaded.module.get_global("coefficients")
    assert size == 16
    cuda.memcpy_htod(address, np.array([1, 2, 3, 4], np.float32))
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    result = cuda.mem_alloc(x.nbytes)
    for _ in range(3):
        loaded["polynomial"](cuda.In(x), result, np.int32(x.size), block=(128, 1, 1), grid=(8, 1))
    assert np.allclose(cuda.from_device_like(result, x), 1 + x * (2 + x * (3 + x * 4)), atol=1e-5)
    address, size = loaded.module.get_global("calls")
    assert size == 4
    assert cuda.from_device(address, 1, np.int32)[0] == 8
    table = np.empty(3, np.float32)
    loaded["read_table"](cuda.Out(table), block=(3, 1, 1))
    assert list(table) == [1.5, 2.5, 3.5]


def test_two_modules_of_one_image_are_apart(cuda: Any, context: Any) -> None:
    first, second = Module("globals"), Module("globals")
    cuda.memcpy_htod(first.module.get_global("table")[0], np.array([7, 8, 9], np.float32))
    results = [np.empty(3, np.float32) for _ in range(2)]
    for module, result in zip((first, second), results, strict=True):
        module["read_table"](cuda.Out(result), block=(3, 1, 1))
    assert list(results[0]) == [7, 8, 9]
    assert list(results[1]) == [1.5, 2.5, 3.5]


def test_what_a_module_does_not_have(cuda: Any, context: Any) -> None:
    module = Module("globals").module
    with pytest.raises(cuda.LogicError, match="not found"):
        module.get_function("absent")
    with pytest.raises(cuda.LogicError, match="not found"):
        module.get_global("absent")


def test_attributes(cuda: Any, context: Any) -> None:
    function = Module("shared")["sgemm"]
    names = cuda.function_attribute
    assert function.get_attribute(names.MAX_THREADS_PER_BLOCK) > 0
    assert function.get_attribute(names.SHARED_SIZE_BYTES) == 2 * 16 * 16 * 4
    most = cuda.Device(0).get_attribute(cuda.device_attribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
    relax = Module("shared")["relax"]
    relax.set_attribute(names.MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10)
    assert relax.get_attribute(names.MAX_DYNAMIC_SHARED_SIZE_BYTES) == 64 << 10
    with pytest.raises(cuda.LogicError):
        relax.set_attribute(names.MAX_DYNAMIC_SHARED_SIZE_BYTES, most + 1024)


RESOURCES = """
__shared__ float common[250];
__device__ float exchanged(float value) {
    __shared__ float inner[32];
    inner[threadIdx.x % 32] = value;
    __syncthreads();
    return inner[(threadIdx.x + 1) % 32];
}
extern "C" __global__ void alone(float* x) {
    __shared__ float unused[500];
    x[threadIdx.x] = 1;
}
extern "C" __launch_bounds__(96, 2) __global__ void calls(float* x) { x[threadIdx.x] = exchanged(x[threadIdx.x]); }
namespace space {
template <typename T, int threads>
__global__ void
__launch_bounds__(
    threads
) reversed(T* x) {
    __shared__ T values[threads];
    values[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = values[threads - 1 - threadIdx.x];
}
}
static constexpr int bound = 64;
extern "C" __global__ void __launch_bounds__(bound) both(float* x) {
    extern __shared__ float wanted[];
    common[threadIdx.x] = x[threadIdx.x];
    wanted[threadIdx.x] = 2;
    __syncthreads();
    x[threadIdx.x] = exchanged(common[63 - threadIdx.x]) + wanted[0];
}
"""
#: Each kernel's static shared memory and the most threads that its blocks may have.
NEEDS = {
    "alone": (0, 1024),
    "calls": (128, 96),
    "space::reversed<float, 128>": (512, 128),
    "space::reversed<double, 96>": (768, 96),
    "both": (1128, 64),
}


def resources(cuda: Any) -> tuple[Any, Any]:
    """Looks up the kernels of `RESOURCES`; and a buffer for them."""
    compiled = compile_text(RESOURCES, "resources.cu", list(NEEDS))
    module = cuda.module_from_buffer(compiled.image)
    return lambda name: module.get_function(compiled.symbols[name]), cuda.to_device(np.zeros(1024, np.float32))


def test_each_kernel_has_resources_of_its_own(cuda: Any, context: Any) -> None:
    kernel, _ = resources(cuda)
    names = cuda.function_attribute
    asked = (names.SHARED_SIZE_BYTES, names.MAX_THREADS_PER_BLOCK)
    assert {name: tuple(map(kernel(name).get_attribute, asked)) for name in NEEDS} == NEEDS


@pytest.mark.parametrize("name", NEEDS)
def test_a_launch_keeps_its_bound(cuda: Any, context: Any, name: str) -> None:
    kernel, buffer = resources(cuda)
    threads = NEEDS[name][1]
    kernel(name)(buffer, block=(threads, 1, 1), shared=256)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        kernel(name)(buffer, block=(threads + 1, 1, 1), shared=256)
    context.synchronize()


def test_static_and_dynamic_shared_memory_share_one_limit(cuda: Any, context: Any) -> None:
    kernel, buffer = resources(cuda)
    both, static = kernel("both"), NEEDS["both"][0]
    allowed = cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
    most = cuda.Device(0).get_attribute(cuda.device_attribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
    both(buffer, block=(64, 1, 1), shared=(48 << 10) - static)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        both(buffer, block=(64, 1, 1), shared=(48 << 10) - static + 4)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        both.set_attribute(allowed, most - static + 4)
    both.set_attribute(allowed, most - static)
    both(buffer, block=(64, 1, 1), shared=most - static)
    context.synchronize()


def test_shared_memory_above_48_kilobytes_must_be_allowed(cuda: Any, context: Any) -> None:
    relax = Module("shared")["relax"]
    x = cuda.to_device(np.ones(64, np.float32))
    y = cuda.mem_alloc(256)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        relax(x, y, np.int32(64), block=(64, 1, 1), shared=64 << 10)
    relax.set_attribute(cuda.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10)
    relax(x, y, np.int32(64), block=(64, 1, 1), shared=64 << 10)
    context.synchronize()


def test_prepared_launches(cuda: Any, context: Any) -> None:
    function = Module("elementwise")["saxpy"]
    function.prepare("fPPPi")
    x = np.random.default_rng(2).random(10_000, dtype=np.float32)
    gx, gz, stream = cuda.to_device(x), cuda.mem_alloc(x.nbytes), cuda.Stream()
    grid, block = (79, 1), (128, 1, 1)
    function.prepared_async_call(grid, block, stream, 2.0, gx, gx, gz, x.size)
    stream.synchronize()
    assert np.allclose(cuda.from_device_like(gz, x), 3 * x)
    function.prepared_call(grid, block, 3.0, gx, gx, gz, x.size)
    assert np.allclose(cuda.from_device_like(gz, x), 4 * x)
    assert function.prepared_timed_call(grid, block, 4.0, gx, gx, gz, x.size)() > 0


def test_a_launch_uses_the_arguments_of_its_time(cuda: Any, context: Any) -> None:
    function = Module("control")["set"]
    buffer = struct.pack("Pi", 0, 0)
    values = cuda.to_device(np.zeros(100, np.int32))
    for index in range(100):
        buffer = struct.pack("Pi", int(values) + 4 * index, index)
        function._launch_kernel((1, 1), (1, 1, 1), buffer, 0, None)
    assert list(cuda.from_device(values, 100, np.int32)) == list(range(100))


@pytest.mark.parametrize(
    ("grid", "block"),
    [((1, 1, 1), (1025, 1, 1)), ((1, 1, 1), (32, 33, 1)), ((1, 1, 1), (1, 1, 65)), ((1, 65536, 1), (1, 1, 1))],
)
def test_impossible_shapes_are_refused(cuda: Any, context: Any, grid: Any, block: Any) -> None:
    function = Module("control")["set"]
    with pytest.raises(cuda.LogicError):
        function._launch_kernel(grid, block, struct.pack("Pi", 0, 0), 0, None)
    cuda.mem_alloc(16).free()


def test_an_unloaded_module_ends_its_kernels_first(cuda: Any, context: Any) -> None:
    value = cuda.to_device(np.zeros(1, np.int32))
    for number in range(20):
        module = Module("control")
        module["set"](value, np.int32(number), block=(1, 1, 1))
        del module
    assert cuda.from_device(value, 1, np.int32)[0] == 19


@pytest.mark.parametrize(
    "image",
    [b"", b"garbage", b"//\n.version 8.0\n.target sm_90\n.address_size 64\n!", b"\x7fELF\x02\x01\x01" + bytes(200)],
    ids=["empty", "text", "broken ptx", "broken elf"],
)
def test_what_is_no_image_is_refused(cuda: Any, context: Any, image: bytes) -> None:
    with pytest.raises(cuda.Error):
        cuda.module_from_buffer(image + b"\0")
    cuda.mem_alloc(16).free()


def test_kernels_of_one_source_see_shared_memory_with_their_own_types(cuda: Any, context: Any) -> None:
    text = """
    template <typename T>
    __device__ void reverse(T* values, T* shared) {
        shared[threadIdx.x] = values[threadIdx.x];
        __syncthreads();
        values[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
    }
    extern "C" __global__ void reverse_int(int* values) {
        extern __shared__ int ints[];
        reverse(values, ints);
    }
    extern "C" __global__ void reverse_double(double* values) {
        extern __shared__ double doubles[];
        reverse(values, doubles);
    }
    extern __shared__ __align__(16) float rows[][4];
    extern "C" __global__ void reverse_rows(float4* values) {
        rows[threadIdx.x][0] = values[threadIdx.x].x;
        rows[threadIdx.x][3] = values[threadIdx.x].w;
        __syncthreads();
        const float* row = rows[blockDim.x - 1 - threadIdx.x];
        values[threadIdx.x].x = row[0];
        values[threadIdx.x].w = row[3];
    }
    """
    names = ["reverse_int", "reverse_double", "reverse_rows"]
    compiled = compile_text(text, "reverse.cu", names)
    module = cuda.module_from_buffer(compiled.image)
    for name, dtype, width in zip(names, (np.int32, np.float64, np.float32), (1, 1, 4), strict=True):
        values = np.arange(64 * width, dtype=dtype).reshape(64, width)
        memory = cuda.to_device(values)
        function = module.get_function(compiled.symbols[name])
        function(memory, block=(64, 1, 1), shared=64 * values.itemsize * width)
        expected = values.copy()
        expected[:, 0], expected[:, -1] = values[::-1, 0], values[::-1, -1]
        assert np.array_equal(cuda.from_device_like(memory, values), expected), name


def test_defines_reach_the_source(cuda: Any, context: Any) -> None:
    text = 'extern "C" __global__ void put(int* out) { *out = VALUE + EXTRA(2); }'
    compiled: Compiled = compile_text(text, "put.cu", ["put"], [("VALUE", "40"), ("EXTRA(x)", "x")])
    result = np.zeros(1, np.int32)
    cuda.module_from_buffer(compiled.image).get_function("put")(cuda.Out(result), block=(1, 1, 1))
    assert result[0] == 42


def test_every_kernel_file_is_used() -> None:
    texts = "".join(path.read_text() for path in KERNELS.parent.glob("*.py"))
    assert all(f'"{path.stem}"' in texts for path in KERNELS.glob("*.cu"))
    assert compile_file("control") is compile_file("control")
