"""A real front among scripted peers, and an HTTP client that checks every answer against docs/openapi.yaml."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from front_peers import ScriptedMover, ScriptedSupervisor

from kaas_pool.frames import Link

_DOCUMENT: dict[str, Any] = yaml.safe_load(
    Path(__file__).parents[2].joinpath("docs", "openapi.yaml").read_text("utf-8")
)

PATIENCE = 30.0

TOKENS = {
    "alice-token": ("alice", ["invoke", "read"]),
    "bob-token": ("bob", ["invoke", "read"]),
    "reader-token": ("alice", ["read"]),
    "admin-token": ("operator", ["admin"]),
    "plugin-token": ("plugin", ["invoke", "vouch"]),
}

SAXPY = """\
kaas: 1
name: saxpy
params:
  a: {type: float32, default: 1.0}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  y: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: saxpy
    source: |
      extern "C" __global__ void saxpy(float a, const float *x, const float *y, float *z, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) z[i] = a * x[i] + y[i];
      }
    threads: [n]
    block: [256]
    args: [a, x, y, z, int32(n)]
"""

IN_PLACE = """\
kaas: 1
name: scale
buffers:
  x: {io: inout, dtype: float32, shape: [n]}
  w: {io: const, dtype: float32, shape: [1]}
graph:
  - kernel: scale
    source: |
      extern "C" __global__ void scale(const float *w, float *x, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) x[i] = w[0] * x[i];
      }
    threads: [n]
    block: [256]
    args: [w, x, int32(n)]
"""


def wait_until(condition: Callable[[], object]) -> None:
    """Poll for something that only another process can tell."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)  # Nothing tells: the condition is another process's.


def check_conforms(method: str, path: str, status: int, body: Any) -> None:
    """Hold an answer against the document."""
    for template, operations in _DOCUMENT["paths"].items():
        parts, wanted = path.split("?")[0].split("/"), template.split("/")
        if len(parts) == len(wanted) and all(w.startswith("{") or w == p for p, w in zip(parts, wanted, strict=True)):
            operation = operations.get(method.lower())
            if operation is not None:
                break
    else:
        operation = {"responses": {"404": {"$ref": "#/components/responses/NotFound"}}}
    response = operation["responses"][str(status)]
    if "$ref" in response:
        response = _DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content = response["content"]
    if "application/json" in content:
        schema = {**content["application/json"]["schema"], "components": _DOCUMENT["components"]}
        jsonschema.validate(body, schema, format_checker=jsonschema.FormatChecker())


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; `body` is decoded JSON, or text."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The code of the error it carries."""
        return str(self.body["error"]["code"])


class HttpClient:
    """Requests to one pool under one token."""

    def __init__(self, port: int, token: str | None) -> None:
        self.port = port
        self.token = token

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own; the answer conforms to the document."""
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        decoded = json.loads(data) if is_json else data.decode()
        check_conforms(method, path, response.status, decoded)
        return Reply(response.status, decoded, {name.lower(): value for name, value in response.getheaders()})

    def get(self, path: str) -> Reply:
        """GET."""
        return self.request("GET", path)

    def delete(self, path: str) -> Reply:
        """DELETE."""
        return self.request("DELETE", path)

    def post(self, path: str, body: Any) -> Reply:
        """POST of JSON."""
        return self.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def upload(self, text: str | bytes) -> str:
        """Upload a bundle; returns its digest."""
        data = text.encode() if isinstance(text, str) else text
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        reply = self.request("PUT", f"/v1/bundles/{digest}", data)
        assert reply.status == 200, reply
        return digest

    def invoke(self, bundle: str, arguments: dict[str, Any], **fields: Any) -> Reply:
        """POST an invocation."""
        return self.post("/v1/invocations", {"bundle": bundle, "arguments": arguments, **fields})

    def invoking(self, bundle: str, arguments: dict[str, Any], **fields: Any) -> Pending:
        """POST an invocation in a thread."""
        return Pending(lambda: self.invoke(bundle, arguments, **fields))

    @contextlib.contextmanager
    def connection(self, body: Any) -> Iterator[socket.socket]:
        """A socket on which an invocation was posted, to be closed before the answer."""
        data = json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as sock:
            head = f"POST /v1/invocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
            sock.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            yield sock


class Pending:
    """A request under way in a thread."""

    def __init__(self, request: Callable[[], Reply]) -> None:
        self._reply: Reply | None = None
        self._error: Exception | None = None

        def run() -> None:
            try:
                self._reply = request()
            except Exception as error:
                self._error = error

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether the answer is there."""
        return not self._thread.is_alive()

    def reply(self) -> Reply:
        """Wait for the answer."""
        self._thread.join(PATIENCE)
        if self._error is not None:
            raise self._error
        assert self._reply is not None, "no answer"
        return self._reply


def write_tokens(path: Path) -> None:
    """The tokens above."""
    entries = [
        {"sha256": hashlib.sha256(token.encode()).hexdigest(), "tenant": tenant, "scopes": scopes}
        for token, (tenant, scopes) in TOKENS.items()
    ]
    path.touch(0o600)
    path.write_text(json.dumps(entries))


class FrontProcess:
    """A front, its scripted supervisor and its scripted mover; use as a context manager."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.state = state
        self._arguments = arguments
        self.mover = ScriptedMover(state / "run" / "mover.sock")
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> FrontProcess:
        self.state.mkdir(parents=True, exist_ok=True)
        write_tokens(self.state / "tokens.json")
        self.mover.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.mover.stop()

    def start(self, wait_ready: bool = True, *, spawns: bool = True) -> None:
        """Start the front, also again after a kill; without `spawns` no device ever serves."""
        announcement = self.state / "run" / "front.json"
        announcement.unlink(missing_ok=True)
        theirs, ours = Link.pair()
        self.supervisor = ScriptedSupervisor(ours)
        if not spawns:
            self.supervisor.spawn_script = lambda *_: True
        self.process = subprocess.Popen(self.command(theirs.fileno()), pass_fds=[theirs.fileno()])
        theirs.close()
        self.supervisor.thread.start()
        wait_until(announcement.exists)
        self.port = json.loads(announcement.read_text())["port"]
        if wait_ready and "--certificate" not in self._arguments:
            wait_until(lambda: self.client(None).get("/healthz/ready").status == 200)

    def command(self, control: int) -> list[str]:
        """What starts it, with the descriptor of its link to the supervisor."""
        command = [sys.executable, "-m", "kaas_pool.front", "--state", str(self.state), "--kind", "emulated"]
        return [*command, "--port", "0", "--control", str(control), *self._arguments]

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.supervisor.closed.wait(PATIENCE)

    def hang_up(self) -> None:
        """SIGHUP."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def client(self, token: str | None = "alice-token") -> HttpClient:
        """A client under a token."""
        return HttpClient(self.port, token)
