"""Modules from files, their variables, functions by symbol, attributes and launches that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_device import Module, compile_file, compile_text

VARIABLES = """
struct Pair { int first; double second; };
__device__ Pair pairs[3] = {{1, 0.5}, {2, 1.5}, {3, 2.5}};
__constant__ unsigned char bytes[5];
__device__ unsigned long long total;
namespace inner { __device__ float hidden = 2.0f; }

__global__ void take(double* out) {
    for (const Pair& pair : pairs) *out += pair.first * pair.second;
    for (int i = 0; i < 5; ++i) total += bytes[i];
    inner::hidden *= 2.0f;
    *out += inner::hidden;
}
"""


@pytest.fixture
def variables(cuda: Any, context: Any) -> Any:
    compiled = compile_text(VARIABLES, "variables.cu", ["take"])
    module = cuda.module_from_buffer(compiled.image)
    return module, module.get_function(compiled.symbols["take"])


def take(cuda: Any, function: Any) -> float:
    out = np.zeros(1)
    function(cuda.InOut(out), block=(1, 1, 1))
    return float(out[0])


def test_variables_keep_their_values_between_launches(cuda: Any, variables: Any) -> None:
    module, function = variables
    cuda.memcpy_htod(module.get_global("bytes")[0], np.array([1, 2, 3, 4, 250], np.uint8))
    sums = 1 * 0.5 + 2 * 1.5 + 3 * 2.5
    assert [take(cuda, function) for _ in range(3)] == [sums + 4, sums + 8, sums + 16]
    assert cuda.from_device(module.get_global("total")[0], 1, np.uint64)[0] == 3 * 260


def test_variables_are_memory_like_any_other(cuda: Any, variables: Any) -> None:
    module, function = variables
    address, size = module.get_global("pairs")
    kind = np.dtype([("first", "i4"), ("second", "f8")], align=True)
    assert size == 3 * kind.itemsize
    content = cuda.from_device(address, 3, kind)
    assert list(content["first"]) == [1, 2, 3]
    # Between two variables, a part, and a set.
    cuda.memcpy_dtod(address, address + 2 * kind.itemsize, kind.itemsize)
    cuda.memset_d8(address + kind.itemsize, 0, kind.itemsize)
    cuda.memset_d8(module.get_global("bytes")[0], 0, 5)
    assert take(cuda, function) == 2 * 3 * 2.5 + 4


def test_a_variable_has_its_end(cuda: Any, variables: Any) -> None:
    module, _ = variables
    address, size = module.get_global("bytes")
    assert size == 5
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(address, np.zeros(1 << 20, np.uint8))


def test_an_address_of_a_variable_is_an_argument(cuda: Any, variables: Any) -> None:
    module, _ = variables
    address, _ = module.get_global("total")
    Module("control")["set"](np.uintp(address), np.int32(77), block=(1, 1, 1))
    assert cuda.from_device(address, 1, np.uint64)[0] == 77


def test_a_module_from_a_file(cuda: Any, context: Any, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(compile_file("control").image)
    value = np.zeros(1, np.int32)
    cuda.module_from_file(str(path)).get_function("set")(cuda.Out(value), np.int32(8), block=(1, 1, 1))
    assert value[0] == 8
    with pytest.raises(cuda.Error):
        cuda.module_from_file(str(tmp_path / "absent"))


def test_options_of_a_module(cuda: Any, context: Any) -> None:
    messages: list[Any] = []
    option = cuda.jit_option
    module = cuda.module_from_buffer(
        compile_file("control").image,
        options=[(option.MAX_REGISTERS, 64)],
        message_handler=lambda *parts: messages.append(parts),
    )
    value = np.zeros(1, np.int32)
    module.get_function("set")(cuda.Out(value), np.int32(9), block=(1, 1, 1))
    assert value[0] == 9
    assert len(messages) == 1


def test_kernels_are_found_by_their_symbols(cuda: Any, context: Any) -> None:
    module = Module("elementwise").module
    values = np.arange(32, dtype=np.int32)
    module.get_function("_ZN7numbers6negateEPi")(cuda.InOut(values), block=(32, 1, 1))
    assert np.array_equal(values, -np.arange(32))


def test_a_function_outlives_the_name_of_its_module(cuda: Any, context: Any) -> None:
    function = Module("control").module.get_function("set")
    for number in range(3):
        value = np.zeros(1, np.int32)
        function(cuda.Out(value), np.int32(number), block=(1, 1, 1))
        assert value[0] == number


def test_a_function_tells_what_it_needs(cuda: Any, context: Any) -> None:
    names = cuda.function_attribute
    plain = Module("control")["set"]
    assert plain.get_attribute(names.SHARED_SIZE_BYTES) == 0
    assert plain.get_attribute(names.MAX_THREADS_PER_BLOCK) == 1024
    for name in ("NUM_REGS", "LOCAL_SIZE_BYTES", "CONST_SIZE_BYTES", "PTX_VERSION", "BINARY_VERSION"):
        assert plain.get_attribute(getattr(names, name)) >= 0
    plain.set_cache_config(cuda.func_cache.PREFER_L1)


REFUSED = {
    "no blocks": ((0, 1, 1), (32, 1, 1), 0),
    "no threads": ((1, 1, 1), (0, 1, 1), 0),
    "more blocks than there may be": ((1, 1, 65536), (1, 1, 1), 0),
    "more shared memory than is allowed": ((1, 1, 1), (1, 1, 1), (48 << 10) + 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_launch_leaves_the_context_well(cuda: Any, context: Any, name: str) -> None:
    grid, block, shared = REFUSED[name]
    value = cuda.to_device(np.zeros(1, np.int32))
    function = Module("control")["set"]
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        function(value, np.int32(1), grid=grid, block=block, shared=shared)
    context.synchronize()
    assert cuda.from_device(value, 1, np.int32)[0] == 0
    function(value, np.int32(1), block=(1, 1, 1))
    assert cuda.from_device(value, 1, np.int32)[0] == 1


def test_a_grid_may_be_long(cuda: Any, context: Any) -> None:
    """More blocks along x than y and z may have."""
    n = 70_000
    x, z = cuda.to_device(np.ones(n, np.float32)), cuda.mem_alloc(4 * n)
    Module("elementwise")["saxpy"](np.float32(1), x, x, z, np.int32(n), block=(1, 1, 1), grid=(n, 1))
    assert (cuda.from_device(z, n, np.float32) == 2).all()


def test_dynamic_shared_memory_may_fill_what_static_leaves_of_48_kilobytes(cuda: Any, context: Any) -> None:
    rest = (48 << 10) - 2 * 16 * 16 * 4
    data, out = cuda.to_device(np.eye(16, dtype=np.float32)), cuda.mem_alloc(1024)
    arguments = data, data, out, np.int32(16)
    Module("shared")["sgemm"](*arguments, block=(16, 16, 1), shared=rest)
    assert np.array_equal(cuda.from_device(out, (16, 16), np.float32), np.eye(16))
