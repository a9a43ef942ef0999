"""Objects, values and sizes that an action cannot take, on a whole pool; and odd ones that it can."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from front_process import SAXPY
from pool_calls import assert_serves, check_error, done, failed, get, keys, put, refused
from pool_process import PoolProcess
from seaweed import S3Client

#: Extents of a launch by parameters. Nothing of a block beyond the first thread does anything.
LAUNCH = """\
kaas: 1
name: launch
params:
  grid: {type: int64, default: 1}
  block: {type: int64, default: 1}
  bytes: {type: int64, default: 0}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: first
    source: |
      extern "C" __global__ void first(const float *x, float *z, long long at) {
        if (threadIdx.x == 0 && blockIdx.y == 0) z[at] = x[at];
      }
    grid: [1, grid]
    block: [block]
    shared: bytes
    args: [x, z, int64(0)]
"""

STORES_ANYWHERE = LAUNCH.replace("int64(0)", "grid").replace("grid: [1, grid]", "grid: [1]")


def npy(array: Any, version: tuple[int, int] | None = None, **options: Any) -> bytes:
    body = io.BytesIO()
    np.lib.format.write_array(body, np.asarray(array), version, **options)
    return body.getvalue()


def with_header(header: bytes, version: bytes = b"\x01\x00", data: bytes = bytes(16)) -> bytes:
    """A .npy whose header is whatever is given."""
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + size + header + data


def tensors(header: dict[str, Any], data: bytes = bytes(16)) -> bytes:
    """A .safetensors file that says of itself what is given."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(begin: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> bytes:
    return tensors({"t": {"dtype": dtype, "shape": shape or [4], "data_offsets": [begin, end]}})


ONES = np.ones(4, np.float32)
HEADER = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n"

