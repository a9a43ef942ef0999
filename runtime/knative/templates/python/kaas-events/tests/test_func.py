"""The function without a cluster and without a GPU: a small server stands for the pool."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cloudevents.core.v1.event import CloudEvent
from function import new


@pytest.fixture
def pool(monkeypatch):
    """A pool that learns a bundle when it is uploaded, and doubles x."""
    known, calls = set(), []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            known.add(self.path.rpartition("/")[2])
            self.answer(200, {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            calls.append(body)
            if body["bundle"] not in known:
                self.answer(404, {"error": {"code": "bundle_unknown", "message": "upload it"}})
            elif not all(isinstance(value, int) for value in body["arguments"]["x"]):
                self.answer(422, {"error": {"code": "argument_invalid", "message": "x"}})
            else:
                result = {"y": [2 * value for value in body["arguments"]["x"]]}
                self.answer(200, {"state": "done", "result": result})

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("KAAS_POOL_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("KAAS_TOKEN", "token")
    yield calls
    server.shutdown()
    thread.join()
    server.server_close()


def call(data, **attributes):
    """Status and event that answer one event."""
    sent = []

    async def send(event, status=200):
        sent.append((status, event))

    event = CloudEvent({"id": "1", "source": "/test", "type": "dev.kaas.invoke", **attributes}, data)
    asyncio.run(new().handle({"event": event}, None, send))
    return sent[0]


def test_an_event(pool):
    status, event = call({"x": [1, 2, 3]}, subject="s", traceparent="00-1")
    assert (status, event.get_type(), event.get_data()) == (200, "dev.kaas.result", {"y": [2, 4, 6]})
    assert (event.get_subject(), event.get_extension("traceparent")) == ("s", "00-1")


def test_the_same_event_is_the_same_call(pool):
    first, second, other = (call({"x": [1]}, id=name)[1] for name in ("1", "1", "2"))
    assert first.get_id() == second.get_id() != other.get_id()
    assert len({one["id"] for one in pool}) == 2


def test_an_answer_has_another_type(pool):
    kind = "dev.kaas.invoke"
    for _ in range(3):
        answered = call({"x": [1]}, type=kind)[1].get_type()
        assert answered != kind
        kind = answered


def test_an_answer_of_its_own_is_refused(pool):
    answer = call({"x": [1]})[1]
    assert call(answer.get_data(), source=answer.get_source(), type=answer.get_type())[0] == 422
    assert len(pool) == 2, "the one call, and once more after the upload"


def test_the_first_event_is_told_what_to_send(pool):
    status, event = call({"message": "Hello World"})
    assert (status, event.get_type()) == (200, "dev.kaas.hint")
    assert event.get_data()["example"] == {"y": [2, 4, 6]}


def test_errors_are_events(pool):
    cases = [({"x": ["a"]}, "argument_invalid"), ("{", "event_invalid"), ("[" * 100_000, "event_invalid")]
    for data, code in [*cases, ("[1]", "argument_invalid"), ([], "argument_invalid"), (0, "argument_invalid")]:
        status, event = call(data)
        assert (status, event.get_type()) == (422, "dev.kaas.error")
        assert event.get_data()["error"]["code"] == code


def test_without_a_pool(monkeypatch):
    monkeypatch.delenv("KAAS_POOL_URL", raising=False)
    status, event = call({"x": [1]})
    assert (status, event.get_data()["error"]["code"]) == (503, "pool_unreachable")


def test_a_token_is_not_shown(pool, monkeypatch):
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\n")
    assert call({"x": [1]})[0] == 200, "a Secret may end in a line end"
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\nx")
    status, answer = call({"x": [1]})
    assert (status, answer.get_data()["error"]["code"]) == (422, "unauthenticated")
    assert "s3cr3t" not in str(answer.get_data()["error"])
