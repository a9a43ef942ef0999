"""The function without a cluster and without a GPU: a small server stands for the pool."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
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


def call(body, *later):
    """Status and answer to one request, of whose body more may come later."""
    sent = []
    messages = [{"type": "http.request", "body": body, "more_body": bool(later)}, *later]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(new().handle({"type": "http", "method": "POST"}, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_call(pool):
    assert call(b'{"x": [1, 2, 3]}') == (200, {"y": [2, 4, 6]})
    assert call(b'{"x": [4], "y": "s3://out/y.npy"}')[0] == 200
    assert [one["arguments"]["y"] for one in pool] == ["inline", "inline", "s3://out/y.npy"]


def test_the_first_call_is_told_what_to_send(pool):
    status, answer = call(b'{"message": "Hello World"}')
    assert status == 200
    assert "x is missing" in answer["hint"]
    assert answer["example"] == {"y": [2, 4, 6]}


def test_errors_are_answered(pool):
    assert call(b'{"x": ["a"]}')[0] == 422
    assert call(b"{")[1]["error"]["code"] == "request_invalid"
    assert call(b"[" * 100_000)[1]["error"]["code"] == "request_invalid"
    assert call(b"[]")[1]["error"]["code"] == "request_invalid"
    assert call(b" " * (1 << 20) + b"{}")[1]["error"]["code"] == "payload_too_large"


def test_half_a_request_is_no_call(pool):
    assert call(b'{"x": [1]}', {"type": "http.disconnect"})[1]["error"]["code"] == "request_incomplete"
    assert pool == []


def test_without_a_pool(monkeypatch):
    monkeypatch.delenv("KAAS_POOL_URL", raising=False)
    status, answer = call(b'{"x": [1]}')
    assert (status, answer["error"]["code"]) == (503, "pool_unreachable")
    status, answer = call(b"")
    assert status == 200
    assert answer["error"]["code"] == "pool_unreachable"


def test_a_token_is_not_shown(pool, monkeypatch):
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\n")
    assert call(b'{"x": [1]}')[0] == 200, "a Secret may end in a line end"
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\nx")
    status, answer = call(b'{"x": [1]}')
    assert (status, answer["error"]["code"]) == (422, "unauthenticated")
    assert "s3cr3t" not in str(answer["error"])
