"""JSON that means one thing: no key twice, no number that JSON lacks, no depth that a stack would not bear."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from kaas.dtypes import shorten

#: Lists and objects inside each other: 32 for the dimensions of an inline value, and those around it.
MAX_DEPTH = 64

#: What a number that no float can hold has somewhere: three digits of an exponent, or 309 digits.
_LARGE = re.compile(r"[eE]\+?\d{3}|\d{309}")


def parse(body: bytes) -> Any:
    """The value of a JSON text in UTF-8; raises ValueError with the reason, for which no body is too odd."""
    try:
        text = body.decode()
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark")
        # A hook costs every float of a body a call, and next to no body has one that needs it.
        value = (_careful if _LARGE.search(text) else _decoder).decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # Counting is much cheaper than walking, and hardly any body has so many.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError(_TOO_DEEP)
    return value


_TOO_DEEP = f"lists and objects are nested over {MAX_DEPTH} levels deep"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number; write it as a text")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shorten(twice)} is given twice in one object")
    return made


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{shorten(text)} is larger than any float")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)
_careful = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object, parse_float=_finite)


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True
