"""The mover against a real S3 server."""

from __future__ import annotations

import base64
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover_process import Front, MoverProcess, contents, error_code, fill
from seaweed import S3Client, S3Server


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
    return str(s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"]).strip('"')


def load(front: Front, tenant: str, bucket: str, key: str, offset: int = 0, size: int | None = None) -> bytes:
    found = front.stat(tenant, bucket, key)
    return contents(*front.answer(front.ask_load(tenant, bucket, key, found, offset, size)))


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
    front.link.send({"type": "release", "segments": [segment], "mapped": []})
    status = front.status()
    assert status["used_bytes"] == status["idle_bytes"] + status["spare_bytes"]


def test_a_revalidated_stat_sees_new_contents(front: Front, s3: S3Client) -> None:
    for body in (b"one", b"one", b"another"):
        etag = put(s3, "alice", "fresh", body)
        found = front.stat("alice", "alice", "fresh")
        assert (found["etag"], base64.b64decode(found["head"])) == (etag, body)


def test_receivers_cannot_write_to_inputs(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "sealed", b"x" * 5000)
    found = front.stat("alice", "alice", "sealed")
    _, (descriptor,) = front.answer(front.ask_load("alice", "alice", "sealed", found))
    with pytest.raises(PermissionError):
        mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    for attempt in (lambda: os.pwrite(descriptor, b"y", 0), lambda: os.ftruncate(descriptor, 0)):
        with pytest.raises(PermissionError):
            attempt()
    os.close(descriptor)


def test_receivers_cannot_resize_results(front: Front) -> None:
    _, descriptor = front.alloc("alice", 5000)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def test_the_second_load_comes_from_host_memory(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "twice", b"twice")
    found = front.stat("alice", "alice", "twice")
    sources = []
    for _ in range(2):
        frame, descriptors = front.answer(front.ask_load("alice", "alice", "twice", found))
        assert contents(frame, descriptors) == b"twice"
        sources.append(frame["source"])
    assert sources == ["store", "host"]


def test_a_changed_object_is_not_loaded(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "changing", b"before")
    found = front.stat("alice", "alice", "changing")
    put(s3, "alice", "changing", b"after!")
    frame, _ = front.answer(front.ask_load("alice", "alice", "changing", found))
    assert error_code(frame) == "object_changed"
    assert "s3://alice/changing" in frame["error"]["message"]


def test_a_deleted_object_is_not_found(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "deleted", b"before")
    found = front.stat("alice", "alice", "deleted")
    s3.delete_object(Bucket="alice", Key="deleted")
    assert error_code(front.stat("alice", "alice", "deleted")) == "object_not_found"
    frame, _ = front.answer(front.ask_load("alice", "alice", "deleted", found))
    assert error_code(frame) == "object_not_found"


def test_a_range_outside_the_object_is_the_callers_error(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "short", b"12345")
    found = front.stat("alice", "alice", "short")
    for offset, size in ((3, 3), (5, 1)):
        frame, _ = front.answer(front.ask_load("alice", "alice", "short", found, offset, size))
        assert error_code(frame) == "size_mismatch"


@pytest.mark.parametrize(
    ("tenant", "bucket", "key", "code"),
    [
        ("alice", "alice", "missing", "object_not_found"),
        ("alice", "no-such-bucket", "k", "object_forbidden"),  # who has no rights learns nothing about buckets
        ("alice", "bob", "k", "object_forbidden"),
        ("mallory", "alice", "k", "store_not_configured"),
        ("nobody", "alice", "k", "store_not_configured"),
        ("alice", "alice", "", "reference_invalid"),
        ("alice", "", "k", "reference_invalid"),
    ],
)
def test_what_cannot_be_looked_at(front: Front, tenant: str, bucket: str, key: str, code: str) -> None:
    assert error_code(front.stat(tenant, bucket, key)) == code
    frame, _ = front.answer(front.ask_load(tenant, bucket, key, {"etag": "e", "size": 5}))
    assert error_code(frame) == code


def test_one_stat_answers_for_each_object(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "there", b"there")
    objects = [{"scheme": "s3", "bucket": "alice", "key": key} for key in ("there", "not-there", "there")]
    frame = front.call("stat", tenant="alice", objects=objects, head_bytes=2)
    assert [entry.get("size") for entry in frame["objects"]] == [5, None, 5]
    assert error_code(frame["objects"][1]) == "object_not_found"


def test_a_size_alone_needs_no_bytes(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "plain", b"12345")
    found = front.stat("alice", "alice", "plain", head_bytes=0)
    assert (found["size"], found["head"]) == (5, "")


def test_long_heads_and_many_objects_fit_in_one_answer(front: Front, s3: S3Client) -> None:
    body = os.urandom(300_000)
    put(s3, "alice", "long", body)
    objects = [{"scheme": "s3", "bucket": "alice", "key": "long"}] * 20
    frame = front.call("stat", tenant="alice", objects=objects, head_bytes=200_000)
    assert [base64.b64decode(entry["head"]) for entry in frame["objects"]] == [body[:200_000]] * 20


def test_a_version_stays_what_it_was(s3_server: S3Server, s3: S3Client, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="versioned")
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket="versioned", Key="k", Body=b"old")["VersionId"]
    put(s3, "versioned", "k", b"newer")
    with MoverProcess(tmp_path, {"admin": s3_server.rights("admin")}) as mover, mover.front() as front:
        name = {"scheme": "s3", "bucket": "versioned", "key": "k", "version": old}
        (found,) = front.call("stat", tenant="admin", objects=[name], head_bytes=10)["objects"]
        assert (found["size"], base64.b64decode(found["head"])) == (3, b"old")
        item = {**name, "etag": found["etag"], "offset": 0, "size": 3}
        identifier = front.ask("load", tenant="admin", domain="d", object=item)
        assert contents(*front.answer(identifier)) == b"old"
        (missing,) = front.call("stat", tenant="admin", objects=[{**name, "version": "0" * 32}], head_bytes=10)[
            "objects"
        ]
        assert error_code(missing) == "object_not_found"


