"""What a timer makes of a plan's operations: each once, with two events around it that come back."""

from __future__ import annotations

from typing import Any

import pytest
from plan_cases import binding_of, manifest_of, plan_of, signatures_of
from test_launcher import CHAIN, SETTLE, Driver, Event, Stream, axpy, run

from kaas.manifest import Manifest
from kaas_pool.executor.bundles import DeviceBundle
from kaas_pool.executor.launcher import PART, PARTS_UNDER_WAY, Launcher
from kaas_pool.executor.profile import Profile
from kaas_pool.executor.timer import Timer
from kaas_pool.limits import Limits
from kaas_pool.plan import Plan

N = 1000
FLOATS = 4 * N


class TimedEvent(Event):
    """Recorded at the next whole millisecond."""

    driver: TimedDriver
    time = 0

    def record(self, stream: Stream) -> None:
        super().record(stream)
        self.driver.time += 1
        self.time = self.driver.time

    def time_since(self, other: TimedEvent) -> float:
        return self.time - other.time


class CrossingEvent(TimedEvent):
    """Every second one changes places with the one before or after it, seen from far."""

    shift = 0

    def time_since(self, other: TimedEvent) -> float:
        return ((self.time + self.shift) ^ 1) - other.time


class ShiftedEvent(CrossingEvent):
    shift = 1


class TimedDriver(Driver):
    kind: type[TimedEvent] = TimedEvent

    def __init__(self, *elements: float) -> None:
        super().__init__(*elements)
        self.time = 0
        self.most_events = 0

    def event(self) -> Event:
        self.events.append(self.kind(self))
        self.most_events = max(self.most_events, len(self.events))
        return self.events[-1]


def profiled(driver: TimedDriver, graph: str, profile: Profile, **parameters: Any) -> Manifest:
    """Run a graph to its end with a timer."""
    manifest = manifest_of(graph)
    signatures = signatures_of(manifest)
    binding = binding_of(manifest, {buffer.name: (N,) for buffer in manifest.inputs}, **parameters)
    plan = Plan.build(manifest, binding, signatures, Limits())
    streams = [Stream(driver, number) for number in range(plan.lanes)]
    device: Any = driver
    origin = device.record(streams[0])
    timer = Timer(device, plan, DeviceBundle(manifest, {}, signatures), profile, origin)
    timer.prepared(streams[0])
    functions = [driver.function() for _ in plan.kernels]
    launcher = Launcher(device, plan, functions, [1 << 20] * len(plan.buffers), streams, timer)
    while not launcher.finished:
        assert launcher.advance()
    launcher.close()
    assert driver.events == [origin]
    return manifest


def test_every_operation_is_counted_with_the_bytes_of_its_buffers() -> None:
    profile = Profile(100)
    manifest = profiled(TimedDriver(), CHAIN, profile, k=3)
    places = [step.where for step in manifest.kernel_steps]
    # axpy reads x and reads and writes y.
    assert [(row.kind, row.name, row.where, row.nbytes, row.count) for row in profile.rows] == [
        ("copy, clear", "before the first step", "", 3 * FLOATS, 1),
        ("fill", "t", "", FLOATS, 1),
        *(("kernel", "axpy", place, 3 * FLOATS, count) for place, count in zip(places, [1, 1, 3, 3], strict=True)),
        ("copy", "z to y", "", 2 * FLOATS, 1),
    ]
    assert all(row.milliseconds == row.count for row in profile.rows)
    assert profile.left_out == 0
    assert [span.row.name for span in profile.spans] == [
        *("before the first step", "t", "axpy", "axpy"),
        *(["axpy"] * 6),
        "z to y",
    ]
    times = [time for span in profile.spans for time in (span.begin, span.end)]
    assert times == sorted(times)


def test_checks_are_timed_and_still_decide() -> None:
    profile = Profile()
    profiled(TimedDriver(5, 0.5), SETTLE, profile)
    assert [(row.kind, row.name, row.nbytes, row.count) for row in profile.rows[1:]] == [
        ("kernel", "axpy", 3 * FLOATS, 4),
        ("until", "z", 4, 2),
    ]


def test_branches_are_on_their_streams() -> None:
    profile = Profile(10)
    profiled(TimedDriver(), f"  - {axpy('x', 'z')}\n  - {axpy('c', 't')}\n", profile)
    assert [span.lane for span in profile.spans] == [0, 0, 1]
    assert all(span.begin < span.end for span in profile.spans)


@pytest.mark.parametrize("kind", [CrossingEvent, ShiftedEvent])
def test_times_that_cross_do_not_overlap_on_a_stream(kind: type[TimedEvent]) -> None:
    driver, profile = TimedDriver(), Profile(100)
    driver.kind = kind
    profiled(driver, CHAIN, profile, k=3)
    times = [time for span in profile.spans for time in (span.begin, span.end)]
    assert times == sorted(times)


@pytest.mark.parametrize("most", [0, 7])
def test_long_loops_take_no_more_events_or_spans(most: int) -> None:
    driver, profile = TimedDriver(), Profile(most)
    profiled(driver, f"  - repeat: {{times: 20000, as: i, steps: [{axpy('x', 'z')}]}}\n", profile)
    assert (profile.rows[-1].count, len(profile.spans)) == (20000, most)
    assert profile.left_out == 20001 - most
    assert driver.most_events <= 2 * PART * (PARTS_UNDER_WAY + 1)


def test_the_driver_is_asked_for_the_same_as_without() -> None:
    timed, plain = TimedDriver(), Driver()
    profiled(timed, CHAIN, Profile(), k=3)
    run(plain, plan_of(CHAIN, k=3))
    assert [call for call in timed.calls if not call.startswith("record")] == plain.calls
