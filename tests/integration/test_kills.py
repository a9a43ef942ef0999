"""A whole pool whose processes are killed, and whose kernels misbehave, while invocations are in flight."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import IN_PLACE, SAXPY, HttpClient, Pending, wait_until
from pool_calls import assert_serves, done, failed, get, keys, put, refused, story
from pool_process import PoolProcess
from seaweed import S3Client
from tcp_proxy import TcpProxy

from kaas.client import PoolClient, bearer, digest_of
from kaas.messages import Invocation

#: x decides: below zero it runs for ever, at zero it writes far outside, above it is well-behaved.
WAYWARD = """\
kaas: 1
name: wayward
buffers:
  x: {io: in, dtype: int32, shape: [n]}
  z: {io: out, dtype: int32, shape: [n]}
graph:
  - kernel: wayward
    source: |
      extern "C" __global__ void wayward(const volatile int *x, volatile int *z) {
        while (x[0] < 0) z[0] = 1;
        if (x[0] == 0) z[1ull << 40] = 1;
        z[0] = x[0];
      }
    grid: [8]
    block: [1]
    args: [x, z]
"""
ENDLESS, FAULT, GOOD = [-1], [0], [5]

LOAD, WRITE = rb"^GET .*\r\nIf-Match:", rb"^PUT "

ONES = np.ones(4, np.float32)


def wait_until_done(client: HttpClient, identifier: str) -> None:
    """Wait for an invocation that nobody waits for; it is known all the time."""
    wait_until(lambda: client.get(f"/v1/invocations/{identifier}").body["state"] == "done")


def wait_for_end(pid: int) -> None:
    """Wait until a process is gone, reaped by whoever has to."""
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def executor_of(pool: PoolProcess, domain: str = "alice") -> int:
    """The process that runs a tenant's kernels."""
    devices = pool.client("admin-token").get("/v1/devices").body["devices"]
    (pid,) = [one["pid"] for device in devices for one in device["executors"] if one["domain"] == domain]
    return int(pid)


def nothing_is_left(pool: PoolProcess) -> None:
    """The supervisor has no children but those it knows, and the run directory nothing of others."""

    def is_clean() -> bool:
        folders = {path.name for path in (pool.state / "run").iterdir() if path.is_dir()}
        known = pool.processes()
        return pool.descendants() == set(known.values()) and folders <= known.keys() | {"mover"}

    wait_until(is_clean)  # A child's folder goes a moment after the child.


# ***** Mover and executor *****


@pytest.mark.parametrize("at", ["loading", "storing"])
@pytest.mark.parametrize("role", ["mover", "executor"])
def test_an_invocation_outlives(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str, role: str, at: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    assert_serves(gated_pool, s3)
    pid = gated_pool.mover_pid() if role == "mover" else executor_of(gated_pool)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(LOAD if at == "loading" else WRITE)
    pending = client.invoking(bundle, arguments, id=f"{role}-{at}")
    store.wait_until_held()
    gated_pool.kill(pid)
    wait_for_end(pid)
    lost = (role, at) != ("executor", "storing")
    if lost:
        wait_until(lambda: "attempt 1 lost" in story(client, f"{role}-{at}"))
        assert keys(s3, f"{name}/z") == []
    store.release()
    # What has been computed lies with the mover: nobody needs the executor for it any more.
    assert done(pending.reply())["kaas"]["stats"]["attempts"] == 1 + lost
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)
    assert_serves(gated_pool, s3)
    nothing_is_left(gated_pool)


