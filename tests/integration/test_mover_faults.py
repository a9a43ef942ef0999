"""The mover when its store is slow, cuts connections or is gone: by a TCP proxy before a real server."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mover_process import Front, MoverProcess, contents, error_code, fill
from seaweed import S3Client, S3Server
from tcp_proxy import TcpProxy

from kaas_pool.mover.workers import THREADS_PER_TENANT

SIZE = 8 << 20


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[TcpProxy]:
    with TcpProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def mover(s3_server: S3Server, proxy: TcpProxy, tmp_path: Path) -> Iterator[MoverProcess]:
    tenants = {"alice": s3_server.rights("alice", proxy.endpoint), "bob": s3_server.rights("bob")}
    with MoverProcess(tmp_path, tenants, "--host-bytes=64M") as process:
        yield process


@pytest.fixture
def front(mover: MoverProcess) -> Iterator[Front]:
    with mover.front() as front:
        yield front


@pytest.fixture(scope="module")
def body(s3: S3Client) -> bytes:
    body = os.urandom(SIZE)
    s3.put_object(Bucket="alice", Key="big", Body=body)
    s3.put_object(Bucket="bob", Key="bobs", Body=b"bobs")
    return body


def test_many_loads_are_one_get(front: Front, proxy: TcpProxy, body: bytes) -> None:
    found = front.stat("alice", "alice", "big")
    before = proxy.count("GET")
    asked = [front.ask_load("alice", "alice", "big", found) for _ in range(8)]
    answers = [front.answer(identifier) for identifier in asked]
    assert [frame["source"] for frame, _ in answers].count("store") == 1
    assert {hashlib.sha256(contents(*answer)).digest() for answer in answers} == {hashlib.sha256(body).digest()}
    assert proxy.count("GET") == before + 1


@pytest.mark.parametrize("cuts", [1, 2])
def test_a_cut_get_goes_on(front: Front, proxy: TcpProxy, body: bytes, cuts: int) -> None:
    found = front.stat("alice", "alice", "big")
    proxy.cut_answer_after, proxy.cuts_left = SIZE // 3, cuts
    assert contents(*front.answer(front.ask_load("alice", "alice", "big", found))) == body
    assert proxy.cuts_left == 0


def test_a_get_that_is_always_cut_is_an_error_and_never_short_data(front: Front, proxy: TcpProxy, body: bytes) -> None:
    found = front.stat("alice", "alice", "big")
    proxy.cut_answer_after, proxy.cuts_left = 1000, 1000
    frame, _ = front.answer(front.ask_load("alice", "alice", "big", found))
    assert error_code(frame) == "store_error"
    proxy.cuts_left = 0
    assert contents(*front.answer(front.ask_load("alice", "alice", "big", found))) == body


def test_a_cut_put_is_done_again(front: Front, proxy: TcpProxy, s3: S3Client) -> None:
    data = os.urandom(SIZE)
    segment, descriptor = front.alloc("alice", SIZE)
    fill(descriptor, data)
    proxy.cut_request_after, proxy.cuts_left = SIZE // 2, 1
    frame, _ = front.answer(front.ask_store("alice", segment, SIZE, "alice", "cut"))
    assert frame["type"] == "stored", frame
    assert s3.get_object(Bucket="alice", Key="cut")["Body"].read() == data
    assert proxy.count("PUT") == 2


def test_a_put_that_is_always_cut_leaves_no_object(front: Front, proxy: TcpProxy, s3: S3Client) -> None:
    segment, descriptor = front.alloc("alice", SIZE)
    fill(descriptor, bytes(SIZE))
    proxy.cut_request_after, proxy.cuts_left = SIZE // 2, 1000
    frame, _ = front.answer(front.ask_store("alice", segment, SIZE, "alice", "never"))
    assert error_code(frame) == "store_error"
    assert s3.list_objects_v2(Bucket="alice", Prefix="never")["KeyCount"] == 0


def test_an_in_place_put_whose_answer_was_lost_knows_itself(front: Front, proxy: TcpProxy, s3: S3Client) -> None:
    etag = s3.put_object(Bucket="alice", Key="lost", Body=b"old")["ETag"].strip('"')
    segment, descriptor = front.alloc("alice", 3)
    fill(descriptor, b"new")
    proxy.cut_answer_after, proxy.cuts_left = 10, 1  # the object is written, the answer does not arrive
    frame, _ = front.answer(front.ask_store("alice", segment, 3, "alice", "lost", if_match=etag))
    assert frame["type"] == "stored", frame
    head = s3.head_object(Bucket="alice", Key="lost")
    assert frame["etag"] == head["ETag"].strip('"') != etag
    assert proxy.count("PUT") == 2


def test_an_overloaded_store_is_asked_again(front: Front, proxy: TcpProxy, s3: S3Client, body: bytes) -> None:
    proxy.refusals_left = 2
    found = front.stat("alice", "alice", "big")
    proxy.refusals_left = 2
    assert contents(*front.answer(front.ask_load("alice", "alice", "big", found))) == body
    segment, descriptor = front.alloc("alice", 3)
    fill(descriptor, b"put")
    proxy.refusals_left = 1
    assert front.answer(front.ask_store("alice", segment, 3, "alice", "patient"))[0]["type"] == "stored"
    proxy.refusals_left = 1000
    frame, _ = front.answer(front.ask_store("alice", segment, 3, "alice", "impatient"))
    assert error_code(frame) == "store_error" and "SlowDown" in frame["error"]["message"]


def test_one_tenants_stuck_store_leaves_threads_for_the_others(front: Front, proxy: TcpProxy, body: bytes) -> None:
    found = front.stat("alice", "alice", "big")
    proxy.gate.clear()
    stuck = [front.ask_load("alice", "alice", "big", found, offset, 1) for offset in range(100)]
    proxy.wait_for("GET", 1 + THREADS_PER_TENANT)
    assert front.stat("bob", "bob", "bobs")["size"] == 4
    proxy.gate.set()
    for offset, identifier in enumerate(stuck):
        assert contents(*front.answer(identifier)) == body[offset : offset + 1]


def test_idle_connections_that_the_store_closed_do_no_harm(front: Front, proxy: TcpProxy, body: bytes) -> None:
    for _ in range(3):
        assert front.stat("alice", "alice", "big")["size"] == SIZE
        proxy.drop_connections()


def test_a_store_that_is_down_is_named(s3_server: S3Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    tenants = {"alice": s3_server.rights("alice", endpoint)}
    with MoverProcess(tmp_path, tenants) as mover, mover.front() as front:
        found = front.stat("alice", "alice", "k")
        assert error_code(found) == "store_unreachable" and endpoint in found["error"]["message"]
        frame, _ = front.answer(front.ask_load("alice", "alice", "k", {"etag": "e", "size": 5}))
        assert error_code(frame) == "store_unreachable"
        segment, descriptor = front.alloc("alice", 5)
        fill(descriptor, b"12345")
        frame, _ = front.answer(front.ask_store("alice", segment, 5, "alice", "k"))
        assert error_code(frame) == "store_unreachable"


def test_what_waits_for_a_silent_store_can_be_cancelled(front: Front, proxy: TcpProxy, body: bytes) -> None:
    found = front.stat("alice", "alice", "big")
    proxy.gate.clear()
    stat = front.ask(
        "stat", tenant="alice", objects=[{"scheme": "s3", "bucket": "alice", "key": "other"}], head_bytes=1
    )
    load = front.ask_load("alice", "alice", "big", found)
    proxy.wait_for("GET", 3)
    for identifier in (stat, load):
        front.link.send({"type": "cancel", "id": identifier})
        frame, _ = front.answer(identifier)
        assert error_code(frame) == "cancelled"
    # Another tenant is served meanwhile, and the memory comes back.
    assert front.stat("bob", "bob", "bobs")["size"] == 4
    proxy.gate.set()
    assert contents(*front.answer(front.ask_load("alice", "alice", "big", found))) == body


def test_a_put_is_cancelled_before_its_last_step_and_not_after(front: Front, proxy: TcpProxy, s3: S3Client) -> None:
    segment, descriptor = front.alloc("alice", SIZE)
    fill(descriptor, bytes(SIZE))
    proxy.gate.clear()
    late = front.ask_store("alice", segment, SIZE, "alice", "late")
    proxy.wait_for("PUT /alice/late")
    # The store has the object when it shows up; its answer is still on its way.
    while not s3.list_objects_v2(Bucket="alice", Prefix="late")["KeyCount"]:
        pass
    front.link.send({"type": "cancel", "id": late})
    proxy.gate.set()
    frame, _ = front.answer(late)
    assert frame["type"] == "stored"


def test_requests_wait_for_room_until_a_lease_ends(front: Front, body: bytes) -> None:
    segments = [front.alloc("alice", 16 << 20) for _ in range(4)]
    found = front.stat("alice", "alice", "big")
    waiting, given_up = (front.ask_load("alice", "alice", "big", found, offset) for offset in (0, 1))
    assert front.status()["waiting"] == 2
    front.link.send({"type": "cancel", "id": given_up})
    assert error_code(front.answer(given_up)[0]) == "cancelled"
    front.link.send({"type": "release", "segments": [segments[0][0]], "mapped": []})
    assert contents(*front.answer(waiting)) == body
    for _, descriptor in segments:
        os.close(descriptor)


def test_more_than_the_host_tier_is_refused(front: Front) -> None:
    for identifier in (
        front.ask("alloc", domain="alice", size=(64 << 20) + 1),
        front.ask_load("alice", "alice", "big", {"etag": "e", "size": 1 << 40}),
    ):
        assert error_code(front.answer(identifier)[0]) == "host_out_of_memory"
