"""Requests that are wrong: every answer is an error of the table, never a 5xx, and the front serves on."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from front_process import IN_PLACE, PATIENCE, SAXPY, FrontProcess, wait_until

from kaas.errors import ERRORS

VALUES: dict[str, Any] = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}

NINES = "9" * 4000


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """One front for all tests here, which waits for no one."""
    with FrontProcess(tmp_path_factory.mktemp("front") / "state", "--silent", "0.3") as running:
        yield running
        assert running.client().get("/healthz/ready").status == 200


@pytest.fixture(scope="module")
def bundles(front: FrontProcess) -> dict[str, str]:
    """Digests by name."""
    client = front.client()
    return {"saxpy": client.upload(SAXPY), "scale": client.upload(IN_PLACE)}


def exchange(front: FrontProcess, head: str, body: bytes = b"", *, method: str = "POST /v1/invocations") -> Any:
    """A request as it is written here; the status and the decoded answer, or its text."""
    token = "" if "Authorization" in head else "Authorization: Bearer alice-token\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as sock:
        sock.sendall(f"{method} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}{head}\r\n".encode() + body)
        return answer_of(sock)


def answer_of(sock: socket.socket) -> tuple[int, Any]:
    """Read an answer to the connection's end."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := sock.recv(65536):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), data
    is_json = b"application/json" in head.lower()
    return int(head.split()[1]), json.loads(body) if is_json else body.decode()


def check_refused(answer: tuple[int, Any], code: str = "request_invalid", where: str | None = None) -> None:
    """An error of the table with its status."""
    status, body = answer
    assert status == ERRORS[code].pool
    assert body["error"]["code"] == code, body
    assert len(json.dumps(body)) < 2000, "an error does not give back what it was given"
    assert body["error"].get("where") == where


@pytest.mark.parametrize(
    ("header", "where"),
    [
        ("Authorization: Bearer alice-token\r\nAuthorization: Bearer bob-token\r\n", "header authorization"),
        ("KaaS-Tenant: alice\r\nKaaS-Tenant: bob\r\n", "header kaas-tenant"),
        ("Content-Type: application/json\r\ncontent-type: application/json\r\n", "header content-type"),
        ("Content-Type: text/plain\r\n", "header content-type"),
        ("Content-Type: application/x-www-form-urlencoded\r\n", "header content-type"),
        ("Content-Type: \r\n", "header content-type"),
    ],
)
def test_headers(front: FrontProcess, header: str, where: str) -> None:
    check_refused(exchange(front, f"{header}Content-Length: 2\r\n", b"{}"), where=where)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", None])
def test_content_types_that_are_served(front: FrontProcess, bundles: dict[str, str], kind: str | None) -> None:
    body = json.dumps({"bundle": bundles["saxpy"], "arguments": VALUES}).encode()
    header = "" if kind is None else f"Content-Type: {kind}\r\n"
    status, answer = exchange(front, f"{header}Content-Length: {len(body)}\r\n", body)
    assert (status, answer["state"]) == (200, "done")


def test_a_bundle_of_another_type(front: FrontProcess) -> None:
    method = f"PUT /v1/bundles/sha256:{'0' * 64}"
    head = "Content-Type: text/html\r\nContent-Length: 1\r\n"
    check_refused(exchange(front, head, b"x", method=method), where="header content-type")


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: two\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, identity\r\n",
        "No colon\r\n",
        "Broken\x00: x\r\n",
        " folded: x\r\n",
    ],
)
def test_what_is_no_http(front: FrontProcess, head: str) -> None:
    status, text = exchange(front, head, b"{}")
    assert status == 400
    assert text


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("GET /v1/invocations", "route_unknown"),
        ("PUT /v1/invocations", "route_unknown"),
        ("POST /v1/invocations/", "route_unknown"),
        ("POST /v1/invocations/x", "route_unknown"),
        ("DELETE /v1/bundles/x", "route_unknown"),
        ("GET /v1/bundles/x", "request_invalid"),
        ("OPTIONS /v1/invocations", "route_unknown"),
        ("TRACE /v1/devices", "route_unknown"),
        ("GET /v1/devices/", "route_unknown"),
        ("GET //v1/devices", "route_unknown"),
        ("GET /v1/../v1/devices", "route_unknown"),
        ("GET /V1/DEVICES", "route_unknown"),
        ("GET /v1/cache/refresh", "route_unknown"),
        ("DELETE /v1/cache/purge", "route_unknown"),
        ("GET /%00", "route_unknown"),
        ("GET /%ff%fe", "route_unknown"),
        ("GET /v1/invocations/%00", "invocation_unknown"),
        ("GET /v1/invocations/%ff", "invocation_unknown"),
        ("GET /v1/invocations/a%2Fb", "route_unknown"),
        (f"GET /v1/invocations/{'x' * 5000}", "invocation_unknown"),
        ("PUT /v1/bundles/sha256:%00", "request_invalid"),
        (f"PUT /v1/bundles/{'x' * 5000}", "request_invalid"),
    ],
)
def test_paths_and_methods(front: FrontProcess, method: str, code: str) -> None:
    status, body = exchange(front, "Content-Length: 0\r\n", method=method)
    assert status == ERRORS[code].pool
    assert body["error"]["code"] == code


