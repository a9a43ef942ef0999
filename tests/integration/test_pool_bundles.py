"""Bundles that the pool takes from the object store, and what it tells of those it has."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from front_process import SAXPY, HttpClient, Reply
from pool_calls import done, get, put, refused
from pool_process import PoolProcess
from seaweed import S3Client

from kaas.errors import ERRORS
from kaas.messages import MAX_BUNDLE_BYTES


def manifest(name: str) -> bytes:
    """A bundle that no other test has."""
    return SAXPY.replace("name: saxpy", f"name: {name.replace('/', '-')}").encode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def fetch(client: HttpClient, reference: object, **fields: object) -> Reply:
    """POST /v1/bundles"""
    return client.request("POST", "/v1/bundles", json.dumps({"reference": reference, **fields}).encode())


def stored(s3: S3Client, key: str, data: bytes, bucket: str = "alice") -> str:
    s3.put_object(Bucket=bucket, Key=key, Body=data)
    return f"s3://{bucket}/{key}"


def test_a_bundle_in_the_store_is_fetched_and_invoked(pool: PoolProcess, s3: S3Client, name: str) -> None:
    data, client = manifest(name), pool.client()
    expected = {"digest": digest_of(data), "name": name.replace("/", "-"), "arguments": ["x", "y", "z", "a"]}
    told = fetch(client, stored(s3, f"{name}/saxpy.yaml", data))
    assert told.status == 200, told
    assert told.body == {**expected, "kernels": ["saxpy"], "warnings": []}
    x = np.arange(5, dtype=np.float32)
    result = done(
        client.invoke(
            digest_of(data),
            {"x": put(s3, f"{name}/x.npy", x), "y": x.tolist(), "z": f"s3://alice/{name}/z.npy", "a": 2},
        )
    )
    np.testing.assert_array_equal(get(s3, result["z"]), 3 * x)
    known = client.get(f"/v1/bundles/{digest_of(data)}")
    assert (known.status, known.body) == (200, {**told.body, "manifest": data.decode()})


def test_a_bundle_is_known_to_who_has_it_alone(pool: PoolProcess, s3: S3Client, name: str) -> None:
    data = manifest(name)
    assert fetch(pool.client(), stored(s3, f"{name}/saxpy.yaml", data)).status == 200
    refused(pool.client("bob-token").get(f"/v1/bundles/{digest_of(data)}"), "bundle_unknown")
    refused(pool.client().get(f"/v1/bundles/sha256:{'0' * 64}"), "bundle_unknown")
    refused(pool.client().get("/v1/bundles/sha256:0"), "request_invalid", where="digest")


def test_it_is_read_under_the_tenants_own_rights(pool: PoolProcess, s3: S3Client, name: str) -> None:
    reference = stored(s3, f"{name}/saxpy.yaml", manifest(name))
    refused(fetch(pool.client("bob-token"), reference), "object_forbidden", where="reference")
    refused(fetch(pool.client("reader-token"), reference), "scope_missing")


def test_only_the_digest_that_is_meant_will_do(pool: PoolProcess, s3: S3Client, name: str) -> None:
    first, second = manifest(name), manifest(f"{name}-changed")
    reference = stored(s3, f"{name}/saxpy.yaml", first)
    assert fetch(pool.client(), reference, digest=digest_of(first)).body["digest"] == digest_of(first)
    stored(s3, f"{name}/saxpy.yaml", second)
    refused(fetch(pool.client(), reference, digest=digest_of(first)), "object_changed", message=digest_of(second))
    assert fetch(pool.client(), reference).body["digest"] == digest_of(second)


def test_a_bundle_over_the_limit_is_not_loaded(pool: PoolProcess, s3: S3Client, name: str) -> None:
    reference = stored(s3, f"{name}/large.zip", bytes(MAX_BUNDLE_BYTES + 1))
    refused(fetch(pool.client(), reference), "bundle_too_large", message=str(MAX_BUNDLE_BYTES + 1), where="reference")


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "manifest_invalid"), (b"\x89PNG\0", "bundle_invalid"), (b"kaas: 2\nname: x\n", "manifest_invalid")],
)
def test_a_broken_bundle(pool: PoolProcess, s3: S3Client, name: str, data: bytes, code: str) -> None:
    refused(fetch(pool.client(), stored(s3, f"{name}/saxpy.zip", data)), code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "request_invalid"),
        ({"reference": 3}, "request_invalid"),
        ({"reference": "s3://alice/x.zip", "digest": "sha256:1"}, "request_invalid"),
        ({"reference": "s3://alice/x.zip", "more": 1}, "request_invalid"),
        ({"reference": "https://alice/x.zip"}, "reference_invalid"),
        ({"reference": "s3://alice/x.zip?offset=1"}, "reference_invalid"),
        ({"reference": "s3://alice/x.safetensors#y"}, "reference_invalid"),
        ({"reference": "s3://alice/missing.zip"}, "object_not_found"),
        ({"reference": "s3://no-such-bucket/x.zip"}, "object_forbidden"),
    ],
)
def test_bad_requests(pool: PoolProcess, body: dict[str, Any], code: str) -> None:
    reply = pool.client().request("POST", "/v1/bundles", json.dumps(body).encode())
    assert (reply.code, reply.status) == (code, ERRORS[code].pool), reply
