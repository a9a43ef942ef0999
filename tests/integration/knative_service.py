"""A kernel action as a Knative Service: the real server process, and the CloudEvents SDK as its client."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from front_process import wait_until
from proxy_process import ProxyProcess
from scripted_pool import Request, Script, error

from kaas.client import digest_of

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error in a plain answer, or in the data of an event."""
        body = self.json
        return (body["data"] if "specversion" in body else body)["error"]

    def event(self) -> Any:
        """The event that it is, as the SDK reads it."""
        return from_http_event(HTTPMessage(self.headers, self.body))


def event(data: Any = None, **attributes: Any) -> Any:
    """An event of the SDK; what is not given is made up."""
    whole = {"type": "dev.kaas.invoke", "source": "/tests", "datacontenttype": "application/json", **attributes}
    return CloudEvent({name: value for name, value in whole.items() if value is not None}, data)


def encoded(one: Any, *, structured: bool) -> tuple[dict[str, str], bytes]:
    """An event's request."""
    message = to_structured_event(one) if structured else to_binary_event(one)
    return dict(message.headers), message.body


def variables(pool_url: str, action: str | Path) -> dict[str, str]:
    """The environment of a Service of alice's."""
    return {"KAAS_POOL_URL": pool_url, "KAAS_TOKEN": "alice-token", "KAAS_ACTION": str(action)}


class KnativeService(ProxyProcess):
    """The action proxy with a `KAAS_ACTION`."""

    def __init__(
        self,
        directory: Path,
        pool_url: str,
        action: str | Path,
        listener: socket.socket | None = None,
        **environment: str,
    ) -> None:
        directory.mkdir(exist_ok=True)
        super().__init__(directory, {**variables(pool_url, action), **environment}, listener=listener)

    def __enter__(self) -> KnativeService:
        return self

    def request(
        self, method: str, path: str, body: bytes | Iterator[bytes] = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own; what is iterated over is sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, data)

    def call(self, payload: Any) -> Answer:
        """A plain call."""
        return self.request("POST", "/", json.dumps(payload).encode(), JSON)

    def send(self, one: Any, *, structured: bool = False) -> Answer:
        """Deliver an event."""
        headers, body = encoded(one, structured=structured)
        return self.request("POST", "/", body, headers)

    def is_ready(self) -> bool:
        """What its readiness probe says now."""
        return self.request("GET", "/health/readiness").status == 200

    def wait_until_ready(self) -> None:
        """Wait for the readiness probe."""
        wait_until(lambda: self.process.poll() is not None or self.is_ready())
        assert self.process.poll() is None, self.stderr


def serving(manifest: str, script: Script) -> Script:
    """The script of a pool that is ready and knows this bundle; `script` has what is invoked."""

    def answer(request: Request) -> tuple[int, Any] | None:
        if request.method == "POST" and request.path == "/v1/invocations":
            return script(request)
        if request.path == "/healthz/ready":
            return 200, {"status": "ready"}
        digest = digest_of(manifest.encode())
        if request.path == f"/v1/bundles/{digest}":
            return 200, {"digest": digest, "name": "x", "manifest": manifest}
        return 404, error("bundle_unknown")

    return answer


@contextmanager
def ready_service(directory: Path, pool_url: str, action: str | Path, **environment: str) -> Iterator[KnativeService]:
    """A Service that is ready."""
    with KnativeService(directory, pool_url, action, None, **environment) as service:
        service.wait_until_ready()
        yield service
