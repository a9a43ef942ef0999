"""Ended invocations are found for an hour, whether memory or the journal holds them, and memory is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from kaas.messages import LogLine
from kaas_pool.front.invocation import Invocation
from kaas_pool.front.journal import KEEP_SECONDS, Journal, Outcome
from kaas_pool.front.outcomes import LARGE_BYTES, UNWRITTEN_BYTES, Outcomes


class Clock:
    """Wall-clock time by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ended(identifier: str) -> Invocation:
    """An invocation that is done."""
    life = Invocation("t", identifier, f"print of {identifier}", accepted=0.0, deadline=1.0, budget_ms=1000)
    life.succeed({"kaas": {"outputs": {}}}, 0.5)
    return life


def with_outcomes(path: Path, in_memory: int, use: Callable[[Outcomes, Journal, Clock], Awaitable[None]]) -> None:
    """Run `use` over a journal in `path`."""

    async def main() -> None:
        journal, clock = Journal(path / "journal.sqlite"), Clock()
        try:
            await use(Outcomes(journal, in_memory, clock), journal, clock)
        finally:
            journal.close()

    asyncio.run(main())


def test_what_memory_cannot_hold_is_found_on_disk(tmp_path: Path) -> None:
    async def use(outcomes: Outcomes, journal: Journal, _: Clock) -> None:
        for index in range(25):
            outcomes.add(ended(f"id-{index}"), journalled=False)
            assert outcomes.find("t", "id-0") is not None, "not for a moment forgotten"
        await journal.know_bundle("t", "a write after those before it")
        outcomes.add(ended("late"), journalled=False)
        assert isinstance(outcomes.find("t", "late"), Invocation)
        assert {type(outcomes.find("t", f"id-{index}")) for index in range(10)} == {Outcome}
        oldest = outcomes.find("t", "id-0")
        assert isinstance(oldest, Outcome)
        assert oldest.fingerprint == "print of id-0"
        assert oldest.answer == ended("id-0").answer(with_story=True)
        assert outcomes.find("another", "id-0") is None

    with_outcomes(tmp_path, 10, use)


def test_they_are_kept_for_an_hour(tmp_path: Path) -> None:
    async def use(outcomes: Outcomes, journal: Journal, clock: Clock) -> None:
        outcomes.add(ended("memory"), journalled=False)
        outcomes.add(ended("disk"), journalled=True)
        clock.now += KEEP_SECONDS
        await outcomes.expire()
        assert outcomes.find("t", "memory") is not None
        assert journal.outcome("t", "disk") is not None
        clock.now += 1
        assert outcomes.find("t", "memory") is None
        await outcomes.expire()
        assert outcomes.find("t", "disk") is None
        assert journal.outcome("t", "disk") is None

    with_outcomes(tmp_path, 10, use)


def test_what_was_promised_is_on_disk_and_survives(tmp_path: Path) -> None:
    async def before(outcomes: Outcomes, _: Journal, __: Clock) -> None:
        outcomes.add(ended("promised"), journalled=True)
        outcomes.add(ended("waited for"), journalled=False)

    async def after(outcomes: Outcomes, _: Journal, __: Clock) -> None:
        assert isinstance(outcomes.find("t", "promised"), Outcome)
        assert outcomes.find("t", "waited for") is None

    with_outcomes(tmp_path, 10, before)
    with_outcomes(tmp_path, 10, after)


def test_what_is_large_leaves_memory_once_it_is_on_disk(tmp_path: Path) -> None:
    async def use(outcomes: Outcomes, journal: Journal, _: Clock) -> None:
        outcomes.add(ended("large"), journalled=False, large_bytes=LARGE_BYTES + 1)
        assert isinstance(outcomes.find("t", "large"), Invocation), "not for a moment forgotten"
        await journal.know_bundle("t", "a write after those before it")
        assert isinstance(outcomes.find("t", "large"), Outcome)
        outcomes.add(ended("small"), journalled=False, large_bytes=LARGE_BYTES)
        await journal.know_bundle("t", "another write after those before it")
        assert isinstance(outcomes.find("t", "small"), Invocation)

    with_outcomes(tmp_path, 10, use)


