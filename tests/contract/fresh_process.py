"""Programs that must run in a process of their own: what they do to the device may not be undone.

Each function below is one program; `module.function` names one in another file. It prints one JSON value, which `run`
answers.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contract_device import Module, driver

from kaas_emulator import activate

SECONDS = 60


def run(program: str, *arguments: object, **environment: str) -> tuple[Any, str]:
    """What the program printed, and its standard error; the process must end well."""
    done = start(program, *arguments, **environment)
    out, errors = done.communicate(timeout=SECONDS)
    assert done.returncode == 0, errors
    return json.loads(out), errors


def start(program: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The program, running; the caller waits for it."""
    command = [sys.executable, __file__, program, json.dumps(arguments)]
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        cwd=Path(__file__).parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def status_of(cuda: Any, call: Any) -> str:
    try:
        call()
    except cuda.Error as error:
        return str(error).rpartition("failed: ")[2].partition(" - ")[0]
    return "ok"


def fault(kernel: str, threads: int, shared: int, values: list[int | None]) -> dict[str, str]:
    """Launches a kernel that is to go wrong, then asks the context for other things. None stands for its buffer."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    try:
        buffer = cuda.mem_alloc(4096)
        function = Module("control")[kernel]
        stream, event = cuda.Stream(), cuda.Event()
        arguments: list[Any] = [buffer if value is None else _argument(value) for value in values]
        function(*arguments, block=(threads, 1, 1), shared=shared, stream=stream)
        return {
            "synchronize": status_of(cuda, stream.synchronize),
            "query": status_of(cuda, stream.is_done),
            "copy": status_of(cuda, lambda: cuda.memcpy_dtoh(np.empty(4, np.uint8), buffer)),
            "record": status_of(cuda, lambda: event.record(stream)),
            "launch": status_of(cuda, lambda: function(*arguments, block=(threads, 1, 1), shared=shared)),
            "allocate": status_of(cuda, lambda: cuda.mem_alloc(16)),
            "context": status_of(cuda, context.synchronize),
        }
    finally:
        context.pop()


def _call(function: str, *arguments: Any) -> None:
    """A call of the driver itself; raises PyCUDA's error as PyCUDA would."""
    library = ctypes.CDLL("libcuda.so.1")
    code = library[function](*arguments)
    if code:
        text = ctypes.c_char_p()
        library.cuGetErrorString(code, ctypes.byref(text))
        raise driver().Error(f"{function} failed: {(text.value or b'').decode()}")


def last_fault() -> str:
    """What the emulated driver tells of the current context's first error."""
    text = ctypes.create_string_buffer(2000)
    ctypes.CDLL("libcuda.so.1").kaas_emulator_last_fault(text, ctypes.c_size_t(len(text)))
    return text.value.decode()


