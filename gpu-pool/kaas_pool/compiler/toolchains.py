"""Which compiler serves which device layer, told without loading it: for cache keys and for bubblewrap."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from kaas.errors import PlatformError
from kaas_emulator import EmulatorError, sources, toolchain
from kaas_emulator.cache import cache_root
from kaas_pool.compiler import nvrtc
from kaas_pool.compiler.messages import Target
from kaas_pool.sandbox import DeviceKind

#: What a child runs: another reader of signatures is another result.
OWN_CODE = Path(__file__).parent


@dataclass(frozen=True)
class Toolchain:
    """A compiler, its headers and our own code.

    `fingerprint` changes whenever the same source could become another image.
    """

    fingerprint: str
    _stamp: sources.Stamp
    _own: str

    @staticmethod
    def present(target: Target) -> Toolchain:
        """The one that is there now. Raises `toolchain_missing`."""
        try:
            stamp = _stamp()
            # The host compiler preprocesses for both: signatures are read from its output.
            host = toolchain.fingerprint()
        except EmulatorError as missing:
            raise PlatformError("toolchain_missing", str(missing)) from missing
        own = _own_code()
        cuda = [nvrtc.fingerprint()] if target.device == "cuda" else []
        return Toolchain(" ".join([host, own, *cuda]), stamp, own)

    @property
    def is_unchanged(self) -> bool:
        """Whether our headers and code were not written to since; else what was compiled is of no fingerprint for sure.

        The pool may be installed anew while it runs, and each child runs what is there when it starts.
        """
        return (_stamp(), _own_code()) == (self._stamp, self._own)


def _stamp() -> sources.Stamp:
    return sources.stamp([sources.include_directory(), nvrtc.OWN_HEADERS])


def _own_code() -> str:
    digest = hashlib.sha256()
    for path in sorted(OWN_CODE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def readable(device: DeviceKind) -> list[Path]:
    """What compiling reads besides the host compiler's own files."""
    # The device language, and the same precompiled.
    paths = [sources.include_directory(), cache_root() / "emulator"]
    return [*paths, *nvrtc.readable()] if device == "cuda" else paths
