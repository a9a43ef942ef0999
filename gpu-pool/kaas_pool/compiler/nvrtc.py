"""NVRTC: CUDA sources to a cubin for exactly one architecture, through cuda-bindings. Needs no driver and no device.

Never PTX: a driver refuses PTX that is newer than itself, and compiles it once more in the executor's time.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kaas.errors import PlatformError

_STANDARD = "c++17"
#: The C library's headers that kernels include, which NVRTC lacks. Looked for last: a toolkit's own come first.
OWN_HEADERS = Path(__file__).parent / "nvrtc_include"


class Refused(Exception):
    """NVRTC did not compile; the text is its log."""


@dataclass(frozen=True)
class Cubin:
    """What NVRTC made: the image, the symbol of each name expression, its warnings."""

    image: bytes
    symbols: Mapping[str, str]
    log: str


def fingerprint() -> str:
    """Which NVRTC and which headers would be used, told from their files without loading them."""
    found = [*_libraries("libnvrtc.so*"), *(directory / "cuda.h" for directory in include_directories())]
    stats = [(path.name, status.st_size, status.st_mtime_ns) for path in found if (status := _stat(path)) is not None]
    own = hashlib.sha256()
    for path in sorted(OWN_HEADERS.rglob("*")):
        own.update(path.name.encode() + (path.read_bytes() if path.is_file() else b""))
    return f"nvrtc {stats} {_STANDARD} {own.hexdigest()[:16]}"


def include_directories() -> list[Path]:
    """Where CUDA's headers are, if anywhere: the wheel's folder, else the toolkit's; then ours."""
    places = [folder / "cuda_runtime" / "include" for folder in _wheels()]
    places += [toolkit / "include" for toolkit in _toolkits()]
    return [*[place for place in places if (place / "cuda_fp16.h").exists()][:1], OWN_HEADERS]


def readable() -> list[Path]:
    """What compiling reads: CUDA's headers, and the library's own files, some of which it loads late."""
    return [*_libraries("libnvrtc*"), *include_directories()]


def load() -> None:
    """Load the library, which no confined process can. Raises `toolchain_missing`."""
    _bindings()


def compile_cubin(
    text: str,
    name: str,
    *,
    compute_capability: tuple[int, int],
    include: Sequence[Path],
    defines: Sequence[tuple[str, str]],
    expressions: Sequence[str],
) -> Cubin:
    """Compile `text`, called `name` in messages; `expressions` name the kernels as C++ would.

    Raises Refused, or `toolchain_missing` if this NVRTC does not know the architecture.
    """
    nvrtc = _bindings()
    architecture = compute_capability[0] * 10 + compute_capability[1]
    known = _value(nvrtc.nvrtcGetSupportedArchs())
    if architecture not in known:
        raise PlatformError(
            "toolchain_missing",
            f"NVRTC {version()} cannot compile for compute capability {compute_capability[0]}.{compute_capability[1]}",
            hint=f"it knows sm_{known[0]} to sm_{known[-1]}; install another nvidia-cuda-nvrtc",
        )
    options = [f"--gpu-architecture=sm_{architecture}", f"--std={_STANDARD}", "--device-as-default-execution-space"]
    # Cooperative groups then need nothing of libcu++, which is not among CUDA's own headers.
    options += ["--define-macro=_CG_LIMIT_INCLUDED_DEPENDENCIES"]
    options += [f"--include-path={directory}" for directory in include]
    options += [f"--pre-include={OWN_HEADERS / 'implicit.h'}"]
    options += [f"--define-macro={macro}={value}" for macro, value in defines]
    program = _value(nvrtc.nvrtcCreateProgram(text.encode(), name.encode(), 0, [], []))
    for expression in expressions:
        _value(nvrtc.nvrtcAddNameExpression(program, expression.encode()))
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
    log = bytearray(_value(nvrtc.nvrtcGetProgramLogSize(program)))
    _value(nvrtc.nvrtcGetProgramLog(program, log))
    text_log = bytes(log).rstrip(b"\0").decode("utf-8", "replace")
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise Refused(text_log or status.name)
    image = bytearray(_value(nvrtc.nvrtcGetCUBINSize(program)))
    _value(nvrtc.nvrtcGetCUBIN(program, image))
    symbols = {
        expression: _value(nvrtc.nvrtcGetLoweredName(program, expression.encode())).decode()
        for expression in expressions
    }
    return Cubin(bytes(image), symbols, text_log)


def version() -> str:
    """NVRTC's version, `12.9`."""
    nvrtc = _bindings()
    status, major, minor = nvrtc.nvrtcVersion()
    _value((status, None))
    return f"{major}.{minor}"


@cache
def _bindings() -> Any:
    try:
        nvrtc = importlib.import_module("cuda.bindings.nvrtc")
        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError, OSError) as missing:
        raise PlatformError(
            "toolchain_missing",
            "NVRTC is not installed, and CUDA sources for a real device need it",
            hint="install the extra 'gpu' (pip install 'kaas[gpu]')",
        ) from missing
    return nvrtc


def _value(answer: tuple[Any, ...]) -> Any:
    status, *values = answer
    if int(status) != 0:
        raise Refused(str(status.name))
    return values[0] if values else None


def _wheels() -> list[Path]:
    paths = sysconfig.get_paths()
    return [Path(folder, "nvidia") for folder in dict.fromkeys((paths["purelib"], paths["platlib"]))]


def _toolkits() -> list[Path]:
    named = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX") if os.environ.get(name)]
    return [Path(path) for path in (*named, "/usr/local/cuda")]


def _libraries(pattern: str) -> list[Path]:
    folders = [folder / "cuda_nvrtc" / "lib" for folder in _wheels()]
    folders += [toolkit / "lib64" for toolkit in _toolkits()]
    return sorted({path for folder in folders for path in folder.glob(pattern)})


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
