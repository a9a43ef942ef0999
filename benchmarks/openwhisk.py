"""P11 to P13 (docs/numbers.md): kernel actions through the local OpenWhisk API of `kaas up`, alone, in sequences, many.

The stack and its clients share two cores. The figures are host work: the emulated driver says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import machine
import null_invocation
from null_invocation import percentile
from openwhisk_platform import Platform, running_platform

from kaas.client import digest_of

CORES = 2
WARM_CALLS = 200
WARM_ROUNDS = 3

#: What a sequence hands on.
MIB = 64

PER_MINUTE = 1000

#: The API takes 6,000 activations of a namespace a minute.
MOST_CALLS = 5000

STEP = """\
kaas: 1
name: {name}
params: {{mark: {{type: int64, default: 1}}}}
buffers:
  {source}: {{io: in, dtype: int64, shape: [n]}}
  {target}: {{io: out, dtype: int64, shape: [n]}}
graph:
  - {{kernel: mark, source: mark.cu, grid: [1], block: [1], args: [{source}, {target}, mark]}}
"""
SOURCE = """\
extern "C" __global__ void mark(const long long *x, long long *y, long long mark) { y[0] = x[0] + mark; }
"""

#: How the outputs of the first and of the second step are acknowledged.
ACKS = {
    "durable": ("durable", "durable"),
    "first ack: device": ("device", "durable"),
    "both ack: device": ("device", "device"),
}

#: The pool gives a PUT up 60 s after its acknowledgement.
STORE_SECONDS = 70

#: Of a blocking invocation's answer.
SUCCESS = b'"success":true'

Figures = dict[str, list[float]]


def main() -> int:
    """Measure, print a table, write the result down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=500, help="calls of each kind per run, of a warm action")
    parser.add_argument("--rounds", type=int, default=9, help="of the sequence, by each way of acknowledging")
    parser.add_argument("--minutes", type=int, default=3, help=f"of {PER_MINUTE} activations each")
    options = parser.parse_args()
    if options.runs * options.count > MOST_CALLS:
        parser.error(f"--runs times --count are over {MOST_CALLS}: the API takes no more in a minute")
    about = machine.describe()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder) / "kaas") as platform:
        content = null_invocation.bundle()
        platform.upload(content)
        platform.create_kernel("null", content, y="inline")
        platform.create_python("echo", "def main(args): return args")
        sequence = measure_sequence(platform, options.rounds)
        added = asyncio.run(measure_added(platform, content, options.runs, options.count))
        sustained = {
            "kernel": measure_sustained(platform, ["null"], options.minutes),
            "kernel and python": measure_sustained(platform, ["null", "echo"], options.minutes),
        }
    tables = {
        "P11 warm action": added,
        **{f"P12 sequence, {name}": table for name, table in sequence.items()},
        **{f"P13 {PER_MINUTE} per minute, {name}": table for name, table in sustained.items()},
    }
    figures = {
        title: {name: machine.spread(values) for name, values in table.items()} for title, table in tables.items()
    }
    for title, rows in figures.items():
        print(title)
        for name, values in rows.items():
            print(f"  {name:<22}{values['min']:>10g}{values['median']:>10g}{values['max']:>10g}")
    settings = {**vars(options), "cores": CORES, "mib": MIB, "per_minute": PER_MINUTE}
    path = machine.record("openwhisk", about, {"settings": settings, "figures": figures})
    print(
        f"(least, median, greatest: of {options.runs} runs, {options.rounds} rounds, {options.minutes} min) -> {path}"
    )
    return 0