#: By name: the key's ending, the object, the code, parts of the texts.
OBJECTS: dict[str, tuple[str, bytes, str, dict[str, str]]] = {
    "npy: Fortran order": (
        ".npy",
        npy(np.asfortranarray(np.ones((2, 2), np.float32))),
        "format_invalid",
        {"message": "Fortran order", "hint": "ascontiguousarray"},
    ),
    "npy: big-endian": (".npy", npy(ONES.astype(">f4")), "dtype_mismatch", {"message": "big-endian", "hint": "astype"}),
    "npy: objects": (
        ".npy",
        npy(np.array([{}, []], object), allow_pickle=True),
        "dtype_mismatch",
        {"message": "Python objects", "hint": "convert it to one of"},
    ),
    "npy: records": (".npy", npy(np.zeros(2, [("a", "<f4"), ("b", "<f4")])), "dtype_mismatch", {}),
    "npy: dates": (".npy", npy(np.zeros(2, "M8[s]")), "dtype_mismatch", {}),
    "npy: trailing bytes": (".npy", npy(ONES) + b"more", "size_mismatch", {"message": "bytes"}),
    "npy: missing bytes": (".npy", npy(ONES)[:-5], "size_mismatch", {"message": "cut short"}),
    "npy: a header cut short": (".npy", npy(ONES)[:50], "format_invalid", {"message": "header"}),
    "npy: a header that lies of its length": (
        ".npy",
        with_header(HEADER)[:8] + b"\xff\xff" + HEADER,
        "format_invalid",
        {},
    ),
    "npy: version 4": (".npy", with_header(HEADER, b"\x04\x00"), "format_invalid", {"message": "4"}),
    "npy: a header that is no dict": (".npy", with_header(b"[1, 2]\n"), "format_invalid", {}),
    "npy: a header that is code": (".npy", with_header(b"__import__('os').abort()\n"), "format_invalid", {}),
    "npy: a negative shape": (".npy", with_header(HEADER.replace(b"4,", b"-4,")), "format_invalid", {}),
    "npy: more than there can be": (".npy", with_header(HEADER.replace(b"4,", b"1 << 62,")), "format_invalid", {}),
    "npy: a giant shape": (".npy", with_header(HEADER.replace(b"4,", b"4611686018427387904,")), "", {}),
    "npy: nothing": (".npy", b"", "format_invalid", {}),
    "safetensors: ends beyond the file": (
        ".safetensors#t",
        tensor(0, 1 << 40),
        "format_invalid",
        {"message": "the file has"},
    ),
    "safetensors: ends before it begins": (
        ".safetensors#t",
        tensor(16, 0),
        "format_invalid",
        {"message": "end before they begin"},
    ),
    "safetensors: begins before the data": (".safetensors#t", tensor(-8, 8), "format_invalid", {"message": "[-8, 8]"}),
    "safetensors: another length than its shape": (
        ".safetensors#t",
        tensor(0, 12),
        "format_invalid",
        {"message": "has 16 bytes"},
    ),
    "safetensors: overflows": (".safetensors#t", tensor(0, 16, [1 << 40, 1 << 40]), "format_invalid", {}),
    "safetensors: no such tensor": (".safetensors#u", tensor(0, 16), "object_not_found", {"message": "'u'"}),
    "raw: no multiple of the item": ("", bytes(18), "size_mismatch", {"message": "18 bytes"}),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_an_object_that_is_none(gated_pool: PoolProcess, s3: S3Client, name: str, case: str) -> None:
    ending, data, code, texts = OBJECTS[case]
    suffix, hash_, tensor_name = ending.partition("#")
    s3.put_object(Bucket="alice", Key=f"{name}/x{suffix}", Body=data)
    client = gated_pool.client()
    reply = client.invoke(
        client.upload(SAXPY),
        {"x": f"s3://alice/{name}/x{suffix}{hash_}{tensor_name}", "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"},
    )
    refused(reply, code or reply.body["error"]["code"], where="arguments.x", **texts)
    assert f"s3://alice/{name}/x" in reply.body["error"]["message"]
    assert keys(s3, f"{name}/z") == []
    assert_serves(gated_pool, s3)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_npy_header(
    gated_pool: PoolProcess, s3: S3Client, name: str, version: tuple[int, int]
) -> None:
    s3.put_object(Bucket="alice", Key=f"{name}/x.npy", Body=npy(ONES, version))
    client = gated_pool.client()
    arguments = {"x": f"s3://alice/{name}/x.npy", "y": [1.0] * 4, "z": "inline"}
    assert done(client.invoke(client.upload(SAXPY), arguments))["z"] == [2.0] * 4


def test_arrays_without_elements(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    none = put(s3, f"{name}/x.npy", np.zeros(0, np.float32))
    s3.put_object(Bucket="alice", Key=f"{name}/raw", Body=b"")
    empty: Any
    for empty in (none, f"s3://alice/{name}/raw", []):
        target = f"s3://alice/{name}/z.npy"
        done(client.invoke(bundle, {"x": empty, "y": none, "z": target}))
        assert get(s3, target).shape == (0,)
        assert done(client.invoke(bundle, {"x": empty, "y": [], "z": "inline"}))["z"] == []
    refused(client.invoke(bundle, {"x": none, "y": [1.0], "z": "inline"}), "shape_mismatch", message="n is 1 in y")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nan", "'nan' is not a whole number"),
        (1e300, "is outside int64"),
        (2**63, "is outside int64"),
        (-(2**63) - 1, "is outside int64"),
        (0.5, "0.5 is not a whole number"),
        (True, "true"),
        (None, "null"),
        ([1], "[1] is not a whole number"),
        ("1", "'1'"),
    ],
)
def test_a_parameter_that_its_type_cannot_hold(gated_pool: PoolProcess, s3: S3Client, value: Any, said: str) -> None:
    client = gated_pool.client()
    reply = client.invoke(client.upload(LAUNCH), {"x": [1.0], "z": "inline", "block": value})
    refused(reply, "argument_invalid", where="arguments.block", message=said)
    assert_serves(gated_pool, s3)


