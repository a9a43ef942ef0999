"""A pool that answers what a test tells it, for what no real pool can be made to do at will."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kaas.client import digest_of


@dataclass(frozen=True)
class Request:
    """One request as it came; `body` is decoded if it was JSON."""

    method: str
    path: str
    authorization: str | None
    body: Any


#: From a request to status and body; None closes the connection without an answer.
Script = Callable[[Request], "tuple[int, Any] | None"]


class ScriptedPool:
    """An HTTP server on a free port; use as a context manager.

    Uploads are answered as a pool would; everything else is the script's, called in the order of arrival.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.uploads: dict[str, bytes] = {}
        pool = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_upload = self.command == "PUT" and self.path.startswith("/v1/bundles/")
                body = json.loads(data) if data and not is_upload else None
                request = Request(self.command, self.path, self.headers.get("Authorization"), body)
                pool.requests.append(request)
                answer: tuple[int, Any] | None
                if is_upload:
                    assert self.path.endswith(digest_of(data))
                    pool.uploads[digest_of(data)] = data
                    answer = 200, {"digest": digest_of(data), "name": "x", "kernels": [], "warnings": []}
                else:
                    answer = pool.script(request)
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Tests print their own."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScriptedPool:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def invocations(self) -> list[Request]:
        """The invocation requests, in order."""
        return [request for request in self.requests if request.method == "POST"]


def error(code: str, **fields: object) -> dict[str, object]:
    """An error body."""
    return {"error": {"code": code, "message": f"scripted {code}", **fields}}


def done(request: Request, result: dict[str, Any], logs: list[dict[str, str]] | None = None) -> tuple[int, Any]:
    """The final answer of an invocation that went well."""
    return 200, {"id": request.body["id"], "state": "done", "result": result, "logs": logs or []}
