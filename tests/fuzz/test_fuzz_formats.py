"""Headers of objects and zips: read as NumPy, safetensors and zipfile read them, or refused."""

from __future__ import annotations

import io
import re
import tokenize
import warnings
import zipfile

import numpy as np
from hunt import hunt
from hypothesis import strategies as st
from made_objects import (
    GOOD_PATHS,
    NPY_WORDS,
    SAFETENSORS_WORDS,
    ZIP_WORDS,
    damaged,
    npy_files,
    safetensors_files,
    zips,
)
from properties import VALUE, check_archive, check_bundle, check_npy, check_safetensors
from safetensors import SafetensorError, deserialize

from kaas.archive import read_archive, write_archive
from kaas.dtypes import DTYPES
from kaas.formats import npy
from kaas.formats import safetensors as ours

#: Python 2's 3L, which is read only where Python 2 wrote it, with the keys in their order.
_LONG = re.compile(rb"[0-9]\s*L")


def _by_numpy(data: bytes) -> tuple[np.dtype, tuple[int, ...], bool, int] | None:
    """Type, shape, whether the order is Fortran's, and where the data begin; None if NumPy cannot say."""
    file = io.BytesIO(data)
    # Version 3 is version 2 in UTF-8, and all that matters here is ASCII.
    one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    read = {1: one, 2: two, 3: two}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            major, _ = np.lib.format.read_magic(file)
            shape, fortran_order, dtype = read[major](file)
        except (
            KeyError,
            ValueError,
            TypeError,
            EOFError,
            OverflowError,
            SyntaxError,
            RecursionError,
            tokenize.TokenError,
        ):
            return None
    return dtype, shape, fortran_order, file.tell()


def check_npy_against_numpy(data: bytes) -> str:
    """What both read is the same, and what NumPy reads of our types, in C order and whole, is not refused."""
    outcome = check_npy(data)
    theirs = _by_numpy(data)
    if outcome == VALUE:
        layout = npy.read_layout(data, len(data), "x.npy", "arguments.x")
        assert theirs is not None
        assert layout.dtype is not None
        assert theirs[:2] == (np.dtype(layout.dtype.name), layout.shape)
        assert theirs[3] == layout.offset
        assert not theirs[2] or sum(extent != 1 for extent in theirs[1]) <= 1
    elif theirs is not None:
        dtype, shape, fortran_order, offset = theirs
        # NumPy also reads types that it does not write, such as '=f4' and 'f4'.
        is_usual = dtype.str.encode() in data[:offset] and _LONG.search(data, 0, offset) is None
        if dtype.name in DTYPES and dtype.isnative and is_usual and not fortran_order and offset <= npy.HEAD_BYTES:
            assert offset + int(np.prod(shape, dtype=object)) * dtype.itemsize != len(data), data
    return outcome


def test_npy() -> None:
    outcomes = [VALUE, "format_invalid"]
    hunt("npy", npy_files(), check_npy_against_numpy, short=150, share=0.015, outcomes=outcomes)
    either = damaged(npy_files(), NPY_WORDS)
    hunt("damaged npy", either, check_npy_against_numpy, short=150, share=0.025, outcomes=outcomes)


def check_safetensors_against_library(data: bytes) -> str:
    """A tensor that the library reads is read the same."""
    outcome = check_safetensors(data)
    try:
        tensors = dict(deserialize(data))  # type: ignore[no-untyped-call]
    except (SafetensorError, UnicodeError, OverflowError):
        return outcome
    if "w" not in tensors:
        assert outcome == "object_not_found"
    elif outcome != "dtype_mismatch":
        assert outcome == VALUE
        found = ours.read_tensor(data, len(data), "w", "x", "arguments.x")
        assert list(found.layout.shape or ()) == tensors["w"]["shape"]
        first = found.layout.offset
        assert data[first : first + found.layout.nbytes] == bytes(tensors["w"]["data"])
        return "value of both"
    return outcome


def test_safetensors() -> None:
    outcomes = ["value of both"]
    check = check_safetensors_against_library
    hunt("safetensors", safetensors_files(), check, short=100, share=0.015, outcomes=outcomes)
    either = damaged(safetensors_files(), SAFETENSORS_WORDS)
    hunt("damaged safetensors", either, check, short=150, share=0.015, outcomes=["format_invalid"])


def check_archive_against_zipfile(data: bytes) -> str:
    """What is unpacked is what zipfile unpacks."""
    outcome = check_archive(data)
    if outcome == VALUE:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            theirs = {one.orig_filename: archive.read(one) for one in entries}
        assert len(theirs) == len(entries), "no name stands twice"
        assert read_archive(data) == theirs
    check_bundle(data)
    return outcome


def test_zips() -> None:
    check = check_archive_against_zipfile
    hunt("zip", zips(), check, short=80, share=0.005, outcomes=[VALUE, "bundle_invalid"])
    either = damaged(zips(), ZIP_WORDS)
    hunt("damaged zip", either, check, short=100, share=0.01, outcomes=[VALUE, "bundle_invalid"])


def check_packed(files: dict[str, bytes]) -> str:
    """What is packed is unpacked."""
    assert read_archive(write_archive(files)) == files
    return VALUE


def test_what_is_packed_is_unpacked() -> None:
    files = st.dictionaries(st.sampled_from(GOOD_PATHS), st.binary(max_size=2000))
    hunt("packed bundle", files, check_packed, short=30, share=0.0025)
