"""P6 (docs/numbers.md): gigabytes per second from the object store to the device and back, against the bare client.

The store is the embedded SeaweedFS on this machine, so that the figures are processor work and not a network's. Each
round reads one object nobody has read before by way of the pool and another with boto3 into memory that is in use
already, from where it is copied to an emulated device as the executor does; then the same in the other direction.
Baseline and pool both ask for the object's head first. Rounds alternate in who begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import machine
import null_invocation
import numpy as np
from botocore.config import Config

from kaas.client import bearer, digest_of
from kaas_local.seaweedfs import Identity, Ports, SeaweedFS
from kaas_pool.executor.device import Device

MANIFEST = """\
kaas: 1
name: "{name}"
params: {{n: {{type: int64}}}}
buffers:
  x: {{io: in, dtype: uint8, shape: [m]}}
  y: {{io: out, dtype: uint8, shape: ["{shape}"]}}
graph:
  - {{kernel: first, source: first.cu, grid: [1], block: [1], args: [x, y]}}
"""
SOURCE = 'extern "C" __global__ void first(const unsigned char *x, unsigned char *y) { y[0] = x[0]; }\n'
BUCKET = "bench"
WARM_ROUNDS = 5


def bundle(name: str, shape: str) -> bytes:
    """An action of one launch of one thread: `y` has as many bytes as `shape` says."""
    return null_invocation.packed({"kaas.yaml": MANIFEST.format(name=name, shape=shape), "first.cu": SOURCE})


class Bare:
    """boto3, and a device as the executor has it. `prepare` comes before the transfers of one size."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._device = Device("emulated", 0)
        self._stream = self._device.copy_in_stream

    def prepare(self, size: int) -> None:
        """Memory on both sides that has been touched."""
        self._memory = bytearray(size)
        self._view = np.frombuffer(self._memory, np.uint8)
        self._allocation = self._device.memory.allocate(size, size)
        self._device.copy_in(self._allocation.address, self._view, self._stream)
        self._stream.synchronize()

    def down(self, key: str) -> None:
        """Object to device."""
        head = self.client.head_object(Bucket=BUCKET, Key=key)
        body = self.client.get_object(Bucket=BUCKET, Key=key, IfMatch=head["ETag"])["Body"]
        done, into = 0, memoryview(self._memory)
        while count := body.readinto(into[done:]):
            done += count
        assert done == len(into)
        self._device.copy_in(self._allocation.address, self._view, self._stream)
        self._stream.synchronize()

    def up(self, key: str) -> None:
        """Device to object."""
        self._device.copy_out(self._view, self._allocation.address, self._stream)
        self._stream.synchronize()
        self.client.put_object(Bucket=BUCKET, Key=key, Body=self._memory)

    def close(self) -> None:
        """Leave the device."""
        del self._allocation
        self._device.close()


def timed(action: Callable[[], Any]) -> float:
    """Seconds it takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> int:
    """Measure, print a table, write the result down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, nargs="+", default=[16, 64, 256])
    options = parser.parse_args()
    about = machine.describe()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        identity = Identity("bench", "bench-key", secrets.token_hex(20), ("Admin",))
        store = SeaweedFS(Path(folder) / "s3", Ports.choose(), [identity])
        store.start()
        try:
            rights = {
                "endpoint": store.endpoint,
                "access_key": identity.access_key,
                "secret_key": identity.secret_key,
            }
            client = client_of(rights)
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="one", Body=b"x")
            bare = Bare(client)
            try:
                for mib in options.mib:
                    figures.update(measure(Path(folder) / f"pool-{mib}", bare, rights, mib, options.rounds))
            finally:
                bare.close()
        finally:
            store.kill()
    for name, table in figures.items():
        for figure, values in table.items():
            print(f"{name:<14}{figure:<18} {values['min']:>8} {values['median']:>8} {values['max']:>8}")
    path = machine.record("object_store", about, {"settings": {"rounds": options.rounds}, "figures": figures})
    print(f"(least, median, greatest of {options.rounds} rounds) -> {path}")
    return 0


def client_of(rights: dict[str, str]) -> Any:
    """boto3 as it comes."""
    return boto3.client(
        "s3",
        endpoint_url=rights["endpoint"],
        aws_access_key_id=rights["access_key"],
        aws_secret_access_key=rights["secret_key"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def measure(state: Path, bare: Bare, rights: dict[str, str], mib: int, rounds: int) -> dict[str, Any]:
    """Figures by direction for objects of one size.

    Host tier and device hold three objects and a little, so that after five rounds nothing is in memory that no
    object has been in before: what a pool that has run for a while looks like. The baseline's memory is warm, too.
    """
    size, token = mib << 20, secrets.token_urlsafe(24)
    bare.prepare(size)
    room = 3 * size + (16 << 20)
    memory = {"KAAS_EMULATOR_MEMORY": str(room)}
    seconds: dict[str, list[float]] = {"pool down": [], "bare down": [], "pool up": [], "bare up": []}
    pool = null_invocation.running_pool(
        state, token, "--host-bytes", str(room), "--slots", "1", rights=rights, environment=memory
    )
    with pool as (port, _):

        def call(method: str, path: str, body: bytes, kind: str) -> None:
            message = null_invocation.request(path, body, method=method, authorization=bearer(token), kind=kind)
            status, answer = asyncio.run(null_invocation.once(port, message))
            if status != 200 or b'"error"' in answer:
                raise RuntimeError(f"{status}: {answer[:400]!r}")

        digests = {}
        for name, shape in (("down", "1"), ("up", "n")):
            content = bundle(name, shape)
            digests[name] = digest_of(content)
            call("PUT", f"/v1/bundles/{digests[name]}", content, "application/zip")

        def invoke(name: str, arguments: dict[str, Any]) -> None:
            body = {"bundle": digests[name], "arguments": arguments}
            call("POST", "/v1/invocations", json.dumps(body).encode(), "application/json")

        content = secrets.token_bytes(1 << 20) * mib
        for number in range(WARM_ROUNDS + rounds):
            for who in ("pool", "bare"):
                bare.client.put_object(Bucket=BUCKET, Key=f"{who}-{number}", Body=content)
            down = {"x": f"s3://{BUCKET}/pool-{number}", "y": "inline", "n": 1}
            up = {"x": f"s3://{BUCKET}/one", "y": f"s3://{BUCKET}/pool-up", "n": size}
            actions: list[tuple[str, Callable[[], None]]] = [
                ("pool down", partial(invoke, "down", down)),
                ("bare down", partial(bare.down, f"bare-{number}")),
                ("pool up", partial(invoke, "up", up)),
                ("bare up", partial(bare.up, "bare-up")),
            ]
            if number % 2:
                actions = [actions[1], actions[0], actions[3], actions[2]]
            for name, action in actions:
                took = timed(action)
                if number >= WARM_ROUNDS:
                    seconds[name].append(took)
            for who in ("pool", "bare"):
                bare.client.delete_object(Bucket=BUCKET, Key=f"{who}-{number}")
    figures = {}
    for direction in ("down", "up"):
        ours, base = seconds[f"pool {direction}"], seconds[f"bare {direction}"]
        figures[f"{direction} {mib} MiB"] = {
            "pool_gb_per_s": machine.spread([size / one / 1e9 for one in ours]),
            "bare_gb_per_s": machine.spread([size / one / 1e9 for one in base]),
            "pool_over_bare": machine.spread([b / p for p, b in zip(ours, base, strict=True)]),
        }
    return figures


if __name__ == "__main__":
    sys.exit(main())
