"""The front's link to the supervisor, which starts, kills and reaps the other processes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from kaas.errors import KaasError, PlatformError
from kaas_pool.frames import AsyncLink, Frame, Link

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Child:
    """A process the supervisor started for the front. `link` is the front's end; whoever takes the child closes it."""

    name: str
    pid: int
    link: Link
    _kill: Callable[[str, str], None]
    #: Done with the exit status once the process has been reaped.
    exited: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def kill(self, reason: str) -> None:
        """Have it killed; `exited` tells when it is gone."""
        if not self.exited.done():
            self._kill(self.name, reason)


class SupervisorClient:
    """Requests to the supervisor. `on_adopted(child, device, domain)` gets executors that outlived an earlier front."""

    def __init__(
        self,
        link: Link,
        on_adopted: Callable[[Child, str, str], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_adopted = on_adopted
        self._on_lost = on_lost
        self._waiting: dict[int, asyncio.Future[Child]] = {}
        self._children: dict[str, Child] = {}
        self._made = 0
        self._link = AsyncLink(link, self._on_frame, self._on_close)

    async def spawn(self, role: str, device: str | None = None, domain: str | None = None) -> Child:
        """Start an `executor` or a `compiler`. Raises KaasError: what the supervisor says."""
        self._made += 1
        identifier = self._made
        frame: Frame = {"type": "spawn", "id": identifier, "role": role}
        if device is not None:
            frame["device"] = device
        if domain is not None:
            frame["domain"] = domain
        future: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = future
        self._link.send(frame)
        try:
            return await future
        finally:
            # Whoever gave up waiting will not take the child: it is killed when it comes (see `_spawned`).
            self._waiting.pop(identifier, None)

    def close(self) -> None:
        """Drop the link."""
        self._link.close()

    def _kill(self, name: str, reason: str) -> None:
        self._link.send({"type": "kill", "child": name, "reason": reason})

    def _on_frame(self, frame: Frame, descriptors: list[int]) -> None:
        kind = frame["type"]
        if kind in ("spawned", "adopted") and len(descriptors) == 1:
            child = Child(str(frame["child"]), int(frame["pid"]), Link.from_descriptor(descriptors[0]), self._kill)
            self._children[child.name] = child
            if kind == "spawned":
                self._spawned(int(frame["id"]), child)
            else:
                self._on_adopted(child, str(frame["device"]), str(frame["domain"]))
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if kind == "exited":
            gone = self._children.pop(str(frame["child"]), None)
            if gone is not None and not gone.exited.done():
                gone.exited.set_result(int(frame["status"]))
        elif kind == "error":
            future = self._waiting.pop(int(frame["id"]), None)
            if future is not None and not future.done():
                future.set_exception(KaasError.from_json(frame["error"]))
        else:
            self._link.close(f"an unknown frame {kind!r}")

    def _spawned(self, identifier: int, child: Child) -> None:
        future = self._waiting.pop(identifier, None)
        if future is None or future.done():
            child.link.close()
            child.kill("nobody waits for it any more")
        else:
            future.set_result(child)

    def _on_close(self, reason: str) -> None:
        _log.error("the supervisor is gone: %s", reason)
        error = PlatformError("device_unavailable", "the pool's supervisor is gone")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._on_lost()
