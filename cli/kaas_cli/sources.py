"""The kernel action that a command line names: a folder, a zip, or a manifest's text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from kaas.bundle import Bundle
from kaas.errors import KaasError
from kaas_cli.output import Failure, as_failure


@contextlib.contextmanager
def located(path: Path) -> Iterator[None]:
    """Errors in a folder's files get the path by which the caller knows them."""
    try:
        yield
    except KaasError as error:
        failure = as_failure(error)
        failure.where = place(path, error.where)
        raise failure from error


def place(path: Path, where: str | None) -> str | None:
    """`kaas.yaml:3 buffers.x` inside the folder `path`, as seen from here."""
    if where is not None and path.is_dir() and (path / where.partition(":")[0]).is_file():
        return str(path / where)
    return where


def read_bundle(path: Path) -> bytes:
    """The bytes of the bundle at `path`: a folder is packed, a file is taken as it is."""
    if path.is_dir():
        with located(path):
            return Bundle.pack(path)
    if not path.exists():
        raise Failure(f"there is no {path}", hint="name the folder with the kaas.yaml, or the zip of `kaas build`")
    return path.read_bytes()


def open_bundle(path: Path) -> Bundle:
    """The bundle at `path`, checked."""
    data = read_bundle(path)
    with located(path):
        return Bundle.open(data)
