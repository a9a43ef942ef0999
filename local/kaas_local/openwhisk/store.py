"""What survives a restart: entities and activations, in one SQLite file.

One thread at a time uses a Store; the server has one for it (`StoreThread`). A write is on disk when it returns, and
survives the process; what the last moments before a power cut wrote may be missing, whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from kaas_local.openwhisk.activation import Activation, Ended, failure
from kaas_local.openwhisk.containers.answers import INTERRUPTED
from kaas_local.openwhisk.entities import Action, Package
from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.parameters import compact
from kaas_local.openwhisk.refusal import EXISTS, OTHER_COLLECTION, Refusal, not_found

P = ParamSpec("P")
T = TypeVar("T")

Collection = Literal["actions", "packages"]

#: How many activations are kept, how long, and how many bytes of results and logs.
KEPT_ACTIVATIONS = 10_000
KEPT_MS = 7 * 24 * 3600 * 1000
KEPT_BYTES = 1 << 30

#: Old ones are looked for once in so many new ones.
_PRUNE_EVERY = 100

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entities (
    path TEXT NOT NULL, name TEXT NOT NULL, collection TEXT NOT NULL, updated INTEGER NOT NULL,
    revision TEXT NOT NULL, document TEXT NOT NULL, code TEXT,
    PRIMARY KEY (path, name)
);
CREATE TABLE IF NOT EXISTS activations (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL, action TEXT NOT NULL,
    start INTEGER NOT NULL, ended INTEGER NOT NULL, bytes INTEGER NOT NULL,
    record TEXT NOT NULL, result TEXT NOT NULL, logs TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS activations_by_start ON activations (namespace, start);
"""


@dataclass(frozen=True)
class Which:
    """Which activations a list is of: those of one action ("name" or "package/name"), and from when to when."""

    action: str | None = None
    since: int | None = None
    upto: int | None = None


