"""The device cache's bookkeeping: pins as one set, eviction, loads shared between invocations, adopted outputs."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaas_pool.executor.residency import Busy, Pinned, Residency, TooLarge


def load(cache: Residency, inv: str, pinned: Pinned) -> None:
    for key in pinned.loads:
        loading = cache.loading(key, inv)
        assert loading is not None
        assert loading[0] == pinned.inputs[key]
        cache.loaded(key)


def pinned(cache: Residency, inv: str, inputs: dict[str, int], work: dict[str, int] | None = None) -> Pinned:
    outcome = cache.pin_set(inv, inputs, work or {})
    assert isinstance(outcome, Pinned)
    cache.check()
    return outcome


def fill(cache: Residency, inv: str, inputs: dict[str, int]) -> None:
    load(cache, inv, pinned(cache, inv, inputs))
    cache.release(inv)
    cache.check()


def test_a_miss_is_asked_for_and_then_a_hit() -> None:
    cache = Residency(100)
    first = pinned(cache, "i1", {"x": 10}, {"z": 20})
    assert (first.hits, first.loads, first.joins) == ((), ("x",), ())
    load(cache, "i1", first)
    cache.release("i1")
    assert cache.resident() == [("x", 10)]
    again = pinned(cache, "i2", {"x": 10})
    assert (again.hits, again.loads) == (("x",), ())
    assert again.inputs == first.inputs
    assert cache.used == 10


def test_a_hit_in_a_full_cache_evicts_nobody() -> None:
    cache = Residency(20)
    fill(cache, "i1", {"x": 10})
    fill(cache, "i2", {"y": 10})
    cache.take_changes()
    pinned(cache, "i3", {"x": 10, "y": 10})
    changes = cache.take_changes()
    assert (changes.freed, changes.evicted) == ([], [])


def test_an_invocation_never_evicts_its_own_hits() -> None:
    cache = Residency(30)
    fill(cache, "i1", {"old": 10})
    fill(cache, "i2", {"young": 10})
    cache.take_changes()
    outcome = pinned(cache, "i3", {"old": 10, "new": 20})
    assert outcome.hits == ("old",)
    assert cache.take_changes().evicted == ["young"]


def test_what_a_key_did_last_is_told() -> None:
    cache = Residency(10)
    fill(cache, "i1", {"x": 10})
    fill(cache, "i2", {"y": 10})
    changes = cache.take_changes()
    assert (changes.evicted, changes.added) == (["x"], [("y", 10)])
    fill(cache, "i3", {"x": 10})
    before = cache.take_changes()
    fill(cache, "i4", {"y": 10})
    before.extend(cache.take_changes())
    assert (before.evicted, before.added) == (["x"], [("y", 10)])


def test_what_is_used_longest_ago_goes_first() -> None:
    cache = Residency(30)
    for key in "abc":
        fill(cache, f"fill-{key}", {key: 10})
    fill(cache, "again", {"a": 10})
    cache.take_changes()
    pinned(cache, "i", {"d": 10})
    assert cache.take_changes().evicted == ["b"]


def test_two_invocations_that_need_one_object_load_it_once() -> None:
    cache = Residency(100)
    first = pinned(cache, "i1", {"x": 10})
    second = pinned(cache, "i2", {"x": 10})
    assert (first.loads, second.loads, second.joins) == (("x",), (), ("x",))
    assert cache.loading("x", "i2") is None
    assert cache.loading("x", "i1") == (first.inputs["x"], 10)
    assert cache.loaded("x") == {"i1", "i2"}


def test_a_dropped_loader_hands_its_load_to_who_still_waits() -> None:
    cache = Residency(100)
    pinned(cache, "i1", {"x": 10})
    pinned(cache, "i2", {"x": 10})
    assert cache.release("i1") == [("x", "i2")]
    cache.check()
    assert cache.loading("x", "i1") is None
    assert cache.loading("x", "i2") is not None
    assert cache.loaded("x") == {"i2"}


def test_a_dropped_loader_that_nobody_joined_leaves_nothing() -> None:
    cache = Residency(100)
    pinned(cache, "i1", {"x": 10}, {"z": 5})
    assert cache.release("i1") == []
    cache.check()
    assert (cache.used, cache.resident()) == (0, [])
    assert cache.take_changes().evicted == []
    assert cache.loading("x", "i1") is None


def test_a_copy_under_way_outlives_its_invocation() -> None:
    cache = Residency(20)
    pinned(cache, "i1", {"x": 10})
    cache.loading("x", "i1")
    cache.release("i1")
    assert isinstance(cache.pin_set("i2", {"y": 20}, {}), Busy)
    assert cache.loaded("x") == frozenset()
    assert cache.resident() == [("x", 10)]
    pinned(cache, "i2", {"y": 20})
    assert cache.take_changes().evicted == ["x"]


def test_a_failed_load_frees_the_block_and_names_who_waited() -> None:
    cache = Residency(20)
    pinned(cache, "i1", {"x": 10})
    pinned(cache, "i2", {"x": 10})
    cache.loading("x", "i1")
    assert cache.not_loaded("x") == {"i1", "i2"}
    cache.check()
    assert cache.used == 0
    cache.release("i1")
    cache.release("i2")


def test_a_set_that_does_not_fit_now_changes_nothing() -> None:
    cache = Residency(30)
    fill(cache, "i0", {"idle": 10})
    pinned(cache, "i1", {"x": 15})
    cache.take_changes()
    assert cache.pin_set("i2", {"idle": 10}, {"z": 10}) == Busy(5)
    cache.check()
    changes = cache.take_changes()
    assert (changes.freed, changes.evicted, changes.added) == ([], [], [])
    cache.release("i1")
    pinned(cache, "i2", {"idle": 10}, {"z": 10})


def test_a_set_over_the_budget_never_fits() -> None:
    assert Residency(30).pin_set("i", {"x": 10}, {"z": 21}) == TooLarge(31, 30)


def test_outputs_are_adopted_under_their_new_keys() -> None:
    cache = Residency(100)
    outcome = pinned(cache, "i1", {}, {"z": 10, "t": 20, "u": 30})
    cache.release("i1", keep={"z": "z", "u": "u"})
    cache.check()
    assert cache.used == 40
    cache.adopt("i1", {"z": "s3/z"})
    cache.check()
    changes = cache.take_changes()
    assert changes.added == [("s3/z", 10)]
    assert sorted(changes.freed) == sorted([outcome.work["t"], outcome.work["u"]])
    assert pinned(cache, "i2", {"s3/z": 10}).inputs["s3/z"] == outcome.work["z"]


def test_an_output_is_adopted_by_its_own_name_wherever_it_lies() -> None:
    cache = Residency(100)
    outcome = pinned(cache, "i", {}, {"z": 10, "t": 10})
    cache.release("i", keep={"t": "z"})
    cache.check()
    cache.adopt("i", {"z": "key"})
    assert pinned(cache, "j", {"key": 10}).inputs["key"] == outcome.work["t"]


def test_an_output_adopted_twice_is_kept_once() -> None:
    cache = Residency(100)
    for inv in ("i1", "i2"):
        pinned(cache, inv, {}, {"z": 10})
        cache.release(inv, keep={"z": "z"})
        cache.adopt(inv, {"z": "same"})
        cache.check()
    assert cache.used == 10


def test_what_is_renamed_is_found_under_both_keys_until_it_goes() -> None:
    cache = Residency(10)
    fill(cache, "i1", {"version": 10})
    cache.take_changes()
    cache.rename("version", "etag")
    cache.check()
    changes = cache.take_changes()
    assert (changes.evicted, changes.added, changes.freed) == (["version"], [("etag", 10)], [])
    assert pinned(cache, "i2", {"version": 10}).hits == ("version",)
    assert pinned(cache, "i3", {"etag": 10}).hits == ("etag",)
    cache.release("i2"), cache.release("i3")
    assert cache.evict_idle(10) == 10
    assert cache.take_changes().evicted == ["etag"]
    assert pinned(cache, "i4", {"version": 10}).loads == ("version",)


def test_what_is_not_there_or_there_already_is_not_renamed() -> None:
    cache = Residency(30)
    fill(cache, "i1", {"version": 10, "etag": 10})
    pinned(cache, "i2", {"coming": 10})
    cache.take_changes()
    for old, new in (("version", "etag"), ("absent", "other"), ("coming", "other")):
        cache.rename(old, new)
        cache.check()
    changes = cache.take_changes()
    assert (changes.evicted, changes.added) == ([], [])
    assert cache.resident() == [("version", 10), ("etag", 10)]


def test_kept_outputs_give_way_and_then_cannot_be_adopted() -> None:
    cache = Residency(20)
    pinned(cache, "i1", {}, {"z": 10})
    cache.release("i1", keep={"z": "z"})
    pinned(cache, "i2", {}, {"z": 15})
    cache.adopt("i1", {"z": "gone"})
    cache.check()
    assert (cache.resident(), cache.used) == ([], 15)


def test_dropped_outputs_are_freed() -> None:
    cache = Residency(20)
    pinned(cache, "i1", {}, {"z": 10})
    cache.release("i1", keep={"z": "z"})
    cache.drop("i1")
    cache.drop("i1")
    cache.check()
    assert cache.used == 0


def test_shrinking_evicts_at_once_what_is_idle_and_later_what_was_pinned() -> None:
    cache = Residency(40)
    fill(cache, "i0", {"idle": 10})
    load(cache, "i1", pinned(cache, "i1", {"x": 30}))
    cache.take_changes()
    cache.shrink(20)
    cache.check()
    assert cache.take_changes().evicted == ["idle"]
    assert cache.used == 30
    cache.release("i1")
    cache.check()
    assert cache.take_changes().evicted == ["x"]


def test_what_is_idle_can_go_before_the_budget_asks_for_it() -> None:
    cache = Residency(40)
    fill(cache, "i0", {"a": 10, "b": 5})
    pinned(cache, "i1", {}, {"z": 10})
    assert cache.evict_idle(1) == 10
    cache.check()
    assert cache.evict_idle(100) == 5
    cache.check()
    assert cache.used == 10


def test_pinning_twice_is_a_defect() -> None:
    cache = Residency(40)
    pinned(cache, "i", {})
    with pytest.raises(ValueError, match="pinned its set already"):
        cache.pin_set("i", {}, {})


#: Sizes are a function of the key, as content has one size.
SIZES = {f"k{n}": n for n in range(1, 9)} | {f"r{n}": n for n in range(1, 4)}
BUDGET = 24


class CacheMachine(RuleBasedStateMachine):
    """Any order of events keeps the invariants, evicts nothing pinned and never grants more than the budget."""

    @initialize()
    def start(self) -> None:
        self.cache = Residency(BUDGET)
        self.memory: dict[int, str] = {}
        self.running: dict[str, Pinned] = {}
        #: What is resident, as the front would see it.
        self.told: dict[str, int] = {}
        #: Who was asked for a key, as the front would see it.
        self.asked: dict[str, str] = {}
        self.copying: set[str] = set()
        self.ended: list[str] = []
        #: The keys that keys were renamed to, while what was renamed is there.
        self.renamed: dict[str, str] = {}
        self.number = 0

    def settle(self) -> None:
        changes = self.cache.take_changes()
        needed = {handle for pins in self.running.values() for handle in (*pins.inputs.values(), *pins.work.values())}
        for handle in changes.freed:
            assert handle not in needed
            self.memory.pop(handle, None)
        resident = dict(self.cache.resident())
        self.told = {key: size for key, size in self.told.items() if key not in changes.evicted} | dict(changes.added)
        assert self.told == resident
        self.renamed = {old: new for old, new in self.renamed.items() if new not in changes.evicted}

    @rule(
        keys=st.sets(st.sampled_from(sorted(SIZES)), max_size=4),
        work=st.dictionaries(st.sampled_from("tuvz"), st.integers(1, 8), max_size=3),
    )
    def run(self, keys: set[str], work: dict[str, int]) -> None:
        self.number += 1
        inv = f"i{self.number}"
        before, busy = dict(self.cache.resident()), {*self.asked, *self.copying}
        inputs = {key: SIZES[key] for key in sorted(keys)}
        outcome = self.cache.pin_set(inv, inputs, work)
        if isinstance(outcome, TooLarge):
            assert sum(inputs.values()) + sum(work.values()) > self.cache.budget
            return
        if isinstance(outcome, Busy):
            assert dict(self.cache.resident()) == before
            assert outcome.short > 0
            return
        present = {key for key in keys if key in before or (key not in busy and self.renamed.get(key) in before)}
        assert set(outcome.hits) == present
        assert not set(outcome.loads) & (set(self.asked) | self.copying)
        assert set(outcome.joins) <= set(self.asked) | self.copying
        for key in outcome.loads:
            self.asked[key] = inv
        fresh = [*outcome.work.values(), *(outcome.inputs[key] for key in outcome.loads)]
        assert len(set(fresh)) == len(fresh)
        assert not set(fresh) & set(self.memory)
        self.memory.update(dict.fromkeys(fresh, inv))
        self.running[inv] = outcome
        self.settle()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def supply(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.asked)))
        loading = self.cache.loading(key, self.asked.pop(key))
        assert loading is not None
        assert loading[0] in self.memory
        assert loading[1] == SIZES[key]
        self.copying.add(key)
        self.settle()

    @precondition(lambda self: self.copying)
    @rule(data=st.data(), works=st.booleans())
    def finish_copy(self, data: st.DataObject, works: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.copying)))
        self.copying.remove(key)
        if works:
            self.cache.loaded(key)
        else:
            for inv in self.cache.not_loaded(key):
                self.end(inv, {})
        self.settle()

    def end(self, inv: str, keep: dict[str, str]) -> None:
        del self.running[inv]
        for key, other in self.cache.release(inv, keep):
            assert self.asked[key] == inv
            assert other in self.running
            self.asked[key] = other
        self.asked = {key: loader for key, loader in self.asked.items() if loader != inv}
        self.ended.append(inv)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keeps=st.booleans())
    def release(self, data: st.DataObject, keeps: bool) -> None:
        inv = data.draw(st.sampled_from(sorted(self.running)))
        self.end(inv, {name: name * 2 for name in self.running[inv].work} if keeps else {})
        self.settle()

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), key=st.none() | st.sampled_from(sorted(SIZES)))
    def adopt(self, data: st.DataObject, key: str | None) -> None:
        inv = data.draw(st.sampled_from(self.ended))
        self.ended.remove(inv)
        if key is None:
            self.cache.drop(inv)
        else:
            # A content key means one size, whoever wrote it; other sizes are another key.
            sizes = {name: self.cache._blocks[handle].size for name, handle in self.cache._kept.get(inv, {}).items()}
            self.cache.adopt(inv, {name: key for name, size in sizes.items() if size == SIZES[key]})
        self.settle()

    @rule(size=st.integers(1, 3), back=st.booleans())
    def rename(self, size: int, back: bool) -> None:
        old, new = (f"r{size}", f"k{size}") if back else (f"k{size}", f"r{size}")
        before = dict(self.cache.resident())
        self.cache.rename(old, new)
        if old in before and new not in {*before, *self.asked, *self.copying}:
            self.settle()
            self.renamed[old] = new
        assert len(self.cache.resident()) == len(before)
        self.settle()

    @rule(budget=st.integers(0, 2 * BUDGET))
    def shrink(self, budget: int) -> None:
        self.cache.shrink(budget)
        self.settle()

    @rule(size=st.integers(0, 2 * BUDGET))
    def evict_idle(self, size: int) -> None:
        idle = self.cache.used - self.cache.pinned
        assert min(size, idle) <= self.cache.evict_idle(size) <= idle
        self.settle()

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "cache"):
            self.cache.check()
            assert set(self.memory) == set(self.cache._blocks)


TestCacheMachine = CacheMachine.TestCase
