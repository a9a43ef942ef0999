"""The journal after a crash in the middle of a write, and with a damaged file.

After a crash what was acknowledged is there, and nothing is there by half. What is damaged is there too, or refused.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hunt import hunt
from hypothesis import strategies as st

from kaas.errors import PlatformError
from kaas.messages import Invocation
from kaas_pool.front.journal import Journal, Outcome, Pin, Unfinished

#: What an opened journal holds: unfinished invocations, bundles, pins, and whether the outcome is kept.
_State = tuple[list[Unfinished], list[tuple[str, str]], list[Pin], bool]

_Write = Callable[[Journal], Awaitable[None]]


def _entry(number: int) -> Unfinished:
    # Some are larger than a page of the file, which has 4 KiB.
    request = {"arguments": {"x": "y" * (number % 4) * 3000}}
    return Unfinished("t", f"id-{number}", "f", float(number), request, {"s3://b/k": {"etag": "e"}})


def _outcome(number: int) -> Outcome:
    error = PlatformError("executor_lost", "gone")
    return Outcome("t", f"id-{number}", "f", 2.0, Invocation(f"id-{number}", "failed", error=error))


def _pin(number: int) -> Pin:
    return Pin("t", "sha256:0", f"w{number}", "s3://b/w", {"etag": "e", "size": 4})


async def _record(journal: Journal) -> None:
    await journal.record([_outcome(0)])


async def _look(path: Path) -> tuple[_State, bool]:
    """What a journal holds, and whether it takes more."""
    journal = Journal(path)
    try:
        found = _state(journal)
        await journal.accept(_entry(99))
        return found, "id-99" in [left.id for left in journal.unfinished()]
    finally:
        journal.close()


_WRITES: list[_Write] = [
    *(lambda journal, number=number: journal.accept(_entry(number)) for number in range(4)),
    lambda journal: journal.know_bundle("t", "sha256:0"),
    lambda journal: journal.pin([_pin(0), _pin(1)]),
    _record,
    lambda journal: journal.pin([_pin(2)], [("t", "sha256:0", "w0", "s3://b/w")]),
    *(lambda journal, number=number: journal.accept(_entry(number)) for number in range(4, 8)),
]


class Written(NamedTuple):
    """A journal's files as a crash leaves them; the log's length and the state after each acknowledged write."""

    folder: Path
    ends: list[int]
    states: list[_State]


def _state(journal: Journal) -> _State:
    return journal.unfinished(), journal.bundles(), journal.pins(), journal.outcome("t", "id-0") is not None


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A journal with a few writes, none of which has left the log."""
    live, crashed = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("crashed")
    ends, states = [], []

    async def main() -> None:
        journal = Journal(live / "journal.sqlite")
        states.append(_state(journal))
        for write in _WRITES:
            await write(journal)
            ends.append((live / "journal.sqlite-wal").stat().st_size)
            states.append(_state(journal))
        for name in ("journal.sqlite", "journal.sqlite-wal"):
            shutil.copy(live / name, crashed / name)
        journal.close()

    asyncio.run(main())
    assert ends == sorted(set(ends)), "each write appends to the log"
    return Written(crashed, ends, states)


#: A log begins with 32 bytes; each page in it has 4096, and 24 before it.
_HEAD, _FRAME = 32, 4120
#: How many pages the writes above make.
_FRAMES = 37


@st.composite
def _tears(draw: st.DrawFn) -> tuple[int, bytes | None]:
    """Where the log is torn, between pages or inside one, and what stands there if it is not the end."""
    at = _HEAD + draw(st.integers(0, _FRAMES)) * _FRAME + draw(st.sampled_from([0, 0, -_HEAD, 10, 2000]))
    return at, draw(st.none() | st.none() | st.binary(min_size=1, max_size=600) | st.just(bytes(4096)))


