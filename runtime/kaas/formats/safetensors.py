"""Files of safetensors: 8 bytes with the header's length, a JSON header, the data (the format of Hugging Face).

The header is an object of at most three levels, `{"name": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}`,
and `__metadata__` of texts. Offsets count from the header's end. It is read here without a JSON parser, because whoever
wrote it may be hostile: there is no recursion, the memory is in proportion to the header, and what is not looked at is
skipped. One file holds many arrays, so a reference names the one that is meant, and the format is for inputs only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from kaas.dtypes import DTYPES, DType, shorten
from kaas.errors import CallerError
from kaas.formats._layout import Layout
from kaas.suggest import nearest

SUFFIX = ".safetensors"

#: The header of a model of 10,000 tensors has some 1.5 MB.
MAX_HEADER_BYTES = 16 << 20
#: Tensors, and texts of metadata, in one header: it bounds the time that reading a hostile one takes.
MAX_ENTRIES = 50_000

_LENGTH_BYTES = 8
_MAX_DIMENSIONS = 64
#: Longer texts are no lists of so many numbers.
_MAX_LIST = 2048
_MAX_NAME = 65_536
#: Headers of up to this size stay parsed, since a call may read many tensors of one file.
_KEPT_BYTES = 1 << 20
#: So many names are looked at for what is near to an unknown one, and so many of them, alike at first, closely.
_LOOKED_AT = 20_000
_COMPARED = 200

_DTYPES: Mapping[str, DType] = {
    **{f"F{8 * size}": DTYPES[f"float{8 * size}"] for size in (2, 4, 8)},
    **{f"I{8 * size}": DTYPES[f"int{8 * size}"] for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": DTYPES[f"uint{8 * size}"] for size in (1, 2, 4, 8)},
    "BOOL": DTYPES["bool"],
    "C64": DTYPES["complex64"],
    "BF16": DTYPES["uint16"],
}
_EIGHT_BIT_FLOAT = re.compile(r"F8_[A-Z0-9]{1,16}")

_WS = r"[ \t\n\r]*"
_SPACE = re.compile(_WS)
#: A tensor whose name has no escapes; none of the repeated parts can be read in two ways.
_ENTRY = re.compile(rf'{_WS}"(?!__metadata__")([^"\\\x00-\x1f]*)"{_WS}:{_WS}\{{([^{{}}]*)\}}{_WS}([,}}])')
_BODY = re.compile(rf"\{{([^{{}}]*)\}}{_WS}([,}}])")
#: The quote that ends a text: an even number of backslashes before it.
_CLOSE = re.compile(r'(?<!\\)(?:\\\\){0,500}"')
_FIELD = re.compile(
    rf'{_WS}"(dtype|shape|data_offsets)"{_WS}:{_WS}(?:"([A-Za-z0-9_]{{1,32}})"|\[([^\[\]"]*)\]){_WS}(,|\Z)'
)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class Tensor(NamedTuple):
    """One tensor of a file: where its data lie, and the name of its type in the file."""

    layout: Layout
    stored: str


def header_bytes(head: bytes) -> int:
    """How many first bytes of an object that begins with `head` `read_tensor` needs: at most 16 MiB and 8."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    if len(head) < _LENGTH_BYTES or length > MAX_HEADER_BYTES:
        return _LENGTH_BYTES
    return _LENGTH_BYTES + length


def read_tensor(head: bytes, size: int, tensor: str, label: str, where: str) -> Tensor:
    """Find `tensor` in an object of `size` bytes that begins with `head`, which has `header_bytes(head)` or all of it.

    `label` names the tensor and its object in messages. Raises CallerError: `format_invalid` for a header that is
    broken or lies, `object_not_found` where it has no such tensor, `dtype_mismatch` for a type that no buffer has.
    """

    def invalid(problem: str) -> CallerError:
        return CallerError(
            "format_invalid", f"{label}: {problem}", where=where, hint="write the file with safetensors' save_file"
        )

    if size < _LENGTH_BYTES:
        raise invalid(f"an object of {size} bytes is no safetensors file")
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    begin = _LENGTH_BYTES + length
    if begin > size:
        raise invalid(f"the header claims {length} bytes, and the file has {size - _LENGTH_BYTES} after its length")
    if length > MAX_HEADER_BYTES:
        raise invalid(f"the header has {length} bytes; at most {MAX_HEADER_BYTES} are read")
    if len(head) < begin:
        raise ValueError(f"{len(head)} bytes of a header that needs {begin}")
    header = bytes(head[_LENGTH_BYTES:begin])
    try:
        bodies = _kept_index(header) if length <= _KEPT_BYTES else _index(header)
        body = bodies.get(tensor)
        if body is None:
            raise CallerError(
                "object_not_found",
                f"{label}: the file has no tensor {shorten(tensor)}",
                where=where,
                hint=_hint(tensor, bodies),
            )
        stored, shape, first, last = _entry(body)
    except _Broken as problem:
        raise invalid(str(problem)) from None
    dtype = _dtype(stored, label, where)
    nbytes = math.prod(shape) * dtype.itemsize
    if first > last:
        raise invalid(f"its data end before they begin: data_offsets [{first}, {last}]")
    if begin + last > size:
        raise invalid(f"its data end at byte {begin + last}, and the file has {size}")
    if last - first != nbytes:
        raise invalid(f"{stored} {list(shape)} has {nbytes} bytes, and its data_offsets say {last - first}")
    return Tensor(Layout(dtype, shape, begin + first, nbytes), stored)


