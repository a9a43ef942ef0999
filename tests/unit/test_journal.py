"""The journal: what was promised is there after a restart, and nothing is after it was dropped."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kaas.errors import PlatformError
from kaas.messages import Invocation
from kaas_pool.front.journal import KEEP_BYTES, Journal, Outcome, Pin, Unfinished


def entry(identifier: str, accepted: float = 1.0) -> Unfinished:
    return Unfinished("t", identifier, "f", accepted, {"arguments": {"x": "s3://b/k"}}, {"s3://b/k": {"etag": "e"}})


def outcome(identifier: str, ended: float = 2.0, message: str = "gone", tenant: str = "t") -> Outcome:
    error = PlatformError("executor_lost", message)
    return Outcome(tenant, identifier, "f", ended, Invocation(identifier, "failed", error=error))


def with_journal(path: Path, use: Callable[[Journal], Awaitable[None]], keep_bytes: int = KEEP_BYTES) -> None:
    async def main() -> None:
        journal = Journal(path / "journal.sqlite", keep_bytes)
        try:
            await use(journal)
        finally:
            journal.close()

    asyncio.run(main())


def test_accepted_invocations_survive_until_their_outcome(tmp_path: Path) -> None:
    async def first(journal: Journal) -> None:
        await journal.accept(entry("late", 2.0))
        await journal.accept(entry("early", 1.0))
        assert not journal.has_outcomes()

    async def second(journal: Journal) -> None:
        assert journal.unfinished() == [entry("early", 1.0), entry("late", 2.0)]
        await journal.record([outcome("early")])
        assert [left.id for left in journal.unfinished()] == ["late"]

    async def third(journal: Journal) -> None:
        kept = journal.outcome("t", "early")
        assert kept is not None
        assert kept.answer.error is not None
        assert (kept.fingerprint, kept.ended, kept.answer.error.code) == ("f", 2.0, "executor_lost")
        assert journal.outcome("t", "late") is None
        assert journal.outcome("another", "early") is None
        assert journal.has_outcomes()
        await journal.forget_before(2.5)
        assert journal.outcome("t", "early") is None
        assert [left.id for left in journal.unfinished()] == ["late"], "what has not ended is never dropped"

    for use in (first, second, third):
        with_journal(tmp_path, use)


def test_bundles_and_pins_survive(tmp_path: Path) -> None:
    pin = Pin("t", "sha256:0", "w", "s3://b/w", {"etag": "e", "size": 4})

    async def first(journal: Journal) -> None:
        await journal.know_bundle("t", "sha256:0")
        await journal.know_bundle("t", "sha256:0")
        await journal.pin([pin])

    async def second(journal: Journal) -> None:
        assert journal.bundles() == [("t", "sha256:0")]
        assert journal.pins() == [pin]
        await journal.unpin([("t", "sha256:0", "w", "s3://b/w")])
        assert journal.pins() == []

    for use in (first, second):
        with_journal(tmp_path, use)


def test_many_writers_share_transactions(tmp_path: Path) -> None:
    async def use(journal: Journal) -> None:
        await asyncio.gather(*(journal.accept(entry(f"id-{index}")) for index in range(200)))
        assert len(journal.unfinished()) == 200

    with_journal(tmp_path, use)


def test_a_write_that_fails_tells_its_caller_and_the_next_works(tmp_path: Path) -> None:
    async def use(journal: Journal) -> None:
        with pytest.raises(sqlite3.Error):
            await journal._order("INSERT INTO nowhere VALUES (1)", ())
        await journal.accept(entry("after"))
        assert [left.id for left in journal.unfinished()] == ["after"]

    with_journal(tmp_path, use)


def test_closing_finishes_what_was_asked_for(tmp_path: Path) -> None:
    async def first(journal: Journal) -> None:
        journal.record([outcome(f"id-{index}") for index in range(50)])

    async def second(journal: Journal) -> None:
        assert journal.outcome("t", "id-49") is not None

    for use in (first, second):
        with_journal(tmp_path, use)


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    async def use(journal: Journal) -> None:
        await journal.accept(entry("x"))

    with_journal(tmp_path, use)
    assert (tmp_path / "journal.sqlite").stat().st_mode & 0o077 == 0


def test_a_tenants_outcomes_have_a_limit_of_bytes(tmp_path: Path) -> None:
    """10,000 bytes hold nine of the tenant's; the oldest go first, and nobody else's."""

    def kept(journal: Journal, tenant: str = "t") -> list[int]:
        return [at for at in range(40) if journal.outcome(tenant, f"id-{at}") is not None]

    async def first(journal: Journal) -> None:
        await journal.accept(entry("id-20"))
        await journal.record([outcome("id-0", 20.0, "x" * 5000, "another")])
        for at in range(12):
            await journal.record([outcome(f"id-{at}", 2.0 + at, "x" * 1000)])
        assert kept(journal) == list(range(3, 12))
        for _ in range(20):  # What is written again counts once.
            await journal.record([outcome("id-11", 13.0, "x" * 1000)])
        assert kept(journal) == list(range(3, 12))

    async def second(journal: Journal) -> None:
        await journal.record([outcome("id-12", 14.0, "x" * 2000)])
        assert kept(journal) == list(range(5, 13))
        await journal.forget_before(11.0)
        assert kept(journal) == [9, 10, 11, 12]
        await journal.record([outcome(f"id-{at}", 2.0 + at, "x" * 1000) for at in range(13, 17)])
        assert kept(journal) == list(range(9, 17))
        assert [left.id for left in journal.unfinished()] == ["id-20"], "what has not ended is never dropped"
        await journal.record([outcome("id-20", 30.0, "x" * 20_000)])
        assert kept(journal) == [], "one over the limit is not kept at all"
        await journal.record([outcome("id-21", 31.0)])
        assert (kept(journal), kept(journal, "another")) == ([21], [0])

    for use in (first, second):
        with_journal(tmp_path, use, 10_000)


def test_a_journal_from_before_the_limit_of_bytes(tmp_path: Path) -> None:
    async def first(journal: Journal) -> None:
        await journal.record([outcome(f"id-{at}", 2.0 + at, "x" * 1000) for at in range(9)])

    async def second(journal: Journal) -> None:
        await journal.record([outcome("id-9", 11.0, "x" * 1000)])
        assert [at for at in range(10) if journal.outcome("t", f"id-{at}") is not None] == list(range(1, 10))

    with_journal(tmp_path, first)
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.executescript(
            "DROP TRIGGER outcome_added; DROP TRIGGER outcome_removed;"
            "DROP TABLE outcome_bytes; DROP INDEX invocations_tenant"
        )
    connection.close()
    with_journal(tmp_path, second, 10_000)