def test_a_torn_log_loses_only_what_was_not_acknowledged(written: Written, tmp_path: Path) -> None:
    path, log = tmp_path / "journal.sqlite", tmp_path / "journal.sqlite-wal"
    whole = (written.folder / log.name).read_bytes()

    def check(tear: tuple[int, bytes | None]) -> str:
        at, rest = min(tear[0], len(whole)), tear[1]
        for leftover in tmp_path.iterdir():
            leftover.unlink()
        shutil.copy(written.folder / path.name, path)
        log.write_bytes(whole[:at] if rest is None else whole[:at] + rest + whole[at + len(rest) :])
        found, goes_on = asyncio.run(_look(path))
        assert goes_on
        acknowledged = sum(end <= at for end in written.ends)
        assert found in written.states[acknowledged:], f"torn at {at}, after {acknowledged} writes"
        return "whole" if found == written.states[-1] else "torn"

    hunt(
        "journal",
        _tears(),
        check,
        short=40,
        share=0.0025,
        known=[(1 << 30, None), (0, None)],
        outcomes=["whole", "torn"],
    )


class Damage(NamedTuple):
    """What has become of a file: cut off at a place, or with other bytes there."""

    name: str
    at: int
    bytes: bytes | None


#: The tables' pages, of 4096 bytes each.
_PAGES = 19
_NAMES = st.sampled_from(["journal.sqlite", "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"])


@st.composite
def _damages(draw: st.DrawFn) -> Damage:
    """A sector or a page that was lost or is another's, a few bytes, or an end."""
    at = draw(st.integers(0, 8 * _PAGES)) * 512
    at -= draw(st.sampled_from([at % 4096, 0, 3 - draw(st.integers(0, 100))]))
    garbage = st.binary(min_size=512, max_size=512) | st.just(bytes(512)) | st.just(bytes(4096))
    return Damage(draw(_NAMES), max(at, 0), draw(st.none() | garbage | st.binary(min_size=1, max_size=8)))


@pytest.fixture(scope="module", params=["in the log", "in the file"])
def kept(request: pytest.FixtureRequest, written: Written, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the journal's files: as a crash leaves them, or as an orderly end does."""
    if request.param == "in the log":
        return written.folder
    folder = tmp_path_factory.mktemp("closed")
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(written.folder / name, folder / name)

    async def open_and_close() -> None:
        Journal(folder / "journal.sqlite").close()

    asyncio.run(open_and_close())
    assert (folder / "journal.sqlite").stat().st_size == _PAGES * 4096
    assert not (folder / "journal.sqlite-wal").exists()
    return folder


def test_a_damaged_file_is_refused_or_gives_what_is_in_it(written: Written, kept: Path, tmp_path: Path) -> None:
    path, log = tmp_path / "journal.sqlite", tmp_path / "journal.sqlite-wal"
    all_of_it = written.states[-1]

    def check(damage: Damage) -> str:
        for leftover in tmp_path.iterdir():
            leftover.unlink()
        for file in kept.iterdir():
            shutil.copy(file, tmp_path)
        damaged = tmp_path / damage.name
        before = damaged.read_bytes() if damaged.exists() else bytes(1 << 15)
        after = before[: damage.at]
        if damage.bytes is not None:
            after = (after + damage.bytes + before[damage.at + len(damage.bytes) :])[: len(before)]
        damaged.write_bytes(after)
        try:
            found, goes_on = asyncio.run(_look(path))
        except PlatformError as error:
            assert error.code == "internal"
            assert str(path) in error.message
            assert error.hint
            assert damage.name == path.name, "SQLite makes the other files good itself"
            if not log.exists() and not (kept / log.name).exists():
                assert path.read_bytes() == after, "what could be saved is gone"
            if not after and (kept / log.name).exists():
                assert log.exists(), "the log has it still"
            return "refused"
        assert goes_on
        if not after and damage.name == path.name:
            assert found == written.states[0]
            return "new"
        if damage.name == path.name:
            # Bytes of a text may be others and make a text again: nothing can tell.
            assert [len(part) for part in found[:3]] == [len(part) for part in all_of_it[:3]]
            assert found[3]
        else:
            assert found in written.states
        return "whole" if found == all_of_it else "changed"

    hunt(
        "damaged journal",
        _damages(),
        check,
        short=50,
        share=0.0025,
        known=[
            Damage("journal.sqlite", 0, None),
            Damage("journal.sqlite", 0, bytes(4096)),
            Damage("journal.sqlite", 4096, None),
            Damage("journal.sqlite-shm", 0, bytes(4096)),
        ],
        outcomes=["whole", "refused"],
    )