def test_queries_change_nothing(front: FrontProcess) -> None:
    assert front.client().get("/v1/devices?x=%ff&x=%00&" + "y" * 10_000).status == 200


@pytest.mark.parametrize(
    "body",
    [
        '{"bundle": "B", "bundle": "B"}',
        '{"bundle": "B", "arguments": {"x": 1, "x": 2}}',
        '{"bundle": "B", "arguments": {"a": {"b": 1, "b": 1}}}',
        '{"bundle": "B", "arguments": {"a": Infinity}}',
        '{"bundle": "B", "arguments": {"a": %s}}' % ("9" * 5000),
        '{"bundle": "B", "arguments": {"a": %s}}' % ("[" * 70 + "]" * 70),
        '{"bundle": "B", "arguments": {"a": %s}}' % ("[" * 900 + "]" * 900),
        '{"bundle": "B", "arguments": {"a": %s}}' % ("[" * 100_000 + "]" * 100_000),
        '{"bundle": "B", "arguments": %s}' % ('{"a":' * 70 + "1" + "}" * 70),
        '{"bundle": "B", "arguments": 1}',
        '{"bundle": ["B"]}',
        '{"bundle": {"B": 1}}',
        '{"bundle": "B", "budget_ms": ' + NINES + "}",
        '{"bundle": "B", "budget_ms": 1e3}',
        '{"bundle": "B", "wait_ms": "1"}',
        '{"bundle": "B", "id": "\\u0000"}',
        '{"bundle": "B", "id": "\\ud800"}',
        '{"bundle": "B", "id": ["x"]}',
        '{"bundle": "%s"}' % ("x" * 100_000),
        '{"%s": 1}' % ("x" * 100_000),
        '{"\\ud800": 1}',
        '"B"',
        "B",
        "\ufeff{}",
        "{} {}",
        "{'bundle': 'B'}",
    ],
)
def test_bodies(front: FrontProcess, bundles: dict[str, str], body: str) -> None:
    data = body.replace('"B"', f'"{bundles["saxpy"]}"').encode()
    status, answer = exchange(front, f"Content-Length: {len(data)}\r\n", data)
    assert (status, answer["error"]["code"]) == (400, "request_invalid")
    assert len(json.dumps(answer)) < 2000


@pytest.mark.parametrize("body", [b"null", b"[]", b"0", b'""'])
def test_a_refresh_that_is_no_object(front: FrontProcess, body: bytes) -> None:
    method, length = "POST /v1/cache/refresh", f"Content-Length: {len(body)}\r\n"
    check_refused(exchange(front, length, body, method=method))
    assert exchange(front, "", method=method) == (200, {"refreshed": 0})


@pytest.mark.parametrize(
    "data", [b"\xff\xfe{\x00}\x00", b'{"bundle": "\xc0\x80"}', b'{"a": "\xed\xa0\x80"}', b"\x1f\x8b\x08"]
)
def test_bodies_that_are_no_utf8(front: FrontProcess, data: bytes) -> None:
    check_refused(exchange(front, f"Content-Length: {len(data)}\r\n", data))


#: Values that may not take any argument down, as JSON.
WILD = [
    *("null", "true", "-1", "1.5", "1e999", "-1e999", "1e-400", NINES, f"-{NINES}", "[]", "[[]]", "{}"),
    *('""', '"\\ud800"', '"\\u0000"', '"nan"', '"inf"', '"inline"', '"base64"', f'"{"x" * 100_000}"'),
    *('"s3://"', '"s3://data"', '"s3://data/"', '"s3://data/none.npy"', '"s3://data/\\ud800"', '"s3://\\ud800/x"'),
    *('"s3://data/x?offset=-1"', f'"s3://data/x?size={"9" * 18}"', f'"s3://data/x?size={NINES}"', '"s3://data/x#y"'),
    *('"file:///etc/passwd"', '"file:///\\u0000"', '{"base64": 1}', '{"base64": "!"}', '{"base64": "AAAA"}'),
    *('{"base64": "AAAA", "dtype": 5, "shape": [-1]}', '{"base64": "", "dtype": "float32", "shape": [0, 1e999]}'),
    f'{{"base64": "AAAA", "dtype": "float32", "shape": [{NINES}]}}',
    f'{{"base64": "", "dtype": "float32", "shape": [0, {"9" * 20}]}}',
    *('{"from": 1}', '{"from": {"from": 1}, "to": "inline"}', "[1, [2]]", '["a"]', "[null]", f"[{NINES}]", "[1e999]"),
    *("[" * 40 + "]" * 40, "[" * 33 + "1" + "]" * 33, '{"a":' * 40 + "1" + "}" * 40, '{"x": "a"}', '{"x": "x"}'),
    *('{"x": "max_age=nan"}', '"max_age=-1"', f'"max_age={NINES}"', '{"x": 1}', '{"nope": "pinned"}', '"durable"'),
]


