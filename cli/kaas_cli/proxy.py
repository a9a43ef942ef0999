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

import urllib3

from kaas.errors import KaasError
from kaas_cli.output import PLATFORM, Failure
from kaas_local.lifeline import tied

#: OpenWhisk's default time-out of an action.
_TIMEOUT_SECONDS = 60

_STOP_SECONDS = 10


class Proxy:
    """The running proxy, spoken to as OpenWhisk's invoker does."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._http = urllib3.PoolManager(timeout=_TIMEOUT_SECONDS)

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
        response = self._http.request("POST", f"{self._url}{path}", json=body, retries=False)
        answer: dict[str, Any] = json.loads(response.data)
        error = answer.get("error")
        if isinstance(error, dict):
            raise KaasError.from_json(error)
        if error is not None or response.status != 200:
            raise Failure(f"{path} answered {response.status}: {error}", status=PLATFORM)
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
            yield Proxy(listener.getsockname()[1])
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
