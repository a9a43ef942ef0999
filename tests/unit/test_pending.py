"""Outputs acknowledged before their PUT: what a tenant sees, what is lost, and what a crash at any moment leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kaas.errors import PlatformError
from kaas_pool.front.pending import KEEP_SECONDS, TENANT_WRITES, Pending, Write, output_lost
from kaas_pool.front.sightings import Answer

Z = "s3://out/z"
WHY = PlatformError("store_error", "the disk is full")


def begin(pending: Pending, version: str, tenant: str = "alice", object_id: str = Z, at: float = 0.0) -> Write:
    return pending.begin(tenant, object_id, Answer(version, 8, "", "store", is_version=True), 4096, at)


def gone(pending: Pending) -> list[str]:
    return [write.version for write in pending.take_gone()]


def test_the_newest_is_seen_until_all_have_ended() -> None:
    pending = Pending()
    first, second = begin(pending, "v1"), begin(pending, "v2")
    assert pending.newest("alice", Z) is second
    assert pending.newest("bob", Z) is None
    assert not first.sighting.is_younger(100, 1.0), "who computed with it has to look again"
    assert not pending.stored(first, "e1", 1.0)
    assert pending.newest("alice", Z) is second
    assert pending.stored(second, "e2", 2.0)
    assert pending.newest("alice", Z) is None
    assert not second.sighting.is_younger(100, 2.0)
    assert [pending.find("alice", Z, version) for version in ("v1", "v2")] == [first, second]
    assert (first.etag, second.etag, pending.mark("alice", Z), gone(pending)) == ("e1", "e2", None, ["v1", "v2"])


def test_what_is_lost_stands_in_the_way_of_its_tenant_alone() -> None:
    pending = Pending()
    write = begin(pending, "v1")
    pending.lost(write, WHY, 1.0)
    assert pending.mark("alice", Z) is write
    assert pending.mark("bob", Z) is None
    assert gone(pending) == [], "it is lost after a restart, too"
    error = output_lost(Z, "v1", "arguments.x", write)
    assert (error.code, error.where) == ("output_lost", "arguments.x")
    assert "the disk is full" in error.message
    assert "kaas cache refresh" in str(error)


WAYS: dict[str, Callable[[Pending], object]] = {
    "written anew": lambda pending: pending.overwritten("alice", Z),
    "written anew before its PUT": lambda pending: pending.stored(begin(pending, "v2"), "e", 2.0),
    "let go of": lambda pending: pending.forget("alice", Z),
    "let go of with all": lambda pending: pending.forget("alice", None),
    "found after all": lambda pending: pending.found("alice", Z, "v1", "e", 2.0),
    "old": lambda pending: pending.expire(1.0 + KEEP_SECONDS),
}


@pytest.mark.parametrize("way", WAYS)
def test_until_something_takes_its_place(way: str) -> None:
    pending = Pending()
    pending.lost(begin(pending, "v1"), WHY, 1.0)
    pending.forget("bob", None)
    pending.forget("alice", "s3://out/other")
    pending.overwritten("bob", Z)
    pending.found("alice", Z, "another", "e", 1.0)
    pending.expire(KEEP_SECONDS)
    assert (pending.mark("alice", Z) is not None, gone(pending)) == (True, [])
    WAYS[way](pending)
    assert pending.mark("alice", Z) is None
    assert "v1" in gone(pending)
    write = pending.find("alice", Z, "v1")
    state = {"old": None, "found after all": "stored"}.get(way, "lost")
    assert (write.state if write is not None else None) == state, "who names it is told the same as before"


def test_a_loss_behind_a_newer_write_is_told_only_to_who_names_it() -> None:
    pending = Pending()
    first, second = begin(pending, "v1"), begin(pending, "v2")
    pending.lost(first, WHY, 1.0)
    assert pending.mark("alice", Z) is None
    assert gone(pending) == ["v1"]
    assert pending.stored(second, "e2", 2.0)
    assert pending.mark("alice", Z) is None
    assert first.state == "lost"


def test_a_version_that_only_the_store_knew_is_remembered() -> None:
    pending = Pending()
    pending.found("alice", Z, "v0", "e0", 1.0)
    write = pending.find("alice", Z, "v0")
    assert write is not None
    assert (write.state, write.etag) == ("stored", "e0")


def test_what_an_earlier_front_left_is_lost_as_far_as_is_known() -> None:
    pending = Pending()
    for number, version in enumerate(("v1", "v2")):
        pending.restore("alice", Z, version, float(number))
    mark = pending.mark("alice", Z)
    assert mark is not None
    assert (mark.version, gone(pending)) == ("v2", ["v1"])
    assert "restarted" in output_lost(Z, "v2", None, mark).message
    assert "may have been lost" in output_lost(Z, "unheard of", None, None).message


def test_a_tenant_with_too_many_forgets_its_own_oldest_that_was_stored_and_nothing_else() -> None:
    pending = Pending(per_tenant=2)
    under_way = begin(pending, "v0", object_id="s3://out/0")
    pending.lost(begin(pending, "other", tenant="bob"), WHY, 0.0)
    pending.lost(begin(pending, "v1", object_id="s3://out/1"), WHY, 1.0)
    for number in range(2, 5):
        pending.stored(begin(pending, f"v{number}", object_id=f"s3://out/{number}"), f"e{number}", float(number))
    known = [number for number in range(5) if pending.find("alice", f"s3://out/{number}", f"v{number}")]
    assert known == [0, 1], "what is lost is told for an hour, whatever else there is"
    assert pending.newest("alice", "s3://out/0") is under_way
    assert pending.mark("alice", "s3://out/1") is not None
    assert pending.mark("bob", Z) is not None


def test_a_tenant_that_lost_too_many_is_promised_nothing_more() -> None:
    pending = Pending(per_tenant=2)
    pending.lost(begin(pending, "v1", object_id="s3://out/1"), WHY, 1.0)
    pending.restore("alice", "s3://out/2", "v2", 2.0)
    assert not pending.reserve("alice", [1], 1000)
    assert pending.reserve("bob", [1], 1000)
    pending.found("alice", "s3://out/2", "v2", "e2", 3.0)
    assert pending.reserve("alice", [1], 1000)
    pending.free("alice", [1])
    pending.lost(begin(pending, "v3", object_id="s3://out/3"), WHY, 4.0)
    assert not pending.reserve("alice", [1], 1000)
    pending.expire(1.0 + KEEP_SECONDS)
    assert pending.reserve("alice", [1], 1000)


def test_room_is_bounded_by_tenant_and_in_all() -> None:
    pending = Pending()
    assert pending.reserve("alice", [100, 150], 1000)
    assert not pending.reserve("alice", [1], 1000), "a quarter"
    assert pending.reserve("bob", [250], 1000)
    assert not pending.reserve("carol", [1], 1000), "half in all"
    assert pending.reserve("carol", [], 1000)
    pending.free("alice", [150])
    assert not pending.reserve("alice", [151], 1000)
    assert pending.reserve("alice", [150], 1000)
    assert pending.reserve("many", [0] * TENANT_WRITES, 1000)
    assert not pending.reserve("many", [0], 1000)


@dataclass
class Model:
    """One object of one tenant, said in the simplest way: all its writes, and what the tenant did since the last."""

    writes: list[Write] = field(default_factory=list)
    #: The last thing that decided what the store has, or None.
    lost: Write | None = None


class PendingMachine(RuleBasedStateMachine):
    """Any order of events; after each of them a crash leaves exactly what has to be known."""

    objects = st.tuples(st.sampled_from(["alice", "bob"]), st.sampled_from(["s3://out/y", Z]))

    def __init__(self) -> None:
        super().__init__()
        self.pending = Pending()
        self.model: dict[tuple[str, str], Model] = {}
        #: What the journal has, in the order written.
        self.rows: list[Write] = []
        self.now = 0.0

    def model_of(self, key: tuple[str, str]) -> Model:
        return self.model.setdefault(key, Model())

    def under_way(self, key: tuple[str, str]) -> list[Write]:
        return [write for write in self.model_of(key).writes if write.state == "pending"]

    @rule(key=objects)
    def acknowledge(self, key: tuple[str, str]) -> None:
        self.now += 1
        write = begin(self.pending, f"v{self.now}", *key, at=self.now)
        self.rows.append(write)
        self.model_of(key).writes.append(write)

    @precondition(lambda self: any(self.under_way(key) for key in self.model))
    @rule(data=st.data(), works=st.booleans())
    def end(self, data: st.DataObject, works: bool) -> None:
        key = data.draw(st.sampled_from(sorted(key for key in self.model if self.under_way(key))))
        self.now += 1
        first, *others = self.under_way(key)
        if works:
            assert self.pending.stored(first, f"e{self.now}", self.now) == (not others)
            self.model[key].lost = None
        else:
            self.pending.lost(first, WHY, self.now)
            if not others:
                self.model[key].lost = first

    @rule(key=objects)
    def write_durably(self, key: tuple[str, str]) -> None:
        self.pending.overwritten(*key)
        self.model_of(key).lost = None

    @rule(key=objects, everything=st.booleans())
    def refresh(self, key: tuple[str, str], everything: bool) -> None:
        self.pending.forget(key[0], None if everything else key[1])
        for other, model in self.model.items():
            if other == key or (everything and other[0] == key[0]):
                model.lost = None

    @precondition(lambda self: any(model.lost for model in self.model.values()))
    @rule(data=st.data())
    def find_in_the_store(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, model in self.model.items() if model.lost)))
        lost = self.model[key].lost
        assert lost is not None
        self.pending.found(*key, lost.version, "e", self.now)
        self.model[key].lost = None

    @invariant()
    def holds(self) -> None:
        dropped = self.pending.take_gone()
        assert all(write in self.rows for write in dropped)
        self.rows = [row for row in self.rows if row not in dropped]
        after = Pending()
        for row in self.rows:
            after.restore(row.tenant, row.object_id, row.version, self.now)
        for key, model in self.model.items():
            newest = self.under_way(key)[-1:]
            assert self.pending.newest(*key) is (newest[0] if newest else None)
            assert self.pending.mark(*key) is model.lost
            left = newest[0] if newest else model.lost
            mark = after.mark(*key)
            assert (mark.version if mark else None) == (left.version if left else None)


TestPendingMachine = PendingMachine.TestCase
