"""The device that the contract tests run on, and kernels compiled for it.

`KAAS_TEST_DEVICE` says which: `emulated`, the default, or `cuda`, where there is an NVIDIA driver.
"""

from __future__ import annotations

import functools
import importlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaas_emulator
from kaas_emulator import toolchain
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.signatures import read_signatures

KIND = os.environ.get("KAAS_TEST_DEVICE", "emulated")
#: Templates of the files in `kernels`, with the arguments that tests use.
INSTANCES = {
    "elementwise": ("numbers::repeat_add<float, 3>", "numbers::repeat_add<long long, 5>"),
    "gallery/templates": (
        "fold::blocks<float, fold::Sum, 128>",
        "fold::blocks<long long, fold::Sum, 32>",
        "fold::blocks<short, fold::Most, 64>",
        "lanes_of<7>",
    ),
}

KERNELS = Path(__file__).parent / "kernels"


@functools.cache
def driver() -> Any:
    """`pycuda.driver`, initialised, on the device that was chosen."""
    if KIND == "emulated":
        kaas_emulator.activate()
    cuda = importlib.import_module("pycuda.driver")
    cuda.init()
    return cuda


@dataclass(frozen=True)
class Compiled:
    """An image, and the symbol in it of each kernel that was asked for."""

    image: bytes
    symbols: dict[str, str]


@functools.cache
def compile_file(name: str) -> Compiled:
    """`kernels/<name>.cu` for the chosen device with all its kernels and `INSTANCES`; once per process."""
    source = KERNELS / f"{name}.cu"
    with tempfile.TemporaryDirectory() as directory:
        text = toolchain.preprocess(source, includes=[], defines={}, workdir=Path(directory))
    kernels = [one.name for one in read_signatures(text) if not one.template]
    return compile_text(source.read_text(), source.name, [*kernels, *INSTANCES.get(name, ())])


def compile_text(text: str, name: str, kernels: Sequence[str], defines: Sequence[tuple[str, str]] = ()) -> Compiled:
    """A source for the chosen device."""
    if KIND == "cuda":
        cubin = nvrtc.compile_cubin(
            text,
            name,
            compute_capability=driver().Device(0).compute_capability(),
            include=nvrtc.include_directories(),
            defines=defines,
            expressions=kernels,
        )
        return Compiled(cubin.image, dict(cubin.symbols))
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, name)
        source.write_text(text)
        image = toolchain.compile_image(source, kernels, includes=[], defines=dict(defines), workdir=Path(directory))
    return Compiled(image, {kernel: kernel for kernel in kernels})


class Module:
    """Kernels of one file, loaded into the current context."""

    def __init__(self, name: str) -> None:
        compiled = compile_file(name)
        self.module = driver().module_from_buffer(compiled.image)
        self._symbols = compiled.symbols

    def __getitem__(self, kernel: str) -> Any:
        return self.module.get_function(self._symbols[kernel])


class Gate:
    """A word of page-locked memory that kernels wait on (`wait_for`) until the host opens it."""

    def __init__(self) -> None:
        cuda = driver()
        self.word = cuda.pagelocked_zeros(1, "int32", mem_flags=cuda.host_alloc_flags.DEVICEMAP)
        self.address = self.word.base.get_device_pointer()

    def open(self) -> None:
        self.word[0] = 1
