"""The memory broker: budgets never add up to more than the device, and a granted reservation is always covered."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kaas_pool.front.memory import MemoryBroker

CHUNK = 16
CAPACITY = 1000


class BrokerMachine(RuleBasedStateMachine):
    """Executors that keep to their budgets, in any order of joining, filling, running and dying."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker(CAPACITY, CHUNK)
        self.budgets: dict[int, int] = {}
        self.held: dict[int, int] = {}
        self.running: list[tuple[int, int]] = []
        self.made = 0

    def step(self) -> None:
        for name, budget in self.broker.step():
            assert isinstance(name, int)
            assert budget % CHUNK == 0
            self.budgets[name] = budget

    @precondition(lambda self: len(self.held) < 5)
    @rule()
    def join(self) -> None:
        self.made += 1
        self.budgets[self.made] = self.held[self.made] = 0
        self.broker.join(self.made)
        self.step()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[name], self.budgets[name]
        self.running = [entry for entry in self.running if entry[0] != name]
        self.broker.leave(name)
        self.step()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), size=st.integers(0, CAPACITY))
    def run(self, data: st.DataObject, size: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        if self.broker.reserve(name, size):
            self.running.append((name, size))
        self.step()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.running))
        self.running.remove(entry)
        self.broker.release(*entry)
        self.step()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """An executor fills its budget with cache, or evicts down to it."""
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.held[name] = data.draw(st.integers(0, self.budgets[name]))
        self.broker.used(name, self.held[name])
        self.step()

    @rule()
    def everyone_obeys(self) -> None:
        """Once all are down to their budgets, everything reserved is covered: nobody waits for ever."""
        for name in self.held:
            self.held[name] = min(self.held[name], self.budgets[name])
            self.broker.used(name, self.held[name])
        self.step()
        for name, _ in self.running:
            assert self.broker.covers(name)

    @invariant()
    def fits(self) -> None:
        self.broker.validate()
        assert sum(max(self.budgets[name], self.held[name]) for name in self.held) <= CAPACITY
        assert all(self.broker.budget(name) == budget for name, budget in self.budgets.items())


TestBroker = BrokerMachine.TestCase


def test_one_executor_gets_the_whole_device() -> None:
    broker = MemoryBroker(1000, CHUNK)
    broker.join("a")
    assert broker.step() == [("a", 992)]
    assert broker.step() == []


def test_a_newcomer_gets_its_share_once_the_other_has_evicted() -> None:
    broker = MemoryBroker(1000, 1)
    broker.join("a")
    broker.step()
    broker.used("a", 900)
    broker.join("b")
    assert broker.step() == [("a", 500), ("b", 100)]
    broker.used("a", 500)
    assert broker.step() == [("b", 500)]


def test_what_runs_counts_before_what_is_cached() -> None:
    broker = MemoryBroker(1000, 1)
    broker.join("a")
    broker.join("b")
    broker.step()
    assert broker.reserve("a", 800)
    assert not broker.reserve("b", 201)
    assert broker.reserve("b", 200)
    broker.step()
    assert (broker.budget("a"), broker.budget("b")) == (800, 200)
    assert broker.covers("a")
    broker.release("a", 800)
    broker.release("b", 200)
    broker.step()
    assert (broker.budget("a"), broker.budget("b")) == (500, 500)


def test_an_adopted_executors_memory_is_not_given_away() -> None:
    broker = MemoryBroker(1000, 1)
    broker.join("old", held=700)
    broker.join("new")
    assert dict(broker.step()) == {"old": 500, "new": 300}