@pytest.mark.parametrize(
    ("value", "result"), [("nan", [np.nan] * 2), ("inf", [np.inf] * 2), (-1e30, [-1e30] * 2), (-0.0, [1.0, 1.0])]
)
def test_a_parameter_that_is_odd_and_good(gated_pool: PoolProcess, value: Any, result: list[float]) -> None:
    client = gated_pool.client()
    arguments = {"x": [1.0, 1.0], "y": [1.0, 1.0], "z": "base64", "a": value}
    answer = done(client.invoke(client.upload(SAXPY), arguments))["z"]
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(answer["base64"]), np.float32), np.array(result, np.float32)
    )


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (
            {"block": 1025},
            "launch_invalid",
            {"message": "block 1025x1x1", "where": "kaas.yaml:17 graph[0].block", "hint": "smaller"},
        ),
        (
            {"grid": 65536},
            "launch_invalid",
            {"message": "grid 1x65536x1", "where": "kaas.yaml:16 graph[0].grid", "hint": "x has"},
        ),
        (
            {"bytes": 1 << 20},
            "launch_invalid",
            {"message": "1048576 bytes", "where": "kaas.yaml:18 graph[0].shared", "hint": "tile"},
        ),
        ({"bytes": 1 << 40}, "launch_invalid", {"where": "kaas.yaml:18"}),
        ({"block": -1}, "expression_range", {"message": "at least 0", "where": "kaas.yaml:17", "hint": "max"}),
        ({"grid": -5}, "expression_range", {"message": "at least 0", "where": "kaas.yaml:16"}),
        ({"bytes": -1}, "expression_range", {"message": "at least 0", "where": "kaas.yaml:18"}),
    ],
)
def test_a_launch_over_the_limits(
    gated_pool: PoolProcess, s3: S3Client, arguments: dict[str, int], code: str, texts: dict[str, str]
) -> None:
    client = gated_pool.client()
    reply = client.invoke(client.upload(LAUNCH), {"x": [1.0], "z": "inline", **arguments})
    check_error(reply.body["error"], code, **texts)
    assert "result" not in reply.body
    assert_serves(gated_pool, s3)


def test_launches_of_nothing_and_of_the_most(gated_pool: PoolProcess) -> None:
    client = gated_pool.client()
    bundle = client.upload(LAUNCH)
    for arguments in ({"block": 1024}, {"grid": 65535}, {"bytes": 48 << 10}):
        assert done(client.invoke(bundle, {"x": [3.0], "z": "inline", **arguments}))["z"] == [3.0]
    done(client.invoke(bundle, {"x": [3.0], "z": "inline", "block": 0}))


@pytest.mark.parametrize("at", [1 << 12, 1 << 40, -(1 << 40)])
def test_a_store_out_of_bounds(gated_pool: PoolProcess, s3: S3Client, name: str, at: int) -> None:
    client = gated_pool.client()
    reply = client.invoke(client.upload(STORES_ANYWHERE), {"x": [1.0], "z": f"s3://alice/{name}/z.npy", "grid": at})
    failed(reply, "kernel_fault", message="first", hint="bounds")
    assert keys(s3, name) == []
    assert_serves(gated_pool, s3)


def test_a_payload_over_its_limit(gated_pool: PoolProcess, s3: S3Client) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    arguments: dict[str, Any] = {"x": [1.0], "y": [1.0], "z": "inline"}
    room = (1 << 20) - 1000
    assert done(client.invoke(bundle, {**arguments, "more": "m" * room}))["z"] == [2.0]
    refused(client.invoke(bundle, {**arguments, "more": "m" * (1 << 20)}), "payload_too_large", message="1048576")
    too_many = [0.5] * ((64 << 10) // 4 + 1)
    refused(
        client.invoke(bundle, {**arguments, "x": too_many}),
        "inline_too_large",
        where="arguments.x",
        hint="object store",
    )
    assert_serves(gated_pool, s3)


def test_what_is_said_of_a_call_stands_in_its_log(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    s3.put_object(Bucket="alice", Key=f"{name}/x.csv", Body=b"1.0,2.0\n")
    client = gated_pool.client()
    arguments = {"x": f"s3://alice/{name}/x.csv", "y": [1.0] * 2, "z": "inline", "A": 3, "secret_key": "s"}
    reply = client.invoke(client.upload(SAXPY), arguments)
    assert len(done(reply)["z"]) == 2
    spelling, format_ = [line["line"] for line in reply.body["logs"]]
    assert spelling == "kaas: 'A' is no argument of the action; was 'a' meant?"
    assert format_.startswith("kaas: arguments.x: x.csv is read as raw bytes")