class Caller:
    """One request, sent again and again over one connection; `expected` is in every good answer."""

    def __init__(self, port: int, message: bytes, expected: bytes) -> None:
        self._port = port
        self._message = message
        self._expected = expected
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self) -> float:
        """Send it; seconds until the answer is there."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        started = time.perf_counter()
        writer.write(self._message)
        status, body = await null_invocation.answer(reader)
        took = time.perf_counter() - started
        if status != 200 or self._expected not in body:
            raise RuntimeError(f"{status}: {body[:400]!r}")
        return took

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()


async def measure_added(platform: Platform, content: bytes, runs: int, count: int) -> Figures:
    """Call a warm action by the API and the pool directly, in turns; `added` is within each pair of calls."""
    request = {"bundle": digest_of(content), "arguments": {"y": "inline"}}
    pool = Caller(platform.pool.port, platform.pool.message("/v1/invocations", request), b'"done"')
    api = Caller(platform.api.port, platform.invocation("null", {}), SUCCESS)

    async def pairs(number: int) -> tuple[list[float], list[float]]:
        times: dict[Caller, list[float]] = {pool: [], api: []}
        for turn in range(number):
            for caller in (pool, api) if turn % 2 else (api, pool):
                times[caller].append(await caller.call())
        return times[pool], times[api]

    figures: Figures = defaultdict(list)
    await pairs(WARM_CALLS)
    for run in range(runs):
        tell(f"a warm action: run {run + 1} of {runs}")
        before = null_invocation.processor_seconds(platform.api_pid)
        direct, whole = await pairs(count)
        spent = null_invocation.processor_seconds(platform.api_pid) - before
        added = [api_s - pool_s for api_s, pool_s in zip(whole, direct, strict=True)]
        for name, seconds in (("pool", direct), ("api", whole), ("added", added)):
            for percent in (50, 90):
                figures[f"{name}_p{percent}_ms"].append(percentile(seconds, percent))
        figures["api_cpu_ms"].append(spent / count * 1e3)
    pool.close()
    api.close()
    return figures


def measure_sequence(platform: Platform, rounds: int) -> dict[str, Figures]:
    """Figures of a sequence of two kernel actions by each of ACKS, in another order each round.

    No run begins before the last one's outputs are in the store, and none hands on the bytes of another.
    """
    first, second = step("first", "x", "y"), step("second", "x", "z")
    platform.upload(first)
    platform.upload(second)
    platform.create_kernel("first", first)
    for ack in ("durable", "device"):
        platform.create_kernel(f"second-{ack}", second, rename={"y": "x"}, z="s3://out/z", ack=ack)
        platform.create_sequence(f"both-{ack}", "first", f"second-{ack}")
    store = platform.store()
    store.put_object(Bucket="data", Key="x", Body=bytes(MIB << 20))
    figures: dict[str, Figures] = {name: defaultdict(list) for name in ACKS}
    order = deque(ACKS.items())
    marks = itertools.count(1)
    for number in range(-WARM_ROUNDS, rounds):
        tell(f"a sequence: round {number + 1} of {rounds}" if number >= 0 else "a sequence: warming up")
        order.rotate()
        for name, (ack, last_ack) in order:
            mark = next(marks)
            row = run_sequence(platform, f"both-{last_ack}", {"ack": ack, "mark": mark})
            head = store.get_object(Bucket="out", Key="z", Range="bytes=0-7")["Body"].read()
            if int.from_bytes(head, "little") != mark + 1:
                raise RuntimeError(f"the result of run {mark} begins with {head!r}")
            for figure, value in row.items() if number >= 0 else ():
                figures[name][figure].append(value)
    return figures


def step(name: str, source: str, target: str) -> bytes:
    """An action of one launch of one thread, whose output is as large as its input."""
    manifest = STEP.format(name=name, source=source, target=target)
    return null_invocation.packed({"kaas.yaml": manifest, "mark.cu": SOURCE})


def run_sequence(platform: Platform, name: str, arguments: Mapping[str, Any]) -> dict[str, float]:
    """Figures of one run; returns when its outputs are in the store."""
    message = platform.invocation(name, {"x": "s3://data/x", "y": "s3://out/y", **arguments})
    started = time.perf_counter()
    status, answer = asyncio.run(null_invocation.once(platform.api.port, message))
    took = time.perf_counter() - started
    if status != 200:
        raise RuntimeError(f"{status}: {answer[:400]!r}")
    row = {"whole_ms": took * 1e3}
    for place, activation in zip(("first", "second"), json.loads(answer)["logs"], strict=True):
        stats = stored_result(platform, activation)["kaas"]["stats"]
        record = platform.api.ask("GET", f"/api/v1/namespaces/_/activations/{activation}")
        row |= {f"{place}_ms": record["duration"], f"{place}_store_ms": stats["store_ms"]}
        if place == "second":
            row |= {f"second_{figure}": stats[figure] for figure in ("device_hits", "misses", "bytes_loaded")}
    return row


def stored_result(platform: Platform, invocation: str) -> Any:
    """An invocation's result, as soon as the store has its outputs."""
    until = time.monotonic() + STORE_SECONDS
    while True:
        result = platform.pool.ask("GET", f"/v1/invocations/{invocation}")["result"]
        if all("etag" in output for output in result["kaas"]["outputs"].values()):
            return result
        if time.monotonic() > until:
            raise RuntimeError(f"not in the store after {STORE_SECONDS} s: {result}")
        time.sleep(0.02)  # The end of a PUT can only be asked for.


def measure_sustained(platform: Platform, actions: Sequence[str], minutes: int) -> Figures:
    """Invoke actions in turn at fixed times, from a process of its own; figures of each minute, and of all.

    Latency counts from the time when a call was due.
    """
    tell(f"{PER_MINUTE} a minute for {minutes} min: {', '.join(actions)}")
    plan = {
        "port": platform.api.port,
        "requests": [platform.invocation(name, {}).decode() for name in actions],
        "expected": SUCCESS.decode(),
        "per_minute": PER_MINUTE,
        "count": PER_MINUTE * minutes,
    }
    since = time.time_ns() // 1_000_000
    before = null_invocation.processor_seconds(platform.api_pid)
    command = [sys.executable, str(Path(__file__).with_name("arrivals.py"))]
    done = subprocess.run(command, input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=True)
    spent = null_invocation.processor_seconds(platform.api_pid) - before
    outcome = json.loads(done.stdout)
    for failure in outcome["failures"][:5]:
        tell(f"failed: {failure}")
    figures: Figures = defaultdict(list)
    for minute in range(minutes):
        answered = outcome["ms"][minute * PER_MINUTE : (minute + 1) * PER_MINUTE]
        good = [ms / 1e3 for ms in answered if ms is not None]
        figures["failures"].append(len(answered) - len(good))
        for percent in (50, 90, 99):
            figures[f"p{percent}_ms"].append(percentile(good, percent))
        figures["slowest_ms"].append(max(good) * 1e3)
    figures["records_missing"] = [PER_MINUTE * minutes - platform.activations(since)]
    figures["at_a_time"] = [outcome["at_a_time"]]
    figures["sent_late_ms"] = [outcome["late_ms"]]
    figures["api_cpu_ms"] = [spent / (PER_MINUTE * minutes) * 1e3]
    return figures


def tell(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
