"""Which compiler serves which device layer, told without loading it: for cache keys and for bubblewrap."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kaas.errors import PlatformError
from kaas_emulator import EmulatorError, sources, toolchain
from kaas_emulator.cache import cache_root
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.messages import Target
from kaas_pool.sandbox import DeviceKind


def fingerprint(target: Target) -> str:
    """What changes whenever the same source could become another image. Raises `toolchain_missing`."""
    return _fingerprint(target.device)


@cache
def _fingerprint(device: DeviceKind) -> str:
    try:
        # The host compiler preprocesses for both: signatures are read from its output.
        host = toolchain.fingerprint()
    except EmulatorError as missing:
        raise PlatformError("toolchain_missing", str(missing)) from missing
    return f"{host} {nvrtc.fingerprint()}" if device == "cuda" else host


def readable(device: DeviceKind) -> list[Path]:
    """What compiling reads besides the host compiler's own files."""
    # The device language, and the same precompiled.
    paths = [sources.include_directory(), cache_root() / "emulator"]
    return [*paths, *nvrtc.readable()] if device == "cuda" else paths
