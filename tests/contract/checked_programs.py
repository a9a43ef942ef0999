"""Programs for the emulator's checked mode, each for a process in which it is on (fresh_process.py)."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from contract_device import Module, driver
from fresh_process import last_fault, status_of
from graph_device import Graph, Library, integer, pointer, refusal

#: A kernel, the bytes of its buffers, its other argument, threads of a block, blocks.
Case = tuple[str, list[int], int, int, int]


@contextlib.contextmanager
def own_context() -> Iterator[Any]:
    """A context for as long as it is looked at."""
    context = driver().Device(0).make_context()
    try:
        yield context
    finally:
        context.pop()
        context.detach()


def named(size: int, name: str = "x") -> Any:
    """A buffer with a name for messages."""
    buffer = driver().mem_alloc(size)
    call = ctypes.CDLL("libcuda.so.1").kaas_emulator_name
    assert call(ctypes.c_uint64(int(buffer)), name.encode()) == 0
    return buffer


def accesses(file: str, cases: list[Case]) -> list[str]:
    """What is told of a launch of each kernel of the file; the first buffer is called `x`, others have no name."""
    return [_access(file, *case) for case in cases]


def _access(file: str, kernel: str, sizes: list[int], value: int, threads: int, blocks: int) -> str:
    with own_context() as context:
        buffers = [named(sizes[0]), *map(driver().mem_alloc, sizes[1:])]
        Module(file)[kernel](*buffers, np.int32(value), block=(threads, 1, 1), grid=(blocks, 1))
        outcome, told = status_of(driver(), context.synchronize), last_fault()
        assert (outcome == "ok") == (told == ""), (outcome, told)
        return told


def in_a_graph(size: int, values: list[int]) -> str:
    """What is told of a graph that writes to these elements of a buffer."""
    with own_context():
        graph, functions, buffer = Graph(), Library("bounds"), named(size)
        for value in values:
            graph.kernel(functions["write_float"], pointer(buffer), integer(value))
        refusal(graph.run)
        return last_fault()


def after_free(kernel: str, others: int) -> list[Any]:
    """What is told of a kernel that uses a buffer freed so many allocations ago, and whether one got its address."""
    with own_context() as context:
        buffer = named(4000)
        address = int(buffer)
        buffer.free()
        reused = False
        for _ in range(others):
            other = driver().mem_alloc(4000)
            reused = reused or int(other) == address
            other.free()
        Module("bounds")[kernel](np.uintp(address), np.int32(7), block=(1, 1, 1))
        assert status_of(driver(), context.synchronize) != "ok"
        return [last_fault(), reused]


def many_large(rounds: int) -> list[int]:
    """Addresses of buffers as large as the memory, each freed before the next."""
    with own_context():
        found = []
        for _ in range(rounds):
            buffer = driver().mem_alloc(driver().mem_get_info()[0])
            found.append(int(buffer))
            buffer.free()
        return found


def fresh_memory() -> dict[str, bool]:
    """Whether what a kernel and what the host find in memory that nothing was written to is no number."""
    with own_context():
        found: dict[str, bool] = {}
        for use in ("first", "second"):
            x, y = driver().mem_alloc(4096), driver().mem_alloc(4)
            Module("bounds")["load_once"](x, y, np.int32(1023), block=(1, 1, 1))
            found[f"{use}, kernel"] = bool(np.isnan(driver().from_device(y, 1, np.float32)[0]))
            for dtype in ("float16", "float32", "float64"):
                found[f"{use}, {dtype}"] = bool(np.isnan(driver().from_device(x, 8, dtype)).all())
            driver().memset_d8(x, 0, 4096)
            x.free()
        return found


def host_calls() -> dict[str, str]:
    """Copies and sets of a buffer of 1001 bytes."""
    cuda = driver()
    with own_context():
        buffer, gone = cuda.mem_alloc(1001), cuda.mem_alloc(1001)
        freed = int(gone)
        gone.free()

        def calls(size: int) -> dict[str, Any]:
            data = np.zeros(size, np.uint8)
            return {
                "to device": lambda: cuda.memcpy_htod(buffer, data),
                "to host": lambda: cuda.memcpy_dtoh(data, buffer),
                "set": lambda: cuda.memset_d8(buffer, 0, size),
                "between": lambda: cuda.memcpy_dtod(buffer, buffer, size),
                "freed": lambda: cuda.memcpy_htod(freed, data),
                "before": lambda: cuda.memset_d8(int(buffer) - 1, 0, size - 1),
            }

        return {f"{what} {size}": status_of(cuda, call) for size in (1001, 1002) for what, call in calls(size).items()}


def everything() -> list[float]:
    """What a kernel makes of every kind of memory, and what one writes to the host's."""
    with own_context() as context:
        out = np.zeros(32, np.float32)
        Module("bounds")["use_everything"](driver().Out(out), np.int32(32), block=(32, 1, 1), shared=128)
        mapped = driver().pagelocked_zeros(4, np.float32, mem_flags=driver().host_alloc_flags.DEVICEMAP)
        place = np.uintp(mapped.base.get_device_pointer())
        Module("bounds")["write_float"](place, np.int32(3), block=(1, 1, 1))
        context.synchronize()
        return [*map(float, out), float(mapped[3])]


def load(path: str) -> str:
    """What loading an image answers."""
    with own_context():
        try:
            driver().module_from_buffer(Path(path).read_bytes())
        except driver().Error as error:
            return str(error)
        return "ok"
