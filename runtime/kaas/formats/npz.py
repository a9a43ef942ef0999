"""NumPy's .npz, a zip of arrays: refused by name, because read as raw data it would be numbers that mean nothing."""

from __future__ import annotations

from typing import NoReturn

from kaas.dtypes import DType
from kaas.errors import CallerError
from kaas.formats._layout import Layout

NAME = "npz"
SUFFIXES = (".npz",)
HEAD_BYTES = 0

HINT = "save the one array that is meant: numpy.save writes .npy"


def read_layout(head: bytes, size: int, label: str, where: str) -> Layout:
    """Raises `format_invalid`."""
    raise CallerError("format_invalid", f"{label} is by its name an archive of arrays", where=where, hint=HINT)


def make_header(dtype: DType, shape: tuple[int, ...]) -> NoReturn:
    """Raises `format_invalid`; `kaas.references` refuses such outputs before."""
    raise CallerError("format_invalid", "an .npz is an archive of arrays, which is not written", hint=HINT)
