"""A pool whose state directory lies on a full disk: what it says, what it still does, and that room is all it needs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from front_process import SAXPY, Reply, wait_until
from pool_calls import assert_serves, done, get, keys, put, refused
from pool_process import PoolProcess
from seaweed import S3Client, S3Server

from kaas.client import digest_of

#: A disk of its own, without any right: a tmpfs in a mount namespace of the pool's, laid over its state directory.
_ON_SMALL_DISK = """
set -e
seed=$(mktemp -d)
cp -a "$1/." "$seed"
mount -t tmpfs -o size=64m,mode=700 tmpfs "$1"
cp -a "$seed/." "$1"
rm -r "$seed"
shift
exec "$@"
"""


class SmallDiskPool(PoolProcess):
    """A pool with 64 MiB for its state. `full` leaves none of it."""

    def start(self, command: list[str]) -> None:
        """Start it where its state directory is that disk, which the tests see by way of its process."""
        outside = self.state
        super().start(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", _ON_SMALL_DISK, "sh", str(outside), *command]
        )
        assert self.process is not None
        self.state = Path(f"/proc/{self.process.pid}/root{outside}")

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """While this lasts, no byte more can be written."""
        ballast = self.state / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file:
                for piece in (1 << 20, 1 << 12, 1):
                    with contextlib.suppress(OSError):
                        while file.write(bytes(piece)):
                            pass
            yield
        finally:
            ballast.unlink()


@pytest.fixture(scope="module")
def small(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDiskPool]:
    tried = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        pytest.skip(f"no small disk can be had: {tried.stderr.strip()}")
    stores = {name: s3_server.rights(name) for name in ("alice", "bob")}
    running = SmallDiskPool(tmp_path_factory.mktemp("small") / "state", stores)
    with running:
        yield running


def another(number: int) -> bytes:
    """A bundle that no other test has uploaded, and its own source to compile."""
    return SAXPY.replace("a * x[i]", f"(a * x[i] + {number}) - {number}").encode()


def files(pool: PoolProcess) -> set[Path]:
    return {path for folder in ("bundles", "images", "run") for path in (pool.state / folder).rglob("*")}


def test_an_upload_is_refused_and_leaves_nothing(small: SmallDiskPool, s3: S3Client) -> None:
    assert_serves(small, s3)
    client, data = small.client(), another(1)
    before = files(small)
    with small.full():
        for _ in range(2):
            reply = client.request("PUT", f"/v1/bundles/{digest_of(data)}", data)
            refused(reply, "pool_storage_full", message="the pool's disk is full", hint="try again later")
        refused(client.invoke(digest_of(data), {}), "bundle_unknown")
        wait_until(lambda: files(small) == before)
    assert client.upload(data) == digest_of(data)
    assert_serves(small, s3)


def test_a_bundle_that_is_compiled_already_is_refused_likewise(small: SmallDiskPool, s3: S3Client, name: str) -> None:
    data = another(2)
    digest = small.client().upload(data)
    bob = small.client("bob-token")
    arguments = {"x": [1.0], "y": [1.0], "z": "inline"}
    with small.full():
        refused(bob.request("PUT", f"/v1/bundles/{digest}", data), "pool_storage_full", message="cannot be kept")
        refused(bob.invoke(digest, arguments), "bundle_unknown")
        # Whoever has it goes on using it.
        assert done(small.client().invoke(digest, arguments))["z"] == [2.0]
    assert bob.upload(data) == digest
    assert done(bob.invoke(digest, arguments))["z"] == [2.0]


def test_what_is_waited_for_needs_no_disk(small: SmallDiskPool, s3: S3Client) -> None:
    assert_serves(small, s3)
    with small.full():
        for _ in range(5):
            assert_serves(small, s3)


def test_nothing_is_promised_that_is_not_kept(small: SmallDiskPool, s3: S3Client, name: str) -> None:
    """Calls that nobody waits for, until the disk takes no more; then the front dies before it is told of room."""
    client = small.client()
    bundle = client.upload(SAXPY)
    x = put(s3, f"{name}/x.npy", np.ones(4, np.float32))
    prefix = name.replace("/", ".")

    def call(number: int) -> Reply:
        # What the action does not know is kept too: it fills the journal's file.
        arguments = {"x": x, "y": [1.0] * 4, "z": f"s3://alice/{name}/{number}.npy", "more": "m" * 200_000}
        return client.invoke(bundle, arguments, id=f"{prefix}.{number}", wait_ms=0)

    with small.full():
        replies = [call(0)]
        while replies[-1].status in (200, 202):  # One may end before it is promised.
            replies.append(call(len(replies)))
        refused(replies.pop(), "pool_storage_full", message="the journal cannot be written")
        pid = small.front_pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
    small.wait_until_ready()
    for number in range(len(replies)):
        path = f"/v1/invocations/{prefix}.{number}"
        wait_until(lambda path=path: client.get(path).body["state"] == "done")  # type: ignore[misc]
        np.testing.assert_array_equal(get(s3, f"s3://alice/{name}/{number}.npy"), np.full(4, 2, np.float32))
    assert_serves(small, s3)


def test_the_pool_outlives_its_parts_on_a_full_disk(small: SmallDiskPool, s3: S3Client) -> None:
    assert_serves(small, s3)
    with small.full():
        for pid in (*small.executor_pids(), small.mover_pid()):
            os.kill(pid, signal.SIGKILL)
        # Executors and mover come again, pid files or not.
        assert_serves(small, s3)
    assert_serves(small, s3)
    assert keys(s3, "serves")
