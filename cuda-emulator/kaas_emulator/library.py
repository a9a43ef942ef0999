"""The emulated driver's library: built once per source and compiler, loaded in the real one's place."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kaas_emulator import cache, compiler, sources, toolchain
from kaas_emulator.errors import EmulatorError

#: The name by which everything that uses the driver asks for it.
SONAME = "libcuda.so.1"

_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-Wall", "-Wextra", "-pthread")
_LINK = ("-shared", f"-Wl,-soname,{SONAME}", "-Wl,-z,defs", "-Wl,-z,now", "-pthread", "-ldl")


def _compile(directory: Path) -> None:
    driver, include = sources.driver_directory(), sources.include_directory()
    common = [compiler.compiler(), *_FLAGS, f"-I{include}"]

    def compile_one(path: Path) -> str:
        name = f"{path.stem}.o"
        done = compiler.run([*common, "-c", str(path), "-o", name], directory)
        if done.returncode:
            raise EmulatorError(f"the emulated driver does not compile ({path.name}):\n{done.stderr}")
        return name

    # Two at a time: the smallest machine has two processors.
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sorted(driver.glob("*.cpp"))))
    exports = driver / "exports.map"
    done = compiler.run(
        [compiler.compiler(), *objects, *_LINK, f"-Wl,--version-script={exports}", "-o", SONAME], directory
    )
    if done.returncode:
        raise EmulatorError(f"the emulated driver does not link:\n{done.stderr}")
    for name in objects:
        (directory / name).unlink()


def _made_of() -> list[Path]:
    return [sources.driver_directory(), sources.include_directory()]


def _name() -> str:
    return f"emulator/driver-{sources.digest(_made_of(), compiler.version(), *_FLAGS, *_LINK)}"


def build() -> Path:
    """Builds what is missing in the cache, the library and the precompiled device language; answers the library.

    Raises EmulatorError where there is no compiler or the cache cannot be written.
    """
    library = library_path()
    toolchain.build_prefix()
    return library


def library_path() -> Path:
    """The path of the emulated libcuda.so.1, built first where it is missing. Raises EmulatorError."""
    return cache.obtain(_name, _compile, _made_of()) / SONAME


def activate() -> Path:
    """Loads the emulated driver into this process, so that whatever asks for libcuda.so.1 from now on gets it.

    To be called before ``pycuda.driver`` is imported; calling it again changes nothing. Raises EmulatorError where the
    library cannot be built or a real driver is loaded already.
    """
    path = library_path()
    try:
        loaded = ctypes.CDLL(SONAME, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        pass
    else:
        if not hasattr(loaded, "kaas_emulator_version"):
            raise EmulatorError(
                "a CUDA driver is loaded in this process already: "
                "activate the emulator before pycuda.driver is imported"
            )
    # Also where it is loaded already: whoever loaded it may have kept its names to itself.
    try:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise EmulatorError(f"the emulated driver cannot be loaded: {error}") from error
    return path
