"""The stages of the GPU check that need packages: `python gpu_stages.py STAGE DEVICE` prints one line of JSON."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from kaas.bundle import Bundle
from kaas_cli.examples import pack_example
from kaas_pool.compiler import Target, compile_bundle, nvrtc
from kaas_pool.executor.device import import_driver
from kaas_pool.executor.solo import Solo
from kaas_pool.sandbox import confine_executor

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

#: Sizes of the copies that are timed, in bytes.
SIZES = (4 << 10, 1 << 20, 64 << 20, 256 << 20)

NOTHING = 'extern "C" __global__ void nothing(int *p) { if (p) *p = 42; }\n'


def contexts(device: str) -> dict[str, Any]:
    """PyCUDA and cuda-bindings on one context; a cubin, and once PTX, to know whether the driver takes it."""
    cuda = import_driver(device)  # type: ignore[arg-type]
    cuda.init()
    gpu = cuda.Device(0)
    found: dict[str, Any] = {
        "device": gpu.name(),
        "compute_capability": list(gpu.compute_capability()),
        "memory_bytes": gpu.total_memory(),
        "driver": cuda.get_driver_version(),
        "pycuda_headers": list(cuda.get_version()),
        "nvrtc": None,
        "ok": True,
    }
    context = gpu.make_context()
    try:
        found["bindings"] = _bindings(context)
        found["ok"] = found["bindings"] == "one context"
        if device == "cuda":
            found["nvrtc"] = nvrtc.version()
            found["cubin"] = _load_cubin(cuda, gpu.compute_capability())
            found["ptx"] = _load_ptx(cuda, gpu.compute_capability())
            found["ok"] = found["ok"] and found["cubin"] == "42"
    finally:
        context.pop()
    return found


def _bindings(context: Any) -> str:
    try:
        status, current = importlib.import_module("cuda.bindings.driver").cuCtxGetCurrent()
    except (ImportError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "one context" if int(status) == 0 and int(current) == context.handle else f"{status}, another context"


def _load_cubin(cuda: Any, capability: tuple[int, int]) -> str:
    cubin = nvrtc.compile_cubin(
        NOTHING, "nothing.cu", compute_capability=capability, include=[], defines=[], expressions=["nothing"]
    )
    return _launch(cuda, cubin.image, cubin.symbols["nothing"])


def _load_ptx(cuda: Any, capability: tuple[int, int]) -> str:
    """The pool never does this: a driver refuses PTX that is newer than itself."""
    library = importlib.import_module("cuda.bindings.nvrtc")
    _, program = library.nvrtcCreateProgram(NOTHING.encode(), b"nothing.cu", 0, [], [])
    option = f"--gpu-architecture=compute_{capability[0]}{capability[1]}".encode()
    library.nvrtcCompileProgram(program, 1, [option])
    _, size = library.nvrtcGetPTXSize(program)
    ptx = bytearray(size)
    library.nvrtcGetPTX(program, ptx)
    return _launch(cuda, bytes(ptx), "nothing")


def _launch(cuda: Any, image: bytes, symbol: str) -> str:
    try:
        function = cuda.module_from_buffer(image).get_function(symbol)
        result = np.zeros(1, np.int32)
        function(cuda.Out(result), block=(1, 1, 1))
        return str(result[0])
    except cuda.Error as error:
        return str(error)


def walls(device: str) -> dict[str, Any]:
    """The driver inside an executor's walls: the one thing about them that only a GPU can tell."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "TMPDIR": scratch}
        command = [sys.executable, __file__, "inside_walls", device]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"ok": False, "error": f"status {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def inside_walls(device: str) -> dict[str, Any]:
    """One run of saxpy as an executor would do it: confined before the first context."""
    compiled, bundle = _compiled("saxpy", device)
    import_driver(device)  # type: ignore[arg-type]
    held = confine_executor(device, scratch=Path(os.environ["TMPDIR"]))  # type: ignore[arg-type]
    solo = Solo(device)  # type: ignore[arg-type]
    x = np.arange(1000, dtype=np.float32)
    outputs = solo.run(bundle, compiled, {"x": x, "y": x, "a": 2.0}).outputs
    solo.close()
    return {"ok": bool(np.allclose(outputs["z"], 3 * x)), "walls": str(held)}


