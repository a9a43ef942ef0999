"""What goes to a compiler child and what comes back (docs/contracts.md, "Frames", front to compiler)."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kaas.errors import AuthorError, KaasError, PlatformError
from kaas_pool.frames import Frame
from kaas_pool.sandbox import DeviceKind
from kaas_pool.sandbox.policy import COMPILER_LIMITS

if TYPE_CHECKING:
    from kaas.graph import Source
    from kaas.manifest import Manifest

#: Wall-clock limit, in seconds: twice the limit on processor time, for a machine that is busy.
WALL_SECONDS = 2 * COMPILER_LIMITS.cpu_seconds

_LIMIT_HINT = (
    f"a compile may take {COMPILER_LIMITS.cpu_seconds} s of processor time, {COMPILER_LIMITS.address_bytes >> 30} GiB "
    f"of memory and {COMPILER_LIMITS.file_bytes >> 20} MiB of output; split the source, each is compiled on its own"
)
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class Target:
    """What to compile for: the device layer and, for `cuda`, the compute capability of the very device."""

    device: DeviceKind
    compute_capability: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Unit:
    """One compile: a source and the kernels that the manifest wants of it, by the names written there.

    `places` says for each kernel where the manifest wants it first.
    """

    source: Source
    kernels: tuple[str, ...]
    places: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The source as the author knows it: a file of the bundle, or `kaas.yaml:LINE`."""
        return self.source.path

    @staticmethod
    def all_of(manifest: Manifest) -> list[Unit]:
        """The units of a manifest, in the order written."""
        places: dict[tuple[Source, str], str] = {}
        for step in manifest.kernel_steps:
            places.setdefault((step.source, step.kernel), step.place("kernel"))
        return [
            Unit(source, kernels, tuple(places[source, kernel] for kernel in kernels))
            for source, kernels in manifest.kernels.items()
        ]

    def to_frame(self, target: Target) -> Frame:
        """The request; the bundle's descriptor goes beside it."""
        return {
            "type": "compile",
            "device": target.device,
            "compute_capability": list(target.compute_capability),
            "source": self.source.path,
            "text": self.source.text,
            "first_line": self.source.first_line,
            "defines": [list(define) for define in self.source.defines],
            "kernels": list(self.kernels),
            "places": list(self.places),
            "cubins": [list(cubin) for cubin in self.source.cubins],
            "compiled_only": self.source.compiled_only,
        }


@dataclass(frozen=True)
class Request:
    """A `compile` frame as the child reads it; it imports no more of the manifest than this."""

    target: Target
    source: str
    text: str | None
    first_line: int
    defines: tuple[tuple[str, str], ...]
    kernels: tuple[str, ...]
    places: tuple[str, ...] = ()
    cubins: tuple[tuple[str, str], ...] = ()
    compiled_only: bool = False

    @property
    def asked(self) -> dict[str, str]:
        """Where the manifest wants each kernel, as far as it is known."""
        return dict(zip(self.kernels, self.places, strict=False))

    @staticmethod
    def from_frame(frame: Mapping[str, Any]) -> Request:
        """Raises KeyError, TypeError or ValueError for a frame that is no request."""
        major, minor = frame["compute_capability"]
        return Request(
            target=Target(frame["device"], (int(major), int(minor))),
            source=frame["source"],
            text=frame.get("text"),
            first_line=int(frame.get("first_line", 1)),
            defines=tuple((name, value) for name, value in frame["defines"]),
            kernels=tuple(frame["kernels"]),
            places=tuple(frame.get("places", ())),
            cubins=tuple((architecture, path) for architecture, path in frame.get("cubins", ())),
            compiled_only=bool(frame.get("compiled_only", False)),
        )


@dataclass(frozen=True)
class CompiledSource:
    """An image and what its kernels take.

    `signatures` maps each wanted kernel, by the manifest's name, to its symbol in the image and its parameters; `log`
    holds the compiler's warnings; `seconds` is what compiling took, once, also where the image came from the cache.
    """

    unit: Unit
    image: bytes
    signatures: Mapping[str, Any]
    log: str
    seconds: float
    cached: bool = False

    @property
    def source(self) -> Source:
        """The source that was compiled."""
        return self.unit.source

    def open_image(self) -> int:
        """A descriptor of a sealed in-memory file with the image; the caller closes it."""
        return sealed_file("kaas-image", self.image)


def sealed_file(name: str, content: bytes) -> int:
    """A descriptor of an in-memory file that nobody can change any more; the caller closes it."""
    memory = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(memory), "wb") as out:
        out.write(content)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    return memory


class ChildDied(Exception):
    """The child ended without an answer; `exit_code` is negative for a signal, as in subprocess."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"the compiler ended with status {exit_code}")
        self.exit_code = exit_code

    @property
    def is_killing(self) -> bool:
        """Whether somebody killed it, which says nothing about the source: worth another try."""
        return self.exit_code == -signal.SIGKILL


def died(unit: Unit, exit_code: int) -> KaasError:
    """The error for a child that ended without an answer."""
    if exit_code == -signal.SIGXCPU:
        return over_limit("compiling took more processor time than it may use", unit.name)
    if exit_code == -signal.SIGXFSZ:
        return over_limit("compiling wrote a larger file than it may", unit.name)
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return over_limit(f"the compiler broke off ({name}), most likely for want of memory", unit.name)
    return PlatformError("internal", f"the compiler ended with status {exit_code}", where=unit.name)


def too_slow(unit: Unit) -> KaasError:
    """The error for a child that was killed at `WALL_SECONDS`."""
    return over_limit(f"compiling took more than {WALL_SECONDS} s", unit.name)


def over_limit(message: str, source: str | None) -> KaasError:
    """`compile_limit` for a source."""
    return AuthorError("compile_limit", message, where=source, hint=_LIMIT_HINT)
