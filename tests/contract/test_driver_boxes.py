"""Copies and sets of rectangles and boxes: where the bytes go, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from graph_device import DEVICE, HOST, INVALID_VALUE, Graph, bindings, call, code_of

PITCH, HEIGHT, DEPTH = 96, 7, 5


@pytest.fixture
def data() -> Any:
    return np.random.default_rng(5).integers(0, 256, (DEPTH, HEIGHT, PITCH), dtype=np.uint8)


def box(
    target: tuple[int, int],
    source: tuple[int, int],
    size: tuple[int, int, int],
    *,
    start: tuple[int, int, int] = (0, 0, 0),
) -> Any:
    """A copy between two volumes of the same shape, from `start` in both; sizes as x in bytes, y, z."""
    given = bindings().CUDA_MEMCPY3D()
    for side, (kind, address) in (("dst", target), ("src", source)):
        setattr(given, f"{side}MemoryType", bindings().CUmemorytype(kind))
        setattr(given, f"{side}{'Host' if kind == HOST else 'Device'}", address)
        setattr(given, f"{side}Pitch", PITCH)
        setattr(given, f"{side}Height", HEIGHT)
        for axis, offset in zip(("XInBytes", "Y", "Z"), start, strict=True):
            setattr(given, f"{side}{axis}", offset)
    given.WidthInBytes, given.Height, given.Depth = size
    return given


def expected_box(data: Any, size: tuple[int, int, int], start: tuple[int, int, int]) -> Any:
    (x, y, z), (width, height, depth) = start, size
    result = np.zeros_like(data)
    part = (slice(z, z + depth), slice(y, y + height), slice(x, x + width))
    result[part] = data[part]
    return result


@pytest.mark.parametrize("way", ["now", "in a stream", "in a graph"])
@pytest.mark.parametrize(
    ("size", "start"),
    [
        ((PITCH, HEIGHT, DEPTH), (0, 0, 0)),
        ((17, 3, 2), (5, 2, 1)),
        ((1, 1, DEPTH), (95, 6, 0)),
        ((40, 1, 1), (0, 6, 4)),
    ],
    ids=["all", "inside", "a column", "a row"],
)
def test_boxes(
    cuda: Any, context: Any, data: Any, size: tuple[int, int, int], start: tuple[int, int, int], way: str
) -> None:
    first, second = cuda.to_device(data), cuda.to_device(np.zeros_like(data))
    given = box((DEVICE, int(second)), (DEVICE, int(first)), size, start=start)
    if way == "now":
        call("cuMemcpy3D", given)
    elif way == "in a stream":
        stream = cuda.Stream(1)
        call("cuMemcpy3DAsync", given, stream.handle)
        stream.synchronize()
    else:
        graph = Graph()
        call("cuGraphAddMemcpyNode", graph.handle, [], 0, given, call("cuCtxGetCurrent"))
        graph.run()
    assert np.array_equal(cuda.from_device_like(second, data), expected_box(data, size, start))


@pytest.mark.parametrize("kinds", list(itertools.product((HOST, DEVICE), repeat=2)), ids=str)
def test_boxes_between_kinds_of_memory(cuda: Any, context: Any, data: Any, kinds: tuple[int, int]) -> None:
    size, start = (30, 4, 3), (10, 1, 2)
    source_host, target_host = data.copy(), np.zeros_like(data)
    source, target = cuda.to_device(data), cuda.to_device(np.zeros_like(data))
    sides = [
        (kind, host.ctypes.data if kind == HOST else int(device))
        for kind, host, device in zip(kinds, (target_host, source_host), (target, source), strict=True)
    ]
    call("cuMemcpy3D", box(sides[0], sides[1], size, start=start))
    result = target_host if kinds[0] == HOST else cuda.from_device_like(target, data)
    assert np.array_equal(result, expected_box(data, size, start))


def test_pycuda_copies_boxes(cuda: Any, context: Any, data: Any) -> None:
    memory, result = cuda.mem_alloc(data.nbytes), np.zeros_like(data)
    into = cuda.Memcpy3D()
    into.set_src_host(data)
    into.set_dst_device(memory)
    into.src_pitch, into.src_height, into.dst_pitch, into.dst_height = PITCH, HEIGHT, PITCH, HEIGHT
    into.width_in_bytes, into.height, into.depth = PITCH, HEIGHT, DEPTH
    into()
    back = cuda.Memcpy3D()
    back.set_src_device(memory)
    back.set_dst_host(result)
    back.src_pitch, back.src_height, back.dst_pitch, back.dst_height = PITCH, HEIGHT, PITCH, HEIGHT
    back.src_z = back.dst_z = 1
    back.width_in_bytes, back.height, back.depth = 10, 2, 3
    stream = cuda.Stream()
    back(stream)
    stream.synchronize()
    assert np.array_equal(result, expected_box(data, (10, 2, 3), (0, 0, 1)))


def test_boxes_that_do_not_fit_are_refused(cuda: Any, context: Any, data: Any) -> None:
    memory, second = cuda.to_device(data), cuda.mem_alloc(data.nbytes)
    first, target = (DEVICE, int(memory)), (DEVICE, int(second))
    whole = (PITCH, HEIGHT, DEPTH)
    assert code_of("cuMemcpy3D", box(target, first, whole, start=(0, 0, 1))) == INVALID_VALUE
    assert code_of("cuMemcpy3D", box(target, first, (PITCH + 1, 2, 1))) == INVALID_VALUE
    assert code_of("cuMemcpy3D", box(target, first, (1, HEIGHT + 1, 2))) == INVALID_VALUE
    assert code_of("cuMemcpy3D", box((DEVICE, 0), first, whole)) == INVALID_VALUE
    # What would not fit 64 bits is not taken for something small.
    assert code_of("cuMemcpy3D", box(target, first, (8, 2**61, 2**61))) == INVALID_VALUE
    enormous = box(target, first, (8, 1, 1))
    enormous.srcZ, enormous.srcHeight = 2**40, 2**40
    assert code_of("cuMemcpy3D", enormous) == INVALID_VALUE
    assert code_of("cuMemcpy3D", box(target, first, (0, HEIGHT, DEPTH))) == 0
    assert np.array_equal(cuda.from_device_like(memory, data), data)


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16), (32, np.uint32)])
@pytest.mark.parametrize("later", [False, True], ids=["now", "in a stream"])
def test_sets_of_rectangles(cuda: Any, context: Any, bits: int, kind: type[np.uint32], later: bool) -> None:
    before = np.full((10, 64), 1, kind)
    memory, stream = cuda.to_device(before), cuda.Stream()
    corner = int(memory) + before.strides[0] * 2 + before.itemsize * 4
    arguments = (corner, before.strides[0], 201, 30, 5)
    if later:
        getattr(cuda, f"memset_d2d{bits}_async")(*arguments, stream)
        stream.synchronize()
    else:
        getattr(cuda, f"memset_d2d{bits}")(*arguments)
    before[2:7, 4:34] = 201
    assert np.array_equal(cuda.from_device_like(memory, before), before)


def test_sets_that_do_not_fit_are_refused(cuda: Any, context: Any) -> None:
    memory = cuda.mem_alloc(1024)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memset_d2d32(memory, 256, 0, 64, 5)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memset_d2d32(memory, 128, 0, 64, 2)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memset_d32(int(memory) + 2, 0, 1)
    cuda.memset_d2d32(memory, 256, 0, 64, 4)
