"""The front's connection to the mover: requests, leases on host segments, and a new epoch after each loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaas.errors import KaasError, PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.frames import AsyncLink, Frame, Link, LinkClosed


class MoverLost(PlatformError):
    """The mover went away with a request; asking again is right."""

    def __init__(self, message: str) -> None:
        super().__init__("store_unreachable", message, hint="the pool tries again by itself; if it lasts, see its log")


_log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.02
_LAST_PAUSE = 1.0


class _Connection:
    """One epoch: a link and the requests in flight on it."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.link: AsyncLink | None = None
        self.waiting: dict[int, asyncio.Future[tuple[Frame, list[int]]]] = {}
        self.closed = asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class Lease:
    """A host segment on lease. It ends with `release`, or with the connection it came over."""

    segment: str
    descriptor: int
    #: Where the wanted bytes lie in the segment.
    offset: int
    size: int
    #: For a loaded range: `host` or `store`.
    source: str
    _client: MoverClient = field(repr=False)
    _connection: _Connection = field(repr=False)
    _open: bool = True

    def release(self, *, mapped: bool = False) -> None:
        """End the lease; once is enough, more does no harm. `mapped`: an executor may still read the segment."""
        if self._open:
            self._open = False
            os.close(self.descriptor)
            self._client.end_lease(self.segment, self._connection, mapped=mapped)


