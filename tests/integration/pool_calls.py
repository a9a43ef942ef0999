"""What tests of a whole pool say to it again and again: arrays in its store, good calls, what an error must tell."""

from __future__ import annotations

import io
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from front_process import SAXPY, HttpClient, Reply
from pool_process import PoolProcess
from seaweed import S3Client

from kaas.errors import ERRORS

Array = npt.NDArray[Any]


def put(s3: S3Client, key: str, array: Array, bucket: str = "alice") -> str:
    """Store an array as .npy; returns its reference."""
    body = io.BytesIO()
    np.save(body, array)
    s3.put_object(Bucket=bucket, Key=key, Body=body.getvalue())
    return f"s3://{bucket}/{key}"


def get(s3: S3Client, reference: str) -> Array:
    """Read an array; fails on an object that is not a whole .npy."""
    bucket, _, key = reference.removeprefix("s3://").partition("/")
    body = io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    array: Array = np.load(body, allow_pickle=False)
    assert not body.read(), f"{reference} is followed by other bytes"
    return array


def keys(s3: S3Client, prefix: str, bucket: str = "alice") -> list[str]:
    """The objects there are."""
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def check_error(
    error: Mapping[str, Any], code: str, *, message: str = "", where: str | None = None, hint: str = ""
) -> None:
    """An error says what is wrong, where, and what to do: its code, and parts of its three texts."""
    assert error["code"] == code, error
    assert code in ERRORS
    assert error["message"] and message in error["message"], error
    if where is not None:
        assert where in error.get("where", ""), error
    if hint:
        assert hint in error.get("hint", ""), error


def refused(reply: Reply, code: str, **texts: Any) -> None:
    """A refusal before acceptance, with the status of the error table."""
    assert reply.status == ERRORS[code].pool, reply
    check_error(reply.body["error"], code, **texts)


def failed(reply: Reply, code: str, **texts: Any) -> None:
    """An invocation that was accepted and failed; GET tells the same."""
    assert reply.status == 200, reply
    assert reply.body["state"] == "failed", reply
    assert "result" not in reply.body
    check_error(reply.body["error"], code, **texts)


def done(reply: Reply) -> Any:
    """The result of an invocation that went well."""
    assert reply.status == 200, reply
    assert reply.body["state"] == "done", reply
    return reply.body["result"]


def assert_serves(pool: PoolProcess, s3: S3Client, token: str = "alice-token") -> None:
    """A good invocation, S3 to kernel to S3, on contents that no cache can have."""
    tenant = token.removesuffix("-token")
    name = f"serves/{secrets.token_hex(8)}"
    x = np.frombuffer(secrets.token_bytes(16), np.uint8).astype(np.float32)
    client = pool.client(token)
    target = f"s3://{tenant}/{name}/z.npy"
    arguments = {"x": put(s3, f"{name}/x.npy", x, tenant), "y": [1.0] * 16, "z": target, "a": 2}
    result = done(client.invoke(client.upload(SAXPY), arguments))
    assert result["z"] == target
    np.testing.assert_allclose(get(s3, target), 2 * x + 1)


def story(client: HttpClient, identifier: str) -> str:
    """What happened to an invocation so far."""
    return " | ".join(line["event"] for line in client.get(f"/v1/invocations/{identifier}").body.get("story", []))
