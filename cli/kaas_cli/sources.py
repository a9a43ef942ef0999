"""The kernel action that a command line names: a folder, its kaas.yaml, a zip, or a manifest's text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kaas.bundle import INCLUDABLE, Bundle, named_files
from kaas.errors import KaasError
from kaas.manifest import FILE_NAME
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
    """`kaas.yaml:3 buffers.x` inside the action at `path`, as seen from here."""
    folder = folder_of(path)
    if where is not None and folder is not None and (folder / where.partition(":")[0]).is_file():
        return str(folder / where)
    return where


def folder_of(path: Path) -> Path | None:
    """The folder of an action; None if `path` is a bundle. A folder's kaas.yaml stands for the folder."""
    if path.is_dir():
        return path
    return path.parent if path.name == FILE_NAME and path.is_file() else None


def read_bundle(path: Path, *, is_located: bool = True, is_built: bool = True) -> bytes:
    """The bytes of the bundle at `path`: a folder is packed, a file is taken as it is.

    So is a kaas.yaml to whose bundle nothing else belongs: what is inside need not be packed. Any other stands for its
    folder. Unless it `is_built`, a folder may lack cubins that can be made from their sources. Raises Failure where
    there is none; the errors of `Bundle.pack` as `located` makes them, unless `is_located` is false.
    """
    folder = folder_of(path)
    if folder is not None:
        if not (folder / FILE_NAME).is_file():
            raise _no_manifest(folder)
        with located(path) if is_located else contextlib.nullcontext():
            return _text(path) or Bundle.pack(folder, is_built=is_built)
    if not path.exists():
        raise Failure(
            f"there is no file or folder {str(path)!r}",
            hint="name the folder with the kaas.yaml, or the zip of `kaas build`",
        )
    if path.suffix in INCLUDABLE:
        raise Failure(f"{path} is a source, not an action", hint=f"name its folder: {path.parent}")
    return path.read_bytes()


def open_bundle(path: Path, *, is_located: bool = True, is_built: bool = True) -> Bundle:
    """The bundle at `path`, checked; as `read_bundle`. What is packed already has to be built."""
    data = read_bundle(path, is_located=is_located, is_built=is_built)
    with located(path) if is_located else contextlib.nullcontext():
        return Bundle.open(data, is_built=is_built or folder_of(path) is None)


class Unbuilt(NamedTuple):
    """A cubin that `kaas build` has still to make, and where the manifest wants it."""

    architecture: str
    path: str
    where: str


def unbuilt(bundle: Bundle) -> list[Unbuilt]:
    """The cubins that a bundle lacks and that can be made from their sources, each once."""
    found: dict[str, Unbuilt] = {}
    for step in bundle.manifest.kernel_steps:
        for architecture, path in () if step.source.compiled_only else step.source.cubins:
            if path not in bundle.files:
                found.setdefault(path, Unbuilt(architecture, path, step.place(f"cubins.{architecture}")))
    return list(found.values())


def _text(path: Path) -> bytes | None:
    """The kaas.yaml at `path`, if that is all of its bundle."""
    if path.is_dir():
        return None
    manifest, files = Bundle.read(path.parent)
    return files[FILE_NAME] if files.keys() == {FILE_NAME} and not named_files(manifest) else None


def _no_manifest(folder: Path) -> Failure:
    near = [str(path.parent) for path in sorted(folder.glob(f"*/{FILE_NAME}"))[:5]]
    if (folder / "kaas.yml").is_file():
        hint = f"there is kaas.yml: name it {FILE_NAME}"
    elif near:
        hint = f"name one of the folders that have one: {', '.join(near)}"
    else:
        hint = "`kaas new NAME` makes a kernel action to start from"
    return Failure(f"there is no {FILE_NAME} in {folder.resolve()}", hint=hint)
