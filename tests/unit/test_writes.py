"""Promises of what is acknowledged before its PUT: on disk before the acknowledgement, and gone if there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from kaas.binding import BoundBuffer
from kaas_pool.front.host_room import HostRoom
from kaas_pool.front.invocation import Invocation
from kaas_pool.front.journal import Journal
from kaas_pool.front.metrics import Metrics
from kaas_pool.front.mover_client import MoverClient
from kaas_pool.front.work import Output
from kaas_pool.front.writes import Promise, Writes

HOST_BYTES = 16 * 4096


class Mover:
    """A mover that is not asked for anything."""

    host_bytes = HOST_BYTES


def writes_over(journal: Journal) -> Writes:
    nobody = cast("Any", ())
    room = HostRoom(lambda: HOST_BYTES)
    return Writes(cast("MoverClient", Mover()), journal, nobody, room, Metrics(), lambda _: None)


def promising(writes: Writes, identifier: str, outputs: int = 1) -> asyncio.Task[Promise | None]:
    """Begin to promise outputs of one page each."""
    life = Invocation("alice", identifier, "print", accepted=0.0, deadline=1.0, budget_ms=1000)
    buffer = BoundBuffer("z", "out", "uint8", (4096,), 4096, False, None, None)
    bound = tuple(Output(buffer, "s3", "out", f"z{number}", b"", None) for number in range(outputs))
    return asyncio.get_running_loop().create_task(writes.promise(life, "alice", bound, "store"))


def test_a_promise_is_on_disk(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal(tmp_path / "journal.sqlite")
        promise = await promising(writes_over(journal), "one", 2)
        assert promise is not None
        assert promise.version.startswith("one/")
        assert [(row.tenant, row.object_id, row.version) for row in journal.promised()] == [
            ("alice", f"s3://out/z{number}", promise.version) for number in range(2)
        ]
        again = await promising(writes_over(journal), "one")
        assert again is not None
        assert again.version != promise.version, "an id may be used again"
        mark = writes_over(journal).account.mark("alice", "s3://out/z0")
        assert mark is not None
        assert mark.version == again.version
        journal.close()

    asyncio.run(main())


def test_one_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        journal = Journal(tmp_path / "journal.sqlite")
        writes = writes_over(journal)
        for _ in range(5):
            given_up = promising(writes, "one", 4)
            await asyncio.sleep(0)  # Its first step: it waits for the journal now.
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
        await journal.know_bundle("alice", "a write after those before it")
        assert journal.promised() == []
        assert await promising(writes, "one", 4) is not None, "the room of a quarter of the host tier is free"
        assert await promising(writes, "two", 1) is None
        journal.close()

    asyncio.run(main())


def test_without_a_journal_nothing_is_promised(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "journal.sqlite"
        journal = Journal(path)
        writes = writes_over(journal)
        await journal._order("DROP TABLE promised", ())
        assert await promising(writes, "one", 4) is None
        assert await promising(writes, "one", 4) is None
        assert writes.account.reserve("alice", [4096] * 4, HOST_BYTES), "the room was given back"
        journal.close()

    asyncio.run(main())
