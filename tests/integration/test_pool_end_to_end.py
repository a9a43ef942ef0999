"""The whole way, S3 to kernel to S3, through real processes."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import IN_PLACE, SAXPY, Reply
from pool_process import PoolProcess
from seaweed import S3Client

from kaas.bundle import Bundle

EXAMPLES = Path(__file__).parents[2] / "examples"

Array = np.ndarray[Any, np.dtype[Any]]


def put(s3: S3Client, key: str, array: Array, bucket: str = "alice") -> str:
    """Store an array; returns its reference."""
    body = io.BytesIO()
    np.save(body, array)
    s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())
    return f"s3://{bucket}/{key}"


def get(s3: S3Client, reference: str) -> Array:
    """Read an array."""
    bucket, _, key = reference.removeprefix("s3://").partition("/")
    array: Array = np.load(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    return array


def test_saxpy_from_s3_to_s3(pool: PoolProcess, s3: S3Client) -> None:
    x, y = np.arange(100_000, dtype=np.float32), np.ones(100_000, dtype=np.float32)
    client = pool.client()
    bundle = client.upload(Bundle.pack(EXAMPLES / "saxpy"))
    arguments = {"x": put(s3, "e2e/x.npy", x), "y": put(s3, "e2e/y.npy", y), "z": "s3://alice/e2e/z.npy", "a": 2}
    first = client.invoke(bundle, arguments)
    assert first.status == 200
    assert first.body["state"] == "done", first.body
    np.testing.assert_allclose(get(s3, "s3://alice/e2e/z.npy"), 2 * x + y)
    stats = first.body["result"]["kaas"]["stats"]
    assert (stats["misses"], stats["device_hits"], stats["bytes_loaded"]) == (2, 0, 800_000)
    head = s3.head_object(Bucket="alice", Key="e2e/z.npy")
    assert head["ETag"].strip('"') == first.body["result"]["kaas"]["outputs"]["z"]["etag"]
    assert head["Metadata"]["kaas-activation"] == first.body["id"]

    again = client.invoke(bundle, arguments).body["result"]["kaas"]["stats"]
    assert (again["device_hits"], again["misses"], again["bytes_loaded"]) == (2, 0, 0)
    # The output of one invocation is found on the device by the next.
    chained = client.invoke(bundle, {**arguments, "x": "s3://alice/e2e/z.npy", "z": "s3://alice/e2e/zz.npy"})
    assert chained.body["result"]["kaas"]["stats"]["device_hits"] == 2
    np.testing.assert_allclose(get(s3, "s3://alice/e2e/zz.npy"), 2 * (2 * x + y) + y)


def test_a_changed_object_is_read_anew(pool: PoolProcess, s3: S3Client) -> None:
    client = pool.client()
    bundle = client.upload(SAXPY)
    y = put(s3, "fresh/y.npy", np.zeros(4, np.float32))
    for value in (1.0, 5.0):
        x = put(s3, "fresh/x.npy", np.full(4, value, np.float32))
        reply = client.invoke(bundle, {"x": x, "y": y, "z": "inline", "a": 1})
        assert reply.body["result"]["z"] == [value] * 4


def test_in_place(pool: PoolProcess, s3: S3Client) -> None:
    client = pool.client()
    bundle = client.upload(IN_PLACE)
    x = put(s3, "place/x.npy", np.arange(5, dtype=np.float32))
    reply = client.invoke(bundle, {"x": x, "w": [3.0]})
    assert reply.body["state"] == "done", reply.body
    np.testing.assert_allclose(get(s3, x), 3 * np.arange(5))


def test_a_constant_is_pinned_to_its_version(pool: PoolProcess, s3: S3Client) -> None:
    client = pool.client()
    bundle = client.upload(IN_PLACE)
    w = put(s3, "pinned/w.npy", np.full(1, 2.0, np.float32))
    arguments = {"x": {"from": [1.0, 2.0], "to": "inline"}, "w": w}
    assert client.invoke(bundle, arguments).body["result"]["x"] == [2.0, 4.0]
    put(s3, "pinned/w.npy", np.full(1, 9.0, np.float32))
    assert client.invoke(bundle, arguments).body["result"]["x"] == [2.0, 4.0], "served by the cache, of that version"
    client.post("/v1/cache/purge", {})
    reply = client.invoke(bundle, arguments)
    assert reply.body["error"]["code"] == "object_changed"


def test_who_is_vouched_for_has_their_own_rights(pool: PoolProcess, s3: S3Client, name: str) -> None:
    x = put(s3, f"{name}/x.npy", np.ones(2, np.float32))
    digest = pool.client().upload(SAXPY)
    pool.client("bob-token").upload(SAXPY)
    body = json.dumps({"bundle": digest, "arguments": {"x": x, "y": [1, 1], "z": "inline"}}).encode()

    def invoke(tenant: str) -> Reply:
        return pool.client("plugin-token").request("POST", "/v1/invocations", body, {"KaaS-Tenant": tenant})

    assert invoke("alice").body["result"]["z"] == [2, 2]
    assert invoke("bob").code == "object_forbidden"
    assert invoke("carol").code == "bundle_unknown"
    assert pool.client("plugin-token").request("POST", "/v1/invocations", body).code == "bundle_unknown"


def test_tenants_have_their_own_rights_bundles_and_executors(pool: PoolProcess, s3: S3Client) -> None:
    alice, bob = pool.client(), pool.client("bob-token")
    text = SAXPY.replace("name: saxpy", "name: shared_saxpy")
    bundle = alice.upload(text)
    x = put(s3, "own/x.npy", np.ones(4, np.float32))
    arguments = {"x": x, "y": [1.0] * 4, "z": "inline"}
    assert alice.invoke(bundle, arguments).body["state"] == "done"
    assert bob.invoke(bundle, arguments).code == "bundle_unknown"
    bob.upload(text)
    refused = bob.invoke(bundle, arguments)
    assert (refused.status, refused.code) == (403, "object_forbidden")
    assert refused.body["error"]["where"] == "arguments.x"
    assert bob.invoke(bundle, {**arguments, "x": [1.0] * 4}).body["state"] == "done"
    domains = {
        executor["domain"]
        for device in pool.client("admin-token").get("/v1/devices").body["devices"]
        for executor in device["executors"]
    }
    assert {"alice", "bob"} <= domains


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"x": "s3://alice/none.npy", "y": [1.0], "z": "inline"}, 404, "object_not_found"),
        ({"x": "s3://bob/none.npy", "y": [1.0], "z": "inline"}, 403, "object_forbidden"),
        ({"x": [1.0], "y": [1.0, 2.0], "z": "inline"}, 422, "shape_mismatch"),
        ({"x": [1.0], "z": "inline"}, 422, "input_missing"),
        ({"x": [1.0], "y": [1.0]}, 422, "output_unbound"),
        ({"x": [1.0], "y": [1.0], "z": "inline", "a": "two"}, 422, "argument_invalid"),
    ],
)
def test_refusals_before_acceptance(pool: PoolProcess, arguments: dict[str, Any], status: int, code: str) -> None:
    client = pool.client()
    reply = client.invoke(client.upload(SAXPY), arguments)
    assert (reply.status, reply.code) == (status, code)
    assert reply.body["error"]["message"]


def test_a_write_that_is_forbidden_fails_the_invocation_and_writes_nothing(pool: PoolProcess, s3: S3Client) -> None:
    client = pool.client()
    reply = client.invoke(client.upload(SAXPY), {"x": [1.0], "y": [1.0], "z": "s3://bob/z.npy"})
    assert reply.status == 200
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", "object_forbidden")
    assert "Contents" not in s3.list_objects_v2(Bucket="bob", Prefix="z.npy")


def test_a_compile_error_names_the_users_line(pool: PoolProcess) -> None:
    client = pool.client()
    data = SAXPY.replace("z[i] = a * x[i] + y[i];", "z[i] = a * nonsense[i];").encode()
    reply = client.request("PUT", f"/v1/bundles/sha256:{hashlib.sha256(data).hexdigest()}", data)
    assert (reply.status, reply.code) == (400, "compile_error")
    assert "nonsense" in reply.body["error"]["message"]
