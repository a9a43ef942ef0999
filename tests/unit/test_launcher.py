"""What the driver is asked for a plan: one call per operation, streams and events only where branches need them."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from plan_cases import plan_of

from kaas.errors import KaasError
from kaas_pool.executor.device import Device, Function
from kaas_pool.executor.launcher import PART, PARTS_UNDER_WAY, Launcher
from kaas_pool.limits import Limits
from kaas_pool.plan import Plan

N = 1000


class Event:
    """Done when the test says so."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.done = driver, False

    def record(self, stream: Stream) -> None:
        self.done = False
        self.driver.calls.append(f"record {stream.number}")

    def query(self) -> bool:
        return self.done or self.driver.instant


class Stream:
    def __init__(self, driver: Driver, number: int) -> None:
        self.driver, self.number = driver, number

    def wait_for_event(self, event: Event) -> None:
        self.driver.calls.append(f"wait {self.number}")


class Driver:
    """Stands where a Device does: writes down each driver call, and answers checks from `elements`."""

    driver_error = ValueError

    def __init__(self, *elements: float, instant: bool = True) -> None:
        self.calls: list[str] = []
        self.elements = list(elements)
        self.instant = instant
        self.events: list[Event] = []
        self.limits = Limits(shared_bytes=100_000)
        self.raised: list[int] = []
        self.static_shared = 0

    def function(self) -> Function:
        def launch(grid: object, block: object, arguments: bytes, shared: int, stream: Stream) -> None:
            self.calls.append(f"launch {stream.number}")

        return Function(launch, static_shared=self.static_shared, allowed_shared=48 << 10, allow=self.raised.append)

    def launcher(self, plan: Plan, function: Function | None = None) -> Launcher:
        functions = [function or self.function() for _ in plan.kernels]
        streams = [Stream(self, number) for number in range(plan.lanes)]
        return Launcher(cast("Device", self), plan, functions, [1 << 20] * len(plan.buffers), streams)

    def event(self) -> Event:
        self.events.append(Event(self))
        return self.events[-1]

    def record(self, stream: Stream) -> Event:
        event = self.event()
        event.record(stream)
        return event

    def recycle(self, *events: Event) -> None:
        for event in events:
            self.events.remove(event)

    def staging(self, size: int) -> Any:
        return np.zeros(size, np.uint8)

    def copy_out(self, data: Any, address: int, stream: Stream) -> None:
        self.calls.append(f"copy out {stream.number}")
        data.view(np.float32)[0] = self.elements.pop(0)

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        self.calls.append(f"copy {stream.number}")

    def fill(self, address: int, pattern: bytes, size: int, stream: Stream) -> None:
        self.calls.append(f"fill {stream.number}")


def run(driver: Driver, plan: Plan) -> Launcher:
    """To the end; nothing of the driver's may be left."""
    launcher = driver.launcher(plan)
    while not launcher.finished:
        assert launcher.advance()
    launcher.close()
    assert driver.events == []
    return launcher


def kernel(*args: str, shared: str = "0") -> str:
    return f"{{kernel: axpy, source: a.cu, threads: [n], block: [256], shared: {shared}, args: [{', '.join(args)}]}}"


def axpy(source: str, target: str) -> str:
    """`target` is read and written, `source` read."""
    return kernel("a", source, target, "int32(n)")


CHAIN = f"""
  - fill: {{buffer: t, value: 1}}
  - {axpy("x", "z")}
  - {axpy("z", "t")}
  - repeat:
      times: k
      as: i
      swap: [z, t]
      steps:
        - {axpy("z", "t")}
        - {kernel("a", "t", "z", "int32(i)")}
  - copy: {{from: z, to: y}}
"""


def test_a_chain_costs_one_call_for_each_operation() -> None:
    driver = Driver()
    plan = plan_of(CHAIN, k=3)
    run(driver, plan)
    assert driver.calls == ["fill 0", *(["launch 0"] * 8), "copy 0"]
    assert plan.lanes == 1


def test_a_long_loop_costs_an_event_for_each_part() -> None:
    driver = Driver()
    run(driver, plan_of(f"  - repeat: {{times: {3 * PART}, steps: [{axpy('x', 'z')}]}}\n"))
    assert len(driver.calls) == 3 * PART + 3
    assert driver.calls.count("record 0") == 3


def test_two_branches_cost_four_calls_more() -> None:
    driver = Driver()
    plan = plan_of(f"  - {axpy('x', 'z')}\n  - {axpy('x', 't')}\n  - {axpy('t', 'z')}\n")
    run(driver, plan)
    assert plan.lanes == 2
    calls = ["record 0", "launch 0", "wait 1", "launch 1", "record 1", "wait 0", "launch 0"]
    assert driver.calls == calls


