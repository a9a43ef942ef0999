"""`kaas run --trace`: one run in the trace event format, which Perfetto and Chrome's tracing read.

The object form of the format: complete events ("X") with `ts` and `dur` in microseconds, a thread for each track, and
metadata events ("M") that name and order the tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaas_cli.profile import EMULATED, Phase
from kaas_local.stack import Kind
from kaas_pool.executor.profile import Profile, Span

#: Operations in a trace: some 20 MB, and what viewers take at ease.
MOST_SPANS = 100_000

_PROCESS = 1
_PHASES = 1  # Its thread; the streams follow.


def trace(name: str, profile: Profile, phases: Sequence[Phase], kind: Kind) -> dict[str, Any]:
    """The trace of one run of the action `name`."""
    compute = next(phase for phase in phases if phase.name == "compute")
    lanes = sorted({span.lane for span in profile.spans})
    events = [_named("process_name", _PHASES, f"{name} on the {kind} device"), *_track(_PHASES, "phases")]
    for lane in lanes:
        events += _track(_thread(lane), f"stream {lane}")
    events += [_complete(one.name, "phase", _PHASES, one.begin * 1e6, one.end * 1e6, {}) for one in phases]
    events += [_operation(span, compute.begin * 1e6) for span in profile.spans]
    other = {"action": name, "device": kind, "operations left out": profile.left_out}
    if kind == "emulated":
        other["note"] = EMULATED
    # With "ms" viewers round before they nest.
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": other}


def _operation(span: Span, origin: float) -> dict[str, Any]:
    row, launch = span.row, span.launch
    args: dict[str, Any] = {"bytes": row.nbytes}
    if launch is not None:
        args |= {"grid": launch.grid, "block": launch.block, "shared": launch.shared}
    if row.where:
        args["where"] = row.where
    name = row.name if launch is not None else f"{row.kind} {row.name}"
    begin, end = origin + span.begin * 1e3, origin + span.end * 1e3
    return _complete(name, row.kind, _thread(span.lane), begin, end, args)


def _complete(name: str, category: str, thread: int, begin: float, end: float, args: dict[str, Any]) -> dict[str, Any]:
    # Eighths of a microsecond, finer than the events' own half: sums of them are exact, so that what follows does not
    # overlap by a rounding.
    first, last = round(begin * 8), round(end * 8)
    times = {"ts": first / 8, "dur": (last - first) / 8}
    return {"name": name, "cat": category, "ph": "X", **times, "pid": _PROCESS, "tid": thread, "args": args}


def _track(thread: int, name: str) -> list[dict[str, Any]]:
    order = {"name": "thread_sort_index", "ph": "M", "pid": _PROCESS, "tid": thread, "args": {"sort_index": thread}}
    return [_named("thread_name", thread, name), order]


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": _PROCESS, "tid": thread, "args": {"name": name}}


def _thread(lane: int) -> int:
    return _PHASES + 1 + lane
