"""P5 (docs/numbers.md): the smallest invocation that goes the whole way, at the pool and through the action proxy.

The front is pinned to core 0; the client, the executor, the mover and the proxy share the other cores. The figures are
host work: the emulated driver says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import machine

from kaas.client import bearer, digest_of

MANIFEST = """\
kaas: 1
name: "null"
buffers:
  table: {io: const, dtype: uint8, shape: [64], from: table.npy}
  y: {io: out, dtype: uint8, shape: [1]}
graph:
  - kernel: nothing
    source: "null.cu"
    grid: [1]
    block: [1]
    args: [table, y]
"""
SOURCE = 'extern "C" __global__ void nothing(const unsigned char *table, unsigned char *y) {}\n'
TENANT = "bench"


def bundle() -> bytes:
    """The null action: one empty kernel, one bundled constant, one inline output."""
    table = io.BytesIO()
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (64,), }"
    padded = header.ljust(117) + b"\n"
    table.write(b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(64))
    return packed({"kaas.yaml": MANIFEST, "null.cu": SOURCE, "table.npy": table.getvalue()})


def packed(files: Mapping[str, str | bytes]) -> bytes:
    """A zip of these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def request(
    path: str, body: bytes, *, method: str = "POST", authorization: str = "", kind: str = "application/json"
) -> bytes:
    """One HTTP/1.1 request, as bytes; `authorization` is the header's value."""
    who = f"Authorization: {authorization}\r\n" if authorization else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: pool\r\n{who}Content-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lower = head.lower()
    start = lower.index(b"content-length:") + 15
    return status, await reader.readexactly(int(lower[start : lower.index(b"\r", start)]))


async def load(port: int, message: bytes, connections: int, count: int, state: str) -> list[float]:
    """Send `message` `count` times over so many connections; seconds of each. `state` must be in every answer."""
    seconds: list[float] = []
    left = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            started = time.perf_counter()
            writer.write(message)
            status, body = await answer(reader)
            seconds.append(time.perf_counter() - started)
            if status != 200 or state.encode() not in body:
                raise RuntimeError(f"{status}: {body[:400]!r}")
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return seconds


async def once(port: int, message: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(message)
    found = await answer(reader)
    writer.close()
    return found


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin(pid: int, cores: set[int]) -> None:
    """Bind every thread of a process."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


@contextlib.contextmanager
def running_pool(
    state: Path,
    token: str,
    *arguments: str,
    rights: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, int]]:
    """A pool on one emulated device, with the tenant's rights to a store; gives the front's port and pid."""
    state.mkdir(mode=0o700)
    digest = hashlib.sha256(token.encode()).hexdigest()
    for name, content in (
        ("tokens.json", [{"sha256": digest, "tenant": TENANT, "scopes": ["invoke", "read", "vouch"]}]),
        ("stores.json", {"tenants": {TENANT: rights} if rights else {}}),
    ):
        (state / name).touch(0o600)
        (state / name).write_text(json.dumps(content))
    command = [sys.executable, "-m", "kaas_pool", "--state-dir", str(state), "--device", "emulated"]
    with (state / "pool.log").open("wb") as log:
        pool = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
    try:
        announcement = state / "run" / "front.json"
        until = time.monotonic() + 60
        while True:
            if pool.poll() is not None or time.monotonic() > until:
                raise RuntimeError((state / "pool.log").read_text())
            with contextlib.suppress(OSError, ValueError, KeyError, asyncio.IncompleteReadError):
                front = json.loads(announcement.read_text())
                ready = request("/healthz/ready", b"", method="GET")
                if asyncio.run(once(front["port"], ready))[0] == 200:
                    break
            time.sleep(0.05)  # Readiness can only be asked for.
        yield front["port"], front["pid"]
    finally:
        pool.send_signal(signal.SIGTERM)
        pool.wait(30)


@contextlib.contextmanager
def running_proxy(pool_port: int, token: str) -> Iterator[int]:
    """An action proxy; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PORT": str(port),
        "KAAS_POOL_URL": f"http://127.0.0.1:{pool_port}",
        "KAAS_TOKEN": token,
    }
    proxy = subprocess.Popen(
        [sys.executable, "-m", "kaas_proxy"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if proxy.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the proxy does not start")
            time.sleep(0.05)  # Readiness can only be asked for.
        yield port
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(30)


def percentile(seconds: list[float], percent: int) -> float:
    """Milliseconds below which so many percent lie."""
    return statistics.quantiles(seconds, n=100)[percent - 1] * 1e3


def main() -> int:
    """Measure, print a table, write the result down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=2000, help="invocations per run")
    options = parser.parse_args()
    about = machine.describe()
    cores = os.sched_getaffinity(0)
    others = cores - {min(cores)} or cores
    os.sched_setaffinity(0, others)

    content, token = bundle(), secrets.token_urlsafe(24)
    digest = digest_of(content)
    body = json.dumps({"bundle": digest, "arguments": {"y": "inline"}}).encode()
    invoke = request("/v1/invocations", body, authorization=bearer(token))
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as folder, running_pool(Path(folder) / "pool", token) as (port, front):
        place, kind = f"/v1/bundles/{digest}", "application/zip"
        upload = request(place, content, method="PUT", authorization=bearer(token), kind=kind)
        status, told = asyncio.run(once(port, upload))
        if status != 200:
            raise RuntimeError(told.decode())
        pin(front, {min(cores)})
        asyncio.run(load(port, invoke, 4, 1000, '"done"'))
        for _ in range(options.runs):
            seconds = asyncio.run(load(port, invoke, 1, options.count, '"done"'))
            note("pool_p50_ms", percentile(seconds, 50))
            note("pool_p99_ms", percentile(seconds, 99))
            before, started = processor_seconds(front), time.perf_counter()
            asyncio.run(load(port, invoke, 16, options.count, '"done"'))
            took = time.perf_counter() - started
            note("pool_per_second", options.count / took)
            note("front_cpu_us", (processor_seconds(front) - before) / options.count * 1e6)
        with running_proxy(port, token) as proxy_port:
            code = base64.b64encode(content).decode()
            init = {"value": {"name": "null", "main": "main", "code": code, "binary": True, "env": {}}}
            status, told = asyncio.run(once(proxy_port, request("/init", json.dumps(init).encode())))
            if status != 200:
                raise RuntimeError(told.decode())
            run = request("/run", json.dumps({"value": {"y": "inline"}}).encode())
            asyncio.run(load(proxy_port, run, 1, 300, '"kaas"'))
            for _ in range(options.runs):
                seconds = asyncio.run(load(proxy_port, run, 1, options.count // 2, '"kaas"'))
                note("proxy_p50_ms", percentile(seconds, 50))
                note("proxy_p99_ms", percentile(seconds, 99))

    table = {name: machine.spread(values) for name, values in figures.items()}
    for name, values in table.items():
        print(f"{name:<18} {values['min']:>10} {values['median']:>10} {values['max']:>10}")
    settings = {"runs": options.runs, "count": options.count, "front_core": min(cores), "other_cores": sorted(others)}
    path = machine.record("null_invocation", about, {"settings": settings, "figures": table})
    print(f"(least, median, greatest of {options.runs} runs) -> {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