def test_a_missing_bucket_is_named(s3_server: S3Server, tmp_path: Path) -> None:
    with MoverProcess(tmp_path, {"admin": s3_server.rights("admin")}) as mover, mover.front() as front:
        assert error_code(front.stat("admin", "no-such-bucket", "k")) == "bucket_not_found"
        segment, descriptor = front.alloc("admin", 4)
        fill(descriptor, b"data")
        frame, _ = front.answer(front.ask_store("admin", segment, 4, "no-such-bucket", "k"))
        assert error_code(frame) == "bucket_not_found"


@pytest.mark.parametrize("size", [4, 20 << 20])
def test_what_may_not_be_written_is_not(front: Front, s3: S3Client, size: int) -> None:
    segment, descriptor = front.alloc("bob", size)
    fill(descriptor, bytes(size))
    frame, _ = front.answer(front.ask_store("bob", segment, size, "shared", "bobs"))
    assert error_code(frame) == "object_forbidden"
    assert s3.list_objects_v2(Bucket="shared", Prefix="bobs")["KeyCount"] == 0


def test_tenants_do_not_see_each_others_objects(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "private", b"private")
    found = front.stat("alice", "alice", "private")
    assert contents(*front.answer(front.ask_load("alice", "alice", "private", found))) == b"private"
    frame, _ = front.answer(front.ask_load("bob", "alice", "private", found))
    assert error_code(frame) == "object_forbidden"


def test_rights_of_one_do_not_fail_the_other_in_a_shared_domain(front: Front, s3: S3Client) -> None:
    put(s3, "alice", "joint", b"joint")
    found = front.stat("alice", "alice", "joint")
    asked = [front.ask_load(tenant, "alice", "joint", found, domain="shared") for tenant in ("bob", "alice")]
    refused, loaded = (front.answer(identifier) for identifier in asked)
    assert error_code(refused[0]) == "object_forbidden"
    assert contents(*loaded) == b"joint"


def test_in_place_wins_only_over_what_was_read(front: Front, s3: S3Client) -> None:
    etag = put(s3, "alice", "in-place", b"read")
    segment, descriptor = front.alloc("alice", 3)
    fill(descriptor, b"new")

    def store(activation: str) -> dict[str, object]:
        frame, _ = front.answer(
            front.ask_store("alice", segment, 3, "alice", "in-place", if_match=etag, activation=activation)
        )
        return frame

    stored = store("act-1")
    assert stored["type"] == "stored", stored
    again = store("act-1")  # a retry of the same activation knows its own write
    assert again["type"] == "stored" and again["etag"] == stored["etag"]
    assert error_code(store("act-2")) == "output_conflict"
    assert s3.get_object(Bucket="alice", Key="in-place")["Body"].read() == b"new"
    s3.delete_object(Bucket="alice", Key="in-place")
    assert error_code(store("act-1")) == "output_conflict"


def test_no_error_tells_a_secret(front: Front, s3_server: S3Server) -> None:
    secrets = [identity.secret_key for identity in s3_server.identities.values()] + ["not-the-secret"]
    answers = [front.stat(tenant, "bob", "k") for tenant in ("alice", "mallory", "nobody")]
    assert not [secret for secret in secrets if secret in repr(answers)]
