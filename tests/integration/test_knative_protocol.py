"""What a Knative Service answers to whom, with a pool that answers what the test says."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from front_process import SAXPY, wait_until
from knative_service import Answer, KnativeService, encoded, event, ready_service, serving
from proxy_process import ProxyProcess
from scripted_pool import Request, ScriptedPool, done, error
from tcp_proxy import TcpProxy

from kaas.client import digest_of
from kaas.errors import ERRORS
from kaas.messages import MAX_REQUEST_BYTES

RESULT: dict[str, Any] = {"z": "s3://out/z.npy", "kaas": {"outputs": {}, "stats": {"device": "0"}}}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SERVED = {code: row for code, row in ERRORS.items() if row.pool is not None and row.knative is not None}


def go_well(request: Request) -> tuple[int, Any]:
    return done(request, RESULT)


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[ScriptedPool]:
    with ScriptedPool(serving(SAXPY, go_well)) as pool:
        yield pool


@pytest.fixture
def pool(shared_pool: ScriptedPool) -> ScriptedPool:
    """The scripted pool, with nothing recorded yet."""
    shared_pool.script = serving(SAXPY, go_well)
    shared_pool.requests.clear()
    return shared_pool


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("action") / "kaas.yaml"
    path.write_text(SAXPY)
    return path


@pytest.fixture(scope="module")
def shared_service(
    shared_pool: ScriptedPool, action: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KnativeService]:
    arguments = {"a": 2, "outputs": "s3://out/saxpy"}
    variables = {"KAAS_ARGUMENTS": json.dumps(arguments), "K_SERVICE": "my-saxpy"}
    with ready_service(tmp_path_factory.mktemp("service"), shared_pool.url, action, **variables) as service:
        yield service


@pytest.fixture
def service(shared_service: KnativeService, pool: ScriptedPool) -> KnativeService:
    shared_service.mark()
    return shared_service


def invoked(pool: ScriptedPool) -> list[Any]:
    """The bodies of the invocations so far."""
    return [request.body for request in pool.invocations]


def is_event(answer: Answer, kind: str) -> Any:
    """The event that an answer is, of this type."""
    found = answer.event()
    assert found.get_type() == kind
    assert found.get_specversion() == "1.0"
    assert found.get_datacontenttype() == "application/json"
    return found


def test_a_plain_call(service: KnativeService, pool: ScriptedPool) -> None:
    answer = service.call({"x": [1], "a": 3})
    assert (answer.status, answer.json) == (200, RESULT)
    [body] = invoked(pool)
    assert body["bundle"] == digest_of(SAXPY.encode())
    assert body["arguments"] == {"a": 3, "outputs": "s3://out/saxpy", "x": [1]}
    assert pool.invocations[0].authorization == "Bearer alice-token"
    assert service.call({}).status == service.request("POST", "/").status == 200
    assert invoked(pool)[1]["arguments"] == {"a": 2, "outputs": "s3://out/saxpy"}
    assert len({body["id"] for body in invoked(pool)}) == 3, "each call is a call of its own"


@pytest.mark.parametrize("structured", [False, True])
def test_an_event_is_answered_with_an_event(service: KnativeService, pool: ScriptedPool, structured: bool) -> None:
    sent = event({"x": [1]}, id=f"one/{structured}", subject="a b", traceparent=PARENT, unknown="x")
    answer = service.send(sent, structured=structured)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/cloudevents+json") == structured
    told = is_event(answer, "dev.kaas.result")
    assert told.get_data() == RESULT
    assert (told.get_source(), told.get_subject()) == ("/kaas/my-saxpy", "a b")
    assert told.get_extension("traceparent") == PARENT
    assert told.get_extension("unknown") is None
    assert told.get_id() == invoked(pool)[0]["id"]
    assert is_event(service.send(event(id="no subject")), "dev.kaas.result").get_subject() == "saxpy"


def test_a_chain_of_actions_never_answers_with_the_type_it_was_sent(service: KnativeService) -> None:
    kind = "dev.kaas.invoke"
    seen = {kind}
    for _ in range(4):
        kind = service.send(event({}, type=kind)).event().get_type()
        assert kind not in seen
        seen.add(kind)


def test_an_event_of_its_own_is_refused(service: KnativeService, pool: ScriptedPool) -> None:
    """A Trigger without a filter would go round for ever."""
    for structured in (False, True):
        told = service.send(event({}), structured=structured).event()
        pool.requests.clear()
        answer = service.send(told, structured=structured)
        assert (answer.status, answer.error["code"], answer.error["where"]) == (422, "argument_invalid", "source")
        assert service.send(event(source=told.get_source(), type="dev.kaas.error")).status == 422
        assert invoked(pool) == []
        assert service.send(event(source=told.get_source(), type="of.something.else")).status == 200


def test_errors_of_different_events_have_different_ids(service: KnativeService, pool: ScriptedPool) -> None:
    pool.script = serving(SAXPY, lambda request: (422, error("input_missing")))
    sent = [event(id="1", source="/a"), event(id="1", source="/b"), event(id="2", source="/a")]
    ids = [service.send(one).event().get_id() for one in (*sent, sent[0])]
    assert len(set(ids)) == 3
    assert ids[3] == ids[0]


def test_what_hides_in_a_log_is_shown(service: KnativeService, pool: ScriptedPool) -> None:
    """Attributes are as their sender likes: of any length, with line ends and what terminals act upon."""
    odd = "a\nerror: b\x1b[2J\x7f\x9b\u202e\u2028\U000e0001"
    service.send(event({}, id=odd, source="s" * 100_000), structured=True)
    pool.script = serving(SAXPY, lambda request: (422, error("object_not_found", where=odd)))
    service.send(event({}, id=odd), structured=True)
    lines = service.stdout.splitlines()
    assert [json.loads(line)["kaas"]["event"]["id"] for line in lines] == [odd, odd]
    assert max(map(len, lines)) < 1000
    for text in (*lines, *service.stderr.splitlines()):
        assert text.isprintable()


def test_the_same_event_is_the_same_invocation(service: KnativeService, pool: ScriptedPool) -> None:
    for structured in (False, True, False):
        assert service.send(event({"x": [1]}, id="twice"), structured=structured).status == 200
    for other in (event({"x": [1]}, id="twice", source="/other"), event({"x": [1]}, id="other")):
        assert service.send(other).status == 200
    ids = [body["id"] for body in invoked(pool)]
    assert len(set(ids[:3])) == 1
    assert len(set(ids)) == 3


def test_another_revision_has_ids_of_its_own(
    pool: ScriptedPool, service: KnativeService, action: Path, tmp_path: Path
) -> None:
    service.send(event({}, id="e"))
    with ready_service(tmp_path, pool.url, action, KAAS_ARGUMENTS='{"a": 3}') as other:
        other.send(event({}, id="e"))
    first, second = invoked(pool)
    assert first["id"] != second["id"], "or the second would be id_conflict"


def test_an_event_that_is_being_handled_is_not_handled_again(service: KnativeService, pool: ScriptedPool) -> None:
    arrived, release = threading.Event(), threading.Event()

    def slow(request: Request) -> tuple[int, Any]:
        arrived.set()
        assert release.wait(30)
        return done(request, RESULT)

    pool.script = serving(SAXPY, slow)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(service.send, event({}, id="slow"))
        assert arrived.wait(30)
        second = service.send(event({}, id="slow"))
        assert (second.status, second.error["code"], second.headers["retry-after"]) == (409, "event_running", "1")
        release.set()
        assert first.result().status == 200
    third = service.send(event({}, id="slow"))
    assert third.status == 200
    assert third.event().get_id() == first.result().event().get_id()


@pytest.mark.parametrize("code", SERVED)
def test_statuses_are_those_of_the_table(service: KnativeService, pool: ScriptedPool, code: str) -> None:
    """Before acceptance and after it, to a plain call and to an event."""
    row = SERVED[code]

    def refuse(request: Request) -> tuple[int, Any]:
        return row.pool or 500, error(code)

    def fail(request: Request) -> tuple[int, Any]:
        return 200, {"id": request.body["id"], "state": "failed", **error(code), "logs": []}

    for script in (refuse, fail):
        pool.script = serving(SAXPY, script)
        plain = service.call({})
        assert (plain.status, plain.error["code"]) == (row.knative, code)
        assert plain.headers["content-type"] == "application/json"
        for structured in (False, True):
            answer = service.send(event({}), structured=structured)
            assert (answer.status, answer.error["code"]) == (row.knative, code)
            is_event(answer, "dev.kaas.error")
            assert ("retry-after" in answer.headers) == (row.knative in (409, 429))
    assert f"scripted {code}" in service.stderr


def test_what_a_broker_never_tries_again() -> None:
    """The caller's fault and a spent budget; what is ours, and a full pool, it does."""
    for code, row in ERRORS.items():
        if row.knative is None or code in ("event_running", "request_incomplete", "route_unknown"):
            continue
        again = row.knative in (404, 408, 409, 429) or row.knative >= 500
        assert again == (row.blame == "platform"), code


