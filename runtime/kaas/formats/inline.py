"""Arrays inside a call or a result: numbers, nested lists, or `{"base64", "dtype", "shape"}`; at most 64 KiB of data.

A list's nesting is the shape, a number alone has no dimensions. What JSON has no numbers for are strings in an input
(`"nan"`, `"inf"`, `"-inf"`) and make the base64 form in an output. A complex number is `[re, im]`.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any, NamedTuple

from kaas.dtypes import DType, convert, parse_scalar, shorten
from kaas.errors import CallerError
from kaas.references import MAX_INLINE_BYTES


class InlineArray(NamedTuple):
    """Decoded data, little-endian and in C order; `shape` is None if the value does not say."""

    data: bytes
    shape: tuple[int, ...] | None


def decode(value: object, dtype: DType, where: str) -> InlineArray:
    """Decode an input of element type `dtype`.

    Raises CallerError: `argument_invalid`, `dtype_mismatch`, `shape_mismatch` or `inline_too_large`.
    """
    if isinstance(value, dict):
        return _decode_base64(value, dtype, where)
    shape, leaves = _flatten(value, dtype, where)
    if len(leaves) * dtype.itemsize > MAX_INLINE_BYTES:
        raise too_large(f"the list has {len(leaves) * dtype.itemsize} bytes as {dtype.name}", where)
    try:
        return InlineArray(_pack(leaves, dtype), shape)
    except ValueError:
        problems = ((at, _problem(leaf, dtype)) for at, leaf in enumerate(leaves))
        at, reason = next((at, problem) for at, problem in problems if problem is not None)
        place = f", at {_index(at, shape)} of the list" if shape else ""
        raise CallerError("argument_invalid", f"not {dtype.name}: {reason}{place}", where=where) from None


def encode(data: bytes | memoryview, dtype: DType, shape: tuple[int, ...], *, as_base64: bool = False) -> Any:
    """The JSON value of an output: nested lists, a bare number without dimensions, or the base64 form.

    The base64 form is for values that are not finite, for shapes that lists cannot say, and for calls that ask.
    """
    # A shape such as (10**9, 0) holds no data, and a thousand million empty lists.
    if not as_base64 and (data or len(shape) == 1):
        numbers = struct.unpack(f"<{len(data) // dtype.itemsize * len(dtype.code)}{dtype.code[0]}", data)
        if dtype.kind not in "fc" or all(map(math.isfinite, numbers)):
            if dtype.kind == "c":
                return _nest(list(numbers), (*shape, 2))
            return _nest(list(numbers), shape)
    return {"base64": base64.b64encode(data).decode(), "dtype": dtype.name, "shape": list(shape)}


def too_large(what: str, where: str, hint: str = "put it into the object store and give its reference") -> CallerError:
    """The error for more than an inline value holds."""
    return CallerError(
        "inline_too_large", f"{what}; an inline value holds at most {MAX_INLINE_BYTES}", where=where, hint=hint
    )


def _decode_base64(value: dict[str, Any], dtype: DType, where: str) -> InlineArray:
    unknown = sorted(set(value) - {"base64", "dtype", "shape"})
    if unknown:
        raise CallerError(
            "argument_invalid",
            f"{shorten(unknown[0])} is no field of an inline value",
            where=where,
            hint="fields: base64, dtype, shape",
        )
    text = value["base64"]
    if not isinstance(text, str):
        raise CallerError("argument_invalid", f"base64 is {shorten(text)}, not text", where=where)
    if len(text) > MAX_INLINE_BYTES * 4 // 3 + 4:
        raise too_large(f"the base64 text has {len(text)} characters", where)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CallerError("argument_invalid", "the text is not base64", where=where) from None
    if len(data) > MAX_INLINE_BYTES:
        raise too_large(f"the value has {len(data)} bytes", where)
    if value.get("dtype", dtype.name) != dtype.name:
        raise CallerError(
            "dtype_mismatch", f"the value is {shorten(value['dtype'])}, the buffer {dtype.name}", where=where
        )
    shape = value.get("shape")
    if shape is None:
        return InlineArray(data, None)
    if not isinstance(shape, list) or not all(extent.__class__ is int and 0 <= extent < 1 << 63 for extent in shape):
        raise CallerError("argument_invalid", f"{shorten(shape)} is no shape", where=where)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise CallerError(
            "size_mismatch",
            f"the value has {len(data)} bytes, and the shape {shape} of {dtype.name} needs "
            f"{math.prod(shape) * dtype.itemsize}",
            where=where,
        )
    return InlineArray(data, tuple(shape))


def _flatten(value: object, dtype: DType, where: str) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists and their leaves in order; a complex leaf is a number or `[re, im]`."""
    shape: list[int] = []
    level: list[Any] = [value]
    while level and isinstance(level[0], list):
        if dtype.kind == "c" and _is_pair(level):
            break
        extent = len(level[0])
        if not all(isinstance(item, list) and len(item) == extent for item in level):
            raise CallerError(
                "shape_mismatch",
                f"the list is ragged: not all its parts {len(shape)} levels down have {extent} items",
                where=where,
            )
        shape.append(extent)
        if len(shape) > 32:
            raise CallerError("shape_mismatch", "the list nests deeper than 32 levels", where=where)
        level = [leaf for item in level for leaf in item]
    return tuple(shape), level


def _is_pair(level: list[Any]) -> bool:
    """Whether the lists of this level are complex numbers: two numbers each."""
    return all(
        not isinstance(item, list) or (len(item) == 2 and not any(isinstance(part, list) for part in item))
        for item in level
    )


def _pack(leaves: list[Any], dtype: DType) -> bytes:
    """The bytes of the leaves; raises ValueError with the reason."""
    count = len(leaves)
    if dtype.kind in "iu" and all(leaf.__class__ is int for leaf in leaves):
        if leaves and not (dtype.low <= min(leaves) and max(leaves) <= dtype.high):
            worst = min(leaves) if min(leaves) < dtype.low else max(leaves)
            convert(dtype, worst)
        return struct.pack(f"<{count}{dtype.code}", *leaves)
    if dtype.kind == "f" and all(leaf.__class__ is float or leaf.__class__ is int for leaf in leaves):
        try:
            return struct.pack(f"<{count}{dtype.code}", *leaves)
        except (OverflowError, struct.error):
            pass  # One of them is too large, and the way below finds out which.
    return b"".join(parse_scalar(dtype, leaf).data for leaf in leaves)


def _problem(leaf: Any, dtype: DType) -> str | None:
    """Why `_pack` refuses a leaf; None if it does not."""
    try:
        parse_scalar(dtype, leaf)
    except ValueError as reason:
        return str(reason)
    return None


def _index(at: int, shape: tuple[int, ...]) -> str:
    """The place of a leaf in nested lists: `[1][0]`."""
    places: list[int] = []
    for extent in reversed(shape):
        at, place = divmod(at, extent)
        places.append(place)
    return "".join(f"[{place}]" for place in reversed(places))


def _nest(numbers: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return numbers[0]
    for extent in reversed(shape[1:]):
        numbers = [numbers[start : start + extent] for start in range(0, len(numbers), extent)]
    return numbers
