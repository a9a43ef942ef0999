"""What a format says about an object, and what a format's module must offer."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from kaas.dtypes import DType


class Layout(NamedTuple):
    """Where an object's data lie, in bytes, and what they are; `dtype` and `shape` are None if it does not say."""

    dtype: DType | None
    shape: tuple[int, ...] | None
    offset: int
    nbytes: int


class Format(Protocol):
    """A module of this package that reads and writes one format of objects."""

    #: The format's name in messages and docs.
    NAME: str
    #: Endings of keys that choose the format, in lower case and with the dot.
    SUFFIXES: tuple[str, ...]
    #: First bytes of the object that `read_layout` needs to see.
    HEAD_BYTES: int

    def read_layout(self, head: bytes, size: int, label: str, where: str) -> Layout:
        """Read an object of `size` bytes that begins with `head`.

        `head` is the whole object or at least HEAD_BYTES of it. `label` names the object in messages. Raises
        CallerError `format_invalid`, `dtype_mismatch` or `size_mismatch`.
        """

    def make_header(self, dtype: DType, shape: tuple[int, ...]) -> bytes:
        """The bytes before the data of an array."""
