"""What executors and compilers may reach, as rules that Landlock and bubblewrap both understand."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kaas_pool.sandbox.landlock import Access, Rule
from kaas_pool.sandbox.seccomp import Filter

DeviceKind = Literal["cuda", "emulated"]

#: Segments, images and large frames are one descriptor each.
_EXECUTOR_DESCRIPTORS = 65536
_COMPILER_DESCRIPTORS = 256

_LIBRARIES = ("/lib", "/lib64", "/usr/lib64")
_LOADER = ("/etc/ld.so.cache", "/etc/ld.so.preload")
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_MACHINE = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system")

#: The driver reads its own state and the machine's layout there; writing needs more than these rules give.
_CUDA_TREES = ("/proc", "/sys", "/usr/share/nvidia", "/etc/nvidia", "/run/nvidia", "/opt/nvidia", "/usr/local/nvidia")

#: Where g++ of a distribution keeps its programs, headers and start files; the libraries are above.
_COMPILER_TREES = ("/usr/lib/gcc", "/usr/libexec/gcc", "/usr/lib/bfd-plugins", "/usr/lib/compat-ld", "/usr/include")
_COMPILER_PROGRAMS = ("g++", "gcc", "cpp", "as", "ld", "ld.bfd", "ld.gold", "ld.lld")


@dataclass(frozen=True)
class Limits:
    """What one process may use: processor time, address space, and the size of each file it writes."""

    cpu_seconds: int
    address_bytes: int
    file_bytes: int


#: docs/contracts.md, "Frames": the compiler's limits.
COMPILER_LIMITS = Limits(cpu_seconds=60, address_bytes=4 << 30, file_bytes=64 << 20)

#: Emulated kernels are native code: they could fill the disk through the scratch folder. Images and large frames are
#: at most as large.
_EMULATED_FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class Policy:
    """One kind of child: files, system calls and limits."""

    rules: tuple[Rule, ...]
    calls: Filter
    descriptors: int
    file_bytes: int | None
    limits: Limits | None = None


def executor(device: DeviceKind, readable: Iterable[Path], scratch: Path | None) -> Policy:
    """Reading libraries, `readable` and what the device's driver needs; writing `scratch`; threads, no processes."""
    rules = [*_shared(), *interpreter(), *_each(_MACHINE), *_each(readable)]
    if scratch is not None:
        rules.append(Rule(scratch, Access.WRITE))
    if device == "cuda":
        rules += _each(_CUDA_TREES)
        rules += [Rule(path, Access.DEVICE) for path in sorted(Path("/dev").glob("nvidia*"))]
    calls = Filter(processes=False, unix_sockets=device == "cuda")
    return Policy(tuple(rules), calls, _EXECUTOR_DESCRIPTORS, _EMULATED_FILE_BYTES if device == "emulated" else None)


def compiler(readable: Iterable[Path], work: Path, limits: Limits = COMPILER_LIMITS) -> Policy:
    """Reading the toolchain and `readable`; writing `work`; processes only for the host compiler.

    Python's own directories are not in it, because `#include` and `.incbin` reach whatever is: the compiler child
    imports all it needs before it is confined.
    """
    rules = [*_shared(), *_each(readable), *host_compiler(), Rule(work, Access.WRITE)]
    return Policy(
        tuple(rules), Filter(processes=True, unix_sockets=False), _COMPILER_DESCRIPTORS, limits.file_bytes, limits
    )


def interpreter() -> list[Rule]:
    """This Python, what it imports from, and what it takes to start it anew (under bubblewrap)."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    trees = {sysconfig.get_paths()[name] for name in names} | {path for path in sys.path if Path(path).is_absolute()}
    trees |= {str(Path(sys.prefix, "pyvenv.cfg")), str(Path(sys.base_prefix, "lib"))}
    binaries = {Path(sys.executable), Path(sys.executable).resolve()}
    return [*_each(sorted(trees)), *(Rule(path, Access.RUN) for path in sorted(binaries))]


def _shared() -> list[Rule]:
    multiarch = sorted(Path("/usr/lib").glob("*-linux-*"))
    # The dynamic loader is executed as part of every program that is.
    libraries = [path for path in map(Path, _LIBRARIES) if path.resolve() != Path("/usr/lib")]
    rules = [Rule(path, Access.RUN) for path in (*libraries, *multiarch)]
    return [*rules, *_each((*_LOADER, *_HARMLESS)), Rule(Path("/dev/null"), Access.DEVICE)]


def host_compiler() -> list[Rule]:
    """The host's g++ and what it runs and reads, the libraries apart."""
    found = shutil.which(os.environ.get("KAAS_EMULATOR_CXX", "g++"))
    if found is None:
        return []
    home = Path(found).resolve().parent.parent
    if home != Path("/usr"):
        return [Rule(home, Access.RUN)]
    programs = {path for name in _COMPILER_PROGRAMS if (path := shutil.which(name)) is not None}
    programs |= {str(Path(path).resolve()) for path in programs}
    # Debian's /usr/bin/g++ is a chain of links, and the loader's own link lives in /lib64 alone.
    return [Rule(Path(path), Access.RUN) for path in (*sorted(programs), *_COMPILER_TREES)]


def _each(paths: Iterable[str | os.PathLike[str]]) -> list[Rule]:
    return [Rule(Path(path), Access.READ) for path in paths]
