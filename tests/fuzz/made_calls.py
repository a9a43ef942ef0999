"""Calls of actions: arguments that are mostly good, what a store says about their objects, and wild JSON."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import yaml
from hypothesis import strategies as st
from made_manifests import trees
from made_objects import damaged, npy_files, safetensors_files
from manifest_cases import FULL, SAXPY

from kaas.binding import ObjectInfo
from kaas.errors import KaasError
from kaas.formats import Layout
from kaas.manifest import Buffer, Manifest

_WILD_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["nan", "-inf", "inline", "base64", "x", "s3://data/x.npy", "pinned", "max_age=3", "\ud800", "9" * 40]
    ),
)
#: Any JSON, and numbers that JSON does not have.
WILD = st.recursive(
    _WILD_LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["base64", "dtype", "shape", "from", "to", "x", "\x00"]), inner, max_size=3),
    ),
    max_leaves=6,
)

_PARTS = st.sampled_from(
    [
        *(
            "s3://",
            "file://",
            "s3:/",
            "http://",
            "S3://",
            "data",
            "/",
            "//",
            "x.npy",
            "w.safetensors",
            "#w",
            "#",
            "?",
            "&",
        ),
        *(
            "offset=0",
            "offset=-1",
            "size=10",
            "size=",
            "versionId=v1",
            "versionId=",
            "=",
            "..",
            ".",
            "\u00e9",
            "\ud800",
        ),
        *("\n", "%2e%2e", "a" * 300, "9" * 30, " ", "+1", "\u0663"),
    ]
)
_OPTIONS = st.lists(
    st.sampled_from(["versionId=v1", "offset=0", "offset=4", "size=8", "size=0", "size=x", "other=1", "versionId="]),
    max_size=3,
).map("&".join)
REFERENCES = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["s3://data/x.npy", "s3://a-b.c/d/e", "file:///x/y", "s3://data/w.safetensors", "s3://b/k#l"]),
        st.sampled_from(["", "?"]),
        _OPTIONS,
        st.sampled_from(["", "", "#w", "#", "#a#b"]),
    ),
    st.lists(_PARTS, max_size=8).map("".join),
    st.text(max_size=20),
)


class MadeCall(NamedTuple):
    """A call of an action, what the store says about its objects, and the layouts of its bundle's files."""

    text: str
    arguments: dict[str, Any]
    objects: dict[str, ObjectInfo]
    files: dict[str, Layout]


_OTHERS = ("outputs", "freshness", "rename", "ack", "store", "other", "_x", "")
_SAID = st.sampled_from(["s3://out/made", "pinned", "durable", {"image": "x"}, {"x": "pinned"}, {"b0": "max_age=2"}])


@lru_cache(maxsize=256)
def read_manifest(text: str) -> Manifest | None:
    """The manifest, if the text is one."""
    try:
        return Manifest.parse(text)
    except KaasError:
        return None


@st.composite
def made_calls(draw: st.DrawFn) -> MadeCall:
    """A call with good values for most arguments."""
    text = draw(st.sampled_from([SAXPY, FULL]) | trees().map(lambda tree: yaml.safe_dump(tree, sort_keys=False)))
    manifest = read_manifest(text)
    if manifest is None:
        text, manifest = SAXPY, Manifest.parse(SAXPY)
    is_wild = draw(st.integers(0, 2)) == 2
    sizes: dict[str, Any] = {name: draw(st.integers(0, 4)) for name in manifest.symbols}
    arguments: dict[str, Any] = {}
    objects: dict[str, ObjectInfo] = {}
    files: dict[str, Layout] = {}
    for name, param in manifest.params.items():
        if param.default is None or draw(st.booleans()):
            arguments[name] = True if param.dtype.kind == "b" else draw(st.integers(0, 9))
    for name, expression in manifest.let.items():
        with contextlib.suppress(KaasError):
            sizes[name] = expression.number({**dict.fromkeys(manifest.params, 1), **sizes})
    for buffer in manifest.buffers.values():
        if buffer.reference is not None:
            objects[buffer.reference.object_id] = _stored(draw, buffer, sizes)
        elif buffer.content is not None:
            shape = _shape(buffer, sizes)
            nbytes = math.prod(shape) * buffer.dtype.itemsize
            files[buffer.content] = draw(
                st.sampled_from([Layout(buffer.dtype, shape, 128, nbytes), Layout(None, None, 0, nbytes)])
            )
        elif buffer.io in ("in", "const") and not buffer.is_fixed:
            arguments[buffer.name] = _input(draw, buffer, sizes, objects)
        elif buffer.io == "inout":
            source = _input(draw, buffer, sizes, objects)
            arguments[buffer.name] = {
                "from": source,
                "to": draw(st.sampled_from(["inline", f"s3://out/{buffer.name}.npy"])),
            }
        elif buffer.io == "out":
            arguments[buffer.name] = draw(st.sampled_from(["inline", "base64", f"s3://out/{buffer.name}.npy", None]))
    if is_wild:
        name = draw(st.sampled_from([*manifest.params, *manifest.buffers, *_OTHERS]))
        arguments[name] = draw(WILD | REFERENCES | _SAID)
    arguments.setdefault("outputs", "s3://out/made")
    return MadeCall(text, arguments, objects, files)


