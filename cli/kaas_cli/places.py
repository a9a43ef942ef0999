"""The places of files that a command writes: looked at before the work, and written whole or not at all after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from kaas_cli.output import Failure


def check_place(path: Path, where: str) -> None:
    """Refuse what could not be written to; raises Failure."""
    place = _place(path)
    if place.is_dir():
        raise Failure(f"{path} is a folder", where=where, hint="name a file in it")
    if not place.parent.is_dir():
        raise Failure(f"there is no folder {place.parent}", where=where, hint="make it first, or name another file")
    written = place if _is_special(path) else place.parent
    if not os.access(written, os.W_OK):
        raise Failure(f"cannot write {path}: {written} may not be written to", where=where)


def file_at(path: Path) -> Path | None:
    """The regular file that a path stands for, by which two paths are compared; None for a pipe or a device."""
    return None if _is_special(path) else _place(path)


def write_file(path: Path, write: Callable[[IO[bytes]], object], where: str) -> None:
    """Have `write` fill a new file, which then takes the place of the old one; raises Failure.

    A link stays and leads to the new file. A pipe or a device stays what it is, and takes the bytes as they come.
    """
    place = _place(path)
    draft = place if _is_special(path) else place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            write(file)
        if draft != place:
            draft.replace(place)
    except OSError as error:
        if draft != place:
            draft.unlink(missing_ok=True)
        raise Failure(f"cannot write {path}: {(error.strerror or '').lower()}", where=where) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _place(path: Path) -> Path:
    """Where links lead; what /dev/stdout leads to may have no name of its own."""
    return path if _is_special(path) else Path(os.path.realpath(path))