_NOT_DESCRIBED = "it is not described by one dtype, one shape and two data_offsets"


class _Broken(ValueError):
    """What is wrong with a header."""


def _dtype(stored: str, label: str, where: str) -> DType:
    dtype = DTYPES["uint8"] if _EIGHT_BIT_FLOAT.fullmatch(stored) else _DTYPES.get(stored)
    if dtype is None:
        raise CallerError(
            "dtype_mismatch",
            f"{label} holds {stored}, which no buffer does",
            where=where,
            hint=f"convert it to one of {', '.join(_DTYPES)}",
        )
    return dtype


def _hint(tensor: str, bodies: Mapping[str, str]) -> str:
    names = list(islice(bodies, _LOOKED_AT))
    alike = sorted(names, key=lambda name: -_alike(name, tensor))
    near = nearest(tensor, alike[:_COMPARED], 5)
    if near:
        return f"near to it: {', '.join(shorten(name, 100) for name in near)}"
    more = f", and {len(bodies) - 5} more" if len(bodies) > 5 else ""
    return f"it has {', '.join(shorten(name, 100) for name in names[:5]) or 'no tensors'}{more}"


def _alike(one: str, other: str) -> int:
    """How many characters the two begin with together."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _entry(body: str) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape and offsets of a tensor."""
    fields: dict[str, str | tuple[int, ...]] = {}
    at, after = 0, ","
    while after == ",":
        found = _FIELD.match(body, at)
        if found is None or found[1] in fields:
            raise _Broken(_NOT_DESCRIBED)
        fields[found[1]] = found[2] if found[2] is not None else _numbers(found[3])
        at, after = found.end(), found[4]
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or not isinstance(shape, tuple) or not isinstance(offsets, tuple):
        raise _Broken(_NOT_DESCRIBED)
    if len(offsets) != 2:
        raise _Broken(_NOT_DESCRIBED)
    return dtype, shape, offsets[0], offsets[1]


def _numbers(text: str) -> tuple[int, ...]:
    words = [word.strip(" \t\n\r") for word in text.split(",")] if len(text) <= _MAX_LIST else ["too many"]
    if words == [""]:
        return ()
    if len(words) > _MAX_DIMENSIONS or not all(_NUMBER.fullmatch(word) for word in words):
        raise _Broken(f"[{text[:60]}] is no list of whole numbers from 0 on")
    numbers = tuple(map(int, words))
    if max(numbers) >= 1 << 63:
        raise _Broken(f"{max(numbers)} is more than any file has")
    return numbers


def _index(header: bytes) -> dict[str, str]:
    """What stands between the braces of each tensor, by name."""
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError:
        raise _Broken("the header is not UTF-8 text") from None
    return _Scanner(text).entries()


_kept_index = lru_cache(maxsize=4)(_index)


class _Scanner:
    """Walks over a header's text once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def entries(self) -> dict[str, str]:
        """The tensors' bodies by name."""
        found: dict[str, str] = {}
        count = 0
        more = self._opened()
        while more:
            count += 1
            if count > MAX_ENTRIES:
                raise _Broken(f"the header has more than {MAX_ENTRIES} entries")
            usual = _ENTRY.match(self.text, self.at)
            if usual is not None:
                name, body, after = usual.groups()
                self.at = usual.end()
            else:
                name = self._text()
                self._expect(":")
                if name == "__metadata__":
                    self._skip_metadata()
                    body, after = "", self._end()
                else:
                    rest = _BODY.match(self.text, self._space())
                    if rest is None:
                        raise _Broken(f"the header is broken after the name {shorten(name)}")
                    body, after = rest.groups()
                    self.at = rest.end()
            if name in found:
                raise _Broken(f"the header has {shorten(name)} twice")
            found[name] = body
            more = after == ","
        if self._space() != len(self.text):
            raise _Broken("the header is followed by other text")
        found.pop("__metadata__", None)
        return found

    def _opened(self) -> bool:
        """Go into an object; whether there is something in it."""
        self._expect("{")
        if self.text.startswith("}", self._space()):
            self.at += 1
            return False
        return True

    def _end(self) -> str:
        """Go past the comma after an entry, or the brace after the last, and return it."""
        after = self.text[self._space() : self.at + 1]
        if after not in (",", "}"):
            raise _Broken("the header is no JSON object of tensors")
        self.at += 1
        return after

    def _skip_metadata(self) -> None:
        count = 0
        more = self._opened()
        while more:
            count += 1
            if count > MAX_ENTRIES:
                raise _Broken(f"the header has more than {MAX_ENTRIES} metadata")
            self._skip_text()
            self._expect(":")
            self._skip_text()
            more = self._end() == ","

    def _space(self) -> int:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        return self.at

    def _expect(self, sign: str) -> None:
        if not self.text.startswith(sign, self._space()):
            raise _Broken("the header is no JSON object of tensors")
        self.at += 1

    def _skip_text(self) -> tuple[int, int]:
        """Go past a text in quotes; where it is, the quotes included."""
        self._expect('"')
        start = self.at - 1
        close = _CLOSE.search(self.text, self.at)
        if close is None:
            raise _Broken("the header is no JSON object of tensors")
        self.at = close.end()
        return start, self.at

    def _text(self) -> str:
        start, end = self._skip_text()
        try:
            value = json.loads(self.text[start : min(end, start + _MAX_NAME)])
        except ValueError:
            raise _Broken("the header has a broken name") from None
        assert isinstance(value, str)
        return value
