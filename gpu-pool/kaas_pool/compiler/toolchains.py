"""Which compiler serves which device layer, told without loading it: for cache keys and for bubblewrap."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.messages import Target
from kaas_pool.sandbox import DeviceKind


def fingerprint(target: Target) -> str:
    """What changes whenever the same source could become another image. Raises `toolchain_missing`."""
    return _fingerprint(target.device)


@cache
def _fingerprint(device: DeviceKind) -> str:
    from kaas_emulator import toolchain

    # The host compiler preprocesses for both: signatures are read from its output.
    host = toolchain.fingerprint()
    return f"{host} {nvrtc.fingerprint()}" if device == "cuda" else host


def readable(device: DeviceKind) -> list[Path]:
    """The folders that compiling reads besides the host compiler's own."""
    from kaas_emulator import toolchain

    folders = list(toolchain.readable())
    return [*folders, *nvrtc.readable()] if device == "cuda" else folders