def contract(device: str) -> dict[str, Any]:
    """The contract tests: each failure is a difference between the emulated driver and this one."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        environment = {**os.environ, "KAAS_TEST_DEVICE": device}
        done = subprocess.run(
            [*command, "tests/contract"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if not report.exists():
            return {"ok": False, "error": (done.stdout + done.stderr)[-4000:]}
        suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = {}
    for case in suite.iter("testcase"):
        for bad in [*case.findall("failure"), *case.findall("error")]:
            failed[f"{case.get('classname')}::{case.get('name')}"] = str(bad.get("message"))[:300]
    return {"ok": done.returncode == 0, **counts, "failed": failed}


def examples(device: str) -> dict[str, Any]:
    """Every example from files, against its NumPy reference, twice: cold and warm."""
    solo = Solo(device)  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    try:
        for path in sorted(EXAMPLES.glob("*/kaas.yaml")):
            name = path.parent.name
            try:
                found[name] = _example(solo, name, device)
            except Exception as error:
                found[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"[:1000]}
    finally:
        solo.close()
    return {"ok": bool(found) and all(one["ok"] for one in found.values()), "examples": found}


def _example(solo: Solo, name: str, device: str) -> dict[str, Any]:
    generate, reference = _load(EXAMPLES / name / "generate.py"), _load(EXAMPLES / name / "reference.py")
    with tempfile.TemporaryDirectory() as folder:
        for key, array in generate.inputs().items():
            np.save(Path(folder, f"{key}.npy"), array)
        inputs = {path.stem: np.load(path) for path in Path(folder).glob("*.npy")}
    compiled, bundle = _compiled(name, device)
    expected = reference.expected(**inputs, **generate.PARAMS)
    equal, stats = True, []
    for _ in range(2):
        outcome = solo.run(bundle, compiled, {**inputs, **generate.PARAMS})
        stats.append({key: round(float(outcome.stats[key]), 3) for key in ("load_ms", "compute_ms", "gpu_ms")})
        for key, array in expected.items():
            equal &= bool(np.allclose(outcome.outputs[key], array, rtol=reference.RTOL, atol=reference.ATOL))
    return {"ok": equal, "compile_s": [one.seconds for one in compiled], "first": stats[0], "second": stats[1]}


def timing(device: str) -> dict[str, Any]:
    """What the driver's calls cost from Python, and what copies reach. Microseconds, medians; GB/s, best of five."""
    cuda = import_driver(device)  # type: ignore[arg-type]
    cuda.init()
    gpu = cuda.Device(0)
    found: dict[str, Any] = {"ok": True}
    began = time.perf_counter()
    context = gpu.make_context()
    found["first_context_ms"] = round((time.perf_counter() - began) * 1e3, 1)
    try:
        found["context_bytes"] = cuda.mem_get_info()[1] - cuda.mem_get_info()[0]
        target = Target(device, gpu.compute_capability() if device == "cuda" else (0, 0))  # type: ignore[arg-type]
        manifest = (
            "{kaas: 1, name: t, buffers: {p: {io: inout, dtype: int32, shape: [n]}}, graph: [{kernel: nothing, "
            f"source: {json.dumps(NOTHING + chr(10))}, threads: [n], block: [32], args: [p]}}]}}"
        )
        (compiled,) = compile_bundle(Bundle.open(manifest.encode()), target)
        found["module_load_us"] = _median(lambda: cuda.module_from_buffer(compiled.image), 20)
        module = cuda.module_from_buffer(compiled.image)
        function = module.get_function(compiled.signatures["nothing"]["symbol"]).prepare("P")
        stream, event = cuda.Stream(1), cuda.Event()
        launch = (function.prepared_async_call, (1, 1), (32, 1, 1), stream, 0)
        found["launch_us"] = _median(lambda: launch[0](*launch[1:]), 2000)
        stream.synchronize()
        found["launch_and_sync_us"] = _median(lambda: (launch[0](*launch[1:]), stream.synchronize()), 500)
        found["event_record_us"] = _median(lambda: event.record(stream), 1000)
        found["alloc_and_free_us"] = _median(lambda: cuda.mem_alloc(1 << 20).free(), 200)
        found["copies"] = [_copies(cuda, stream, size) for size in SIZES]
    finally:
        context.pop()
    return found


def _copies(cuda: Any, stream: Any, size: int) -> dict[str, Any]:
    memory = cuda.mem_alloc(size)
    pageable = np.ones(size, np.uint8)
    pinned = cuda.pagelocked_empty(size, np.uint8)
    pinned[:] = 1

    def rate(copy: Callable[[], object]) -> float:
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            copy()
            stream.synchronize()
            seconds.append(time.perf_counter() - began)
        return round(size / min(seconds) / 1e9, 2)

    # Not by PyCUDA 2026.1, whose register_host_memory frees an object that it still uses, with NumPy 2.
    library, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(pageable.ctypes.data)
    began = time.perf_counter()
    refused = library.cuMemHostRegister_v2(address, ctypes.c_size_t(size), 0)
    register_ms = (time.perf_counter() - began) * 1e3
    if not refused:
        library.cuMemHostUnregister(address)
    return {
        "bytes": size,
        "to_device_pinned": rate(lambda: cuda.memcpy_htod_async(memory, pinned, stream)),
        "to_device_pageable": rate(lambda: cuda.memcpy_htod(memory, pageable)),
        "to_host_pinned": rate(lambda: cuda.memcpy_dtoh_async(pinned, memory, stream)),
        "register_ms": None if refused else round(register_ms, 3),
    }


def _median(call: Callable[[], object], times: int) -> float:
    call()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds) * 1e6, 2)


def _compiled(name: str, device: str) -> tuple[Any, Bundle]:
    """An example compiled for the device that is here, in the confined child that the pool uses."""
    capability = (0, 0)
    if device == "cuda":
        # In a process of its own: this one may have to be confined before it makes a context.
        code = "import pycuda.driver as d; d.init(); print(*d.Device(0).compute_capability())"
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        major, minor = asked.stdout.split()
        capability = (int(major), int(minor))
    bundle = Bundle.open(pack_example(EXAMPLES / name))
    return compile_bundle(bundle, Target(device, capability)), bundle  # type: ignore[arg-type]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    stage = {one.__name__: one for one in (contexts, walls, inside_walls, contract, examples, timing)}[sys.argv[1]]
    print(json.dumps(stage(sys.argv[2])), flush=True)
