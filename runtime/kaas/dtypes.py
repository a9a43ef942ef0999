"""Element types by NumPy's names, and single values of them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaas.errors import AuthorError
from kaas.suggest import suggest

Number = int | float
ScalarValue = bool | int | float | complex


@dataclass(frozen=True)
class DType:
    """One element type: NumPy's name, size in bytes, kind (`b i u f c` as in NumPy), little-endian `struct` codes.

    `low` and `high` are the first and last whole number an integer type holds.
    """

    name: str
    itemsize: int
    kind: str
    code: str
    low: int = 0
    high: int = 0


def _integer(name: str, itemsize: int, code: str) -> DType:
    bits = 8 * itemsize
    if name.startswith("u"):
        return DType(name, itemsize, "u", code, 0, (1 << bits) - 1)
    return DType(name, itemsize, "i", code, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


DTYPES: Mapping[str, DType] = {
    dtype.name: dtype
    for dtype in (
        DType("bool", 1, "b", "?"),
        _integer("int8", 1, "b"),
        _integer("int16", 2, "h"),
        _integer("int32", 4, "i"),
        _integer("int64", 8, "q"),
        _integer("uint8", 1, "B"),
        _integer("uint16", 2, "H"),
        _integer("uint32", 4, "I"),
        _integer("uint64", 8, "Q"),
        DType("float16", 2, "f", "e"),
        DType("float32", 4, "f", "f"),
        DType("float64", 8, "f", "d"),
        DType("complex64", 8, "c", "ff"),
        DType("complex128", 16, "c", "dd"),
    )
}

#: What people write for a type in other languages -> the type they mean.
FOREIGN_NAMES: Mapping[str, str] = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "unsigned": "uint32",
    "uint": "uint32",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
    "size_t": "uint64",
    "str": "uint8",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "c8": "complex64",
    "c16": "complex128",
    "bfloat16": "uint16",
}


def find_dtype(name: object, where: str) -> DType:
    """Return the type NumPy calls `name`; raises `manifest_invalid`."""
    if isinstance(name, str):
        if name in DTYPES:
            return DTYPES[name]
        if name == "bfloat16":
            advice = "NumPy has no bfloat16: declare uint16 and reinterpret the bits in the kernel"
        elif name in FOREIGN_NAMES:
            advice = f"did you mean {FOREIGN_NAMES[name]!r}? types have NumPy's names"
        else:
            advice = suggest(name, DTYPES) or f"one of {', '.join(DTYPES)}"
        raise AuthorError("manifest_invalid", f"{name!r} is not an element type", where=where, hint=advice)
    raise AuthorError(
        "manifest_invalid",
        f"{name!r} is not an element type",
        where=where,
        hint=f"one of {', '.join(DTYPES)}",
    )


@dataclass(frozen=True)
class TypedScalar:
    """One value of an element type, as a kernel receives it.

    `value` is already rounded to the type: a float32 of 0.1 holds 0.10000000149011612.
    """

    dtype: str
    value: ScalarValue

    @property
    def data(self) -> bytes:
        """The value's bytes, little-endian."""
        dtype = DTYPES[self.dtype]
        if isinstance(self.value, complex):
            return struct.pack(f"<{dtype.code}", self.value.real, self.value.imag)
        return struct.pack(f"<{dtype.code}", self.value)

    def to_json(self) -> list[Any]:
        """`[dtype, value]`, with strings for what JSON has no numbers for."""
        if isinstance(self.value, complex):
            return [self.dtype, [_json_number(self.value.real), _json_number(self.value.imag)]]
        return [self.dtype, _json_number(self.value)]

    @staticmethod
    def from_json(data: list[Any]) -> TypedScalar:
        """The inverse of `to_json`."""
        dtype, value = data
        if isinstance(value, list):
            return TypedScalar(dtype, complex(float(value[0]), float(value[1])))
        return TypedScalar(dtype, float(value) if DTYPES[dtype].kind == "f" else value)


def _json_number(value: bool | int | float) -> bool | int | float | str:
    # nan and the infinities are the values for which x - x is not 0.
    return value if isinstance(value, int) or value - value == 0 else str(value)


#: Strings that stand for the floats JSON has no numbers for, in lower case.
NON_FINITE: Mapping[str, float] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "+inf": float("inf"),
    "-inf": float("-inf"),
    "infinity": float("inf"),
    "+infinity": float("inf"),
    "-infinity": float("-inf"),
}


def convert(dtype: DType, value: ScalarValue) -> TypedScalar:
    """Give `value` the type `dtype`, rounding floats; raises ValueError with the reason when it does not fit.

    A float serves as an integer only if it is whole; anything but zero is true.
    """
    kind = dtype.kind
    if isinstance(value, complex):
        if kind != "c":
            raise ValueError(f"{value} is complex")
    elif kind in "iu":
        if value.__class__ is float:
            if not value.is_integer():
                raise ValueError(f"{value} is not a whole number")
            value = int(value)
        if not dtype.low <= value <= dtype.high:
            raise ValueError(f"{shorten(value)} is outside {dtype.name} ({dtype.low} to {dtype.high})")
        return TypedScalar(dtype.name, int(value))
    elif kind == "b":
        return TypedScalar("bool", value != 0)
    try:
        number = complex(value)
        if kind == "f":
            packed: tuple[float, ...] = struct.unpack(f"<{dtype.code}", struct.pack(f"<{dtype.code}", number.real))
            return TypedScalar(dtype.name, packed[0])
        packed = struct.unpack(f"<{dtype.code}", struct.pack(f"<{dtype.code}", number.real, number.imag))
    except OverflowError:
        raise ValueError(f"{shorten(value)} is too large for {dtype.name}") from None
    return TypedScalar(dtype.name, complex(packed[0], packed[1]))


def parse_scalar(dtype: DType, value: object) -> TypedScalar:
    """Read one JSON or YAML value as `dtype`; raises ValueError with the reason.

    Numbers stand for themselves; `"nan"`, `"inf"` and `"-inf"` for those floats; `[re, im]` for a complex number;
    a bool is only ever true or false.
    """
    if dtype.kind == "b":
        if isinstance(value, bool):
            return TypedScalar("bool", value)
        raise ValueError(f"{shorten(value)} is not true or false")
    if dtype.kind == "c" and isinstance(value, list):
        if len(value) != 2:
            raise ValueError(f"a complex number is [re, im], not a list of {len(value)}")
        real, imaginary = _real(value[0]), _real(value[1])
        try:
            return convert(dtype, complex(real, imaginary))
        except OverflowError:
            raise ValueError(f"{shorten(value)} is too large for {dtype.name}") from None
    if dtype.kind in "iu":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{shorten(value)} is not a whole number")
        return convert(dtype, value)
    return convert(dtype, _real(value))


def _real(value: object) -> Number:
    if isinstance(value, str) and value.lower() in NON_FINITE:
        return NON_FINITE[value.lower()]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{shorten(value)} is not a number")
    return value


def shorten(value: object, limit: int = 60) -> str:
    """`repr` of an untrusted value, cut to about `limit` characters for a message."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)) and len(value) > limit:
        return f"a {'list' if isinstance(value, list) else 'map'} of {len(value)} values"
    if isinstance(value, str):
        value = value[: limit + 1]
    elif isinstance(value, int) and value.bit_length() > 4 * limit:
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except RecursionError:
        return "a value nested too deep to show"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