class MoverClient:
    """Requests to the mover at one path. A lost connection fails what was in flight and is made again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = 0
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()
        #: Segments to release, and whether they may still be mapped.
        self._released: dict[_Connection, list[tuple[str, bool]]] = {}
        self._task = asyncio.get_running_loop().create_task(self._keep_connected(), name="mover-connection")
        #: Bytes of the host tier, as the mover said.
        self.host_bytes = 0

    @property
    def is_connected(self) -> bool:
        """Whether requests go out at once."""
        return self._connection is not None

    async def close(self) -> None:
        """Drop the connection and stop trying."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._connection is not None and self._connection.link is not None:
            self._connection.link.close()

    # Requests. Each waits for a connection, raises KaasError, and may be cancelled.

    async def stat(
        self, tenant: str, objects: Sequence[dict[str, Any]], head_bytes: int
    ) -> tuple[str, list[dict[str, Any]]]:
        """What the store says about objects, in order, and the opaque name of the tenant's endpoint."""
        frame: Frame = {"type": "stat", "tenant": tenant, "objects": list(objects), "head_bytes": head_bytes}
        answer, _, _ = await self._request(frame, "stat")
        return str(answer.get("origin", tenant)), answer["objects"]

    async def load(self, tenant: str, domain: str, item: ObjectRange) -> Lease:
        """Bring a byte range into the host tier."""
        fields = {"scheme": item.scheme, "bucket": item.bucket, "key": item.key, "etag": item.etag}
        if item.version is not None:
            fields["version"] = item.version
        whole = {**fields, "offset": item.offset, "size": item.size}
        frame: Frame = {"type": "load", "tenant": tenant, "domain": domain, "object": whole}
        return self._lease(*await self._request(frame, "loaded"))

    async def alloc(self, domain: str, size: int) -> Lease:
        """A segment for results."""
        return self._lease(*await self._request({"type": "alloc", "domain": domain, "size": size}, "allocated"))

    async def store(
        self, tenant: str, lease: Lease, size: int, header: str, item: dict[str, str], if_match: str | None, name: str
    ) -> tuple[str, str]:
        """PUT `header` (base64) and the lease's first bytes; returns the etag and the endpoint's name."""
        if lease._connection is not self._connection:
            raise MoverLost("the results were lost with the mover")
        frame: Frame = {
            "type": "store",
            "tenant": tenant,
            "segment": lease.segment,
            "size": size,
            "header": header,
            "object": item,
            "activation": name,
        }
        if if_match is not None:
            frame["if_match"] = if_match
        answer, _, _ = await self._request(frame, "stored")
        return str(answer["etag"]), str(answer.get("origin", tenant))

    async def purge(self, domain: str) -> int:
        """Drop a domain's idle entries; returns their bytes."""
        answer, _, _ = await self._request({"type": "purge", "domain": domain}, "purged")
        return int(answer["bytes"])

    async def status(self) -> dict[str, Any]:
        """The mover's own account."""
        answer, _, _ = await self._request({"type": "status"}, "status")
        return {key: value for key, value in answer.items() if key not in ("v", "type", "id")}

    def end_lease(self, segment: str, connection: _Connection, *, mapped: bool = False) -> None:
        """Release a segment; several in one round of the loop go out as one frame."""
        if connection is not self._connection:
            return  # It ended with its connection.
        if connection not in self._released:
            self._released[connection] = []
            asyncio.get_running_loop().call_soon(self._send_released, connection)
        self._released[connection].append((segment, mapped))

    def _send_released(self, connection: _Connection) -> None:
        released = self._released.pop(connection)
        if connection.link is not None:
            segments = [segment for segment, _ in released]
            mapped = [segment for segment, is_mapped in released if is_mapped]
            connection.link.send({"type": "release", "segments": segments, "mapped": mapped})

    def _lease(self, answer: Frame, descriptors: list[int], connection: _Connection) -> Lease:
        size, source = int(answer.get("size", 0)), str(answer.get("source", ""))
        return Lease(
            str(answer["segment"]), descriptors[0], int(answer.get("offset", 0)), size, source, self, connection
        )

    async def _request(self, frame: Frame, expected: str) -> tuple[Frame, list[int], _Connection]:
        while (connection := self._connection) is None:
            await self._connected.wait()
        assert connection.link is not None
        self._made += 1
        identifier = self._made
        future: asyncio.Future[tuple[Frame, list[int]]] = asyncio.get_running_loop().create_future()
        connection.waiting[identifier] = future
        connection.link.send({**frame, "id": identifier})
        try:
            answer, descriptors = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._unwanted(*future.result(), connection)
            elif connection.waiting.pop(identifier, None) is not None and frame["type"] in ("load", "store"):
                connection.link.send({"type": "cancel", "id": identifier})
            raise
        wanted = answer["type"] == expected and len(descriptors) == (expected in ("loaded", "allocated"))
        if not wanted:
            self._unwanted(answer, descriptors, connection)
            connection.link.close(f"a frame {answer['type']!r} where {expected!r} was due")
            raise MoverLost("the mover answered what was not asked")
        return answer, descriptors, connection

    def _unwanted(self, answer: Frame, descriptors: list[int], connection: _Connection) -> None:
        """An answer that came too late: what it leases is given back at once."""
        for descriptor in descriptors:
            os.close(descriptor)
        if "segment" in answer:
            self.end_lease(str(answer["segment"]), connection)

    # The connection.

    async def _keep_connected(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            connection = _Connection(secrets.token_hex(8))
            try:
                await self._connect(connection)
            except (OSError, LinkClosed) as error:
                _log.info("the mover at %s does not answer: %s", self._path, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            reason = await connection.closed
            _log.warning("the mover is gone: %s", reason)

    async def _connect(self, connection: _Connection) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.setblocking(False)
            # A Unix socket connects at once or refuses; BlockingIOError means that the backlog is full.
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            raise
        greeted: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

        def on_frame(frame: Frame, descriptors: list[int]) -> None:
            if not greeted.done():
                greeted.set_result(frame)
            else:
                self._on_frame(connection, frame, descriptors)

        def on_close(reason: str) -> None:
            if not greeted.done():
                greeted.set_exception(LinkClosed(reason))
            self._on_close(connection, reason)

        connection.link = AsyncLink(Link(sock), on_frame, on_close)
        connection.link.send({"type": "hello", "epoch": connection.epoch})
        try:
            hello = await greeted
        except asyncio.CancelledError:
            connection.link.close()
            raise
        if hello["type"] != "hello":
            connection.link.close()
            raise LinkClosed(f"{hello['type']!r} instead of hello")
        self.host_bytes = int(hello.get("host_bytes", 0))
        if not connection.link.closed:
            self._connection = connection
            self._connected.set()

    def _on_frame(self, connection: _Connection, frame: Frame, descriptors: list[int]) -> None:
        future = connection.waiting.pop(frame.get("id", -1), None)
        if future is None or future.done():
            self._unwanted(frame, descriptors, connection)
        elif frame["type"] == "error":
            future.set_exception(KaasError.from_json(frame["error"]))
        else:
            future.set_result((frame, descriptors))

    def _on_close(self, connection: _Connection, reason: str) -> None:
        if self._connection is connection:
            self._connection = None
            self._connected.clear()
        for future in connection.waiting.values():
            if not future.done():
                future.set_exception(MoverLost("the mover restarted"))
        connection.waiting.clear()
        if not connection.closed.done():
            connection.closed.set_result(reason)
