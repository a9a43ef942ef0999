"""The files of a command line that hold arrays: `-p x=@x.npy` and `-o z=z.npy`. As in a store, the ending chooses."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kaas.dtypes import find_dtype
from kaas.formats import Layout, format_of, npy, npz, safetensors
from kaas.references import split_tensor
from kaas_cli.output import Failure


def load(name: str, path: Path) -> npt.NDArray[Any] | bytes:
    """The array in a .npy file, or of a tensor, `x.safetensors#tensor`; the bytes of a file of any other ending.

    `name` is the argument that it is for. Raises Failure, or CallerError for a file that is not what its ending says.
    """
    text, tensor = split_tensor(str(path))
    file, where = Path(text), f"-p {name}"
    if not file.is_file():
        raise _missing(name, file, where)
    if tensor is not None:
        return _tensor(file, tensor, str(path), where)
    if is_safetensors(file):
        raise Failure(
            f"{file} holds many tensors", where=where, hint=f"name the one that is meant: -p {name}=@{file}#weight"
        )
    if format_of(file.name).NAME == npz.NAME:
        npz.read_layout(b"", 0, str(file), where)
    return _npy(file, where) if is_npy(file) else file.read_bytes()


def save(file: IO[bytes], path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as the ending of `path` says: as .npy, or else its bytes, little-endian and in C order."""
    # Not by numpy.save: it asks a file for its position, which a pipe has not.
    file.write(format_of(path.name).make_header(find_dtype(array.dtype.name, path.name), array.shape))
    file.write(array.data)


def is_npy(path: Path) -> bool:
    """Whether the ending says NumPy's format."""
    return format_of(path.name).NAME == "npy"


def is_safetensors(path: Path) -> bool:
    """Whether the ending says a file of tensors."""
    return path.suffix.lower() == safetensors.SUFFIX


def _missing(name: str, file: Path, where: str) -> Failure:
    if file.parts[:1] != ("s3:",):
        return Failure(f"there is no file {file}", where=where)
    reference = f"s3://{'/'.join(file.parts[1:])}"
    return Failure(
        f"{reference} is in an object store, and @ is for files",
        where=where,
        hint=f"`kaas cp {reference} {file.name}` and -p {name}=@{file.name}; `kaas invoke` takes it without @",
    )


def _npy(file: Path, where: str) -> npt.NDArray[Any]:
    """The array, where a store would take the file too. Read as the pool does: NumPy's own reader takes more."""
    with file.open("rb") as opened:
        layout = npy.read_layout(opened.read(npy.HEAD_BYTES), file.stat().st_size, str(file), where)
        return _data(opened, layout)


def _tensor(file: Path, tensor: str, label: str, where: str) -> npt.NDArray[Any]:
    with file.open("rb") as opened:
        head = opened.read(8)
        head += opened.read(safetensors.header_bytes(head) - len(head))
        return _data(opened, safetensors.read_tensor(head, file.stat().st_size, tensor, label, where).layout)


def _data(opened: IO[bytes], layout: Layout) -> npt.NDArray[Any]:
    assert layout.dtype is not None and layout.shape is not None
    opened.seek(layout.offset)
    return np.frombuffer(opened.read(layout.nbytes), layout.dtype.name).reshape(layout.shape)
