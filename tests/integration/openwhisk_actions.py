"""Actions for the local OpenWhisk's containers, and an event loop to run them in."""

from __future__ import annotations

import asyncio
import base64
import io
import time
import uuid
import zipfile
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from local_stack import PATIENCE_SECONDS

from kaas_local.openwhisk.containers import Answer, Call, Containers, Executable, Settings
from kaas_local.openwhisk.containers.programs import find_node
from kaas_local.openwhisk.kinds import PYTHON

needs_node = pytest.mark.skipif(find_node() is None, reason="no Node.js 20 or newer on PATH")

T = TypeVar("T")


def executable(code: str, kind: str = PYTHON, **changes: Any) -> Executable:
    """An action with OpenWhisk's usual limits, and a name and a revision of its own."""
    identifier = uuid.uuid4().hex
    made = Executable(
        namespace="guest",
        name=f"action-{identifier[:8]}",
        version="0.0.1",
        revision=identifier,
        kind=kind,
        code=code,
        binary=False,
        main="",
        env={},
        timeout_ms=60_000,
        memory_mb=256,
        logs_mb=10,
    )
    return replace(made, **changes)


def zipped(files: Mapping[str, str | bytes]) -> str:
    """The base64 of a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return base64.b64encode(buffer.getvalue()).decode()


def call(value: Any = None, *, within_s: float = 100, **changes: Any) -> Call:
    """A call with an activation id of its own, that may wait for its process so long."""
    made = Call(
        value={} if value is None else value,
        namespace="guest",
        activation_id=uuid.uuid4().hex,
        transaction_id="t" * 32,
        deadline_ms=round((time.time() + within_s) * 1000),
        api_key=None,
        api_host="http://127.0.0.1:3233",
    )
    return replace(made, **changes)


class Machine:
    """Containers, and the event loop that they live in; use as a context manager."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._settings = Settings(directory, **{"proxy_environment": {}, **settings})
        self.containers: Containers

    def __enter__(self) -> Machine:
        async def make() -> Containers:
            return Containers(self._settings)

        self.containers = self.wait(make())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait(self.containers.close())
        finally:
            self._loop.close()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work comes to; the loop runs only meanwhile."""
        return self._loop.run_until_complete(work)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Let the containers go on until something holds."""

        async def wait() -> None:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while not holds():
                assert time.monotonic() < give_up, f"never came about: {what}"
                await asyncio.sleep(0.02)

        self.wait(wait())

    def run(self, action: Executable, value: Any = None, **changes: Any) -> Answer:
        """Run one activation."""
        return self.wait(self.containers.run(action, call(value, **changes)))


def lines(answer: Answer, stream: str) -> list[str]:
    """What the log has of a stream, without the times."""
    marked = [line[30:].lstrip() for line in answer.logs]
    return [line.removeprefix(f"{stream}: ") for line in marked if line.startswith(f"{stream}:")]
