"""The driver's functions by name and version, and NVIDIA's cuda-bindings beside PyCUDA on one context."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_device import KIND, Module
from graph_device import (
    INVALID_VALUE,
    NOT_SUPPORTED,
    Library,
    bindings,
    call,
    code_of,
    kernel_parameters,
    pointer,
    refusal,
)

import kaas_emulator

SUCCESS, SYMBOL_NOT_FOUND, VERSION_NOT_SUFFICIENT = 0, 1, 2  # CUdriverProcAddressQueryResult
DEFAULT, PER_THREAD = 0, 2  # CUdriverProcAddress_flags


def look_up(name: str, version: int) -> tuple[int, int]:
    """The address of a function, or 0, and how the search ended."""
    address, status = call("cuGetProcAddress", name.encode(), version, DEFAULT)
    return int(address), int(status)


def test_both_libraries_see_one_context(cuda: Any, context: Any) -> None:
    assert int(call("cuCtxGetCurrent")) == context.handle
    memory = call("cuMemAlloc", 4096)
    assert cuda.mem_get_info()[0] == call("cuMemGetInfo")[0]
    data = np.arange(1024, dtype=np.int32)
    cuda.memcpy_htod(int(memory), data)
    back = np.empty_like(data)
    call("cuMemcpyDtoH", back, memory, back.nbytes)
    assert np.array_equal(back, data)
    call("cuMemFree", memory)


def test_a_stream_of_one_library_serves_the_other(cuda: Any, context: Any) -> None:
    stream = cuda.Stream(1)
    value = cuda.to_device(np.zeros(1, np.int32))
    function = Library("control")["set"]
    arguments = ((int(value), 5), (ctypes.c_void_p, ctypes.c_int))
    call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, stream.handle, arguments, 0)
    Module("control")["set"](value, np.int32(6), block=(1, 1, 1), stream=stream)
    stream.synchronize()
    assert cuda.from_device(value, 1, np.int32)[0] == 6
    made = call("cuStreamCreate", 1)
    event = call("cuEventCreate", 0)
    call("cuEventRecord", event, made)
    call("cuStreamWaitEvent", stream.handle, event, 0)
    stream.synchronize()
    call("cuEventDestroy", event)
    call("cuStreamDestroy", made)


def test_an_error_of_one_library_is_the_same_in_the_other(cuda: Any, context: Any) -> None:
    assert code_of("cuMemFree", 0x1000) == INVALID_VALUE
    assert refusal(lambda: cuda.memcpy_htod(0x1000, np.zeros(4, np.int32))) == INVALID_VALUE
    assert call("cuGetErrorName", 400) == b"CUDA_ERROR_INVALID_HANDLE"
    assert call("cuGetErrorName", 906) == b"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"


def test_a_version_chooses_the_binary_interface(cuda: Any, context: Any) -> None:
    names = ["cuGraphInstantiate", "cuGraphAddKernelNode", "cuGraphKernelNodeSetParams", "cuGraphExecUpdate"]
    for name in names:
        old, new = look_up(name, 11000), look_up(name, 12000)
        assert old[1] == new[1] == SUCCESS, name
        assert old[0] != new[0] != 0, name
        assert look_up(name, 12040) == new, name
    assert look_up("cuGraphInstantiate", 12000) == look_up("cuGraphInstantiateWithFlags", 12000)
    captures = {look_up("cuStreamGetCaptureInfo", version)[0] for version in (10010, 11030, 12030)}
    assert len(captures) == 3


def test_a_version_can_be_too_low(cuda: Any, context: Any) -> None:
    assert look_up("cuGraphCreate", 9000) == (0, VERSION_NOT_SUFFICIENT)
    assert look_up("cuGraphInstantiateWithParams", 11080) == (0, VERSION_NOT_SUFFICIENT)


def test_an_unknown_name_is_not_found(cuda: Any, context: Any) -> None:
    assert look_up("cuNoSuchFunction", 12040) == (0, SYMBOL_NOT_FOUND)


def test_the_first_interface_of_kernel_nodes_still_works(cuda: Any, context: Any) -> None:
    """Programs built for CUDA 11 give parameters without the last two fields."""
    add = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_size_t, ctypes.c_void_p)(
        look_up("cuGraphAddKernelNode", 11000)[0]
    )
    instantiate = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4, ctypes.c_size_t)(
        look_up("cuGraphInstantiate", 11000)[0]
    )
    value = cuda.to_device(np.zeros(1, np.int32))
    given = kernel_parameters(Library("control")["set"], [pointer(value), (8, ctypes.c_int)])
    first_version = ctypes.create_string_buffer(ctypes.string_at(given.getPtr(), 56), 56)
    graph, node, executable = call("cuGraphCreate", 0), ctypes.c_void_p(), ctypes.c_void_p()
    assert add(ctypes.addressof(node), int(graph), None, 0, ctypes.addressof(first_version)) == 0
    assert instantiate(ctypes.addressof(executable), int(graph), None, None, 0) == 0
    call("cuGraphLaunch", executable.value, 0)
    call("cuStreamSynchronize", 0)
    assert cuda.from_device(value, 1, np.int32)[0] == 8
    call("cuGraphExecDestroy", executable.value)
    call("cuGraphDestroy", graph)


# ***** what the emulated library knows *****


def listed() -> list[tuple[str, int, str]]:
    text = (Path(kaas_emulator.__file__).parents[1] / "driver" / "entry_point_list.h").read_text()
    rows = [(name, int(since), symbol) for name, since, symbol in re.findall(r"X\((\w+), (\d+), (\w+)\)", text)]
    assert len(rows) > 150
    return rows


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_every_exported_function_can_be_looked_up(cuda: Any, context: Any) -> None:
    library = ctypes.CDLL(str(kaas_emulator.library_path()))
    rows = listed()
    for name, since, symbol in rows:
        expected = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
        assert look_up(name, since) == (expected, SUCCESS), symbol
    driver = Path(kaas_emulator.__file__).parents[1] / "driver"
    exported = {
        symbol
        for source in driver.glob("*.cpp")
        for symbol in re.findall(r"^KAAS_EXPORT (cu\w+)\(", source.read_text(), re.MULTILINE)
    }
    assert exported <= {symbol for _, _, symbol in rows}


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_what_is_not_emulated_says_so(cuda: Any, context: Any) -> None:
    calls: dict[str, tuple[Any, ...]] = {
        "cuMemAllocAsync": (256, 0),
        "cuGraphConditionalHandleCreate": (0, 0, 0, 0),
        "cuCtxCreate_v3": ([], 0, 0, 0),
        "cuLinkDestroy": (0,),
    }
    answers = {name: code_of(name, *arguments) for name, arguments in calls.items()}
    assert answers == dict.fromkeys(calls, NOT_SUPPORTED)


@pytest.mark.skipif(KIND != "emulated", reason="about the emulated device")
def test_default_streams_per_thread_are_refused(cuda: Any, context: Any) -> None:
    address = ctypes.c_void_p()
    library = ctypes.CDLL(str(kaas_emulator.library_path()))
    search = (ctypes.c_char_p(b"cuMemcpy"), ctypes.byref(address), 12000, ctypes.c_uint64(PER_THREAD), None)
    assert library.cuGetProcAddress_v2(*search) == NOT_SUPPORTED
    assert address.value is None


def test_names_of_errors_agree(cuda: Any, context: Any) -> None:
    """Every code that the driver names has the name that NVIDIA's header gives it."""
    named = 0
    for code in bindings().CUresult:
        if code_of("cuGetErrorName", code) == 0:
            assert call("cuGetErrorName", code) == code.name.encode()
            named += 1
    assert named >= 30
