"""The local OpenWhisk API as a process of its own, and plain HTTP to it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaas_command import clean_environment
from local_stack import PATIENCE_SECONDS, wait_until

KEYS = {
    "guest": "6f3c1a52-9b1e-4f0e-8d2c-3a7d5e9b1c40:guests-secret",
    "other": "0d9a7c44-52c1-4f39-b0a6-5f2f6f0c8e11:others-secret",
}


@dataclass(frozen=True)
class Reply:
    """An answer; `body` is decoded JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def activation_id(self) -> str:
        """Of an invocation."""
        return self.headers["x-openwhisk-activation-id"]


class OpenWhiskClient:
    """Requests to the API on a port, as the namespaces whose keys are given; as `namespace` where none is named."""

    def __init__(self, port: int, keys: Mapping[str, str] = KEYS, namespace: str = "guest") -> None:
        self.port = port
        self.keys = keys
        self.namespace = namespace

    @property
    def url(self) -> str:
        """What clients call the API host."""
        return f"http://127.0.0.1:{self.port}"

    def send(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Reply:
        """A request on a connection of its own; a body that is no bytes goes as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if key is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(key.encode()).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            received = response.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, json.loads(received) if received else None, found)

    def call(self, method: str, path: str, body: Any = None, *, namespace: str | None = None) -> Reply:
        """A request about a namespace's own entities: `actions/a?overwrite=true`."""
        return self.send(method, f"/api/v1/namespaces/_/{path}", body, key=self.keys[namespace or self.namespace])

    def create(self, name: str, code: str, kind: str = "python:3", **body: Any) -> None:
        """Create or update an action."""
        document = {"exec": {"kind": kind, "code": code}, **body}
        reply = self.call("PUT", f"actions/{name}?overwrite=true", document)
        assert reply.status == 200, reply

    def sequence(self, name: str, *components: str) -> None:
        """Create or update a sequence."""
        document = {"exec": {"kind": "sequence", "components": [f"/_/{one}" for one in components]}}
        reply = self.call("PUT", f"actions/{name}?overwrite=true", document)
        assert reply.status == 200, reply

    def invoke(self, name: str, payload: Any = None, query: str = "blocking=true") -> Reply:
        """Invoke an action."""
        return self.call("POST", f"actions/{name}?{query}", {} if payload is None else payload)

    def activation(self, activation_id: str) -> dict[str, Any] | None:
        """An activation's record, or None while it runs."""
        reply = self.call("GET", f"activations/{activation_id}")
        assert reply.status in (200, 404), reply
        return reply.body if reply.status == 200 else None

    def wait_for(self, activation_id: str) -> dict[str, Any]:
        """Wait for an activation's record."""
        wait_until(lambda: self.activation(activation_id) is not None, f"the record of {activation_id}")
        found = self.activation(activation_id)
        assert found is not None
        return found


class OpenWhiskProcess(OpenWhiskClient):
    """`python -m kaas_local.openwhisk` on a port of its own; use as a context manager, or `start` and `stop` it.

    Its namespaces are those of KEYS, or of `keys` at its last start; `environment` may tell where the pool is.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.state = directory / "state"
        self._keys = directory / "keys.json"
        self._log = directory / "log"
        self._environment = clean_environment(environment)
        with socket.create_server(("127.0.0.1", 0)) as free:
            super().__init__(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def __enter__(self) -> OpenWhiskProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def spawn(self, port: int) -> subprocess.Popen[bytes]:
        """Start a process on a port, and do not wait."""
        self._keys.parent.mkdir(parents=True, exist_ok=True)
        digests = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in self.keys.items()}
        self._keys.write_text(json.dumps(digests))
        command = [sys.executable, "-m", "kaas_local.openwhisk", f"--listen=127.0.0.1:{port}"]
        command += [f"--state-dir={self.state}", f"--keys={self._keys}"]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment)

    def start(self) -> None:
        """Start it and wait until it answers."""
        process = self._process = self.spawn(self.port)

        def answers() -> bool:
            assert process.poll() is None, self.log
            try:
                return self.send("GET", "/api/v1").status == 200
            except OSError:
                return False

        wait_until(answers, "an answer of the API")

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