#: Of a body of two branches: its beginning, and the end of the second lane.
SIGNALS = 2


def test_parts_of_branches_end_when_all_their_streams_have() -> None:
    driver = Driver(instant=False)
    body = f"{axpy('x', 'z')}, {axpy('c', 't')}"
    launcher = driver.launcher(plan_of(f"  - repeat: {{times: {PART}, steps: [{body}]}}\n"))
    for _ in range(PARTS_UNDER_WAY):
        assert launcher.advance()
    assert not launcher.advance()
    # The oldest part's two events are the first that are no signals of the body.
    first, second = driver.events[SIGNALS : SIGNALS + 2]
    first.done = True
    assert not launcher.advance()
    second.done = True
    assert launcher.advance()


SETTLE = f"""
  - repeat:
      times: 9
      until: {{buffer: z, below: 1, every: 2}}
      steps: [{axpy("x", "z")}]
"""


def test_a_check_costs_a_copy_and_an_event() -> None:
    driver = Driver(5, 0.5)
    launcher = run(driver, plan_of(SETTLE))
    assert driver.calls == ["launch 0", "launch 0", "copy out 0", "record 0"] * 2
    assert launcher.rounds == [4]


def test_nothing_is_handed_over_until_the_element_is_here() -> None:
    driver = Driver(5, 0.5, instant=False)
    launcher = driver.launcher(plan_of(SETTLE))
    assert launcher.advance()
    calls = len(driver.calls)
    assert not launcher.advance()
    assert len(driver.calls) == calls
    driver.events[0].done = True
    assert launcher.advance()
    assert len(driver.calls) == 2 * calls
    launcher.stop()
    assert not launcher.advance()
    launcher.close()
    assert driver.events == []


def test_rounds_that_launch_nothing_do_not_hold_the_thread() -> None:
    driver = Driver()
    nothing = "{kernel: axpy, source: a.cu, threads: [n * (i - i)], block: [1], args: [a, x, z, int32(i)]}"
    launcher = driver.launcher(plan_of(f"  - repeat: {{times: {1 << 40}, as: i, steps: [{nothing}]}}\n"))
    for _ in range(3):
        assert launcher.advance()
    launcher.stop()
    assert driver.calls == []


def test_an_abort_waits_for_all_streams() -> None:
    driver = Driver(instant=False)
    launcher = driver.launcher(plan_of(f"  - repeat: {{times: 1000, steps: [{axpy('x', 'z')}, {axpy('c', 't')}]}}\n"))
    launcher.advance()
    driver.calls.clear()
    launcher.stop()
    assert driver.calls == ["record 1", "wait 0"]
    launcher.close()
    assert driver.events == []


def shared_plan(size: int) -> Plan:
    graph = f"  - repeat: {{times: 5, as: i, steps: [{kernel('a', 'x', 'z', 'int32(i)', shared=str(size))}]}}\n"
    return plan_of(graph, limits=Limits(shared_bytes=100_000))


def test_shared_memory_beyond_what_a_kernel_may_have_is_asked_for_once() -> None:
    driver = Driver()
    run(driver, shared_plan(48 << 10))
    assert driver.raised == []
    run(driver, shared_plan(60_000))
    assert driver.raised == [60_000]


def test_what_a_kernel_declares_itself_counts_against_the_devices_limit() -> None:
    driver = Driver()
    driver.static_shared = 4000
    run(driver, shared_plan(96_000))
    with pytest.raises(KaasError, match=r"axpy: 96001 bytes of shared memory beside its own 4000 .* 100000") as caught:
        run(driver, shared_plan(96_001))
    assert caught.value.code == "launch_invalid"
    assert "graph[0]" in str(caught.value.where)


def test_a_refused_launch_is_told_with_its_place() -> None:
    driver = Driver()

    def refuse(*_: object) -> None:
        raise ValueError("the driver's answer")

    plan = plan_of(f"  - fill: {{buffer: t, value: 1}}\n  - {axpy('x', 'z')}\n")
    launcher = driver.launcher(plan, Function(refuse, static_shared=0, allowed_shared=0, allow=refuse))
    with pytest.raises(ValueError, match="answer"):
        launcher.advance()
    assert launcher.where is not None
    assert "graph[1]" in launcher.where


def test_an_index_does_not_make_memory_grow() -> None:
    driver = Driver()
    graph = f"  - repeat: {{times: 10000, as: i, steps: [{kernel('a', 'x', 'z', 'int32(i)')}]}}\n"
    launcher = driver.launcher(plan_of(graph))
    while not launcher.finished:
        launcher.advance()
    gc.collect()
    # A call that was made for one round is forgotten after it.
    assert sum(isinstance(one, partial) and "where" in vars(one) for one in gc.get_objects()) <= 2