class Store:
    """The file; raises Refusal for what OpenWhisk's API refuses, sqlite3.Error for what should not happen."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._until_prune = _PRUNE_EVERY

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def find_action(self, name: Name, *, with_code: bool = False) -> Action | None:
        """An action, or None; raises Refusal where the name is a package's."""
        row = self._row(name, "actions", with_code)
        return Action.from_json(json.loads(row[0]), row[1], row[2]) if row is not None else None

    def action(self, name: Name, *, with_code: bool = False) -> Action:
        """An action; raises Refusal where there is none."""
        found = self.find_action(name, with_code=with_code)
        if found is None:
            raise not_found()
        return found

    def find_component(self, name: Name) -> Action | None:
        """As `find_action`; None also where its package is missing."""
        if name.parent is not None and self.find_package(name.parent) is None:
            return None
        return self.find_action(name)

    def find_package(self, name: Name) -> Package | None:
        """A package, or None; raises Refusal where the name is an action's."""
        row = self._row(name, "packages", False)
        return Package.from_json(json.loads(row[0]), row[1]) if row is not None else None

    def package(self, name: Name) -> Package:
        """A package; raises Refusal where there is none."""
        found = self.find_package(name)
        if found is None:
            raise not_found()
        return found

    def put_action(self, name: Name, overwrite: bool, make: Callable[[Action | None], Action]) -> Action:
        """Write what `make` makes of the action that is there, if one is."""
        with _Transaction(self._db):
            if name.parent is not None:
                self.package(name.parent)
            old = self.find_action(name, with_code=True)
            if old is not None and not overwrite:
                raise Refusal(409, EXISTS)
            new = make(old)
            self._write("actions", new.name, new.stamp.now_ms, new.stamp.revision, new.without_code().to_json())
            self._db.execute(
                "UPDATE entities SET code = ? WHERE path = ? AND name = ?", (new.code.text, name.path, name.name)
            )
        return new

    def put_package(self, name: Name, overwrite: bool, make: Callable[[Package | None], Package]) -> Package:
        """Write what `make` makes of the package that is there, if one is."""
        with _Transaction(self._db):
            old = self.find_package(name)
            if old is not None and not overwrite:
                raise Refusal(409, EXISTS)
            new = make(old)
            self._write("packages", new.name, new.stamp.now_ms, new.stamp.revision, new.to_json())
        return new

    def delete_action(self, name: Name) -> Action:
        """Take an action away; gives it back."""
        with _Transaction(self._db):
            found = self.action(name, with_code=True)
            self._db.execute("DELETE FROM entities WHERE path = ? AND name = ?", (name.path, name.name))
        return found

    def delete_package(self, name: Name, force: bool) -> tuple[Package, list[Name]]:
        """Take a package away, and, if forced, what is in it; gives it back, and the names of its actions."""
        with _Transaction(self._db):
            found = self.package(name)
            inside = f"{name.namespace}/{name.name}"
            names = [
                Name(name.namespace, name.name, one)
                for (one,) in self._db.execute("SELECT name FROM entities WHERE path = ?", (inside,))
            ]
            if names and not force:
                count = f"{len(names)} {'entity' if len(names) == 1 else 'entities'}"
                raise Refusal(409, f"Package not empty (contains {count}). Set force param or delete package contents.")
            self._db.execute("DELETE FROM entities WHERE path = ?", (inside,))
            self._db.execute("DELETE FROM entities WHERE path = ? AND name = ?", (name.path, name.name))
        return found, names

    def actions(self, path: str, *, everywhere: bool, skip: int = 0, limit: int = -1) -> list[Action]:
        """The actions of a namespace or a package, or `everywhere` below it, the last written first."""
        where = "(path = ? OR substr(path, 1, ?) = ?)" if everywhere else "path = ?"
        values = (path, len(path) + 1, f"{path}/") if everywhere else (path,)
        rows = self._db.execute(
            f"SELECT document, revision FROM entities WHERE collection = 'actions' AND {where}"  # noqa: S608
            " ORDER BY updated DESC, rowid DESC LIMIT ? OFFSET ?",
            (*values, limit, skip),
        )
        return [Action.from_json(json.loads(document), revision, None) for document, revision in rows]

    def packages(self, namespace: str) -> list[Package]:
        """The packages of a namespace, the last written first."""
        rows = self._db.execute(
            "SELECT document, revision FROM entities WHERE collection = 'packages' AND path = ?"
            " ORDER BY updated DESC, rowid DESC",
            (namespace,),
        )
        return [Package.from_json(json.loads(document), revision) for document, revision in rows]

    def begin(self, activation: Activation) -> None:
        """Note an activation that begins: `end_interrupted` makes a record of it if nothing else does."""
        self._db.execute(
            "INSERT INTO activations (id, namespace, action, start, ended, bytes, record, result, logs)"
            " VALUES (?, ?, ?, ?, 0, 0, ?, ?, '[]')",
            (
                activation.activation_id,
                activation.namespace,
                activation.action,
                activation.start,
                compact(activation.to_row()),
                compact(failure(INTERRUPTED)),
            ),
        )

    def end(self, ended: Ended) -> None:
        """Write the record of an activation that has begun."""
        activation = ended.activation
        texts = [compact(one) for one in (activation.to_row(), ended.result, ended.logs)]
        self._db.execute(
            "UPDATE activations SET ended = 1, start = ?, bytes = ?, record = ?, result = ?, logs = ? WHERE id = ?",
            (activation.start, sum(map(len, texts)), *texts, activation.activation_id),
        )
        self._until_prune -= 1
        if self._until_prune == 0:
            self.prune(activation.end)

    def end_interrupted(self) -> int:
        """Make records of what was running when the file was last closed or left; how many there were.

        Those of sequences name the components that have begun, as they would have at their end.
        """
        with _Transaction(self._db):
            self._db.execute(
                "UPDATE activations SET logs = (SELECT json_group_array(id) FROM (SELECT id FROM activations AS part"
                " WHERE part.number > activations.number AND json_extract(part.record, '$.cause') = activations.id"
                " ORDER BY part.number))"
                " WHERE ended = 0 AND json_extract(record, '$.annotations.kind') = 'sequence'"
            )
            return self._db.execute("UPDATE activations SET ended = 1 WHERE ended = 0").rowcount

    def prune(self, now_ms: int, kept: int = KEPT_ACTIVATIONS, kept_bytes: int = KEPT_BYTES) -> None:
        """Forget the oldest records, down to what is kept."""
        self._until_prune = _PRUNE_EVERY
        self._db.execute(
            "DELETE FROM activations WHERE number IN (SELECT number FROM (SELECT number, start,"
            " SUM(bytes) OVER newest AS total, ROW_NUMBER() OVER newest AS place"
            " FROM activations WHERE ended = 1 WINDOW newest AS (ORDER BY number DESC))"
            " WHERE total > ? OR place > ? OR start < ?)",
            (kept_bytes, kept, now_ms - KEPT_MS),
        )

    def activation(self, namespace: str, activation_id: str) -> Ended:
        """An activation that has ended; raises Refusal where there is none."""
        row = self._db.execute(
            "SELECT record, result, logs FROM activations WHERE id = ? AND namespace = ? AND ended = 1",
            (activation_id, namespace),
        ).fetchone()
        if row is None:
            raise not_found()
        return _ended(*row)

    def activations(self, namespace: str, which: Which, *, skip: int = 0, limit: int = -1) -> list[Activation]:
        """Those that have ended, the last begun first."""
        condition, values = _condition(namespace, which)
        rows = self._db.execute(
            f"SELECT record FROM activations WHERE {condition}"  # noqa: S608
            " ORDER BY start DESC, number DESC LIMIT ? OFFSET ?",
            (*values, limit, skip),
        )
        return [Activation(**json.loads(record)) for (record,) in rows]

    def count_activations(self, namespace: str, which: Which) -> int:
        """How many `activations` there are."""
        condition, values = _condition(namespace, which)
        (count,) = self._db.execute(f"SELECT COUNT(*) FROM activations WHERE {condition}", values).fetchone()  # noqa: S608
        return int(count)

    def _row(self, name: Name, collection: Collection, with_code: bool) -> tuple[str, str, str | None] | None:
        code = "code" if with_code else "NULL"
        row = self._db.execute(
            f"SELECT document, revision, {code}, collection FROM entities WHERE path = ? AND name = ?",  # noqa: S608
            (name.path, name.name),
        ).fetchone()
        if row is None:
            return None
        if row[3] != collection:
            raise Refusal(409, OTHER_COLLECTION)
        return row[0], row[1], row[2]

    def _write(self, collection: Collection, name: Name, updated: int, revision: str, document: dict[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO entities (path, name, collection, updated, revision, document) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (path, name) DO UPDATE SET"
            " updated = excluded.updated, revision = excluded.revision, document = excluded.document",
            (name.path, name.name, collection, updated, revision, compact(document)),
        )


class StoreThread:
    """The one thread that uses a store: `await store_thread(store.action, name)`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "store")

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work in turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """Wait for what was asked for; nothing more is done."""
        self._thread.shutdown()


class _Transaction:
    """All of it or nothing; nothing else writes meanwhile."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            # SQLite itself takes back what a full disk ends; a COMMIT that fails leaves it open.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _condition(namespace: str, which: Which) -> tuple[str, tuple[str | int, ...]]:
    conditions = ["ended = 1", "namespace = ?"]
    values: list[str | int] = [namespace]
    for text, value in (("action = ?", which.action), ("start >= ?", which.since), ("start <= ?", which.upto)):
        if value is not None:
            conditions.append(text)
            values.append(value)
    return " AND ".join(conditions), tuple(values)


def _ended(record: str, result: str, logs: str) -> Ended:
    return Ended(Activation(**json.loads(record)), json.loads(result), json.loads(logs))
