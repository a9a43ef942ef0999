"""Raw data: the object is the array's bytes, little-endian and in C order, and says nothing about itself."""

from __future__ import annotations

from kaas.dtypes import DType
from kaas.formats._layout import Layout

NAME = "raw"
SUFFIXES: tuple[str, ...] = ()
HEAD_BYTES = 0


def read_layout(head: bytes, size: int, label: str, where: str) -> Layout:
    """The whole object is data."""
    return Layout(None, None, 0, size)


def make_header(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """There is none."""
    return b""
