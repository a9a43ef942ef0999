"""`kaas run --profile`: where the time of one run went, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaas_cli.output import size, table
from kaas_local.stack import Kind
from kaas_pool.compiler import CompiledSource
from kaas_pool.executor.profile import Profile, Row

#: What is to be said wherever an emulated device's times are shown.
EMULATED = "times are those of the emulated device, on this machine's processor: no GPU's, and no measure of one"


@dataclass(frozen=True)
class Phase:
    """A part of a run, in seconds since the beginning of the first."""

    name: str
    begin: float
    end: float


def phases_of(begun: float, compiled_at: float, profile: Profile, stats: Mapping[str, Any]) -> list[Phase]:
    """Compiling (from `begun` to `compiled_at`, monotonic seconds), and what the executor did after it.

    `load` is up to the inputs being on the device, `compute` what lies between the events around all operations,
    `store` the rest, up to the outputs being in host memory.
    """
    loaded = profile.begun + stats["load_ms"] / 1e3
    computed = loaded + stats["gpu_ms"] / 1e3
    stored = loaded + max(stats["compute_ms"], stats["gpu_ms"]) / 1e3
    times = [(begun, compiled_at), (profile.begun, loaded), (loaded, computed), (computed, stored)]
    return [
        Phase(name, begin - begun, end - begun)
        for name, (begin, end) in zip(("compile", "load", "compute", "store"), times, strict=True)
    ]


def profile_text(profile: Profile, phases: Sequence[Phase], compiled: Sequence[CompiledSource], kind: Kind) -> str:
    """The tables: operations by step, phases."""
    head = ["operation", "of", "where", "times", "total ms", "mean us", "bytes of its buffers"]
    rows = [head if kind == "emulated" else [*head, "GB/s"]]
    for row in profile.rows:
        mean = row.milliseconds * 1e3 / row.count if row.count else 0.0
        cells = [row.kind, row.name, row.where, f"{row.count}", f"{row.milliseconds:.3f}", f"{mean:.1f}"]
        rows.append([*cells, size(row.nbytes), *([] if kind == "emulated" else [_bandwidth(row)])])
    kept = sum(one.cached for one in compiled)
    notes = {"compile": f"{kept} of {len(compiled)} sources taken from the cache" if kept else ""}
    parts = [["phase", "ms", ""]]
    parts += [[one.name, f"{(one.end - one.begin) * 1e3:.3f}", notes.get(one.name, "")] for one in phases]
    text = f"{table(rows)}\n\n{table(parts)}"
    return f"{text}\n\n{EMULATED}" if kind == "emulated" else text


def _bandwidth(row: Row) -> str:
    """Decimal gigabytes of the step's buffers per second of its time."""
    return f"{row.nbytes * row.count / row.milliseconds / 1e6:.1f}" if row.milliseconds else ""