def test_an_in_place_write_is_made_once_though_the_mover_dies(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(IN_PLACE)
    x = put(s3, f"{name}/x.npy", ONES)
    store.hold(WRITE)
    pending = client.invoking(bundle, {"x": x, "w": [3.0]}, id="once")
    store.wait_until_held()
    gated_pool.kill(gated_pool.mover_pid())
    wait_until(lambda: "attempt 1 lost" in story(client, "once"))
    # The dead mover's request goes through as well: the network may have kept it.
    store.release()
    done(pending.reply())
    np.testing.assert_array_equal(get(s3, x), 3 * ONES)
    assert_serves(gated_pool, s3)


# ***** Front *****


def test_journalled_invocations_finish_once_though_the_front_dies(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    saxpy, scale = client.upload(SAXPY), client.upload(IN_PLACE)
    assert_serves(gated_pool, s3)
    places = [put(s3, f"{name}/{number}.npy", (number + 1) * ONES) for number in range(4)]
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(WRITE)
    sent = {f"{name[6:]}-{number}": (scale, {"x": x, "w": [3.0]}) for number, x in enumerate(places)}
    sent[f"{name[6:]}-z"] = (saxpy, arguments)
    for identifier, (bundle, call) in sent.items():
        assert client.invoke(bundle, call, id=identifier, wait_ms=0).status == 202
    store.wait_until_held(len(sent))
    front = gated_pool.front_pid
    gated_pool.kill(front)
    wait_for_end(front)
    store.release()
    gated_pool.wait_until_ready()
    for identifier, (bundle, call) in sent.items():
        assert client.invoke(bundle, call, id=identifier, wait_ms=0).status in (200, 202), "it is known, not begun anew"
    for identifier in sent:
        wait_until_done(client, identifier)
        assert "after a restart of the front" in story(client, identifier)
    for number, x in enumerate(places):
        np.testing.assert_array_equal(get(s3, x), 3 * (number + 1) * ONES)
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)
    # The same ids are the same invocations: nothing is done again.
    for identifier, (bundle, call) in sent.items():
        assert done(client.invoke(bundle, call, id=identifier))
    np.testing.assert_array_equal(get(s3, places[0]), 3 * ONES)
    assert_serves(gated_pool, s3)
    nothing_is_left(gated_pool)


def test_a_waiting_client_gets_its_answer_though_the_front_dies(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    assert_serves(gated_pool, s3)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    answers: list[Invocation] = []
    store.hold(LOAD)
    with PoolClient(f"http://127.0.0.1:{gated_pool.port}", bearer("alice-token")) as client:
        waiting = threading.Thread(target=lambda: answers.append(client.invoke(SAXPY.encode(), arguments)))
        waiting.start()
        store.wait_until_held()
        executor, front = executor_of(gated_pool), gated_pool.front_pid
        gated_pool.kill(front)
        wait_for_end(front)
        gated_pool.wait_until_ready()
        store.release()
        waiting.join(60)
    assert [answer.state for answer in answers] == ["done"]
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)
    assert executor_of(gated_pool) == executor, "it lives on, with its cache"
    nothing_is_left(gated_pool)


def test_what_ran_for_a_dead_front_is_in_nobodys_way(gated_pool: PoolProcess, s3: S3Client) -> None:
    client = gated_pool.client()
    wayward = client.upload(WAYWARD)
    assert_serves(gated_pool, s3)
    executor, front = executor_of(gated_pool), gated_pool.front_pid
    call = {"bundle": wayward, "arguments": {"x": ENDLESS, "z": "inline"}, "id": "orphan"}
    with client.connection(call):
        wait_until(lambda: "inputs loaded" in story(client, "orphan"))
        gated_pool.kill(front)
        wait_for_end(front)
    gated_pool.wait_until_ready()
    refused(client.get("/v1/invocations/orphan"), "invocation_unknown")
    assert done(client.invoke(wayward, {"x": GOOD, "z": "inline"}))["z"] == GOOD
    wait_for_end(executor)
    nothing_is_left(gated_pool)


# ***** Compiler *****


def fresh_source() -> bytes:
    """A bundle that was never compiled."""
    return SAXPY.replace("y[i];", f"y[i];  // {secrets.token_hex(8)}").encode()


def kill_compilers(pool: PoolProcess, times: int, ended: Callable[[], bool]) -> None:
    """Kill the next so many compilers."""
    killed: set[str] = set()

    def kill_next() -> bool:
        for child, pid in pool.processes().items():
            if child.startswith("compiler") and child not in killed:
                with contextlib.suppress(ProcessLookupError):
                    pool.kill(pid)
                killed.add(child)
        return len(killed) >= times or ended()

    wait_until(kill_next)
    assert len(killed) == times


@pytest.mark.parametrize("times", [1, 2])
def test_a_compiler_that_is_killed(gated_pool: PoolProcess, s3: S3Client, times: int) -> None:
    client = gated_pool.client()
    data = fresh_source()
    upload = Pending(lambda: client.request("PUT", f"/v1/bundles/{digest_of(data)}", data))
    kill_compilers(gated_pool, times, lambda: upload.is_done)
    reply = upload.reply()
    if times == 1:
        assert reply.status == 200, "one kill says nothing about the source, so it is compiled again"
    else:
        refused(reply, "compile_limit", message="SIGKILL", where="kaas.yaml:", hint="memory")
        refused(client.invoke(digest_of(data), {}), "bundle_unknown")
    arguments = {"x": [1.0], "y": [1.0], "z": "inline"}
    assert done(client.invoke(client.upload(data), arguments))["z"] == [2.0]
    assert_serves(gated_pool, s3)
    nothing_is_left(gated_pool)


# ***** Kernels *****


def test_an_endless_kernel_ends_and_its_neighbours_are_made_again(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    wayward, saxpy = client.upload(WAYWARD), client.upload(SAXPY)
    assert_serves(gated_pool, s3)
    executor = executor_of(gated_pool)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    endless = client.invoking(
        wayward, {"x": ENDLESS, "z": f"s3://alice/{name}/endless.npy"}, id="for-ever", budget_ms=1500
    )
    wait_until(lambda: "inputs loaded" in story(client, "for-ever"))
    store.hold(LOAD)
    neighbour = client.invoking(saxpy, arguments, id="neighbour")
    store.wait_until_held()
    failed(endless.reply(), "budget_exceeded", message="the budget of 1500 ms was spent while computing")
    wait_for_end(executor)
    wait_until(lambda: "attempt 1 lost: executor_lost" in story(client, "neighbour"))
    store.release()
    assert done(neighbour.reply())["kaas"]["stats"]["attempts"] == 2
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)
    assert keys(s3, f"{name}/endless") == []
    assert done(client.invoke(wayward, {"x": GOOD, "z": "inline"}))["z"] == [5]
    nothing_is_left(gated_pool)


def test_a_neighbour_that_computes_behind_an_endless_kernel_is_made_again(
    gated_pool: PoolProcess, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    wayward = client.upload(WAYWARD)
    assert_serves(gated_pool, s3)
    endless = client.invoking(wayward, {"x": ENDLESS, "z": "inline"}, id="for-ever-too", budget_ms=1500)
    # Every worker of the device has a block of it, so what comes next cannot end before it does.
    wait_until(lambda: "inputs loaded" in story(client, "for-ever-too"))
    neighbour = client.invoking(wayward, {"x": GOOD, "z": f"s3://alice/{name}/z.npy"})
    failed(endless.reply(), "budget_exceeded", message="while computing")
    assert done(neighbour.reply())["kaas"]["stats"]["attempts"] == 2
    np.testing.assert_array_equal(get(s3, f"s3://alice/{name}/z.npy"), GOOD)
    nothing_is_left(gated_pool)


def test_a_fault_hurts_nobody_else(gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str) -> None:
    client, bob = gated_pool.client(), gated_pool.client("bob-token")
    wayward, saxpy = client.upload(WAYWARD), client.upload(SAXPY)
    assert_serves(gated_pool, s3)
    assert_serves(gated_pool, s3, "bob-token")
    his = executor_of(gated_pool, "bob")
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(LOAD)
    neighbour = client.invoking(saxpy, arguments)
    store.wait_until_held()
    faulty = client.invoke(wayward, {"x": FAULT, "z": f"s3://alice/{name}/fault.npy"})
    failed(faulty, "kernel_fault", message="(CUDA error 700)", hint="bounds")
    store.release()
    assert done(neighbour.reply())["kaas"]["stats"]["attempts"] == 2
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)
    assert keys(s3, f"{name}/fault") == []
    assert executor_of(gated_pool, "bob") == his
    assert done(client.invoke(wayward, {"x": GOOD, "z": "inline"}))["z"] == [5]
    assert done(bob.invoke(bob.upload(WAYWARD), {"x": GOOD, "z": "inline"}))["z"] == [5]


def test_faults_among_many(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    """Two of twelve at once are faulty; whoever computed beside them is made again, and only they fail."""
    client = gated_pool.client()
    wayward = client.upload(WAYWARD)
    inputs = [FAULT if number in (3, 8) else [number + 1] for number in range(12)]
    pending = [
        client.invoking(wayward, {"x": x, "z": f"s3://alice/{name}/{number}.npy"}) for number, x in enumerate(inputs)
    ]
    for number, (x, one) in enumerate(zip(inputs, pending, strict=True)):
        if x == FAULT:
            failed(one.reply(), "kernel_fault", message="CUDA error 700")
        else:
            done(one.reply())
            np.testing.assert_array_equal(get(s3, f"s3://alice/{name}/{number}.npy"), x)
    assert len(keys(s3, name)) == 10
    nothing_is_left(gated_pool)


# ***** All of it *****


def broken_calls(client: HttpClient, pool: PoolProcess, s3: S3Client, store: TcpProxy) -> list[Callable[[], Any]]:
    """Ways to fail, each complete in itself."""
    saxpy, wayward = client.upload(SAXPY), client.upload(WAYWARD)
    x = put(s3, "mixed/x.npy", ONES)
    number = itertools.count()

    def upload(data: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert client.request("PUT", f"/v1/bundles/{digest}", data).status == 400

    def while_it_loads(do: Callable[[str], Any]) -> None:
        """Do something to an invocation that waits for the store."""
        identifier = f"mixed-{next(number)}"
        client.post("/v1/cache/purge", {})
        store.hold(LOAD)
        pending = client.invoking(saxpy, {"x": x, "y": [1.0] * 4, "z": "inline"}, id=identifier, budget_ms=20_000)
        store.wait_until_held()
        do(identifier)
        store.release()
        pending.reply()

    def leave() -> None:
        client.post("/v1/cache/purge", {})
        store.hold(LOAD)
        body = {"bundle": saxpy, "arguments": {"x": x, "y": [1.0] * 4, "z": "inline"}, "id": f"left-{next(number)}"}
        with client.connection(body):
            store.wait_until_held()
        wait_until(lambda: client.get(f"/v1/invocations/{body['id']}").body["state"] == "cancelled")
        store.release()

    def spend() -> None:
        client.post("/v1/cache/purge", {})
        store.hold(LOAD)
        arguments = {"x": x, "y": [1.0] * 4, "z": "inline"}
        assert client.invoke(saxpy, arguments, budget_ms=100).code == "budget_exceeded"
        store.release()

    return [
        lambda: upload(b"\x00 no bundle"),
        lambda: upload(SAXPY.replace("y[i];", f"nothing_{next(number)};").encode()),
        lambda: client.invoke(saxpy, {"x": "s3://alice/mixed/none.npy", "y": [1.0], "z": "inline"}),
        lambda: client.invoke(saxpy, {"x": x, "y": [1.0] * 4, "z": "s3://bob/mixed/z.npy"}),
        lambda: failed(client.invoke(wayward, {"x": FAULT, "z": "inline"}), "kernel_fault"),
        lambda: while_it_loads(lambda _: pool.kill(executor_of(pool))),
        lambda: while_it_loads(lambda identifier: client.delete(f"/v1/invocations/{identifier}")),
        lambda: while_it_loads(lambda _: store.drop_connections()),
        leave,
        spend,
    ]


def test_fifty_failures_leave_nothing_behind(gated_pool: PoolProcess, store: TcpProxy, s3: S3Client) -> None:
    client = gated_pool.client()
    ways = broken_calls(client, gated_pool, s3, store)

    def settled() -> dict[str, int]:
        # The mover's idle connections go when it finds them closed.
        store.drop_connections()
        assert_serves(gated_pool, s3)
        return gated_pool.descriptors()

    for way in ways:
        way()
    before = settled()
    for _ in range(5):
        for way in ways:
            way()
    wait_until(lambda: settled() == before)
    nothing_is_left(gated_pool)
    cache = client.get("/v1/cache").body
    devices = client.get("/v1/devices").body["devices"]
    assert all(executor["pinned_bytes"] == 0 for device in devices for executor in device["executors"]), cache
    assert client.get("/v1/queues").body["queues"] == []


# ***** Supervisor *****


def test_nothing_outlives_a_killed_supervisor_and_the_next_one_goes_on(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(IN_PLACE)
    assert_serves(gated_pool, s3)
    places = [put(s3, f"{name}/{number}.npy", ONES) for number in range(2)]
    store.hold(WRITE)
    for number, x in enumerate(places):
        assert client.invoke(bundle, {"x": x, "w": [3.0]}, id=f"supervised-{number}", wait_ms=0).status == 202
    store.wait_until_held(2)
    family = gated_pool.descendants()
    assert len(family) >= 3
    assert gated_pool.process is not None
    gated_pool.process.kill()
    gated_pool.process.wait()
    for pid in family:
        wait_for_end(pid)
    store.drop_connections()
    store.release()
    gated_pool.__enter__()
    client = gated_pool.client()
    for number, x in enumerate(places):
        wait_until_done(client, f"supervised-{number}")
        np.testing.assert_array_equal(get(s3, x), 3 * ONES)
    assert_serves(gated_pool, s3)
    nothing_is_left(gated_pool)
