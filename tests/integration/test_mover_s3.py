"""The mover against a real S3 server."""

from __future__ import annotations

import base64
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mover_process import Front, MoverProcess, contents, fill
from seaweed import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def mover(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoverProcess]:
    tenants = {"alice": s3_server.rights("alice"), "bob": s3_server.rights("bob")}
    tenants["mallory"] = {**s3_server.rights("alice"), "secret_key": "not-the-secret"}
    with MoverProcess(tmp_path_factory.mktemp("mover"), tenants, "--host-bytes=64M") as process:
        yield process


@pytest.fixture
def front(mover: MoverProcess) -> Iterator[Front]:
    with mover.front() as front:
        yield front


def put(s3: S3Client, bucket: str, key: str, body: bytes) -> str:
    return s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')


def load(front: Front, tenant: str, bucket: str, key: str, offset: int = 0, size: int | None = None) -> bytes:
    found = front.stat(tenant, bucket, key)
    return contents(*front.answer(front.ask_load(tenant, bucket, key, found, offset, size)))


def error_code(frame: dict[str, object]) -> str:
    error = frame["error"]
    assert isinstance(error, dict) and error["message"]
    return str(error["code"])


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 4096, 3 << 20])
def test_stat_and_load_give_the_object(front: Front, s3: S3Client, size: int) -> None:
    body = os.urandom(size)
    etag = put(s3, "alice", f"sizes/{size}", body)
    found = front.stat("alice", "alice", f"sizes/{size}")
    assert (found["etag"], found["size"], base64.b64decode(found["head"])) == (etag, size, body[:128])
    assert load(front, "alice", "alice", f"sizes/{size}") == body


def test_a_range_is_loaded_alone(front: Front, s3: S3Client) -> None:
    body = os.urandom(100_000)
    put(s3, "alice", "range", body)
    assert load(front, "alice", "alice", "range", 128, 5000) == body[128:5128]
    assert load(front, "alice", "alice", "range", 128) == body[128:]


@pytest.mark.parametrize("key", ["a b", "ü/é+%", "q?x=1&y=2", "~tilde'(quote)", "semi;colon=,"])
def test_any_key_can_be_named(front: Front, s3: S3Client, key: str) -> None:
    put(s3, "alice", key, b"abc")
    assert load(front, "alice", "alice", key) == b"abc"
    segment, descriptor = front.alloc("alice", 3)
    fill(descriptor, b"xyz")
    stored, _ = front.answer(front.ask_store("alice", segment, 3, "alice", key))
    assert stored["type"] == "stored", stored
    assert s3.get_object(Bucket="alice", Key=key)["Body"].read() == b"xyz"


def test_what_was_stored_is_header_and_data_with_the_activation(front: Front, s3: S3Client) -> None:
    data = os.urandom(1 << 20)
    segment, descriptor = front.alloc("alice", len(data))
    fill(descriptor, data)
    stored, _ = front.answer(front.ask_store("alice", segment, len(data), "alice", "out.npy", b"header"))
    assert stored["type"] == "stored", stored
    written = s3.get_object(Bucket="alice", Key="out.npy")
    assert written["Body"].read() == b"header" + data
    assert written["Metadata"] == {"kaas-activation": "act-1"}
    found = front.stat("alice", "alice", "out.npy")
    assert found["activation"] == "act-1" and found["etag"] == stored["etag"] == written["ETag"].strip('"')
    front.link.send({"type": "release", "segments": [segment]})
    assert front.status()["used_bytes"] == front.status()["idle_bytes"]


def test_a_revalidated_stat_sees_new_contents(front: Front, s3: S3Client) -> None:
    for body in (b"one", b"one", b"another"):
        etag = put(s3, "alice", "fresh", body)
        found = front.stat("alice", "alice", "fresh")
        assert (found["etag"], base64.b64decode(found["head"])) == (etag, body)


def test_smoke(front: Front, s3: S3Client, tmp_path: Path) -> None:
    put(s3, "alice", "ro", b"x" * 5000)
    found = front.stat("alice", "alice", "ro")
    _, (descriptor,) = front.answer(front.ask_load("alice", "alice", "ro", found))
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(descriptor)
