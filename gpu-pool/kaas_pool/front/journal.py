"""What survives the front: accepted asynchronous invocations and their outcomes, tenants' bundles, pinned references,
outputs that were acknowledged before their PUT.

One SQLite file in WAL mode with `synchronous=FULL`. A thread of its own does every write; what is asked for while it
commits goes into the next transaction, so many callers share one fsync. A write's awaitable is done when it is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kaas.errors import PlatformError
from kaas.messages import Invocation as Answer
from kaas_pool.storage import storage_full

#: How long outcomes are kept, in seconds (docs/contracts.md, "HTTP, version 1").
KEEP_SECONDS = 3600.0

#: What one tenant's outcomes may take, in bytes; then its oldest ones go before their time, so that it cannot fill the
#: disk of all. Ordinary ones have some 2 kB: this is 140 of them every second.
KEEP_BYTES = 1 << 30

_SCHEMA = """
CREATE TABLE IF NOT EXISTS bundles (tenant TEXT, digest TEXT, PRIMARY KEY (tenant, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (
    tenant TEXT, digest TEXT, buffer TEXT, reference TEXT, answer TEXT,
    PRIMARY KEY (tenant, digest, buffer, reference)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS promised (
    number INTEGER PRIMARY KEY, tenant TEXT, object TEXT, version TEXT, at REAL, UNIQUE (tenant, object, version));
CREATE TABLE IF NOT EXISTS invocations (
    tenant TEXT, id TEXT, fingerprint TEXT, accepted REAL, request TEXT, objects TEXT, ended REAL, answer TEXT,
    PRIMARY KEY (tenant, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS invocations_ended ON invocations (ended);
CREATE INDEX IF NOT EXISTS invocations_tenant ON invocations (tenant, ended);
CREATE TABLE IF NOT EXISTS outcome_bytes (tenant TEXT PRIMARY KEY, bytes INTEGER) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS outcome_added AFTER INSERT ON invocations WHEN new.answer IS NOT NULL BEGIN
    INSERT INTO outcome_bytes VALUES (new.tenant, LENGTH(new.answer))
        ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER IF NOT EXISTS outcome_removed AFTER DELETE ON invocations WHEN old.answer IS NOT NULL BEGIN
    UPDATE outcome_bytes SET bytes = bytes - LENGTH(old.answer) WHERE tenant = old.tenant;
END;
INSERT INTO outcome_bytes SELECT tenant, SUM(LENGTH(answer)) FROM invocations
    WHERE answer IS NOT NULL AND NOT EXISTS (SELECT 1 FROM outcome_bytes) GROUP BY tenant;
"""

#: What SQLite and JSON say of a damaged file.
_DAMAGE = (sqlite3.Error, AttributeError, LookupError, TypeError, ValueError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unfinished:
    """An accepted invocation without an outcome. `accepted` is wall-clock seconds since the epoch.

    `request` is the body as it came; `objects` are the versions of its inputs that acceptance fixed, by reference.
    """

    tenant: str
    id: str
    fingerprint: str
    accepted: float
    request: dict[str, Any]
    objects: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """An invocation that ended; `ended` is wall-clock seconds since the epoch."""

    tenant: str
    id: str
    fingerprint: str
    ended: float
    answer: Answer


@dataclass(frozen=True)
class Promised:
    """An output that is acknowledged before its PUT; `at` is wall-clock seconds since the epoch."""

    tenant: str
    object_id: str
    version: str
    at: float


@dataclass(frozen=True)
class Pin:
    """The version that a tenant's reference is pinned to; `answer` is a `sightings.Answer` as JSON."""

    tenant: str
    digest: str
    buffer: str
    reference: str
    answer: dict[str, Any]


_Row = TypeVar("_Row")
_Statement = tuple[str, Sequence[object]]
_Order = tuple[list[_Statement], "asyncio.Future[None]"]


class Journal:
    """The file, its writing thread, and a connection for reading that belongs to the loop's thread.

    What reads raises `internal` where the file is damaged.
    """

    def __init__(self, path: Path, keep_bytes: int = KEEP_BYTES) -> None:
        """Raises `internal` for a file that is damaged or of no use otherwise; what is in it stays there."""
        self._path = path
        self._keep_bytes = keep_bytes
        self._check()
        path.chmod(0o600)
        self._reading = self._connect()
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what was asked for and close the file."""
        self._orders.put(None)
        self._thread.join()
        self._reading.close()

    # Writing: each returns when it is on disk.

    async def accept(self, entry: Unfinished) -> None:
        """Promise to bring an invocation to an outcome."""
        await self._order(
            "INSERT OR REPLACE INTO invocations VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
            (
                entry.tenant,
                entry.id,
                entry.fingerprint,
                entry.accepted,
                _dump(entry.request),
                _dump(entry.objects),
            ),
        )

    def record(self, outcomes: Sequence[Outcome]) -> asyncio.Future[None]:
        """Keep outcomes for `KEEP_SECONDS`, those of a tenant up to its limit of bytes."""
        return self._order_all(
            [
                (
                    "INSERT OR REPLACE INTO invocations VALUES (?, ?, ?, NULL, NULL, NULL, ?, ?)",
                    (outcome.tenant, outcome.id, outcome.fingerprint, outcome.ended, _dump(outcome.answer.to_json())),
                )
                for outcome in outcomes
            ]
        )

    async def know_bundle(self, tenant: str, digest: str) -> None:
        """This tenant has uploaded this bundle."""
        await self._order("INSERT OR REPLACE INTO bundles VALUES (?, ?)", (tenant, digest))

    async def pin(self, pins: Sequence[Pin], gone: Sequence[tuple[str, str, str, str]] = ()) -> None:
        """These references stay at these versions; `gone` are pins to forget, as for `unpin`."""
        added: list[_Statement] = [
            (
                "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?)",
                (pin.tenant, pin.digest, pin.buffer, pin.reference, _dump(pin.answer)),
            )
            for pin in pins
        ]
        await self._order_all([*added, *map(_unpin, gone)])

    async def unpin(self, keys: Sequence[tuple[str, str, str, str]]) -> None:
        """Forget pinned versions, by (tenant, digest, buffer, reference)."""
        await self._order_all([_unpin(key) for key in keys])

    async def promise(self, outputs: Sequence[Promised]) -> None:
        """These outputs may be acknowledged although no PUT of theirs has ended."""
        statement = "INSERT OR REPLACE INTO promised (tenant, object, version, at) VALUES (?, ?, ?, ?)"
        await self._order_all([(statement, (one.tenant, one.object_id, one.version, one.at)) for one in outputs])

    def unpromise(self, outputs: Sequence[Promised]) -> asyncio.Future[None]:
        """Nothing is left to know of these outputs."""
        statement = "DELETE FROM promised WHERE tenant = ? AND object = ? AND version = ?"
        return self._order_all([(statement, (one.tenant, one.object_id, one.version)) for one in outputs])

    async def forget_before(self, ended: float) -> None:
        """Drop outcomes older than `ended` (wall clock)."""
        await self._order("DELETE FROM invocations WHERE ended < ?", (ended,))

    # Reading: at the start, and for what memory does not hold.

    def unfinished(self) -> list[Unfinished]:
        """Accepted invocations without an outcome, oldest first."""
        return self._rows(
            lambda tenant, identifier, fingerprint, accepted, request, objects: Unfinished(
                tenant, identifier, fingerprint, accepted, json.loads(request), json.loads(objects)
            ),
            "SELECT tenant, id, fingerprint, accepted, request, objects FROM invocations"
            " WHERE ended IS NULL ORDER BY accepted",
        )

    def outcome(self, tenant: str, identifier: str) -> Outcome | None:
        """The outcome of one invocation, if it is kept."""
        found = self._rows(
            lambda fingerprint, ended, answer: Outcome(
                tenant, identifier, fingerprint, ended, Answer.from_json(json.loads(answer))
            ),
            "SELECT fingerprint, ended, answer FROM invocations WHERE tenant = ? AND id = ? AND ended IS NOT NULL",
            (tenant, identifier),
        )
        return found[0] if found else None

    def has_outcomes(self) -> bool:
        """Whether any outcome is kept."""
        return bool(self._rows(lambda *row: row, "SELECT 1 FROM invocations WHERE ended IS NOT NULL LIMIT 1"))

    def bundles(self) -> list[tuple[str, str]]:
        """All (tenant, digest)."""
        return self._rows(lambda *row: row, "SELECT tenant, digest FROM bundles")

    def pins(self) -> list[Pin]:
        """All pinned versions."""
        return self._rows(
            lambda tenant, digest, buffer, reference, answer: Pin(
                tenant, digest, buffer, reference, json.loads(answer)
            ),
            "SELECT tenant, digest, buffer, reference, answer FROM pins",
        )

    def promised(self) -> list[Promised]:
        """All outputs whose PUTs are not known to have ended well, in the order promised."""
        return self._rows(Promised, "SELECT tenant, object, version, at FROM promised ORDER BY number")

    def _rows(self, build: Callable[..., _Row], statement: str, values: Sequence[object] = ()) -> list[_Row]:
        try:
            return [build(*row) for row in self._reading.execute(statement, values)]
        except _DAMAGE as error:
            raise _unreadable(self._path, error) from error

    # The file.

    def _check(self) -> None:
        """See that the file is whole (0.9 s for each GB of it), and give it the tables that it lacks."""
        try:
            log = self._path.with_name(f"{self._path.name}-wal")
            # SQLite would throw the log away, and everything in it.
            if _size(log) and not _size(self._path):
                raise sqlite3.DatabaseError("it is empty, and its log is not")
            with contextlib.closing(self._connect()) as connection:
                [(found,)] = connection.execute("PRAGMA quick_check(1)")
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
                connection.executescript(_SCHEMA)
        except (OSError, *_DAMAGE) as error:
            raise _unreadable(self._path, error) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10.0, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # Without it a row that is replaced tells no trigger that it went.
            connection.execute("PRAGMA recursive_triggers = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    # The writing thread.

    async def _order(self, statement: str, values: Sequence[object]) -> None:
        await self._order_all([(statement, values)])

    def _order_all(self, statements: list[_Statement]) -> asyncio.Future[None]:
        done: asyncio.Future[None] = self._loop.create_future()
        self._orders.put((statements, done))
        return done

    def _write(self) -> None:
        connection = self._connect()
        with contextlib.closing(connection):
            ending = False
            while not ending:
                batch: list[_Order] = []
                order = self._orders.get()
                while True:
                    if order is None:
                        ending = True
                    else:
                        batch.append(order)
                    try:
                        order = self._orders.get_nowait()
                    except queue.Empty:
                        break
                error: sqlite3.Error | None = None
                try:
                    with connection:
                        for statements, _ in batch:
                            for statement, values in statements:
                                connection.execute(statement, values)
                        self._trim(connection)
                except sqlite3.Error as failed:
                    _log.error("the journal cannot be written: %s", failed)
                    error = failed
                self._settle(batch, error)

    def _trim(self, connection: sqlite3.Connection) -> None:
        """Drop the oldest outcomes of tenants that have too many bytes of them."""
        over = "SELECT tenant, bytes - ? FROM outcome_bytes WHERE bytes > ?"
        for tenant, excess in connection.execute(over, (self._keep_bytes, self._keep_bytes)).fetchall():
            oldest = connection.execute(
                "SELECT id, LENGTH(answer) FROM invocations WHERE tenant = ? AND ended IS NOT NULL ORDER BY ended",
                (tenant,),
            )
            going: list[tuple[str, str]] = []
            while excess > 0 and (row := oldest.fetchone()) is not None:
                going.append((tenant, row[0]))
                excess -= row[1]
            oldest.close()
            connection.executemany("DELETE FROM invocations WHERE tenant = ? AND id = ?", going)

    def _settle(self, batch: list[_Order], error: sqlite3.Error | None) -> None:
        def settle() -> None:
            for _, done in batch:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(settle)


def unwritable(error: sqlite3.Error) -> PlatformError:
    """What a caller is told whose request needs the journal."""
    if _is_full(error):
        return storage_full("the journal cannot be written")
    return PlatformError("internal", f"the pool cannot write its journal: {error}")


def _unreadable(path: Path, error: Exception) -> PlatformError:
    if _is_full(error):
        return storage_full("the journal cannot be opened")
    return PlatformError(
        "internal",
        f"the pool cannot read its journal {path}: {error}",
        hint=f"if it is damaged, put a copy back, or move {path.name}, {path.name}-wal and {path.name}-shm away: the"
        " pool then starts without the invocations, outcomes and pinned versions in it, and clients upload again",
    )


def _is_full(error: Exception) -> bool:
    # SQLite's own words for SQLITE_FULL; Python has its number from 3.11 on.
    return isinstance(error, sqlite3.Error) and "disk is full" in str(error)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _unpin(key: tuple[str, str, str, str]) -> _Statement:
    return "DELETE FROM pins WHERE tenant = ? AND digest = ? AND buffer = ? AND reference = ?", key


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
