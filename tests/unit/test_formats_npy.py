"""The .npy format against numpy.lib.format."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.dtypes import DTYPES
from kaas.errors import CallerError
from kaas.formats import Layout, npy

WHERE = "arguments.x"


def saved(array: npt.NDArray[Any], version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


def read(content: bytes, head: int = npy.HEAD_BYTES) -> Layout:
    return npy.read_layout(content[:head], len(content), "s3://data/x.npy", WHERE)


@given(
    st.sampled_from(list(DTYPES)),
    st.lists(st.integers(0, 5), max_size=6).map(tuple),
    st.sampled_from([(1, 0), (2, 0), (3, 0), None]),
)
def test_reads_what_numpy_writes(name: str, shape: tuple[int, ...], version: tuple[int, int] | None) -> None:
    array = np.ones(shape, name)
    content = saved(array, version)
    layout = read(content)
    assert layout.offset % 64 == 0
    assert layout == (DTYPES[name], shape, len(content) - array.nbytes, array.nbytes)


@given(st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 5), max_size=6).map(tuple))
def test_writes_what_numpy_writes(name: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, name)
    assert npy.make_header(DTYPES[name], shape) + array.tobytes() == saved(array)


@given(st.sampled_from(list(DTYPES)), st.lists(st.integers(0, 1 << 62), max_size=32).map(tuple))
def test_headers_of_any_size_are_aligned_and_read_back(name: str, shape: tuple[int, ...]) -> None:
    header = npy.make_header(DTYPES[name], shape)
    assert len(header) % 64 == 0
    assert len(header) <= npy.HEAD_BYTES
    nbytes = int(np.prod([int(extent) for extent in shape], dtype=object)) * DTYPES[name].itemsize
    layout = npy.read_layout(header, len(header) + nbytes, "x", WHERE)
    assert layout == (DTYPES[name], shape, len(header), nbytes)


def headed(text: bytes, data: int = 8) -> bytes:
    """A file of version 1 with this text for a header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(data)


def test_a_header_promises_more_than_there_can_be() -> None:
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427387904), }"
    with pytest.raises(CallerError, match="cut short") as caught:
        read(headed(text))
    assert caught.value.code == "size_mismatch"


def test_fortran_order_counts_only_where_it_differs() -> None:
    flat = saved(np.zeros(3)).replace(b"'fortran_order': False", b"'fortran_order': True ")
    assert read(flat).shape == (3,)
    with pytest.raises(CallerError, match="Fortran order") as caught:
        read(saved(np.asfortranarray(np.zeros((2, 3)))))
    assert caught.value.code == "format_invalid"
    assert "ascontiguousarray" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (np.zeros(2, ">f4"), "big-endian"),
        (np.zeros(2, ">i8"), "big-endian"),
        (np.zeros(2, [("a", "f4"), ("b", "i4")]), "records with named fields"),
        (np.zeros(2, "U3"), "text"),
        (np.zeros(2, "S3"), "byte strings"),
        (np.zeros(2, "V2"), "untyped bytes"),
        (np.zeros(2, "M8[s]"), "dates"),
        (np.zeros(2, "m8[s]"), "time differences"),
        (np.array([None]), "Python objects"),
        (np.zeros(2, np.longdouble), "the element type"),
    ],
)
def test_other_types_are_refused_by_name(array: npt.NDArray[Any], part: str) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    with pytest.raises(CallerError) as caught:
        read(stream.getvalue())
    assert caught.value.code == "dtype_mismatch"
    assert part in caught.value.message
    assert caught.value.hint
    assert caught.value.where == WHERE


def test_the_machines_own_order_is_not_called_big_endian() -> None:
    with pytest.raises(CallerError, match="the element type '=f4'"):
        read(saved(np.zeros(3, "f4")).replace(b"'<f4'", b"'=f4'"))


def test_a_file_of_another_length_than_promised() -> None:
    content = saved(np.zeros(10))
    for changed, part in ((content[:-1], "cut short"), (content + b"x", "followed by other bytes")):
        with pytest.raises(CallerError, match=part) as caught:
            read(changed)
        assert caught.value.code == "size_mismatch"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is not an .npy file"),
        (b"PK\x03\x04" + bytes(200), "is not an .npy file"),
        (b"\x93NUMPY\x09\x00\x10\x00" + bytes(200), "version 9"),
        (b"\x93NUMPY\x01\x00\xff\x00{", "ends inside its header"),
        (b"\x93NUMPY\x01\x00\x00\x08" + b" " * 4000, "header of 2058 bytes"),
        (b"\x93NUMPY\x01\x00\x04\x00{}  " + bytes(8), "broken"),
        (b"\x93NUMPY\x01\x00\x0a\x00((((((((((" + bytes(8), "broken"),
        (b"\x93NUMPY\x00\x00\x10\x00" + bytes(200), "version 0"),
        (b"\x93NUMPY\x04\x00\x10\x00" + bytes(200), "version 4"),
        (b"\x93NUMPY\x01", "has version 0|is not an .npy file"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(200), "ends inside its header"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (True,), }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,), }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': [2], }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': 2, }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, }"), "broken"),
        (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}"), "broken"),
        (headed(b"{'descr': __import__('os'), 'fortran_order': False, 'shape': (2,)}"), "broken"),
        (headed(b"\xff\xfe"), "broken"),
        (headed(b"[" * 900), "broken"),
        (headed(b"-" * 900 + b"1"), "broken"),
        (headed(b"(" + b"9" * 900 + b",)"), "broken"),
    ],
)
def test_broken_files(content: bytes, part: str) -> None:
    with pytest.raises(CallerError, match=part) as caught:
        read(content)
    assert caught.value.code == "format_invalid"


def test_python_2_wrote_long_integers() -> None:
    content = saved(np.zeros(3, "f4")).replace(b"(3,), }", b"(3L,),}")
    assert read(content).shape == (3,)


@given(st.data())
def test_changed_headers_never_break_the_reader(data: st.DataObject) -> None:
    content = bytearray(saved(np.zeros((2, 3), "f4")))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    try:
        layout = read(bytes(content))
    except CallerError as error:
        assert error.code in ("format_invalid", "dtype_mismatch", "size_mismatch")
    else:
        assert layout.offset + layout.nbytes == len(content)