def explain(kernel: str, threads: int, shared: int, values: list[int | None]) -> list[str]:
    """What is told of a fault, and what in another context of the same process."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    try:
        buffer = cuda.mem_alloc(4096)
        cuda.memset_d8(buffer, 0, 4096)
        arguments: list[Any] = [buffer if value is None else _argument(value) for value in values]
        Module("control")[kernel](*arguments, block=(threads, 1, 1), shared=shared)
        assert status_of(cuda, context.synchronize) != "ok"
        told = last_fault()
    finally:
        context.pop()
    other = cuda.Device(0).make_context()
    try:
        return [told, last_fault()]
    finally:
        other.pop()


def operate(steps: list[str]) -> list[tuple[str, float]]:
    """Status and seconds of each step, with the wait for what goes on by itself; and what is told of a fault."""
    cuda = driver()
    answers: list[tuple[str, float]] = []
    kernels: list[Any] = []
    contexts: list[Any] = []
    host = np.zeros(1 << 18, np.int32)

    def make_context() -> None:
        contexts.append(cuda.Device(0).make_context())

    def load() -> None:
        kernels.append(Module("control"))

    def launch(name: str, *arguments: Any) -> None:
        kernels[-1][name](*arguments, block=(32, 1, 1))
        contexts[-1].synchronize()

    make_context()
    try:
        buffer, never = cuda.mem_alloc(host.nbytes), cuda.mem_alloc(4)
        does: dict[str, Any] = {
            "allocate": lambda: _call("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(16)),
            # Tries again where there is no memory, once Python has collected its garbage.
            "allocate through PyCUDA": lambda: cuda.mem_alloc(16),
            "context by the driver": lambda: _call("cuCtxCreate_v2", ctypes.byref(ctypes.c_void_p()), 0, 0),
            "load": load,
            "context": make_context,
            "set": lambda: launch("set", buffer, np.int32(1)),
            "endless": lambda: launch("endless", never),
            "barriers": lambda: launch("endless_barriers", never),
            "to device": lambda: cuda.memcpy_htod(buffer, host),
            "to host": lambda: cuda.memcpy_dtoh(host, buffer),
        }
        if steps[0] != "load":
            load()
        cuda.memset_d32(never, 0, 1)
        contexts[0].synchronize()
        for step in steps:
            begun = time.monotonic()
            status = status_of(cuda, does[step])
            answers.append((status, time.monotonic() - begun))
        return [*answers, (last_fault(), 0)]
    finally:
        for made in contexts:
            made.pop()


def allocations(count: int) -> list[str]:
    """The status of each of so many allocations."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    try:
        address = ctypes.c_uint64()
        call = partial(_call, "cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(16))
        return [status_of(cuda, call) for _ in range(count)]
    finally:
        context.pop()


def stalled() -> tuple[str, int]:
    """A copy that does not end until a kernel in another stream breaks the context; and what the host then has."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    try:
        buffer, host = cuda.mem_alloc(4096), cuda.pagelocked_empty(1024, np.int32)
        host[:] = 5
        copying, computing = cuda.Stream(1), cuda.Stream(1)
        cuda.memcpy_dtoh_async(host, buffer, copying)
        Module("control")["set"](buffer, np.int32(1), block=(1, 1, 1), stream=computing)
        return status_of(cuda, context.synchronize), int(host[0])
    finally:
        context.pop()


def directions() -> None:
    """A copy to the device that has not ended when one to the host, begun later, has; ends the process at once."""
    cuda = driver()
    cuda.Device(0).make_context()
    buffers = [cuda.mem_alloc(4096) for _ in range(2)]
    hosts = [cuda.pagelocked_zeros(1024, np.int32) for _ in range(2)]
    streams, events = [cuda.Stream(1) for _ in range(2)], [cuda.Event() for _ in range(2)]
    hosts[0][:] = 7
    cuda.memset_d32(buffers[0], 5, 1024)
    cuda.Context.synchronize()
    cuda.memcpy_htod_async(buffers[0], hosts[0], streams[0])
    events[0].record(streams[0])
    cuda.memcpy_dtoh_async(hosts[1], buffers[0], streams[1])
    events[1].record(streams[1])
    events[1].synchronize()
    print(json.dumps([events[0].query(), int(hosts[1][0])]), flush=True)
    os._exit(0)


def refusal() -> list[str]:
    """What initialising the driver answers, and what is told of it."""
    activate()
    library = ctypes.CDLL("libcuda.so.1")
    text = ctypes.c_char_p()
    library.cuGetErrorName(library.cuInit(0), ctypes.byref(text))
    return [(text.value or b"").decode(), last_fault()]


def _argument(value: int) -> Any:
    return np.int64(value) if abs(value) > 1 << 30 else np.int32(value)


def add() -> int:
    """A kernel that goes right."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    try:
        result = np.zeros(1, np.int32)
        Module("control")["set"](cuda.Out(result), np.int32(42), block=(1, 1, 1))
        return int(result[0])
    finally:
        context.pop()


def recover() -> list[Any]:
    """A fault, then another context in the same process."""
    cuda = driver()
    broken = cuda.Device(0).make_context()
    try:
        Module("control")["set"](np.uintp(0), np.int32(1), block=(1, 1, 1))
        status = status_of(cuda, broken.synchronize)
    finally:
        broken.pop()
        broken.detach()
    return [status, add()]


def hang(kernel: str = "endless") -> None:
    """Starts a kernel that does not end, shows that the process still answers, and then waits to be killed."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    never = cuda.mem_alloc(4)
    cuda.memset_d32(never, 0, 1)
    stream, event = cuda.Stream(1), cuda.Event()
    arguments = [never] if kernel == "endless" else [never, np.int32(0)]
    Module("control")[kernel](*arguments, block=(32, 1, 1), grid=(64, 1), stream=stream)
    event.record(stream)
    assert not event.query()
    assert not stream.is_done()
    print(json.dumps("hanging"), flush=True)
    context.synchronize()


def describe() -> dict[str, Any]:
    """What the environment made of the devices."""
    cuda = driver()
    devices = [cuda.Device(index) for index in range(cuda.Device.count())]
    return {
        "names": [device.name() for device in devices],
        "memory": [device.total_memory() for device in devices],
        "capability": [device.compute_capability() for device in devices],
        "processors": [device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT) for device in devices],
    }


def fork() -> str:
    """What a forked child's use of the driver answers."""
    cuda = driver()
    context = cuda.Device(0).make_context()
    try:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, status_of(cuda, lambda: cuda.mem_alloc(16)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        return os.read(reading, 1000).decode()
    finally:
        context.pop()


if __name__ == "__main__":
    place, _, name = sys.argv[1].rpartition(".")
    program = getattr(importlib.import_module(place), name) if place else globals()[name]
    answer = program(*json.loads(sys.argv[2]))
    print(json.dumps(answer), flush=True)
