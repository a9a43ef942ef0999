"""Where the emulator's C++ sources lie: in the checkout, or in the wheel beside this package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from kaas_emulator.errors import EmulatorError

_PACKAGE = Path(__file__).resolve().parent

#: Names files as they are at one moment; it changes whenever one of them is written, even if with what it had before.
Stamp = tuple[tuple[str, int, int, int, int], ...]


def _directory(name: str) -> Path:
    for candidate in (_PACKAGE / f"_{name}", _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise EmulatorError(
        f"the emulator's sources ({name}) are neither beside {_PACKAGE} nor inside it; install kaas again"
    )


def driver_directory() -> Path:
    """The sources of the driver library; raises EmulatorError where they are missing."""
    return _directory("driver")


def include_directory() -> Path:
    """The headers of the device language; raises EmulatorError where they are missing."""
    return _directory("include")


def digest(directories: Iterable[Path], *facts: str) -> str:
    """A hexadecimal digest of all files below the directories, by relative name and content, and of ``facts``."""
    hasher = hashlib.sha256()
    for fact in facts:
        hasher.update(f"{len(fact)}:{fact}".encode())
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                hasher.update(f"{path.relative_to(directory).as_posix()}:{len(content)}:".encode())
                hasher.update(content)
    return hasher.hexdigest()[:24]


def stamp(directories: Iterable[Path]) -> Stamp:
    """The stamp of all files below the directories."""
    found = []
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            status = path.stat()
            times = status.st_mtime_ns, status.st_ctime_ns
            found.append((path.relative_to(directory).as_posix(), *times, status.st_size, status.st_ino))
    return tuple(found)