def test_a_full_pool_says_when_to_come_back(service: KnativeService, pool: ScriptedPool) -> None:
    pool.script = serving(SAXPY, lambda request: (429, error("pool_busy", retry_after_ms=2100)))
    answer = service.send(event({}))
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")


def test_a_full_instance_refuses_and_still_answers_probes(service: KnativeService, pool: ScriptedPool) -> None:
    release = threading.Event()

    def slow(request: Request) -> tuple[int, Any]:
        assert release.wait(60)
        return done(request, RESULT)

    pool.script = serving(SAXPY, slow)
    with ThreadPoolExecutor(64) as threads:
        running = [threads.submit(service.call, {}) for _ in range(64)]
        try:
            wait_until(lambda: len(pool.invocations) == 64)
            refused = service.call({})
            assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "pool_busy", "1")
            assert service.request("GET", "/health/liveness").status == 200
            assert service.is_ready()
        finally:
            release.set()
        assert {one.result().status for one in running} == {200}
    assert service.call({}).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Content-Type": "application/cloudevents-batch+json"}, b"[]", 400, "event_invalid"),
        ({"Content-Type": "application/cloudevents+json"}, b"{}", 400, "event_invalid"),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t"}, b"", 400, "event_invalid"),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/", "ce-type": "t"}, b"{", 400, "event_invalid"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=2", 400, "request_invalid"),
        ({"Content-Type": "application/json"}, b"{", 400, "request_invalid"),
        ({"Content-Type": "application/json"}, b"[]", 400, "request_invalid"),
        ({"Content-Type": "application/json"}, b'"\\ud800"', 400, "request_invalid"),
    ],
)
def test_broken_requests_do_not_reach_the_pool(
    service: KnativeService, pool: ScriptedPool, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    answer = service.request("POST", "/", body, headers)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert invoked(pool) == []
    # What claims to be an event is answered with one, whatever is wrong with it.
    if code == "event_invalid":
        told = is_event(answer, "dev.kaas.error")
        assert (told.get_source(), told.get_subject()) == ("/kaas/my-saxpy", "saxpy")
    else:
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(("data", "kind"), [(b"[1]", "application/json"), (b"\0\1", "image/png"), (b"x", "text/plain")])
def test_data_that_are_no_arguments(
    service: KnativeService, pool: ScriptedPool, data: bytes, kind: str, structured: bool
) -> None:
    answer = service.send(event(data, datacontenttype=kind), structured=structured)
    assert (answer.status, answer.error["code"]) == (422, "argument_invalid")
    assert invoked(pool) == []
    is_event(answer, "dev.kaas.error")


@pytest.mark.parametrize("structured", [False, True])
def test_an_event_of_1_mib_and_a_byte_more(service: KnativeService, pool: ScriptedPool, structured: bool) -> None:
    """What the action does not know is left out, or the pool's own limit on a request would be met."""

    def sized(size: int) -> tuple[dict[str, str], bytes]:
        headers, body = encoded(event({"x": [1], "unknown": ""}, id="large"), structured=structured)
        return headers, body.replace(b'"unknown": ""', b'"unknown": "%s"' % (b"u" * (size - len(body))))

    headers, body = sized(MAX_REQUEST_BYTES)
    assert len(body) == MAX_REQUEST_BYTES
    assert service.request("POST", "/", body, headers).status == 200
    [sent] = invoked(pool)
    assert sent["arguments"] == {"a": 2, "outputs": "s3://out/saxpy", "x": [1]}
    large = sized(MAX_REQUEST_BYTES + 1)[1]
    # Of what comes in chunks nobody knows the length before; its first part may be JSON.
    for sent in (large, iter([large]), iter([body, b" "]), iter([body, b" " * MAX_REQUEST_BYTES])):
        answer = service.request("POST", "/", sent, headers)
        assert (answer.status, answer.error["code"]) == (422, "payload_too_large")
        is_event(answer, "dev.kaas.error")
    assert len(pool.invocations) == 1


def raw(service: KnativeService, *pieces: bytes) -> bytes:
    """What is answered to these bytes until the server closes, the client having closed its half at the end."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as sock:
        for piece in pieces:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (HEAD + b"Content-Length: 100\r\n\r\n", 408, "request_incomplete"),
        (HEAD + b"Content-Length: 100\r\n\r\n{}", 408, "request_incomplete"),
        (CHUNKED + b"5\r\n{}", 408, "request_incomplete"),
        (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n", 400, "request_invalid"),
    ],
)
def test_half_a_request_is_no_call(
    service: KnativeService, pool: ScriptedPool, sent: bytes, status: int, code: str
) -> None:
    """A sender that dies in the middle: its event comes again, whole, and must not be known by then."""
    answer = raw(service, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == code
    assert invoked(pool) == []
    assert "Traceback" not in service.stderr


def test_who_is_slow_to_send_a_call_has_a_place_too(service: KnativeService, pool: ScriptedPool) -> None:
    """Each has a thread, and there must be some for probes."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", service.port))) for _ in range(64)]
        for sock in slow:
            # Who is told to go on is being read.
            sock.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        assert service.call({}).error["code"] == "pool_busy"
        assert service.is_ready()
        for sock in slow:
            sock.sendall(b"{}")
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    assert len(pool.invocations) == 64


