"""What coverage-guided runs begin with: a few good inputs of each kind."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from manifest_cases import FULL, SAXPY

from kaas.archive import write_archive
from kaas.dtypes import DTYPES
from kaas.formats import npy

_EXAMPLES = [path.read_bytes() for path in sorted(Path(__file__).parents[2].glob("examples/*/kaas.yaml"))]
_MANIFESTS = [SAXPY.encode(), FULL.encode(), *_EXAMPLES]
_FILES = {"kaas.yaml": SAXPY.encode(), "saxpy.cu": b"__global__ void saxpy() {}\n"}


def _deflated() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _FILES.items():
            archive.writestr(name, content)
    return file.getvalue()


def _npy(dtype: str, shape: tuple[int, ...], size: int) -> bytes:
    return npy.make_header(DTYPES[dtype], shape) + bytes(size)


def _safetensors(header: object, size: int) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


_W = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
_ARGUMENTS = {
    "x": "s3://data/x.npy",
    "w": [1, "nan"],
    "s": {"from": [1], "to": "inline"},
    "z": "s3://out/z",
    "v": "base64",
}
_OTHERS = {"a": 2, "c": [1, 2], "freshness": {"x": "max_age=3"}, "rename": {"pic": "x"}, "outputs": "s3://out/made"}
_DIGEST = f"sha256:{'0' * 64}"

SEEDS: Mapping[str, Sequence[bytes]] = {
    "manifest": _MANIFESTS,
    "bundle": [write_archive(_FILES), _deflated(), *_MANIFESTS[:2]],
    "archive": [write_archive(_FILES), _deflated(), write_archive({})],
    "expression": [b"ceil_div(n, 256) * (m + 1) // 2", b"float32(1 / sqrt(d)) ", b"2 ** -k < min(1.5e3, 0x1f)"],
    "npy": [_npy("float32", (2, 3), 24), _npy("int8", (), 1), b"\x93NUMPY\x03\x00\x10\x00\x00\x00{'descr': '<f8'}"],
    "safetensors": [_safetensors({"__metadata__": {"a": "b"}, "w": _W}, 16), _safetensors({"\u00e9": _W}, 16)],
    "reference": [
        b"s3://data/x.npy?versionId=v1",
        b"s3://data/w.safetensors?versionId=v#w",
        b"file:///a/b?offset=1&size=2",
    ],
    "request": [
        json.dumps({"bundle": _DIGEST, "arguments": _ARGUMENTS, "id": "a-1", "budget_ms": 5, "wait_ms": 0}).encode()
    ],
    "call": [json.dumps(_ARGUMENTS).encode(), json.dumps({**_ARGUMENTS, **_OTHERS}).encode()],
    "frame": [
        b'{"v":1,"type":"done","inv":"t/i/1","stats":{"gpu_ms":1.5},"inline":{"z":"AAAA"}}',
        b'{"v":1,"type":"usage"}',
    ],
}
