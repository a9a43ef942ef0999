"""The tables and the trace that a profile becomes."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from kaas_cli.profile import Phase, phases_of, profile_text
from kaas_cli.trace import trace
from kaas_pool.executor.profile import Profile, Row, Span
from kaas_pool.operations import Launch

LAUNCH = Launch(0, (8, 1, 1), (128, 1, 1), 64, b"", (), "kaas.yaml:9 graph[0]")
STATS = {"load_ms": 2.0, "gpu_ms": 3.0, "compute_ms": 4.0}


def profile_of(count: int, lanes: int = 1) -> Profile:
    """Launches one right after the other on each lane, of odd lengths."""
    row = Row("kernel", "saxpy", "kaas.yaml:9 graph[0]", 3_000_000)
    profile = Profile(count * lanes, 10.5, [row])
    lengths = random.Random(3)
    for lane in range(lanes):
        begin = 0.0
        for _ in range(count):
            end = begin + lengths.random() / 7
            profile.add(row, end - begin, Span(row, lane, begin, end, LAUNCH))
            begin = end
    return profile


def spans(events: list[dict[str, Any]], thread: int) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == "X" and event["tid"] == thread]


def test_a_gpu_has_a_bandwidth_and_the_emulated_device_none() -> None:
    profile = Profile(rows=[Row("kernel", "saxpy", "kaas.yaml:9 graph[0]", 3_000_000, 4, 6.0)])
    phases = phases_of(10.0, 10.5, profile, STATS)
    on_gpu, emulated = (profile_text(profile, phases, (), kind) for kind in ("cuda", "emulated"))
    cells = on_gpu.splitlines()[1].split("  ")
    assert [cell.strip() for cell in cells if cell] == [
        *("kernel", "saxpy", "kaas.yaml:9 graph[0]", "4", "6.000", "1500.0", "2.9 MiB", "2.0")
    ]
    assert "GB/s" in on_gpu
    assert "GB/s" not in emulated
    assert "no GPU's" in emulated
    assert "no GPU's" not in on_gpu


def test_what_took_no_time_has_no_bandwidth() -> None:
    profile = Profile(rows=[Row("fill", "z", "", 4, 1, 0.0)])
    assert profile_text(profile, (), (), "cuda").splitlines()[1].endswith("4 B")


def test_phases_follow_each_other() -> None:
    profile = Profile(begun=10.75)
    phases = phases_of(10.0, 10.5, profile, STATS)
    assert [phase.name for phase in phases] == ["compile", "load", "compute", "store"]
    assert [phase.end - phase.begin for phase in phases] == pytest.approx([0.5, 0.002, 0.003, 0.001])
    times = [time for phase in phases for time in (phase.begin, phase.end)]
    assert times == sorted(times)


def test_spans_that_touch_do_not_overlap_in_a_trace() -> None:
    profile = profile_of(1000, lanes=3)
    written = trace("saxpy", profile, phases_of(10.0, 10.5, profile, STATS), "cuda")
    assert written["displayTimeUnit"] == "ns"
    for thread in (1, 2, 3, 4):
        found = spans(written["traceEvents"], thread)
        assert len(found) == (4 if thread == 1 else 1000)
        for one, following in itertools.pairwise(found):
            assert one["ts"] + one["dur"] <= following["ts"]
            # A viewer counts whole nanoseconds.
            assert (one["ts"] * 1000).is_integer()
            assert (one["dur"] * 1000).is_integer()


def test_a_trace_names_its_tracks_and_what_it_leaves_out() -> None:
    profile = profile_of(2, lanes=2)
    profile.left_out = 5
    written = trace("saxpy", profile, [Phase("compute", 1.0, 2.0)], "emulated")
    names = {event["tid"]: event["args"]["name"] for event in written["traceEvents"] if event["name"] == "thread_name"}
    assert names == {1: "phases", 2: "stream 0", 3: "stream 1"}
    assert written["otherData"]["operations left out"] == 5
    assert "no GPU's" in written["otherData"]["note"]
    [launch, _] = spans(written["traceEvents"], 2)
    assert (launch["name"], launch["ts"]) == ("saxpy", 1e6)
    assert launch["args"] == {
        "bytes": 3_000_000,
        "grid": (8, 1, 1),
        "block": (128, 1, 1),
        "shared": 64,
        "where": "kaas.yaml:9 graph[0]",
    }
