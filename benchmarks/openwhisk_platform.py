"""What `kaas up` starts, on the emulated device, and how the benchmarks of OpenWhisk speak to it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import null_invocation

from kaas.client import basic, bearer, digest_of
from kaas_local import stack as local
from kaas_local.credentials import GUEST, REGION, Credentials
from kaas_local.state import Stack, StateDirectory


@dataclass(frozen=True)
class Server:
    """The pool or the OpenWhisk API: its port, and the tenant's authorization there."""

    port: int
    authorization: str

    def message(self, path: str, body: Mapping[str, Any]) -> bytes:
        """A POST of JSON."""
        return null_invocation.request(path, json.dumps(body).encode(), authorization=self.authorization)

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """One request on a connection of its own; raises RuntimeError for an answer that is no success."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        message = null_invocation.request(path, data, method=method, authorization=self.authorization, kind=kind)
        status, answer = asyncio.run(null_invocation.once(self.port, message))
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {answer[:400]!r}")
        return json.loads(answer)


class Platform:
    """A stack that runs; everything in it belongs to its one tenant, `guest`."""

    def __init__(self, stack: Stack, credentials: Credentials) -> None:
        keys = credentials.namespaces[GUEST]
        self._store_key = keys.store_key
        self._store_url = stack.store_url
        self.pool = Server(_port(stack.pool_url), bearer(keys.token))
        self.api = Server(_port(stack.api_url), basic(keys.api_key))
        self.api_pid = stack.processes["openwhisk"].pid

    def store(self) -> Any:
        """A client of the object store, with the tenant's rights."""
        return boto3.client(
            "s3",
            endpoint_url=self._store_url,
            aws_access_key_id=self._store_key.access_key,
            aws_secret_access_key=self._store_key.secret_key,
            region_name=REGION,
        )

    def upload(self, content: bytes) -> None:
        """Give the pool a bundle; it is compiled when this returns."""
        path = f"/v1/bundles/{digest_of(content)}"
        self.pool.ask("PUT", path, content, kind="application/zip")

    def create_kernel(self, name: str, content: bytes, **parameters: Any) -> None:
        """A kernel action with parameters bound to it, whose caller's key goes along."""
        code = {"kind": "kaas:1", "code": base64.b64encode(content).decode(), "binary": True}
        self._create(name, code, parameters, {"provide-api-key": True})

    def create_python(self, name: str, text: str) -> None:
        """A CPU action."""
        self._create(name, {"kind": "python:3", "code": text}, {}, {})

    def create_sequence(self, name: str, *components: str) -> None:
        """A sequence of actions."""
        self._create(name, {"kind": "sequence", "components": [f"/_/{one}" for one in components]}, {}, {})

    def invocation(self, name: str, payload: Mapping[str, Any]) -> bytes:
        """The request of a blocking invocation."""
        return self.api.message(f"/api/v1/namespaces/_/actions/{name}?blocking=true", payload)

    def activations(self, since_ms: int) -> int:
        """How many activations have a record that began at this time (milliseconds since 1970) or later."""
        return int(self.api.ask("GET", f"/api/v1/namespaces/_/activations?count=true&since={since_ms}")["activations"])

    def _create(
        self, name: str, code: Mapping[str, Any], parameters: Mapping[str, Any], annotations: Mapping[str, Any]
    ) -> None:
        document = {"exec": code, "parameters": _pairs(parameters), "annotations": _pairs(annotations)}
        self.api.ask("PUT", f"/api/v1/namespaces/_/actions/{name}", document)


@contextlib.contextmanager
def running_platform(directory: Path) -> Iterator[Platform]:
    """A stack of its own in the directory."""
    state = StateDirectory(directory)
    try:
        stack = local.start(state, "emulated", dies_with_parent=True)
        credentials = Credentials.load(state)
        assert credentials is not None
        yield Platform(stack, credentials)
    finally:
        local.stop(state)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in values.items()]
