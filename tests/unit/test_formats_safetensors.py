"""The safetensors format against the safetensors package, and against files that lie."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from kaas.dtypes import DTYPES
from kaas.errors import CallerError
from kaas.formats import FORMATS, Layout, format_of, safetensors
from kaas.formats.safetensors import MAX_ENTRIES, MAX_HEADER_BYTES, Tensor, header_bytes, read_tensor

WHERE = "arguments.x"
LABEL = "s3://data/m.safetensors#w"
STORED = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "BOOL": "bool",
    "C64": "complex64",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def read(content: bytes, tensor: str = "w") -> Tensor:
    head = content[: header_bytes(content[:1024])]
    assert len(head) <= MAX_HEADER_BYTES + 8
    return read_tensor(head, len(content), tensor, LABEL, WHERE)


def data_of(content: bytes, tensor: str) -> npt.NDArray[Any]:
    layout = read(content, tensor).layout
    assert layout.dtype is not None
    assert layout.shape is not None
    data = content[layout.offset : layout.offset + layout.nbytes]
    return np.frombuffer(data, layout.dtype.name).reshape(layout.shape)


def file(header: object, data: int = 8) -> bytes:
    """A file with this header, written as it is if it is text."""
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


_NAMES = st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda name: name != "__metadata__")
_ARRAYS = st.dictionaries(
    _NAMES,
    st.tuples(st.sampled_from(list(STORED.values())), st.lists(st.integers(0, 4), max_size=5).map(tuple)),
    max_size=5,
)


@given(_ARRAYS, st.none() | st.dictionaries(st.text(max_size=8), st.text('{}"\\:,a', max_size=8), max_size=3))
def test_reads_what_the_package_writes(
    kinds: dict[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str] | None
) -> None:
    arrays = {
        name: (np.arange(math.prod(shape)) % 2).astype(dtype).reshape(shape) for name, (dtype, shape) in kinds.items()
    }
    content = save(arrays, metadata)
    for name, array in arrays.items():
        found = data_of(content, name)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        assert STORED[read(content, name).stored] == array.dtype.name


def test_reads_what_people_write_by_hand_as_the_package_does() -> None:
    header = (
        b'{ "__metadata__" : { "format":"{\\"a\\": [1]}\\\\" , "x":"" },\n\t"w\\u00e9\\"" :'
        b' {"shape":[ 2 , 1 ],"data_offsets": [4,12 ] , "dtype":"F32"},'
        b' "b":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}  '
    )
    content = file(header, 0) + np.array([7], "i4").tobytes() + np.array([1.5, 2.5], "f4").tobytes()
    known = load(content)
    assert sorted(known) == ["b", 'wé"']
    for name, array in known.items():
        assert np.array_equal(data_of(content, name), array)


@pytest.mark.parametrize(
    ("stored", "name"),
    [*STORED.items(), ("BF16", "uint16"), ("F8_E4M3", "uint8"), ("F8_E5M2", "uint8"), ("F8_E8M0", "uint8")],
)
def test_types(stored: str, name: str) -> None:
    size = DTYPES[name].itemsize
    content = file({"w": entry(stored, (3,), (0, 3 * size))}, 3 * size)
    assert read(content) == Tensor(Layout(DTYPES[name], (3,), len(content) - 3 * size, 3 * size), stored)


@pytest.mark.parametrize("stored", ["F4", "F6_E2M3", "I4", "C128", "f32", "float32", "X"])
def test_other_types_are_refused_by_name(stored: str) -> None:
    with pytest.raises(CallerError, match=f"holds {stored}, which no buffer does") as caught:
        read(file({"w": entry(stored)}))
    assert (caught.value.code, caught.value.where) == ("dtype_mismatch", WHERE)
    assert "F16, F32" in (caught.value.hint or "")


def test_arrays_without_elements() -> None:
    content = file({"w": entry("F32", (0, 1 << 62), (8, 8))})
    assert read(content).layout == Layout(DTYPES["float32"], (0, 1 << 62), len(content), 0)


def test_an_unknown_tensor_is_told_what_there_is() -> None:
    names = [f"model.layers.{number}.attention.weight" for number in range(30)] + ["embedding"]
    content = file({name: entry() for name in names})
    with pytest.raises(CallerError) as caught:
        read(content, "model.layers.7.atention.weight")
    assert (caught.value.code, caught.value.where) == ("object_not_found", WHERE)
    assert "has no tensor 'model.layers.7.atention.weight'" in caught.value.message
    assert (caught.value.hint or "").startswith("near to it: 'model.layers.7.attention.weight', ")
    with pytest.raises(CallerError) as caught:
        read(content, "zzz")
    assert (caught.value.hint or "").endswith("'model.layers.4.attention.weight', and 26 more")
    for empty in ({}, {"__metadata__": {"w": "x"}}):
        with pytest.raises(CallerError) as caught:
            read(file(empty), "__metadata__")
        assert caught.value.hint == "it has no tensors"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "an object of 0 bytes is no safetensors file"),
        (b"\x01\x02", "an object of 2 bytes is no safetensors file"),
        (b"\x80\x02c" + bytes(50), "the header claims"),
        (b"\xff" * 8 + b"{}", "the header claims 18446744073709551615 bytes, and the file has 2"),
        ((100).to_bytes(8, "little") + b'{"w"', "the header claims 100 bytes, and the file has 4"),
        (((16 << 20) + 1).to_bytes(8, "little") + bytes((16 << 20) + 1), "the header has 16777217 bytes; at most"),
        (file(b""), "no JSON object"),
        (file(b"[]"), "no JSON object"),
        (file(b'"w"'), "no JSON object"),
        (file(b"{"), "no JSON object"),
        (file(b'{"w"'), "no JSON object"),
        (file(b'{"w":'), "broken after the name 'w'"),
        (file(b'{"w'), "no JSON object"),
        (file(b'{"w\\'), "no JSON object"),
        (file(b"{'w': 1}"), "no JSON object"),
        (file(b'{"w\xff": {}}'), "not UTF-8"),
        (file(b'{"\\x": {}}'), "broken name"),
        (file(b'{"w\n": {}}'), "broken name"),
        (file({"w": entry()})[:-8] + b"", "its data end at byte"),
        (file(json.dumps({"w": entry()}).encode() + b"x"), "followed by other text"),
        (file(b'{"w": {},}'), "no JSON object"),
        (file(b'{"w": {} "v": {}}'), "broken after the name 'w'"),
        (file({"w": 1}), "broken after the name 'w'"),
        (file({"w": None}), "broken after the name 'w'"),
        (file({"w": {}}), "not described by"),
        (file({"w": {"dtype": "F32", "shape": [2]}}), "not described by"),
        (file({"w": {**entry(), "more": "x"}}), "not described by"),
        (file({"w": {**entry(), "more": {"x": 1}}}), "broken after the name 'w'"),
        (file(b'{"w": {"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'), "not described by"),
        (file(b'{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8],}}'), "not described by"),
        (file({"w": entry(1)}), "not described by"),
        (file({"w": entry("F 32")}), "not described by"),
        (file({"w": entry([1])}), "not described by"),
        (file({"w": entry(shape="F32")}), "not described by"),
        (file({"w": entry(shape=[[2]])}), "not described by"),
        (file({"w": entry(offsets=[0])}), "not described by"),
        (file({"w": entry(offsets=[0, 4, 8])}), "not described by"),
        (file({"w": entry(shape=[-2])}), "[-2] is no list of whole numbers"),
        (file({"w": entry(shape=[2.0])}), "[2.0] is no list of whole numbers"),
        (file({"w": entry(shape=[True])}), "[true] is no list of whole numbers"),
        (file(b'{"w": {"dtype":"F32","shape":[02],"data_offsets":[0,8]}}'), "[02] is no list of whole numbers"),
        (file(b'{"w": {"dtype":"F32","shape":[2,],"data_offsets":[0,8]}}'), "[2,] is no list of whole numbers"),
        (file({"w": entry(shape=[1 << 63])}), "9223372036854775808 is more than any file has"),
        (file({"w": entry(shape=[10**30])}), "is no list of whole numbers"),
        (file({"w": entry(shape=[1] * 65)}), "is no list of whole numbers"),
        (file({"w": entry(shape=[1] * 100_000)}), "is no list of whole numbers"),
        (file({"w": entry(offsets=[-8, 0])}), "[-8, 0] is no list of whole numbers"),
        (file({"w": entry(offsets=[8, 0])}), "its data end before they begin: data_offsets [8, 0]"),
        (file({"w": entry(offsets=[0, 16], shape=[4])}), "its data end at byte 86, and the file has 78"),
        (file({"w": entry(offsets=[8, 16])}), "its data end at byte"),
        (file({"w": entry(offsets=[0, 4])}), "F32 [2] has 8 bytes, and its data_offsets say 4"),
        (file({"w": entry(shape=[3])}), "F32 [3] has 12 bytes, and its data_offsets say 8"),
        (file({"w": entry(shape=[1 << 62, 1 << 62])}), "bytes, and its data_offsets say 8"),
        (file(b'{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "w": {}}'), "has 'w' twice"),
        (file(b'{"w": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "\\u0077": {}}'), "has 'w' twice"),
        (file(b'{"v": {}, "v": {}, "w": {}}'), "has 'v' twice"),
        (file(b'{"__metadata__": {}, "__metadata__": {"a": "{"}}'), "has '__metadata__' twice"),
        (file({"__metadata__": {"a": {"b": "c"}}}), "no JSON object"),
        (file(b'{"__metadata__": {"a": "{", }}'), "no JSON object"),
        (file(b'{"__metadata__": 5}'), "no JSON object"),
    ],
)
def test_files_that_lie(content: bytes, part: str) -> None:
    with pytest.raises(CallerError) as caught:
        read(content)
    assert (caught.value.code, caught.value.where) == ("format_invalid", WHERE)
    assert caught.value.message.startswith(f"{LABEL}: ")
    assert part in caught.value.message
    assert len(caught.value.message) < 400
    assert "save_file" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":' + b"[" * 1_000_000,
        b"{" * 1_000_000,
        b'{"a":{' * 200_000,
        b'{"w":{"dtype":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}}",
        b'{"' + b"\\" * 1_000_000,
        b'{"' + b'\\"' * 500_000 + b'":{}}',
        b'{"__metadata__":{"a":"' + b'\\"{' * 300_000 + b'"',
        b'{"__metadata__":{' + b'"":"{",' * 15_000,
        b"{" + b" " * 1_000_000,
        b'{"w":{' + b" " * 1_000_000,
        b'{"w":{"shape":[' + b"1," * 500_000 + b"1]}}",
        b'{"a":[' + b"{}," * 300_000 + b"]}",
    ],
    ids=range(12),
)
def test_bombs_take_no_more_memory_than_they_have_bytes(header: bytes) -> None:
    content = file(header)
    tracemalloc.start()
    try:
        with pytest.raises(CallerError) as caught:
            read(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "format_invalid"
    assert peak < 8 * len(header)


def test_entries_are_bounded() -> None:
    few = b"{" + b",".join(b'"%d":{}' % number for number in range(MAX_ENTRIES)) + b"}"
    with pytest.raises(CallerError, match="has no tensor"):
        read(file(few))
    with pytest.raises(CallerError, match=f"more than {MAX_ENTRIES} entries"):
        read(file(few[:-1] + b',"more":{}}'))
    texts = b'{"__metadata__":{' + b",".join(b'"%d":"}"' % number for number in range(MAX_ENTRIES + 1)) + b"}}"
    with pytest.raises(CallerError, match=f"more than {MAX_ENTRIES} metadata"):
        read(file(texts))


def test_how_much_of_a_file_is_needed() -> None:
    content = file({"w": entry()})
    needed = len(content) - 8
    assert header_bytes(content[:8]) == header_bytes(content) == needed
    assert header_bytes(b"") == header_bytes(content[:7]) == 8
    assert header_bytes((16 << 20).to_bytes(8, "little")) == (16 << 20) + 8
    # A length that is refused anyway is not worth fetching.
    assert header_bytes(b"\xff" * 8) == 8
    assert read_tensor(content[:needed], len(content), "w", LABEL, WHERE).layout.offset == needed
    with pytest.raises(ValueError, match="of a header that needs"):
        read_tensor(content[: needed - 1], len(content), "w", LABEL, WHERE)


def test_it_is_chosen_by_a_tensor_and_not_by_an_ending() -> None:
    assert "safetensors" not in FORMATS
    assert format_of("m.safetensors").NAME == "raw"
    assert not hasattr(safetensors, "make_header")


@given(st.data())
def test_changed_headers_never_break_the_reader(data: st.DataObject) -> None:
    content = bytearray(save({"w": np.zeros((2, 3), "f4"), "v": np.zeros(1, "i8")}, {"a": "{b}"}))
    end = header_bytes(bytes(content[:8]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, end - 1))] = data.draw(
            st.integers(0, 255) | st.sampled_from(list(b'{}[]",:\\0123456789'))
        )
    try:
        layout = read(bytes(content)).layout
    except CallerError as error:
        assert error.code in ("format_invalid", "dtype_mismatch", "object_not_found")
    else:
        assert 0 <= layout.offset <= layout.offset + layout.nbytes <= len(content)


_TOKENS = st.lists(
    st.sampled_from(["{", "}", "[", "]", '"', ":", ",", "\\", '"w"', '"dtype"', '"F32"', '"shape"', "[2]", "[0,8]"]),
    max_size=20,
).map("".join)


@given(_TOKENS | _TOKENS.map(lambda text: f'{{"__metadata__":{{{text}'), st.binary(max_size=8))
def test_what_the_package_reads_is_read(text: str, data: bytes) -> None:
    content = file(text.encode(), 0) + data
    try:
        known: dict[str, Any] | None = load(content)
    except Exception:  # The package has exceptions of its own and of NumPy.
        known = None
    try:
        found = read(content).layout
    except CallerError as error:
        assert error.code in ("format_invalid", "dtype_mismatch", "object_not_found")
        assert known is None or "w" not in known
    else:
        assert found.shape is not None
