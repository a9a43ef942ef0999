"""A small server stands for the pool, so that the tests need no cluster and no GPU, and know no names of the kernel."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class FakePool(ThreadingHTTPServer):
    """Learns the bundle when it is uploaded; a call's result is what was asked for, unless `refuses` has an error."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.known = set()
        self.calls = []
        self.refuses = None
        #: So many calls are awaited before the first is answered.
        self.together = None


class Handler(BaseHTTPRequestHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.known.add(self.path.rpartition("/")[2])
        self.answer(200, {})

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if call["bundle"] not in self.server.known:
            self.answer(404, {"error": {"code": "bundle_unknown", "message": "upload it"}})
            return
        self.server.calls.append(call)
        if self.server.together is not None:
            self.server.together.wait()
        if self.server.refuses is not None:
            self.answer(400, {"error": self.server.refuses})
        else:
            self.answer(200, {"state": "done", "result": {"asked": call["arguments"]}})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def pool(monkeypatch):
    server = FakePool()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("KAAS_POOL_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("KAAS_TOKEN", "token")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_pool(monkeypatch):
    monkeypatch.delenv("KAAS_POOL_URL", raising=False)
