"""Which compiler serves which device layer, told without loading it: for cache keys and for bubblewrap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaas.errors import PlatformError
from kaas_emulator import EmulatorError, sources, toolchain
from kaas_emulator.cache import cache_root
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.messages import Target
from kaas_pool.sandbox import DeviceKind


@dataclass(frozen=True)
class Toolchain:
    """A compiler and its headers: `fingerprint` changes whenever the same source could become another image."""

    fingerprint: str
    _stamp: sources.Stamp

    @staticmethod
    def present(target: Target) -> Toolchain:
        """The one that is there now. Raises `toolchain_missing`."""
        try:
            stamp = _stamp()
            # The host compiler preprocesses for both: signatures are read from its output.
            host = toolchain.fingerprint()
        except EmulatorError as missing:
            raise PlatformError("toolchain_missing", str(missing)) from missing
        return Toolchain(f"{host} {nvrtc.fingerprint()}" if target.device == "cuda" else host, stamp)

    @property
    def is_unchanged(self) -> bool:
        """Whether our headers were not written to since; what was compiled then is of no fingerprint for sure."""
        return _stamp() == self._stamp


def _stamp() -> sources.Stamp:
    return sources.stamp([sources.include_directory(), nvrtc.OWN_HEADERS])


def readable(device: DeviceKind) -> list[Path]:
    """What compiling reads besides the host compiler's own files."""
    # The device language, and the same precompiled.
    paths = [sources.include_directory(), cache_root() / "emulator"]
    return [*paths, *nvrtc.readable()] if device == "cuda" else paths