@pytest.mark.slow
def test_silence_in_the_middle_of_a_request_ends_it(service: KnativeService) -> None:
    """More of them than there are threads, and all others are served again."""
    with contextlib.ExitStack() as stack:
        for sent in (HEAD, HEAD + b"Content-Length: 2\r\n\r\n"):
            for _ in range(100):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                sock.sendall(sent)
        assert service.request("GET", "/health/liveness").status == 200
        wait_until(lambda: service.call({}).status == 200)
    assert "Traceback" not in service.stderr


def test_clients_that_do_not_close_keep_nobody_out(service: KnativeService) -> None:
    """More of them than 2 s each would leave time for."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            sock.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert service.request("GET", "/health/liveness").status == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/run"), ("PUT", "/"), ("POST", "/health/readiness")]
)
def test_other_routes(service: KnativeService, method: str, path: str) -> None:
    answer = service.request(method, path)
    assert (answer.status, answer.error["code"]) == (404, "route_unknown")


def test_what_the_pool_has_to_say_is_in_the_log(service: KnativeService, pool: ScriptedPool) -> None:
    lines = [
        {"time": "2026-01-01T00:00:00.000Z", "stream": "stdout", "line": "printed"},
        {"time": "2026-01-01T00:00:00.000Z", "stream": "stderr", "line": "kaas: noted"},
    ]
    pool.script = serving(SAXPY, lambda request: done(request, RESULT, lines))
    service.send(event({}, id="e", traceparent=PARENT))
    printed, summary = service.stdout.splitlines()
    assert (printed, service.stderr) == ("printed", "kaas: noted\n")
    told = json.loads(summary)["kaas"]
    assert told["event"] == {"id": "e", "source": "/tests", "type": "dev.kaas.invoke", "traceparent": PARENT}
    assert told["stats"] == {"device": "0"}


def test_an_idle_connection_is_the_clients_to_close(service: KnativeService) -> None:
    """What is sent on a connection while the server closes it is lost, and a POST is not sent again by itself."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/", b"{}", {"Content-Type": "application/json"})
        assert connection.getresponse().read()
        # gunicorn closes after 2 s unless it is told otherwise.
        assert select.select([connection.sock], [], [], 4) == ([], [], [])
        connection.request("POST", "/", b"{}", {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200


def test_sigterm_lets_what_runs_end(pool: ScriptedPool, action: Path, tmp_path: Path) -> None:
    release = threading.Event()

    def slow(request: Request) -> tuple[int, Any]:
        assert release.wait(60)
        return done(request, RESULT)

    with ready_service(tmp_path, pool.url, action) as service, ThreadPoolExecutor(8) as threads:
        pool.script = serving(SAXPY, slow)
        pool.requests.clear()
        running = [threads.submit(service.send, event({}, id=str(number))) for number in range(8)]
        wait_until(lambda: len(pool.invocations) == 8)
        kept = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        kept.request("GET", "/health/liveness")
        assert kept.getresponse().read()
        service.process.terminate()
        release.set()
        assert {one.result().status for one in running} == {200}
        assert service.process.wait(30) == 0
        kept.close()


def test_sigterm_loses_nobody_who_has_connected(pool: ScriptedPool, action: Path, tmp_path: Path) -> None:
    """Who waits to be accepted is answered."""
    body = json.dumps({"x": [1], "y": [2], "z": "inline"}).encode()
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with ready_service(tmp_path, pool.url, action) as service, contextlib.ExitStack() as stack:
        master = service.process.pid
        (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        os.kill(int(worker), signal.SIGSTOP)
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 60)) for _ in range(8)]
        for connection in waiting:
            connection.sendall(request + body)
        service.process.terminate()
        wait_until(lambda: bool(pending_signals(worker) >> (signal.SIGTERM - 1) & 1))
        os.kill(int(worker), signal.SIGCONT)
        for connection in waiting:
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, json.loads(answer.read())) == (200, RESULT)
        assert service.process.wait(60) == 0


