"""`ack: device` on a whole pool with a real store: the next action goes on while the PUT is held; what kills do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError
from front_process import SAXPY, HttpClient, wait_until
from pool_calls import done, get, put, refused, story
from pool_process import PoolProcess
from seaweed import S3Client, S3Server
from tcp_proxy import TcpProxy
from test_kills import ONES, WRITE, executor_of, wait_for_end

EAGER = SAXPY.replace("kaas: 1\n", "kaas: 1\nack: device\n")


def first(client: HttpClient, middle: str, x: float = 1.0) -> dict[str, Any]:
    """Write four times 2 * x + 1 to an object, acknowledged before its PUT."""
    call = {"x": [x] * 4, "y": [1.0] * 4, "a": 2, "z": middle}
    result: dict[str, Any] = done(client.invoke(client.upload(EAGER), call))
    assert "etag" not in result["kaas"]["outputs"]["z"]
    return result


def following(client: HttpClient, middle: str, kaas: object = None) -> tuple[Any, dict[str, Any]]:
    """The object as the next action finds it, and where."""
    call = {"x": middle, "y": [0.0] * 4, "z": "inline", "kaas": kaas}
    result = done(client.invoke(client.upload(SAXPY), call))
    stats = result["kaas"]["stats"]
    return result["z"], {name: stats[name] for name in ("device_hits", "host_hits", "misses") if stats[name]}


def wait_until_stored(client: HttpClient, result: dict[str, Any]) -> None:
    """Wait until the pool says so."""
    identifier = result["kaas"]["outputs"]["z"]["version"].partition("/")[0]
    wait_until(lambda: "stored z" in story(client, identifier))


def exists(s3: S3Client, reference: str) -> bool:
    """Whether the store has an object."""
    try:
        get(s3, reference)
    except ClientError:
        return False
    return True


@pytest.fixture
def middle(name: str) -> str:
    """What one action writes and the next one reads."""
    return f"s3://alice/{name}/middle.npy"


def test_the_next_action_computes_while_the_put_is_held(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, middle: str
) -> None:
    client, bob = gated_pool.client(), gated_pool.client("bob-token")
    bundle = bob.upload(SAXPY)
    store.hold(WRITE)
    result = first(client, middle)
    store.wait_until_held()
    for kaas in (result["kaas"], None):
        assert following(client, middle, kaas) == ([3.0] * 4, {"device_hits": 1})
        refused(bob.invoke(bundle, {"x": middle, "y": [0.0] * 4, "z": "inline", "kaas": kaas}), "object_forbidden")
    assert not exists(s3, middle), "a CPU action would see no object yet"
    gated_pool.kill(pid := executor_of(gated_pool))
    wait_for_end(pid)
    assert following(client, middle) == ([3.0] * 4, {"host_hits": 1})
    assert following(client, middle) == ([3.0] * 4, {"device_hits": 1})
    store.release()
    wait_until_stored(client, result)
    np.testing.assert_array_equal(get(s3, middle), 3 * ONES)
    for kaas in (result["kaas"], None):
        assert following(client, middle, kaas) == ([3.0] * 4, {"device_hits": 1}), "under the etag that it got"


def test_the_last_acknowledged_is_what_stays(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, middle: str
) -> None:
    client = gated_pool.client()
    put(s3, middle.removeprefix("s3://alice/"), 9 * ONES)
    store.hold(WRITE)
    results = [first(client, middle, x) for x in (1.0, 2.0, 3.0)]
    assert following(client, middle, results[0]["kaas"]) == ([7.0] * 4, {"device_hits": 1})
    store.wait_until_held()
    np.testing.assert_array_equal(get(s3, middle), 9 * ONES)
    store.release()
    for result in results:
        wait_until_stored(client, result)
    np.testing.assert_array_equal(get(s3, middle), 7 * ONES)


def test_rounds_over_two_objects_never_wait_for_the_store(gated_pool: PoolProcess, s3: S3Client, middle: str) -> None:
    client = gated_pool.client()
    bundle = client.upload(EAGER)
    places = [middle, middle.replace("middle", "other")]
    result = first(client, places[0])
    for number in range(1, 8):
        call = {"x": places[number % 2 - 1], "y": [1.0] * 4, "z": places[number % 2], "kaas": result["kaas"]}
        result = done(client.invoke(bundle, call))
        assert (result["kaas"]["stats"]["device_hits"], result["kaas"]["stats"]["misses"]) == (1, 0)
    wait_until_stored(client, result)
    np.testing.assert_array_equal(get(s3, places[1]), 10 * ONES)


@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("who", ["mover", "front"])
def test_a_kill_loses_at_most_what_is_then_said_to_be_lost(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, middle: str, who: str, through: bool
) -> None:
    client = gated_pool.client()
    old = middle.removeprefix("s3://alice/")
    put(s3, old, 9 * ONES)
    store.hold(WRITE)
    result = first(client, middle)
    store.wait_until_held()
    # A PUT that is on its way outlives the front: the mover ends it.
    pids = [gated_pool.front_pid] if who == "front" else []
    if who == "mover" or not through:
        pids.append(gated_pool.mover_pid())
    for pid in pids:
        gated_pool.kill(pid)
        wait_for_end(pid)
    if not through:
        store.drop_connections()
    store.release()
    gated_pool.wait_until_ready()
    client = gated_pool.client()
    if through:
        wait_until(lambda: bool((get(s3, middle) == 3).all()))
        for kaas in (result["kaas"], None):
            assert following(client, middle, kaas)[0] == [3.0] * 4
        return
    bundle = client.upload(SAXPY)
    call = {"x": middle, "y": [0.0] * 4, "z": "inline"}
    wait_until(lambda: client.invoke(bundle, call).status == 410)
    for arguments in (call, {**call, "kaas": result["kaas"]}):
        refused(client.invoke(bundle, arguments), "output_lost", message=middle, where="arguments.x", hint="again")
    assert following(client, middle, first(client, middle, 2.0)["kaas"])[0] == [5.0] * 4
    wait_until(lambda: bool((get(s3, middle) == 5).all()))


def test_what_is_under_way_leaves_room_in_the_host_tier(s3_server: S3Server, s3: S3Client, tmp_path: Path) -> None:
    n, calls = 1 << 18, 8
    x = np.arange(n, dtype=np.float32)
    rights = {"alice": s3_server.rights("alice")}
    # A quarter has room for two outputs of 1 MiB; the others are answered when they are stored.
    with PoolProcess(tmp_path / "state", rights, "--host-bytes", "9M") as pool:
        client = pool.client()
        bundle = client.upload(EAGER)
        places = [f"s3://alice/room/z{call}.npy" for call in range(calls)]
        y = put(s3, "room/y.npy", x)

        def invoke(call: int) -> Any:
            source = put(s3, f"room/x{call}.npy", x + call)
            return done(pool.client().invoke(bundle, {"x": source, "y": y, "z": places[call]}))

        with ThreadPoolExecutor(calls) as threads:
            results = list(threads.map(invoke, range(calls)))
        assert any("version" in result["kaas"]["outputs"]["z"] for result in results)
        # SIGTERM waits for what is under way.
        assert pool.stop() == 0
    for call, place in enumerate(places):
        np.testing.assert_array_equal(get(s3, place), (x + call) + x)
