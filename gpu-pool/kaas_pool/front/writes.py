"""Storing what was acknowledged before its PUT: PUTs in order, made again while that helps, and told about at the end.

`pending.py` keeps the account of it. A write holds its host segment until its PUT has ended; until then whoever needs
the contents on another device gets them from there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kaas.errors import KaasError, PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.front.executors import Executors
from kaas_pool.front.host_room import HostRoom, Room, pages
from kaas_pool.front.invocation import Invocation
from kaas_pool.front.journal import Journal, Promised
from kaas_pool.front.metrics import Metrics
from kaas_pool.front.mover_client import Lease, MoverClient, MoverLost
from kaas_pool.front.pending import Pending, Write, output_lost
from kaas_pool.front.sightings import Answer, Stored
from kaas_pool.front.work import Output

#: For so long after the acknowledgement a PUT that meets the store's trouble is begun again, in seconds ...
PATIENCE_SECONDS = 60.0
#: ... after pauses of as many times this as there were attempts, in seconds, and at most so many.
_PAUSE = 0.2
_MOST_PAUSES = 10

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Held:
    """A lease on a result segment, for its PUT and for those who read it meanwhile."""

    lease: Lease
    users: int = 1
    mapped: bool = False

    def release(self, *, mapped: bool) -> None:
        self.users -= 1
        self.mapped = self.mapped or mapped
        if not self.users:
            self.lease.release(mapped=self.mapped)


@dataclass(eq=False)
class Share:
    """The part of a segment that an input is, for as long as it is copied. As a `Lease`."""

    descriptor: int
    offset: int
    size: int
    _held: _Held = field(repr=False)
    _open: bool = True

    def release(self, *, mapped: bool = False) -> None:
        """Read it no more; once is enough, more does no harm."""
        if self._open:
            self._open = False
            self._held.release(mapped=mapped)


@dataclass(eq=False)
class Promise:
    """An invocation whose outputs will be acknowledged before their PUTs: there is room, and the journal knows."""

    life: Invocation
    domain: str
    outputs: tuple[Output, ...]
    version: str
    #: The mover's name of the tenant's store.
    origin: str

    @property
    def sizes(self) -> list[int]:
        """What they take of the host tier, in bytes."""
        return [pages(output.buffer.nbytes) for output in self.outputs]

    def rows(self) -> list[Promised]:
        """What the journal has to know."""
        tenant, now = self.life.tenant, time.time()
        return [Promised(tenant, output.reference, self.version, now) for output in self.outputs]


@dataclass(eq=False)
class _Put:
    """One write under way."""

    write: Write
    promise: Promise
    output: Output
    held: _Held
    #: Ends the invocation's hold on the host tier's room with its last PUT.
    leave_room: Callable[[], None]
    #: The PUT of the same object that goes first.
    ahead: _Put | None
    #: Done, with nothing, once its end is known.
    ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def life(self) -> Invocation:
        return self.promise.life


class Writes:
    """All writes under way. `on_stored(tenant, stored)` is told what the store has, `on_end(life)` every end."""

    def __init__(
        self,
        mover: MoverClient,
        journal: Journal,
        executors: Executors,
        room: HostRoom,
        metrics: Metrics,
        on_end: Callable[[Invocation], None],
    ) -> None:
        self._mover = mover
        self._journal = journal
        self._executors = executors
        self._room = room
        self._metrics = metrics
        self._on_end = on_end
        self._on_stored: Callable[[str, Stored], None] = lambda _, __: None
        self._puts: dict[Write, _Put] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.account = Pending()
        now, wall = time.monotonic(), time.time()
        for row in journal.promised():
            self.account.restore(row.tenant, row.object_id, row.version, now - max(0.0, wall - row.at))

    def report_stored(self, on_stored: Callable[[str, Stored], None]) -> None:
        """Call `on_stored` from now on."""
        self._on_stored = on_stored

    # ***** acknowledging *****

    async def promise(
        self, life: Invocation, domain: str, outputs: tuple[Output, ...], origin: str | None
    ) -> Promise | None:
        """Make sure that outputs may be acknowledged now; None if their PUTs have to be waited for.

        `origin` is the mover's name of the tenant's store, if it is known. `begin` must follow at once. Raises
        KaasError.
        """
        tenant = life.tenant
        origin = origin or (await self._mover.stat(tenant, [], 0))[0]
        # Not the id alone: an id may be used again, and must then not name what was written the first time.
        promise = Promise(life, domain, outputs, f"{life.id}/{secrets.token_hex(8)}", origin)
        if not self.account.reserve(tenant, promise.sizes, self._mover.host_bytes):
            return None
        rows = promise.rows()
        try:
            await self._journal.promise(rows)
        except sqlite3.Error:
            self.account.free(tenant, promise.sizes)
            return None
        except BaseException:
            self.account.free(tenant, promise.sizes)
            self._forget(rows)
            raise
        return promise

    def begin(self, promise: Promise, leases: Mapping[str, Lease], room: Room) -> dict[str, str]:
        """Acknowledge: the outputs are seen, and their PUTs begin. Takes over leases and room.

        Returns the content keys by buffer.
        """
        tenant, now, left = promise.life.tenant, time.monotonic(), len(promise.outputs)

        def leave_room() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._room.give_back(room)

        keys: dict[str, str] = {}
        for output, size in zip(promise.outputs, promise.sizes, strict=True):
            name, ahead = output.buffer.name, self.account.newest(tenant, output.reference)
            answer = _answer(output, promise.version, promise.origin, is_version=True)
            write = self.account.begin(tenant, output.reference, answer, size, now)
            put = _Put(write, promise, output, _Held(leases[name]), leave_room, self._puts[ahead] if ahead else None)
            self._puts[write] = put
            keys[name] = output.cache_key(promise.origin, promise.version)
            task = asyncio.get_running_loop().create_task(self._store(put), name=f"store {promise.version}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return keys

    # ***** using *****

    async def settled(self, tenant: str, object_id: str) -> None:
        """Wait until the PUTs of an object that were acknowledged until now have ended."""
        write = self.account.newest(tenant, object_id)
        if write is not None:
            await asyncio.shield(self._puts[write].ended)

    def source(self, tenant: str, object_id: str, item: ObjectRange) -> ObjectRange | Share:
        """Where a range of an object comes from whose etag may be a version. Raises `output_lost`."""
        write = self.account.find(tenant, object_id, item.etag)
        if write is None:
            return item
        if write.state == "stored":
            assert write.etag is not None
            return replace(item, etag=write.etag)
        put = self._puts.get(write)
        if put is None:
            raise output_lost(object_id, item.etag, None, write)
        put.held.users += 1
        return Share(put.held.lease.descriptor, item.offset - len(put.output.header), item.size, put.held)

    def overwritten(self, tenant: str, object_ids: Iterable[str]) -> None:
        """The tenant has stored these objects."""
        for object_id in object_ids:
            self.account.overwritten(tenant, object_id)
        self._forget_gone()

    def found(self, tenant: str, object_id: str, version: str, etag: str) -> None:
        """The store has a version that was not known to be there."""
        self.account.found(tenant, object_id, version, etag, time.monotonic())
        self._forget_gone()

    def forget(self, tenant: str, object_id: str | None) -> None:
        """A tenant goes on with what the store has of an object, or of all."""
        self.account.forget(tenant, object_id)
        self._forget_gone()

    # ***** the end *****

    def expire(self) -> None:
        """Forget what ended over an hour ago."""
        self.account.expire(time.monotonic())
        self._forget_gone()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Give up what is under way; the journal still knows of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _store(self, put: _Put) -> None:
        write, life = put.write, put.life
        error: KaasError | None = None
        etag = origin = ""
        try:
            if put.ahead is not None:
                await asyncio.shield(put.ahead.ended)
                put.ahead = None
            etag, origin = await self._put_patiently(put)
        except KaasError as failed:
            error = failed
        except Exception:
            _log.exception("storing %s of %s", write.object_id, life.tenant)
            error = PlatformError("internal", "the front failed; its log has the details")
        finally:
            put.held.release(mapped=False)
            put.leave_room()
            self.account.free(life.tenant, [write.size])
            del self._puts[write]
        name, now = put.output.buffer.name, time.monotonic()
        if error is not None:
            _log.warning("%s of %s is lost: %s", write.object_id, life.tenant, error.message)
            self.account.lost(write, error, now)
            self._metrics.lost_outputs.labels(life.tenant).inc()
        else:
            if self.account.stored(write, etag, now):
                self._on_stored(life.tenant, Stored(write.object_id, _answer(put.output, etag, origin), now))
            self._rename(put, put.output.cache_key(origin, etag))
        put.ended.set_result(None)
        self._forget_gone()
        if error is not None:
            life.settle(name, now, lost=output_lost(write.object_id, write.version, None, write))
        else:
            life.settle(name, now, etag=etag)
        self._on_end(life)

    async def _put_patiently(self, put: _Put) -> tuple[str, str]:
        """The etag and the store's name. Raises KaasError."""
        until, attempts = time.monotonic() + PATIENCE_SECONDS, 0
        while True:
            try:
                return await self._mover.store(
                    put.life.tenant,
                    put.held.lease,
                    put.output.buffer.nbytes,
                    base64.b64encode(put.output.header).decode(),
                    put.output.object,
                    None,
                    put.write.version,
                )
            except MoverLost:
                raise  # With the segment.
            except KaasError as error:
                attempts += 1
                pause = _PAUSE * min(attempts, _MOST_PAUSES)
                if error.row.retry != "platform" or time.monotonic() + pause > until:
                    raise
                put.life.tell(
                    f"storing {put.output.buffer.name} again: {error.code}: {error.message}", time.monotonic()
                )
            await asyncio.sleep(pause)

    def _rename(self, put: _Put, key: str) -> None:
        former = put.output.cache_key(put.promise.origin, put.write.version)
        for executor in self._executors:
            if executor.domain == put.promise.domain:
                executor.rename({former: key})

    def _forget_gone(self) -> None:
        gone = self.account.take_gone()
        if gone:
            self._forget([Promised(write.tenant, write.object_id, write.version, 0.0) for write in gone])

    def _forget(self, rows: list[Promised]) -> None:
        def look(written: asyncio.Future[None]) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                written.exception()  # The journal has told its log; too much in it is asked of the store.

        self._journal.unpromise(rows).add_done_callback(look)


def _answer(output: Output, etag: str, origin: str, *, is_version: bool = False) -> Answer:
    header = output.header
    return Answer(etag, len(header) + output.buffer.nbytes, base64.b64encode(header).decode(), origin, is_version)