def pending_signals(process: str) -> int:
    """The signals that wait for a process to run, as a mask."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    masks = [line.partition(":")[2] for line in lines if line.startswith(("SigPnd:", "ShdPnd:"))]
    return int(masks[0], 16) | int(masks[1], 16)


def test_a_pool_that_is_down_at_the_start(pool: ScriptedPool, action: Path, tmp_path: Path) -> None:
    with TcpProxy(pool.url) as between:
        between.stop()
        with KnativeService(tmp_path, between.endpoint, action) as service:
            assert service.request("GET", "/health/liveness").status == 200
            wait_until(lambda: "not ready" in service.stderr)
            probe = service.request("GET", "/health/readiness")
            assert (probe.status, probe.json["error"]["code"]) == (503, "pool_unreachable")
            answer = service.send(event({}))
            assert (answer.status, answer.error["code"]) == (503, "action_unavailable")
            assert answer.headers["retry-after"] == "1"
            assert service.process.poll() is None
            assert service.stderr.count("not ready") == 1, "the same problem is told once"
            between.start()
            service.wait_until_ready()
            assert service.send(event({})).status == 200


def test_readiness_follows_the_pool(pool: ScriptedPool, action: Path, tmp_path: Path) -> None:
    well = pool.script
    with ready_service(tmp_path, pool.url, action) as service:
        pool.script = lambda request: (503, {"status": "not ready", "reason": "no device serves"})
        wait_until(lambda: not service.is_ready())
        assert "no device serves" in service.request("GET", "/health/readiness").json["error"]["message"]
        pool.script = well
        service.wait_until_ready()
        # A probe never waits, whatever the pool does.
        release = threading.Event()
        pool.script = lambda request: (release.wait(30), (503, {"reason": "late"}))[1]
        wait_until(lambda: service.is_ready() and pool.requests[-1].path == "/healthz/ready")
        release.set()
        wait_until(lambda: not service.is_ready())


@pytest.mark.parametrize("code", ["unauthenticated", "bundle_unknown"])
def test_a_pool_that_would_not_serve_this_service_is_not_ready(pool: ScriptedPool, tmp_path: Path, code: str) -> None:
    """Its token was revoked, or what it knew of the bundle was lost: calls are better sent to nobody."""
    well = pool.script
    with ready_service(tmp_path, pool.url, digest_of(SAXPY.encode())) as service:
        pool.script = lambda request: (401, error(code)) if request.path.startswith("/v1/") else well(request)
        wait_until(lambda: not service.is_ready())
        assert service.request("GET", "/health/readiness").error["code"] == code
        pool.script = well
        service.wait_until_ready()


@pytest.mark.parametrize(
    ("manifest", "words"), [("kaas: 1\nname: x\ngrpah: []\n", "kaas.yaml:3 grpah"), (None, "KAAS_ACTION")]
)
def test_what_cannot_get_better_ends_the_process(tmp_path: Path, manifest: str | None, words: str) -> None:
    """Knative shows the last lines of a container that ends."""
    action = tmp_path / "kaas.yaml"
    if manifest is not None:
        action.write_text(manifest)
    with KnativeService(tmp_path, "http://127.0.0.1:9", action) as service:
        assert service.process.wait(30) == 1
        assert service.stderr.startswith("kaas-proxy: error: ")
        assert words in service.stderr


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"K_SERVICE": "saxpy", "KAAS_ACTION": ""}, "KAAS_ACTION: nothing says which action"),
        ({"K_SERVICE": "saxpy"}, "KAAS_ACTION: nothing says which action"),
        ({"KAAS_ACTION": f"sha256:{'0' * 64}", "KAAS_TOKEN": "s3cr3t\nx"}, "the token"),
        ({"KAAS_ACTION": f"sha256:{'0' * 64}", "KAAS_POOL_URL": "http://me:s3cr3t@pool"}, "a user's name"),
    ],
)
def test_what_is_wrong_with_a_variable_is_one_line(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    with ProxyProcess(tmp_path, {"KAAS_POOL_URL": "http://127.0.0.1:9", **variables}) as service:
        assert service.process.wait(30) == 1
        [line] = service.stderr.splitlines()
    assert line.startswith("kaas-proxy: error: ")
    assert words in line
    assert "s3cr3t" not in line


def test_bound_arguments_that_a_bundle_of_the_pools_does_not_have(pool: ScriptedPool, tmp_path: Path) -> None:
    with KnativeService(
        tmp_path, pool.url, digest_of(SAXPY.encode()), None, KAAS_ARGUMENTS='{"outptus": "s3://out"}'
    ) as service:
        wait_until(lambda: "not ready" in service.stderr)
        assert service.request("GET", "/health/readiness").error["where"] == "KAAS_ARGUMENTS outptus"
        assert service.call({}).error["code"] == "action_unavailable"
        assert service.process.poll() is None


def test_the_budget_is_for_everything_that_a_call_waits_for(pool: ScriptedPool, tmp_path: Path) -> None:
    """Also for having the pool fetch the action again, which would wait for five minutes."""
    over = threading.Event()
    has_lost = threading.Event()
    known = {"digest": digest_of(SAXPY.encode()), "name": "saxpy", "manifest": SAXPY}

    def answer(request: Request) -> tuple[int, Any] | None:
        if request.path == "/v1/bundles":
            if has_lost.is_set():
                over.wait(100)
            return 200, known
        if request.path == "/v1/invocations":
            has_lost.set()
            return 404, error("bundle_unknown")
        return serving(SAXPY, go_well)(request)

    pool.script = answer
    with ready_service(tmp_path, pool.url, "s3://data/saxpy.zip", KAAS_BUDGET_MS="300") as service:
        try:
            refused = service.call({"x": [1], "y": [2], "z": "inline"})
            assert (refused.status, refused.error["code"]) == (503, "action_unavailable")
            assert not over.is_set()
        finally:
            over.set()
