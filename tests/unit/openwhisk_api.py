"""The local OpenWhisk API in this process: its application over a store of the test's, its containers scripted."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kaas_local.openwhisk.app import make_app
from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.containers.model import SUCCESS, Answer, Call, Executable
from kaas_local.openwhisk.entities import Stamp
from kaas_local.openwhisk.identity import Keys
from kaas_local.openwhisk.invoker import Invoker
from kaas_local.openwhisk.kinds import Kinds
from kaas_local.openwhisk.services import Services
from kaas_local.openwhisk.store import Store, StoreThread

GUEST, OTHER = "uuid-of-guest:key", "uuid-of-other:key"

STEP_MS = 7


#: What an action does: its result.
Act = Callable[[Executable, Call], Any]

Script = Callable[["Api"], Awaitable[None]]


def run(directory: Path, script: Script, act: Act | None = None) -> Api:
    """Run a script against an API of its own; `act` is what actions do, by default they echo."""
    api = Api(directory / "api.sqlite", ScriptedContainers(act or echo))

    async def whole() -> None:
        async with api:
            await script(api)

    asyncio.run(whole())
    return api


def expect(reply: Reply, status: int, text: str) -> None:
    """Hold a refusal against its words."""
    assert reply.status == status, reply.body
    assert reply.json["error"] == text
    assert reply.json["code"] == reply.headers["x-request-id"]


def echo(executable: Executable, call: Call) -> Any:
    """An action that gives back what it gets."""
    return call.value


@dataclass
class ScriptedContainers:
    """Runs no code: `act` says what an action does, its result an error or not."""

    act: Act = echo
    calls: list[tuple[Executable, Call]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    #: Set to hold all calls until it is set.
    gate: asyncio.Event | None = None

    async def run(self, executable: Executable, call: Call) -> Answer:
        """One activation of STEP_MS."""
        self.calls.append((executable, call))
        if self.gate is not None:
            await self.gate.wait()
        result = self.act(executable, call)
        if isinstance(result, Answer):
            return result
        start = now_ms()
        status = 1 if isinstance(result, dict) and "error" in result else SUCCESS
        return Answer(start, start + STEP_MS, 2, status, result, ("2026 stdout: hello",), False, 10)

    async def stop(self, namespace: str, name: str) -> None:
        """Note it."""
        self.stopped.append(f"{namespace}/{name}")


@dataclass
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    parts: list[bytes]

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Api:
    """The application and its parts; use within one event loop, as a context manager."""

    def __init__(self, path: Path, containers: ScriptedContainers) -> None:
        self.containers = containers
        self.store = Store(path)
        self.in_store = StoreThread()
        self.invoker = Invoker(self.store, self.in_store, self.containers, "http://127.0.0.1:3233")
        keys = Keys({"guest": Keys.digest(GUEST), "other": Keys.digest(OTHER)})
        numbers = itertools.count(1)

        def stamp() -> Stamp:
            number = next(numbers)
            return Stamp(1000 + number, f"revision-{number}")

        self.app = make_app(Services(self.store, self.in_store, keys, Kinds(), self.invoker, stamp))

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.invoker.drain()
        self.in_store.close()
        self.store.close()

    async def call(self, method: str, path: str, body: Any = None, *, key: str | None = GUEST, **more: Any) -> Reply:
        """As `send`, to `/api/v1` + path, with guest's key."""
        return await self.send(method, f"/api/v1{path}", body, key=key, **more)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: str = "",
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send a request; a body that is no bytes goes as JSON."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        if key is not None:
            given["authorization"] = f"Basic {base64.b64encode(key.encode()).decode()}"
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
            "server": ("127.0.0.1", 3233),
            "scheme": "http",
            "root_path": "",
        }
        messages = iter([{"type": "http.request", "body": data, "more_body": False}])
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            found = next(messages, None)
            return found if found is not None else await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], found, [message.get("body", b"") for message in sent[1:]])

    async def create(self, name: str, **body: Any) -> Reply:
        """PUT an action of guest's; its code is its name where the test gives none."""
        full = {"exec": {"kind": "python:3", "code": f"# {name}"}, **body}
        return await self.call("PUT", f"/namespaces/_/actions/{name}", full)

    async def create_sequence(self, name: str, *components: str) -> Reply:
        """PUT a sequence of guest's."""
        return await self.create(name, exec={"kind": "sequence", "components": list(components)})

    async def invoke(self, name: str, payload: Any = None, query: str = "blocking=true") -> Reply:
        """POST an action of guest's."""
        return await self.call("POST", f"/namespaces/_/actions/{name}", payload, query=query)