@pytest.mark.parametrize(
    "name", ["a", "x", "y", "z", "w", "freshness", "rename", "ack", "store", "outputs", "_x", "\\ud800", "", "\\u0000"]
)
def test_no_value_of_an_argument_is_the_pools_fault(front: FrontProcess, bundles: dict[str, str], name: str) -> None:
    client = front.client()
    for action, others in (("saxpy", VALUES), ("scale", {"x": {"from": [1.0], "to": "inline"}, "w": [1.0]})):
        given = {json.dumps(key): json.dumps(value) for key, value in others.items()}
        for value in WILD:
            arguments = ", ".join(f"{key}: {one}" for key, one in {**given, f'"{name}"': value}.items())
            body = f'{{"bundle": "{bundles[action]}", "arguments": {{{arguments}}}}}'
            reply = client.request("POST", "/v1/invocations", body.encode())
            assert reply.status < 500, (name, value[:80], reply)
            if reply.status != 200:
                assert reply.status == ERRORS[reply.code].pool
                assert ERRORS[reply.code].blame != "platform", (name, value[:80], reply)
                assert len(json.dumps(reply.body)) < 3000, (name, value[:80])
            else:
                assert reply.body["state"] == "done", (name, value[:80], reply)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/invo",
        b"POST /v1/invocations HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/invocations HTTP/1.1\r\nAuthorization: Bearer alice-token\r\nContent-Length: 10\r\n\r\n{",
        b"PUT /v1/bundles/x HTTP/1.1\r\nAuthorization: Bearer alice-token\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST /v1/cache/refresh HTTP/1.1\r\nAuthorization: Bearer alice-token\r\nContent-Length: 10\r\n\r\n",
    ],
)
def test_a_request_that_does_not_become_whole(front: FrontProcess, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as sock:
        sock.sendall(sent)
        check_refused(answer_of(sock), where="digest" if sent.startswith(b"PUT") else None)


def test_a_second_request_that_does_not_become_whole(front: FrontProcess) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as sock:
        sock.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n")
        first = b""
        while not first.endswith(b'{"status":"live"}'):
            first += sock.recv(65536)
        sock.sendall(b"GET /healthz/live HTTP/1.1\r\nHo")
        check_refused(answer_of(sock))


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_no_http_does_not_overtake_answers(front: FrontProcess, count: int) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as sock:
        sock.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n" * count + b"no HTTP\r\n\r\n")
        data = b""
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(65536):
                data += more
        assert data.count(b'{"status":"live"}') == count
        assert data.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("asks", ["GET /healthz/live", "POST /v1/cache/refresh", "CONNECT /healthz/live"])
def test_an_upgrade_is_declined(front: FrontProcess, asks: str) -> None:
    upgrade = "Authorization: Bearer alice-token\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as sock:
        # In one packet: what follows belongs to the protocol that was asked for, and is no request.
        sock.sendall(f"{asks} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n{{}}GET /healthz/live HTTP/1.1\r\n\r\n".encode())
        status, _ = answer_of(sock)
        assert status == (404 if asks.startswith("CONNECT") else 200)


def test_a_trickle_ends_too(front: FrontProcess) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=0.05) as sock:
        sock.sendall(
            b"POST /v1/invocations HTTP/1.1\r\nAuthorization: Bearer alice-token\r\nContent-Length: 9999\r\n\r\n"
        )
        answer = b""
        for _ in range(9000):
            try:
                sock.sendall(b" ")
                answer += sock.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if answer:
                break
        assert b"request_invalid" in answer


def test_who_says_nothing_is_not_kept(front: FrontProcess) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as sock:
        assert sock.recv(1) == b""


def test_an_answer_takes_as_long_as_it_takes(front: FrontProcess, bundles: dict[str, str]) -> None:
    held: list[tuple[Any, Any]] = []

    def hold(executor: Any, frame: Any) -> bool:
        held.extend([(executor, frame)] if frame["type"] == "run" else [])
        return bool(frame["type"] == "run")

    front.supervisor.executor_script = hold
    pending = front.client().invoking(bundles["saxpy"], {**VALUES, "a": 7})
    wait_until(lambda: held)
    # Connections that come later and say nothing are closed; the one that waits for its answer is not.
    for _ in range(2):
        test_who_says_nothing_is_not_kept(front)
    front.supervisor.executor_script = lambda _, __: False
    executor, frame = held[0]
    with executor.acting:
        executor.act(frame, [])
    assert pending.reply().body["state"] == "done"
