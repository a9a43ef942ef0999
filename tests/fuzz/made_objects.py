"""Objects of each format, good and damaged, and zips: the bytes that a store or an upload may bring."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

#: Element types that .npy files hold, those that KaaS leaves out included.
_DESCRS = [
    *("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16"),
    *(">f4", ">i8", "=f4", "<f16", "|O", "|S3", "<U2", "<M8[s]", "|V4"),
]
_EXTENTS = st.integers(0, 5)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes], words: tuple[bytes, ...] = ()) -> bytes:
    """`whole` with bytes changed, taken out and put in; `words` are worth putting in."""
    data = bytearray(draw(whole))
    pieces = st.binary(max_size=4) | st.sampled_from([*words, b"\x00", b"\xff\xff\xff\xff", b"\xff" * 8])
    for _ in range(draw(st.integers(1, 3))):
        # Headers stand in front, where most of the damage should be.
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([16, 160, 1 << 20])))))
        if draw(st.integers(0, 2)) == 0:
            data[at : at + draw(st.integers(0, 8))] = draw(pieces)
        elif at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
    cut = draw(st.integers(0, 9))
    return bytes(data[: draw(st.integers(0, len(data)))] if cut == 9 else data)


@st.composite
def arrays(draw: st.DrawFn) -> npt.NDArray[Any]:
    """Small arrays of the types that buffers have, in either order."""
    shape = tuple(draw(st.lists(_EXTENTS, max_size=4)))
    dtype = np.dtype(draw(st.sampled_from(_DESCRS[:14])))
    size = int(np.prod(shape)) * dtype.itemsize
    data = bytes(at % 2 if dtype.kind == "b" else at % 251 for at in range(size))
    array = np.frombuffer(data, dtype).reshape(shape)
    return np.asfortranarray(array) if draw(st.booleans()) else array


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """What numpy.save writes, or a header written otherwise: other versions, spaces, types and orders."""
    if draw(st.booleans()):
        file = io.BytesIO()
        version = draw(st.sampled_from([None, (1, 0), (2, 0), (3, 0)]))
        np.lib.format.write_array(file, draw(arrays()), version=version)
        data = file.getvalue()
        return draw(st.sampled_from([data, data, data, data[:-1], data + b"\x00", data + data]))
    descr, shape = draw(st.sampled_from(_DESCRS)), draw(st.lists(_EXTENTS | st.integers(0, 1 << 64), max_size=4))
    space = draw(st.sampled_from(["", " ", "\n", "\t "]))
    numbers = [f"{extent}{draw(st.sampled_from(['', '', 'L']))}" for extent in shape]
    comma = "," if len(shape) == 1 or draw(st.booleans()) else ""
    fields = [
        f"'descr':{space}{descr!r}",
        f"'fortran_order':{space}{draw(st.sampled_from(['False', 'True', '0']))}",
        f"'shape':{space}({f',{space}'.join(numbers)}{comma if shape else ''})",
    ]
    text = f"{{{f',{space}'.join(draw(st.permutations(fields)))}{draw(st.sampled_from([',', '', space]))}}}"
    padding = draw(st.sampled_from([0, 7, 40, 1200]))
    header = (text + " " * padding + "\n").encode()
    major = draw(st.sampled_from([1, 2, 3]))
    size = len(header).to_bytes(2 if major == 1 else 4, "little")
    try:
        data = bytes(min(int(np.prod(shape, dtype=object)) * np.dtype(descr).itemsize, 1 << 12))
    except TypeError:
        data = b""
    return b"\x93NUMPY" + bytes([major, 0]) + size + header + data


_NAMES = st.sampled_from(
    ["w", "b", "layer.0.weight", "", "\u00e9", 'a"b', "\\", "__metadata", "x" * 50, "\ud83d\ude00"]
)
_STORED = {
    "F16": 2,
    "F32": 4,
    "F64": 8,
    "BF16": 2,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "BOOL": 1,
    "C64": 8,
    **{f"{sign}{8 * size}": size for sign in "IU" for size in (1, 2, 4, 8)},
}


@st.composite
def safetensors_files(draw: st.DrawFn) -> bytes:
    """Files as the library writes them: tensors one after the other, metadata perhaps, the header padded."""
    header: dict[str, Any] = {}
    if draw(st.booleans()):
        header["__metadata__"] = draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
    end = 0
    first_name = draw(st.sampled_from([["w"], ["w"], []]))
    for name in dict.fromkeys([*first_name, *draw(st.lists(_NAMES, max_size=3))]):
        stored = draw(st.sampled_from(sorted(_STORED)))
        shape = draw(st.lists(_EXTENTS, max_size=3))
        first, end = end, end + int(np.prod(shape, dtype=object)) * _STORED[stored]
        header[name] = {"dtype": stored, "shape": shape, "data_offsets": [first, end]}
    ascii_only = draw(st.booleans())
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    text = json.dumps(header, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(end)


SAFETENSORS_WORDS = (
    b'"F32"',
    b'"shape"',
    b"data_offsets",
    b"[0,4]",
    b"{",
    b"}",
    b'"w"',
    b"\\u0077",
    b"-1",
    b"1e3",
    b"[[",
    b"9" * 19,
)
NPY_WORDS = (
    b"'shape'",
    b"(3,)",
    b"(",
    b"'<f4'",
    b"True",
    b"{",
    b"}",
    b"# ",
    b"'a'+",
    b"9" * 19,
    b"[('a','<f4')]",
    b"\x93NUMPY",
)

#: Paths that a bundle may have, no two of which are in each other's way.
GOOD_PATHS = ("kaas.yaml", "saxpy.cu", "src/a.cu", "a/b/c.h", "\u00e9.cu")
_BAD_PATHS = [
    *("src", "../x", "a/../b", "/etc/passwd", "C:\\x", "a\\b", "./a", "a//b", "", "a\x00b", "a\nb", "\ud800"),
    *("x" * 256, "kaas.yaml/x", "src/", "kaas.yaml"),
]
_REGULAR, _KINDS = 0o100644, [0, 0o040755, 0o120777, 0o020666, 0o140777]


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    """Zips as tools make them, half of them with one entry by a liar."""
    wrong = draw(st.sampled_from(["", "", "", "path", "path", "kind", "method", "64 bits", "bomb"]))
    names = draw(st.lists(st.sampled_from(GOOD_PATHS), min_size=1 if wrong else 0, max_size=4, unique=True))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for at, name in enumerate(names):
            lie = wrong if at == len(names) - 1 else ""
            entry = zipfile.ZipInfo("x", (1980, 1, 1, 0, 0, 0))
            entry.filename = draw(st.sampled_from(_BAD_PATHS)) if lie == "path" else name
            entry.external_attr = (draw(st.sampled_from(_KINDS)) if lie == "kind" else _REGULAR) << 16
            entry.compress_type = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
            if lie in ("method", "bomb"):
                entry.compress_type = zipfile.ZIP_BZIP2 if lie == "method" else zipfile.ZIP_DEFLATED
            # It unpacks to over 200 times its size.
            content = bytes(1_100_000) if lie == "bomb" else draw(st.binary(max_size=40))
            with warnings.catch_warnings(), contextlib.suppress(UnicodeEncodeError):
                warnings.simplefilter("ignore")  # About duplicates, which are meant.
                with archive.open(entry, "w", force_zip64=lie == "64 bits") as stream:
                    stream.write(content)
        archive.comment = draw(st.sampled_from([b"", b"", b"a comment", b"PK\x05\x06" + bytes(18)]))
    return draw(st.sampled_from([b"", b"", b"", b"#!/bin/sh\n"])) + file.getvalue()


ZIP_WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"../", b"kaas.yaml")