def _shape(buffer: Buffer, sizes: dict[str, Any]) -> tuple[int, ...]:
    extents = [sizes.get(one, 1) if isinstance(one, str) else one for one in buffer.dimensions]
    return tuple(one if isinstance(one, int) and one < 10 else 1 for one in extents)


def _input(draw: st.DrawFn, buffer: Buffer, sizes: dict[str, Any], objects: dict[str, ObjectInfo]) -> Any:
    shape = _shape(buffer, sizes)
    array = np.zeros(shape, buffer.dtype.name)
    form = draw(st.sampled_from(["list", "base64", "npy", "raw", "range"]))
    if form == "list":
        values: Any = np.zeros((*shape, 2)).tolist() if buffer.dtype.kind == "c" else array.tolist()
        return values
    if form == "base64":
        value: dict[str, Any] = {"base64": base64.b64encode(array.tobytes()).decode()}
        if draw(st.booleans()):
            value.update(dtype=buffer.dtype.name, shape=list(shape))
        return value
    if form == "npy":
        objects[f"s3://data/{buffer.name}.npy"] = _stored(draw, buffer, sizes)
        return f"s3://data/{buffer.name}.npy"
    size = array.nbytes + draw(st.sampled_from([0, 0, 0, 1, 8]))
    objects[f"s3://data/{buffer.name}.bin"] = ObjectInfo("e1", size, bytes(min(size, 1024)))
    return f"s3://data/{buffer.name}.bin" + (f"?offset=0&size={array.nbytes}" if form == "range" else "")


def _stored(draw: st.DrawFn, buffer: Buffer, sizes: dict[str, Any]) -> ObjectInfo:
    kind = draw(st.sampled_from(["good", "good", "good", "other", "damaged"]))
    reference = buffer.reference
    if kind == "good" and reference is not None and reference.tensor is not None:
        array = np.zeros(_shape(buffer, sizes), buffer.dtype.name)
        stored = {"b": "BOOL", "c": "C64"}.get(
            buffer.dtype.kind, f"{buffer.dtype.kind}{8 * buffer.dtype.itemsize}".upper()
        )
        entry = {"dtype": stored, "shape": array.shape, "data_offsets": [0, array.nbytes]}
        header = json.dumps({reference.tensor: entry}).encode()
        data = len(header).to_bytes(8, "little") + header + array.tobytes()
    elif kind == "good":
        file = io.BytesIO()
        np.save(file, np.zeros(_shape(buffer, sizes), buffer.dtype.name))
        data = file.getvalue()
    else:
        files = npy_files() | safetensors_files()
        data = draw(files if kind == "other" else damaged(files))
    return ObjectInfo("e1", len(data), data)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Bodies of invocations: JSON with fields exchanged and signs put in."""
    fields: dict[str, Any] = {
        "bundle": f"sha256:{'0' * 64}",
        "arguments": draw(st.dictionaries(st.text(max_size=3), WILD, max_size=2)),
    }
    for name in draw(
        st.lists(st.sampled_from(["id", "budget_ms", "wait_ms", "bundle", "arguments", "other"]), max_size=2)
    ):
        fields[name] = draw(WILD | st.sampled_from(["a1", 60000, 0, 3_600_001, "x" * 129]))
    data = json.dumps(fields, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) < 3:
        return data
    words = (b"{", b"[" * 70, b'"bundle":', b"NaN", b"1e999", b"9" * 5000, b"\xff", b'"\\ud800"', b",", b"//")
    return draw(damaged(st.just(data), words))


@st.composite
def inline_arrays(draw: st.DrawFn) -> tuple[str, tuple[int, ...], list[Any]]:
    """A type, a shape, and numbers for it in order."""
    dtype = draw(
        st.sampled_from(
            ["bool", "int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64", "complex64"]
        )
    )
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    kind = np.dtype(dtype).kind
    if kind == "b":
        numbers: st.SearchStrategy[Any] = st.booleans()
    elif kind in "iu":
        limits = np.iinfo(dtype)
        numbers = st.integers(int(limits.min), int(limits.max))
    else:
        numbers = st.floats(width=16 if dtype == "float16" else 64 if dtype == "float64" else 32)
    count = math.prod(shape) * (2 if kind == "c" else 1)
    return dtype, shape, draw(st.lists(numbers, min_size=count, max_size=count))
