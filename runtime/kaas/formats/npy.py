"""NumPy's .npy, format versions 1 to 3 (numpy.lib.format): a magic string, a Python dict as text, the data.

Read are plain, little-endian types in C order. What `numpy.save` writes for an array, `make_header` writes too, byte
for byte.
"""

from __future__ import annotations

import ast
import math
import re
from functools import lru_cache
from typing import Any

from kaas.dtypes import DTYPES, DType
from kaas.errors import CallerError
from kaas.formats._layout import Layout

NAME = "npy"
SUFFIXES = (".npy",)

#: A header of a plain type with 32 dimensions of 19 digits has under 800 bytes; NumPy's usual one has 128.
HEAD_BYTES = 1024

_MAGIC = b"\x93NUMPY"
_ALIGNMENT = 64
#: numpy.lib.format leaves room for the first dimension to grow to this many digits in place.
_GROWTH_DIGITS = 21

_USUAL = re.compile(
    rb"\{\s*'descr'\s*:\s*'([^']*)'\s*,\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(([0-9L, ]*)\)\s*,?\s*\}\s*"
)
_TYPE_CODE = re.compile(r"([<>=|]?)([a-zA-Z?])([0-9]*)(.*)")
_DESCR = {dtype.name: f"{'<' if dtype.itemsize > 1 else '|'}{dtype.kind}{dtype.itemsize}" for dtype in DTYPES.values()}
_DESCR["complex64"], _DESCR["complex128"] = "<c8", "<c16"
_BY_CODE = {descr[1:]: DTYPES[name] for name, descr in _DESCR.items()}
_OTHER_KINDS = {
    "O": "Python objects",
    "S": "byte strings",
    "a": "byte strings",
    "U": "text",
    "V": "records or untyped bytes",
    "M": "dates",
    "m": "time differences",
}


def read_layout(head: bytes, size: int, label: str, where: str) -> Layout:
    """Read a header; see Format.read_layout."""
    text, offset = _header_text(head, size, label, where)
    fields = _header_fields(text)
    if fields is None:
        raise CallerError(
            "format_invalid", f"{label} has a broken .npy header", where=where, hint="write it with numpy.save"
        )
    descr, fortran_order, shape = fields
    dtype = _dtype(descr, label, where)
    if fortran_order and sum(extent != 1 for extent in shape) > 1:
        raise CallerError(
            "format_invalid",
            f"{label} is stored in Fortran order",
            where=where,
            hint="save it in C order: numpy.save(file, numpy.ascontiguousarray(array))",
        )
    nbytes = math.prod(shape) * dtype.itemsize
    if offset + nbytes != size:
        problem = "cut short" if offset + nbytes > size else "followed by other bytes"
        raise CallerError(
            "size_mismatch",
            f"{label} is {problem}: its header promises {nbytes} bytes of data, and {size - offset} follow",
            where=where,
        )
    return Layout(dtype, shape, offset, nbytes)


def make_header(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """A header of version 1, padded to a multiple of 64 bytes."""
    text = f"{{'descr': '{_DESCR[dtype.name]}', 'fortran_order': False, 'shape': {shape!r}, }}"
    if shape:
        text += " " * (_GROWTH_DIGITS - len(repr(shape[0])))
    fixed = len(_MAGIC) + 4
    text += " " * (_ALIGNMENT - (fixed + len(text) + 1) % _ALIGNMENT) + "\n"
    return _MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1")


def _header_text(head: bytes, size: int, label: str, where: str) -> tuple[bytes, int]:
    """The dict's text, and the offset of the data."""
    version = head[6] if len(head) > 8 and head.startswith(_MAGIC) else 0
    if not 1 <= version <= 3:
        what = f"has version {version} of the format" if head.startswith(_MAGIC) else "is not an .npy file"
        raise CallerError(
            "format_invalid",
            f"{label} {what}",
            where=where,
            hint="write it with numpy.save, or give it another ending to have it read as raw data",
        )
    start = 10 if version == 1 else 12
    offset = start + int.from_bytes(head[8:start], "little")
    if offset > size:
        raise CallerError("format_invalid", f"{label} ends inside its header", where=where)
    if offset > min(len(head), HEAD_BYTES):
        raise CallerError(
            "format_invalid",
            f"{label} has a header of {offset} bytes; at most {HEAD_BYTES} are read",
            where=where,
            hint="only plain element types are supported, not records with named fields",
        )
    return head[start:offset], offset


@lru_cache(maxsize=1024)
def _header_fields(text: bytes) -> tuple[Any, bool, tuple[int, ...]] | None:
    """The type's description, whether the order is Fortran's, and the shape; None for a broken header."""
    usual = _USUAL.fullmatch(text)
    if usual:
        extents = usual[3].replace(b"L", b"").split(b",")
        fields: Any = {
            "descr": usual[1].decode("latin-1"),
            "fortran_order": usual[2] == b"True",
            "shape": tuple(_extent(extent.strip()) for extent in extents if extent.strip()),
        }
    else:
        if b"\\" in text:
            return None  # No header needs an escape, and Python warns about those it does not know.
        try:
            fields = ast.literal_eval(text.decode("utf-8").strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        return None
    shape, fortran_order = fields["shape"], fields["fortran_order"]
    if not isinstance(shape, tuple) or not isinstance(fortran_order, bool) or len(shape) > 64:
        return None
    if not all(extent.__class__ is int and 0 <= extent < 1 << 63 for extent in shape):
        return None
    return fields["descr"], fortran_order, shape


def _extent(digits: bytes) -> int:
    return int(digits) if digits.isdigit() and len(digits) <= 19 else -1


def _dtype(descr: object, label: str, where: str) -> DType:
    if isinstance(descr, str):
        dtype = _BY_CODE.get(descr[1:])
        if dtype is not None and (descr[0] == "<" or dtype.itemsize == 1):
            return dtype
        found = _TYPE_CODE.fullmatch(descr)
        what = f"the element type {descr!r}"
        hint = f"convert it to one of {', '.join(DTYPES)}"
        if dtype is not None and descr[0] == ">":
            what, hint = "big-endian numbers", f"convert it: array.astype({dtype.name!r})"
        elif found and found[2] in _OTHER_KINDS:
            what = f"{_OTHER_KINDS[found[2]]} ({descr!r})"
    else:
        what, hint = "records with named fields", "save each field as an array of its own"
    raise CallerError("dtype_mismatch", f"{label} holds {what}", where=where, hint=hint)
