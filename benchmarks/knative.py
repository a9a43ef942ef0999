"""The Knative adapter: what a CloudEvent costs beside the pool's own call, its start, and 300 events a second.

Rows P15 to P17 of docs/numbers.md. The front is pinned to core 0; the client, the executor, the mover and the adapter
share the other cores. The figures are host work: the emulated driver says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import machine
from arrivals import Arrivals, Outcome
from null_invocation import answer, bundle, load, once, percentile, pin, request, running_pool


def event(number: int | str, data: bytes, *, structured: bool = False) -> bytes:
    """The request of one event."""
    attributes = {"specversion": "1.0", "id": str(number), "source": "/bench", "type": "dev.kaas.invoke"}
    if structured:
        whole = json.dumps({**attributes, "data": json.loads(data)}).encode()
        return request("/", whole, kind="application/cloudevents+json")
    names = "".join(f"ce-{name}: {value}\r\n" for name, value in attributes.items())
    return request("/", data, kind=f"application/json\r\n{names.rstrip()}")


@contextlib.contextmanager
def running_adapter(action: str, pool_port: int, token: str) -> Iterator[tuple[int, float]]:
    """An adapter; gives its port, and the seconds from its start to its readiness."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PORT": str(port),
        "KAAS_ACTION": action,
        "KAAS_ARGUMENTS": '{"y": "inline"}',
        "KAAS_POOL_URL": f"http://127.0.0.1:{pool_port}",
        "KAAS_TOKEN": token,
    }
    command = [sys.executable, "-m", "kaas_proxy"]
    started = time.perf_counter()
    adapter = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(until_ready(port, adapter))
        yield port, time.perf_counter() - started
    finally:
        adapter.send_signal(signal.SIGTERM)
        adapter.wait(60)


async def until_ready(port: int, adapter: subprocess.Popen[bytes]) -> None:
    """Ask the readiness probe until it says yes."""
    probe = request("/health/readiness", b"", method="GET")
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if (await once(port, probe))[0] == 200:
                return
        if adapter.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the adapter does not become ready")
        await asyncio.sleep(0.01)  # Readiness can only be asked for.


def arrivals(port: int, rate: float, count: int) -> Outcome:
    """Send so many events, each of them once, at `rate` a second, whatever becomes of those before."""
    marker = secrets.token_hex(4)
    events = [event(f"{marker}-{number}", b"{}").decode() for number in range(count)]
    plan = {"port": port, "requests": events, "expected": '"kaas"', "per_minute": 60 * rate, "count": count}
    return asyncio.run(Arrivals(plan).run())


def done_so_far(port: int, token: str) -> int:
    """How many invocations the pool has done."""
    _, told = asyncio.run(once(port, request("/v1/tenants", b"", method="GET", authorization=f"Bearer {token}")))
    return sum(int(tenant["done"]) for tenant in json.loads(told)["tenants"])


async def alternating(ports: tuple[int, int], messages: tuple[list[bytes], list[bytes]]) -> list[list[float]]:
    """Send the messages of both lists in turn, so that what the machine does besides meets both; seconds of each."""
    ends = [await asyncio.open_connection("127.0.0.1", port) for port in ports]
    seconds: list[list[float]] = [[], []]
    for pair in zip(*messages, strict=True):
        for (reader, writer), message, into in zip(ends, pair, seconds, strict=True):
            started = time.perf_counter()
            writer.write(message)
            status, body = await answer(reader)
            into.append(time.perf_counter() - started)
            if status != 200 or b'"y"' not in body:
                raise RuntimeError(f"{status}: {body[:400]!r}")
    for _, writer in ends:
        writer.close()
    return seconds


def main() -> int:
    """Measure, print a table, write the result down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=2000, help="invocations per run")
    parser.add_argument("--rate", type=float, default=300.0, help="events per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long they come, per run")
    options = parser.parse_args()
    about = machine.describe()
    cores = os.sched_getaffinity(0)
    others = cores - {min(cores)} or cores
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    content, token = bundle(), secrets.token_urlsafe(24)
    bearer = f"Bearer {token}"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    body = json.dumps({"bundle": digest, "arguments": {"y": "inline"}}).encode()
    with tempfile.TemporaryDirectory() as folder, running_pool(Path(folder) / "pool", token) as (port, front):
        packed = Path(folder) / "null.zip"
        packed.write_bytes(content)
        upload = request(f"/v1/bundles/{digest}", content, method="PUT", authorization=bearer, kind="application/zip")
        status, told = asyncio.run(once(port, upload))
        if status != 200:
            raise RuntimeError(told.decode())
        for _ in range(options.runs):
            for action, name in ((str(packed), "bundled"), (digest, "known")):
                with running_adapter(action, port, token) as (_, took):
                    note(f"ready_{name}_s", took)
        # Children of this process start where it may run.
        os.sched_setaffinity(0, others)
        pin(front, {min(cores)})
        invoke = request("/v1/invocations", body, authorization=bearer)
        asyncio.run(load(port, invoke, 4, 1000, '"done"'))
        with running_adapter(str(packed), port, token) as (adapter_port, _):
            for run in range(options.runs):
                for mode in ("binary", "structured"):
                    count = options.count // 2
                    events = [event(f"{run}-{mode}-{n}", b"{}", structured=mode == "structured") for n in range(count)]
                    direct, through = asyncio.run(alternating((port, adapter_port), ([invoke] * count, events)))
                    note("pool_p50_ms", percentile(direct, 50))
                    note(f"{mode}_p50_ms", percentile(through, 50))
                    note(f"{mode}_p99_ms", percentile(through, 99))
                    added = [one - other for one, other in zip(through, direct, strict=True)]
                    note(f"{mode}_added_p50_ms", percentile(added, 50))
        os.sched_setaffinity(0, cores)
        pin(front, cores)
        with running_adapter(str(packed), port, token) as (adapter_port, _):
            for _ in range(options.runs):
                before = done_so_far(port, token)
                sent = round(options.rate * options.seconds)
                outcome = arrivals(adapter_port, options.rate, sent)
                for failure in outcome.failures[:5]:
                    print(failure, file=sys.stderr)
                milliseconds = [one for one in outcome.ms if one is not None]
                note("lost", sent - len(milliseconds))
                note("doubled", done_so_far(port, token) - before - len(milliseconds))
                note("loaded_p50_ms", percentile([one / 1e3 for one in milliseconds], 50))
                note("loaded_p99_ms", percentile([one / 1e3 for one in milliseconds], 99))
                note("loaded_at_a_time", outcome.at_a_time)

    table = {name: machine.spread(values) for name, values in figures.items()}
    for name, values in table.items():
        print(f"{name:<24} {values['min']:>10} {values['median']:>10} {values['max']:>10}")
    settings = {**vars(options), "front_core": min(cores), "other_cores": sorted(others)}
    path = machine.record("knative", about, {"settings": settings, "figures": table})
    print(f"(least, median, greatest of {options.runs} runs) -> {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
