"""A store that refuses, lies and breaks off, behind a whole pool: the right result or a named error, nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from front_process import SAXPY
from pool_calls import assert_serves, check_error, done, get, keys, put
from pool_process import PoolProcess
from seaweed import S3Client
from tcp_proxy import SLOW_DOWN, TcpProxy

from kaas.errors import ERRORS

#: Large enough to be cut in the middle: 4 MiB.
COUNT = 1 << 20
CUT = 1 << 20

#: What a call asks of the store: a first look, a load of the version that was found, a write.
LOOK, LOAD, WRITE = rb"^GET (?!.*If-Match:)", rb"^GET .*\r\nIf-Match:", rb"^PUT "

Case = tuple[dict[str, Any], np.ndarray[Any, Any]]


@pytest.fixture
def case(s3: S3Client, name: str) -> Case:
    """Arguments that no cache knows, and the result."""
    x = np.random.default_rng(abs(hash(name))).random(COUNT, np.float32)
    y = put(s3, f"{name}/y.npy", np.ones(COUNT, np.float32))
    return {"x": put(s3, f"{name}/x.npy", x), "y": y, "z": f"s3://alice/{name}/z.npy"}, x + 1


def response(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An answer after which the connection ends."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def s3_error(status: str, code: str) -> bytes:
    return response(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


INTERNAL = s3_error("500 Internal Server Error", "InternalError")
DENIED = s3_error("403 Forbidden", "AccessDenied")
EXPIRED = s3_error("400 Bad Request", "ExpiredToken")
GONE = s3_error("404 Not Found", "NoSuchKey")
REDIRECT = response("307 Temporary Redirect", b"", "Location: http://127.0.0.1:1/alice/x")
NO_HTTP = b"SSH-2.0-OpenSSH_9.6\r\n"
NOTHING = b""
RANGE = f"Content-Range: bytes 0-15/{4 * COUNT + 128}"
SHORT = response("206 Partial Content", bytes(4), 'ETag: "a"', RANGE, length=1 << 20)
OTHER_VERSION = response("206 Partial Content", bytes(16), 'ETag: "another"', RANGE)
NO_ETAG = response("206 Partial Content", bytes(16), RANGE)

#: By name: which request, the answer, and the code if that is the answer for good.
ANSWERS = {
    "look, slow down": (LOOK, SLOW_DOWN, "store_error"),
    "look, internal error": (LOOK, INTERNAL, "store_error"),
    "look, denied": (LOOK, DENIED, "object_forbidden"),
    "look, expired": (LOOK, EXPIRED, "store_not_configured"),
    "look, gone": (LOOK, GONE, "object_not_found"),
    "look, redirect": (LOOK, REDIRECT, "store_error"),
    "look, no HTTP": (LOOK, NO_HTTP, "store_error"),
    "look, no answer": (LOOK, NOTHING, "store_error"),
    "look, no ETag": (LOOK, NO_ETAG, "store_error"),
    "look, short": (LOOK, SHORT, "store_error"),
    "load, slow down": (LOAD, SLOW_DOWN, "store_error"),
    "load, internal error": (LOAD, INTERNAL, "store_error"),
    "load, denied": (LOAD, DENIED, "object_forbidden"),
    "load, gone": (LOAD, GONE, "object_not_found"),
    "load, no HTTP": (LOAD, NO_HTTP, "store_error"),
    "load, no answer": (LOAD, NOTHING, "store_error"),
    "load, no ETag": (LOAD, NO_ETAG, "store_error"),
    "load, another version": (LOAD, OTHER_VERSION, "object_changed"),
    "write, slow down": (WRITE, SLOW_DOWN, "store_error"),
    "write, internal error": (WRITE, INTERNAL, "store_error"),
    "write, denied": (WRITE, DENIED, "object_forbidden"),
    "write, no HTTP": (WRITE, NO_HTTP, "store_error"),
    "write, no answer": (WRITE, NOTHING, "store_error"),
}

#: Answers that may be others in a moment: asked again, unlike the rest.
PASSING = {SLOW_DOWN, INTERNAL, NO_HTTP, NOTHING, SHORT}


@pytest.mark.parametrize("said", ANSWERS)
def test_a_refusal_for_good_is_a_named_error(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str, case: Case, said: str
) -> None:
    head, answer, code = ANSWERS[said]
    arguments, result = case
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    store.refused, store.refusal, store.refusals_left = re.compile(head, re.DOTALL), answer, 1000
    reply = client.invoke(bundle, arguments)
    asked = 1000 - store.refusals_left
    check_error(reply.body["error"], code, message="s3://alice/" if code != "store_unreachable" else "")
    assert reply.body["error"]["hint"]
    assert "result" not in reply.body
    store.refusals_left = 0
    assert keys(s3, f"{name}/z") == []
    # The caller's own faults are not tried again and again: one look at each of the two inputs.
    if answer in PASSING:
        assert asked > 2
    if ERRORS[code].blame == "caller":
        assert asked <= 2
    done(client.invoke(bundle, arguments))
    np.testing.assert_array_equal(get(s3, arguments["z"]), result)


@pytest.mark.parametrize("said", [said for said, (_, answer, _) in ANSWERS.items() if answer in PASSING])
def test_a_passing_refusal_is_not_noticed(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, case: Case, said: str
) -> None:
    arguments, result = case
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    head, answer, _ = ANSWERS[said]
    store.refused, store.refusal, store.refusals_left = re.compile(head, re.DOTALL), answer, 1
    done(client.invoke(bundle, arguments))
    assert store.refusals_left == 0
    np.testing.assert_array_equal(get(s3, arguments["z"]), result)


def cut_answers(store: TcpProxy, times: int) -> None:
    store.cut_answer_after, store.cut_request_after, store.cuts_left = CUT, None, times


def cut_requests(store: TcpProxy, times: int) -> None:
    store.cut_answer_after, store.cut_request_after, store.cuts_left = None, CUT, times


@pytest.mark.parametrize("cut", [cut_answers, cut_requests])
def test_a_transfer_that_is_cut_midway_goes_on(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, case: Case, cut: Callable[[TcpProxy, int], None]
) -> None:
    arguments, result = case
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    store.drop_connections()
    cut(store, 2 if cut is cut_answers else 1)
    done(client.invoke(bundle, arguments))
    assert store.cuts_left == 0
    np.testing.assert_array_equal(get(s3, arguments["z"]), result)


@pytest.mark.parametrize("cut", [cut_answers, cut_requests])
def test_a_transfer_that_is_always_cut_stores_nothing(
    gated_pool: PoolProcess,
    store: TcpProxy,
    s3: S3Client,
    name: str,
    case: Case,
    cut: Callable[[TcpProxy, int], None],
) -> None:
    arguments, result = case
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    cut(store, 10_000)
    if cut is cut_answers:
        store.cut_answer_after = 1000  # Every try brings the load on by what came before the cut.
    reply = client.invoke(bundle, arguments)
    check_error(reply.body["error"], "store_error", message="cut the connection", hint="object store's log")
    assert store.cuts_left > 9000
    store.cuts_left = 0
    assert keys(s3, f"{name}/z") == []
    assert_serves(gated_pool, s3)
    done(client.invoke(bundle, arguments))
    np.testing.assert_array_equal(get(s3, arguments["z"]), result)
