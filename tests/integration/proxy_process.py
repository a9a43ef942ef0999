"""An action proxy as its container would run it: the real server process, its two streams, its port."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

SENTINEL = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"


class ProxyProcess:
    """`python -m kaas_proxy` on a port of its own; use as a context manager.

    The listening socket is made here, so that requests wait for the server and nobody has to. Several processes may
    share a `listener`.
    """

    def __init__(
        self,
        directory: Path,
        environment: dict[str, str],
        arguments: tuple[str, ...] = (),
        listener: socket.socket | None = None,
    ) -> None:
        self._listener = listener.dup() if listener is not None else socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._out, self._err = directory / "stdout", directory / "stderr"
        self._seen = (0, 0)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("KAAS_", "__OW_", "PORT"))}
        descriptor = self._listener.fileno()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kaas_proxy", "--bind", f"fd://{descriptor}", *arguments],
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                pass_fds=[descriptor],
                env={**kept, **environment},
            )

    def __enter__(self) -> ProxyProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)

    def mark(self) -> None:
        """From now on only what is written after this counts."""
        self._seen = len(self._out.read_bytes()), len(self._err.read_bytes())

    @property
    def stdout(self) -> str:
        """What the process has written; an activation's part is there when its answer is."""
        return self._out.read_bytes()[self._seen[0] :].decode()

    @property
    def stderr(self) -> str:
        """What the process has written; an activation's part is there when its answer is."""
        return self._err.read_bytes()[self._seen[1] :].decode()

    def sentinels(self) -> tuple[int, int]:
        """How often the sentinel stands on stdout and on stderr."""
        return self.stdout.splitlines().count(SENTINEL), self.stderr.splitlines().count(SENTINEL)

    def post(self, path: str, body: object, *, method: str = "POST") -> tuple[int, Any]:
        """Send JSON, or bytes as they are; returns the status and the decoded answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        # OpenWhisk's client takes no answer without it.
        assert int(response.headers["Content-Length"]) == len(answer)
        assert "Transfer-Encoding" not in response.headers
        return response.status, json.loads(answer)

    def init(self, code: object, **fields: object) -> tuple[int, Any]:
        """`/init` with the payload of OpenWhisk's own tests."""
        value = {"code": code, "main": "main", "binary": False, "env": None, **fields}
        return self.post("/init", {"value": value})

    def run(self, value: object, **fields: object) -> tuple[int, Any]:
        """`/run` with the payload of OpenWhisk's own tests."""
        return self.post("/run", {"value": value, **fields})
