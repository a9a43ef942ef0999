"""Scheduling policies: the interface's invariants for every registered policy, and what `fcfs` adds."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaas_pool.scheduler import POLICIES, Decision, Job, Policy, register
from kaas_pool.scheduler.slots import Slots

DOMAINS = ("a", "b", "c")


class PolicyMachine(RuleBasedStateMachine):
    """Any sequence of legal events: nothing lost, no slot used twice, no free slot beside a waiting job."""

    policy_name = "fcfs"

    @initialize(devices=st.integers(1, 4), slots=st.integers(1, 3))
    def start(self, devices: int, slots: int) -> None:
        self.names = [str(index) for index in range(devices)]
        self.per_device = slots
        self.policy: Policy = POLICIES[self.policy_name](self.names, slots)
        self.now = 0.0
        self.made = 0
        self.waiting: list[Job] = []
        self.running: dict[str, Decision] = {}
        self.down: set[str] = set()

    def settle(self) -> None:
        """Ask for decisions and book them."""
        self.now += 1.0
        for decision in self.policy.decide(self.now):
            assert decision.job in self.waiting, "a decision for a job that does not wait"
            assert decision.device not in self.down, "a job for a device that is down"
            self.waiting.remove(decision.job)
            self.running[decision.job.name] = decision

    @rule(domain=st.sampled_from(DOMAINS), retried=st.booleans())
    def submit(self, domain: str, retried: bool) -> None:
        self.made += 1
        job = Job(f"job-{self.made}", domain, domain, "sha256:0", retried=retried)
        self.waiting.append(job)
        self.policy.submitted(job, self.now)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(job)
        self.policy.withdrawn(job.name, self.now)
        self.settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.floats(0, 10))
    def finish(self, data: st.DataObject, seconds: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.running)))
        decision = self.running.pop(name)
        self.policy.slot_freed(name, self.now)
        self.policy.measured(decision.job, seconds, self.now)
        self.settle()

    @rule(data=st.data(), domain=st.sampled_from(DOMAINS), up=st.booleans())
    def executor(self, data: st.DataObject, domain: str, up: bool) -> None:
        device = data.draw(st.sampled_from(self.names))
        (self.policy.executor_up if up else self.policy.executor_down)(device, domain, self.now)
        self.settle()

    @rule(data=st.data())
    def device(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(self.names))
        if device in self.down:
            self.down.discard(device)
            self.policy.device_up(device, self.now)
        else:
            self.down.add(device)
            self.policy.device_down(device, self.now)
        self.settle()

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "policy"):
            return
        self.policy.validate()
        assert self.policy.waiting == len(self.waiting), "a job was lost or counted twice"
        busy = dict.fromkeys(self.names, 0)
        for decision in self.running.values():
            busy[decision.device] += 1
        assert busy == {name: self.policy.slots.busy(name) for name in self.names}
        assert max(busy.values()) <= self.per_device
        free = [name for name in self.names if name not in self.down and busy[name] < self.per_device]
        assert not (self.waiting and free), "a slot idles while a job waits"


def test_every_policy_keeps_the_invariants() -> None:
    for name in POLICIES:
        machine = type(f"{name}Machine", (PolicyMachine,), {"policy_name": name})
        case = machine.TestCase  # type: ignore[attr-defined]  # made by hypothesis
        case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
        case("runTest").runTest()


def jobs(count: int, **fields: object) -> list[Job]:
    return [Job(f"j{index}", "t", "t", "sha256:0", **fields) for index in range(count)]  # type: ignore[arg-type]


def test_fcfs_starts_in_order_of_submission() -> None:
    policy = POLICIES["fcfs"](["0"], 1)
    order: list[str] = []
    for job in jobs(5):
        policy.submitted(job, 0.0)
    for _ in range(5):
        [decision] = policy.decide(0.0)
        order.append(decision.job.name)
        policy.slot_freed(decision.job.name, 0.0)
    assert order == ["j0", "j1", "j2", "j3", "j4"]


def test_fcfs_puts_a_lost_attempt_before_fresh_jobs() -> None:
    policy = POLICIES["fcfs"](["0"], 1)
    for job in jobs(2):
        policy.submitted(job, 0.0)
    policy.submitted(Job("again", "t", "t", "sha256:0", retried=True), 1.0)
    assert [decision.job.name for decision in policy.decide(1.0)] == ["again"]


def test_a_device_with_the_domains_executor_is_preferred_then_the_emptiest() -> None:
    slots = Slots(["0", "1", "2"], 2)
    assert slots.best("a") == "0"
    slots.executor_up("2", "a")
    assert slots.best("a") == "2"
    slots.take("x", "0", "b")
    assert slots.best("b") == "1"
    slots.take("y", "2", "a")
    slots.take("z", "2", "a")
    assert slots.best("a") == "1", "no slot is free where the executor is"


def test_slots_refuse_what_would_use_one_twice() -> None:
    slots = Slots(["0"], 1)
    slots.take("x", "0", "a")
    with pytest.raises(ValueError, match="no slot"):
        slots.take("y", "0", "a")
    with pytest.raises(KeyError):
        slots.free("y")
    assert slots.free("x") == "0"
    assert slots.has_free()


def test_a_policy_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="fcfs"):
        register("fcfs")(POLICIES["fcfs"])


def test_waiting_twice_is_refused() -> None:
    policy = POLICIES["fcfs"](["0"], 1)
    [job] = jobs(1)
    policy.submitted(job, 0.0)
    with pytest.raises(ValueError, match="waits already"):
        policy.submitted(job, 0.0)
    with pytest.raises(KeyError):
        policy.withdrawn("another", 0.0)
