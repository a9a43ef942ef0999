"""An action proxy of this process's own, on a free port of this machine: what OpenWhisk starts as a container."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaas.connections import ConnectionFailedError, Connections
from kaas.errors import KaasError
from kaas_cli.output import PLATFORM, Failure
from kaas_local.lifeline import tied

#: OpenWhisk's default time-out of an action.
_TIMEOUT_SECONDS = 60

_STOP_SECONDS = 10


class Proxy:
    """The running proxy, spoken to as OpenWhisk's invoker does."""

    def __init__(self, port: int) -> None:
        self._connections = Connections(f"http://127.0.0.1:{port}")

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def init(self, name: str, zipped: bytes) -> None:
        """Send `/init`; raises what it answers."""
        code = base64.b64encode(zipped).decode()
        self._post("/init", {"value": {"name": name, "main": "main", "code": code, "binary": True, "env": {}}})

    def run(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Send `/run`; raises what it answers in place of a result."""
        deadline = round((time.time() + _TIMEOUT_SECONDS) * 1000)
        fields = {"namespace": "guest", "action_name": f"/guest/{name}", "activation_id": uuid.uuid4().hex}
        return self._post("/run", {"value": dict(arguments), **fields, "deadline": str(deadline)})

    def _post(self, path: str, body: object) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        try:
            status, data = self._connections.send(
                "POST", path, json.dumps(body).encode(), headers, connect_s=_TIMEOUT_SECONDS, answer_s=_TIMEOUT_SECONDS
            )
        except ConnectionFailedError as failed:
            raise Failure(f"the action proxy {failed}", status=PLATFORM) from failed
        answer: dict[str, Any] = json.loads(data)
        error = answer.get("error")
        if isinstance(error, dict):
            raise KaasError.from_json(error)
        if error is not None or status != 200:
            raise Failure(f"{path} answered {status}: {error}", status=PLATFORM)
        return answer


@contextlib.contextmanager
def running_proxy(environment: Mapping[str, str], log: Path) -> Iterator[Proxy]:
    """Start a proxy, end it at exit. It listens at once, and answers when it has started."""
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("ab") as output:
        descriptor = listener.fileno()
        process = subprocess.Popen(
            tied([sys.executable, "-m", "kaas_proxy", "--bind", f"fd://{descriptor}"]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[descriptor],
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            with contextlib.closing(Proxy(listener.getsockname()[1])) as proxy:
                yield proxy
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
