"""Every example is complete, and its CUDA source is one that NVIDIA's compiler takes as well."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from cuda.bindings import nvrtc

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/kaas.yaml"))
SOURCES = sorted(path for folder in ("examples", "tests", "cli") for path in (ROOT / folder).rglob("*.cu"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_reference_fits_the_generator(example: Path) -> None:
    assert (example / "README.md").is_file()
    generate, reference = load(example / "generate.py"), load(example / "reference.py")
    inputs = generate.inputs()
    again = generate.inputs()
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs), "a seed makes the same inputs"
    outputs = reference.expected(**inputs, **generate.PARAMS)
    assert outputs and all(np.isfinite(output).all() and output.any() for output in outputs.values())


@pytest.mark.parametrize("architecture", ["compute_70", "compute_90"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nvrtc_compiles_it(source: Path, architecture: str) -> None:
    status, program = nvrtc.nvrtcCreateProgram(source.read_bytes(), source.name.encode(), 0, [], [])
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        _, size = nvrtc.nvrtcGetProgramLogSize(program)
        log = bytearray(size)  # bytes of length 1 are one object for the whole process
        nvrtc.nvrtcGetProgramLog(program, log)
        assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode(errors="replace")
    finally:
        nvrtc.nvrtcDestroyProgram(program)