@contextlib.contextmanager
def broken(path: Path) -> Iterator[None]:
    """While this lasts, no outcome can be written."""
    connection = sqlite3.connect(path / "journal.sqlite")
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON invocations BEGIN SELECT RAISE(ABORT, 'full'); END")
    yield
    connection.execute("DROP TRIGGER full")
    connection.close()


async def settled(journal: Journal) -> None:
    """Until what was asked for before is written, or is not."""
    with contextlib.suppress(sqlite3.Error):
        await journal.know_bundle("t", "a write after those before it")


def test_what_cannot_be_written_stays_in_memory(tmp_path: Path) -> None:
    async def use(outcomes: Outcomes, journal: Journal, _: Clock) -> None:
        with broken(tmp_path):
            outcomes.add(ended("large"), journalled=False, large_bytes=LARGE_BYTES + 1)
            outcomes.add(ended("promised"), journalled=True)
            for index in range(10):
                outcomes.add(ended(f"id-{index}"), journalled=False)
            await settled(journal)
            assert isinstance(outcomes.find("t", "large"), Invocation)
            assert isinstance(outcomes.find("t", "promised"), Invocation)
            for index in range(100):
                outcomes.add(ended(f"more-{index}"), journalled=False)
                await settled(journal)
            # Memory has to let go of some.
            assert outcomes.find("t", "more-99") is not None
        assert outcomes.find("t", "large") is None
        outcomes.add(ended("after"), journalled=True)
        await settled(journal)
        assert journal.outcome("t", "after") is not None

    with_outcomes(tmp_path, 10, use)


def test_what_could_not_be_written_is_written_when_memory_is_full(tmp_path: Path) -> None:
    async def use(outcomes: Outcomes, journal: Journal, _: Clock) -> None:
        with broken(tmp_path):
            outcomes.add(ended("promised"), journalled=True)
            outcomes.add(ended("large"), journalled=False, large_bytes=LARGE_BYTES + 1)
            await settled(journal)
        for index in range(10):
            outcomes.add(ended(f"id-{index}"), journalled=False)
        await settled(journal)
        assert {type(outcomes.find("t", identifier)) for identifier in ("promised", "large")} == {Outcome}

    with_outcomes(tmp_path, 10, use)


def test_large_ones_that_cannot_be_written_have_a_limit_of_bytes(tmp_path: Path) -> None:
    def found(outcomes: Outcomes) -> list[int]:
        return [at for at in range(12) if outcomes.find("t", f"id-{at}") is not None]

    async def use(outcomes: Outcomes, journal: Journal, clock: Clock) -> None:
        with broken(tmp_path):
            outcomes.add(ended("small"), journalled=True)
            for at in range(10):
                clock.now += 1
                outcomes.add(ended(f"id-{at}"), journalled=False, large_bytes=UNWRITTEN_BYTES // 4)
                await settled(journal)
            assert found(outcomes) == [6, 7, 8, 9]
            assert outcomes.find("t", "small") is not None
            clock.now += KEEP_SECONDS - 1
            await outcomes.expire()
            assert found(outcomes) == [8, 9]
            for at in (10, 11):  # There is room for two again.
                outcomes.add(ended(f"id-{at}"), journalled=False, large_bytes=UNWRITTEN_BYTES // 4)
                await settled(journal)
            assert found(outcomes) == [8, 9, 10, 11]

    with_outcomes(tmp_path, 100, use)


def test_many_printed_lines_are_large_without_much_text(tmp_path: Path) -> None:
    async def use(outcomes: Outcomes, journal: Journal, _: Clock) -> None:
        life = ended("chatty")
        life.printed = (LogLine.at(0.0, "stdout", ""),) * 100
        outcomes.add(life, journalled=False)
        await settled(journal)
        assert isinstance(outcomes.find("t", "chatty"), Outcome)

    with_outcomes(tmp_path, 10, use)
