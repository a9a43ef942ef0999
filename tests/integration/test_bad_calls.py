"""Calls that cannot go well, on a whole pool and through the proxy: what is said, what is left, what works next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_process import IN_PLACE, SAXPY, Reply, wait_until
from pool_calls import assert_serves, check_error, done, failed, get, keys, put, refused, story
from pool_process import PoolProcess
from proxy_process import ProxyProcess
from seaweed import S3Client
from tcp_proxy import TcpProxy

from kaas.client import digest_of
from kaas.errors import ERRORS

#: One input; the output's size is a parameter's, in MiB.
GROW = """\
kaas: 1
name: grow
params:
  mib: {type: int64}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [mib * 262144], zero: true}
graph:
  - kernel: first
    source: |
      extern "C" __global__ void first(const float *x, float *z) { z[0] = x[0]; }
    grid: [1]
    block: [1]
    args: [x, z]
"""

MATRIX = """\
kaas: 1
name: matrix
buffers:
  x: {io: in, dtype: float32, shape: [rows, columns]}
  z: {io: out, dtype: float32, shape: [columns, rows]}
graph:
  - kernel: transpose
    source: |
      extern "C" __global__ void transpose(const float *x, float *z, int rows, int columns) {
        int row = blockIdx.x, column = threadIdx.x;
        z[column * rows + row] = x[row * columns + column];
      }
    grid: [rows]
    block: [columns]
    args: [x, z, int32(rows), int32(columns)]
"""

ENDLESS = """\
kaas: 1
name: endless
buffers:
  x: {io: in, dtype: int32, shape: [1]}
  z: {io: out, dtype: int32, shape: [1]}
graph:
  - kernel: endless
    source: |
      extern "C" __global__ void endless(const int *x, volatile int *z) { while (x[0]) z[0] = x[0]; z[0] = 7; }
    grid: [1]
    block: [1]
    args: [x, z]
"""

#: A load or a revalidation under a fixed version, a first look, a write.
LOAD, LOOK, WRITE = rb"^GET .*\r\nIf-Match:", rb"^GET (?!.*If-Match:)", rb"^PUT "


@pytest.fixture(scope="module")
def proxies(gated_pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ProxyProcess]]:
    """An initialised proxy for saxpy."""
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{gated_pool.port}", "KAAS_TOKEN": "alice-token"}
    with ProxyProcess(tmp_path_factory.mktemp("proxy"), environment) as saxpy:
        assert saxpy.init(SAXPY)[0] == 200
        yield {SAXPY: saxpy}


def raw(s3: S3Client, key: str, data: bytes) -> str:
    s3.put_object(Bucket="alice", Key=key, Body=data)
    return f"s3://alice/{key}"


def npy(s3: S3Client, key: str, array: Any) -> str:
    return put(s3, key, np.asarray(array))


Arguments = Callable[[S3Client, str], dict[str, Any]]

ONES = np.ones(4, np.float32)

#: By name: the action, its arguments for a prefix, the code, parts of the texts.
REFUSED: dict[str, tuple[str, Arguments, str, dict[str, str]]] = {
    "an object that is not there": (
        SAXPY,
        lambda s3, name: {"x": f"s3://alice/{name}/x.npy", "y": [1.0] * 4},
        "object_not_found",
        {"message": "s3://alice/{name}/x.npy", "where": "arguments.x", "hint": "key"},
    ),
    "another tenant's object": (
        SAXPY,
        lambda s3, name: {"x": put(s3, f"{name}/x.npy", ONES, "bob"), "y": [1.0] * 4},
        "object_forbidden",
        {"message": "s3://bob/{name}/x.npy", "where": "arguments.x", "hint": "grant"},
    ),
    "doubles for floats": (
        SAXPY,
        lambda s3, name: {"x": npy(s3, f"{name}/x.npy", ONES.astype(np.float64)), "y": [1.0] * 4},
        "dtype_mismatch",
        {"message": "float64", "where": "arguments.x", "hint": "astype('float32')"},
    ),
    "half an element": (
        SAXPY,
        lambda s3, name: {"x": raw(s3, f"{name}/x.raw", b"12345"), "y": [1.0]},
        "size_mismatch",
        {"message": "has 5 bytes, and x [n] of float32 needs 4", "where": "arguments.x"},
    ),
    "a file cut short": (
        SAXPY,
        lambda s3, name: {"x": raw(s3, f"{name}/x.npy", cut(npy(s3, f"{name}/whole.npy", ONES), s3)), "y": [1.0] * 4},
        "size_mismatch",
        {"message": "cut short: its header promises 16 bytes", "where": "arguments.x"},
    ),
    "no .npy at all": (
        SAXPY,
        lambda s3, name: {"x": raw(s3, f"{name}/x.npy", b"\x00" * 200), "y": [1.0] * 4},
        "format_invalid",
        {"message": "not an .npy file", "where": "arguments.x", "hint": "numpy.save"},
    ),
    "lengths that differ": (
        SAXPY,
        lambda s3, name: {"x": npy(s3, f"{name}/x.npy", ONES), "y": [1.0] * 5},
        "shape_mismatch",
        {"message": "5", "where": "arguments."},
    ),
    "a range outside the object": (
        SAXPY,
        lambda s3, name: {"x": raw(s3, f"{name}/x.raw", bytes(16)) + "?offset=8&size=16", "y": [1.0] * 4},
        "size_mismatch",
        {"message": "16 bytes", "where": "arguments.x"},
    ),
    "a length that two unknown extents share": (
        MATRIX,
        lambda s3, name: {"x": raw(s3, f"{name}/x.raw", bytes(24))},
        "symbol_unsolved",
        {"message": "rows", "where": "arguments.x", "hint": ".npy"},
    ),
    "an output larger than the device": (
        GROW,
        lambda s3, name: {"x": [1.0], "mib": 3000},
        "device_out_of_memory",
        {"message": "bytes of device memory", "hint": "smaller inputs"},
    ),
    "an output larger than can be counted": (
        GROW,
        lambda s3, name: {"x": [1.0], "mib": 2**50},
        "expression_range",
        {"message": "range of 64-bit whole numbers", "where": "kaas.yaml:7 buffers.z.shape[0]"},
    ),
}


def cut(reference: str, s3: S3Client) -> bytes:
    """A .npy without its last element."""
    key = reference.removeprefix("s3://alice/")
    whole: bytes = s3.get_object(Bucket="alice", Key=key)["Body"].read()
    return whole[:-4]


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_runs(
    gated_pool: PoolProcess, proxies: dict[str, ProxyProcess], s3: S3Client, name: str, case: str
) -> None:
    action, make, code, texts = REFUSED[case]
    texts = {key: text.replace("{name}", name) for key, text in texts.items()}
    client = gated_pool.client()
    arguments = {**make(s3, name), "z": f"s3://alice/{name}/z.npy"}
    reply = client.invoke(client.upload(action), arguments)
    refused(reply, code, **texts)
    if action in proxies:
        proxy = proxies[action]
        proxy.mark()
        status, answer = proxy.run(arguments)
        assert (status, answer) == (ERRORS[code].run, {"error": reply.body["error"]})
        assert reply.body["error"]["message"] in proxy.stderr
        assert proxy.sentinels() == (1, 1)
    assert keys(s3, f"{name}/z") == []
    assert_serves(gated_pool, s3)


def test_an_output_larger_than_host_memory(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = gated_pool.client()
    bundle = client.upload(GROW)
    reply = client.invoke(bundle, {"x": [1.0], "mib": 300, "z": f"s3://alice/{name}/z.npy"})
    failed(reply, "host_out_of_memory", message="bytes")
    assert keys(s3, name) == []
    assert len(done(client.invoke(bundle, {"x": [1.0], "mib": 1, "z": f"s3://alice/{name}/z.npy"}))) == 2
    assert get(s3, f"s3://alice/{name}/z.npy").shape == (262144,)


def test_a_write_where_one_may_not(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    client = gated_pool.client()
    inputs: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4}
    for given, value in (("z", f"s3://bob/{name}/z.npy"), ("outputs", f"s3://bob/{name}")):
        reply = client.invoke(client.upload(SAXPY), {**inputs, given: value})
        failed(reply, "object_forbidden", message=value, where=f"arguments.{given}", hint="is the bucket right?")
    assert keys(s3, name, "bob") == []
    assert_serves(gated_pool, s3)


def test_an_object_that_changes_under_way(gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(LOAD)
    pending = client.invoking(bundle, arguments)
    store.wait_until_held()
    put(s3, f"{name}/x.npy", 5 * ONES)
    store.release()
    failed(pending.reply(), "object_changed", message=f"s3://alice/{name}/x.npy", hint="invoke again")
    assert keys(s3, f"{name}/z") == []
    done(client.invoke(bundle, arguments))
    np.testing.assert_array_equal(get(s3, arguments["z"]), 6 * ONES)


def test_an_in_place_object_that_changes_under_way(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(IN_PLACE)
    x = put(s3, f"{name}/x.npy", ONES)
    store.hold(WRITE)
    pending = client.invoking(bundle, {"x": x, "w": [3.0]})
    store.wait_until_held()
    put(s3, f"{name}/x.npy", 5 * ONES)
    store.release()
    failed(pending.reply(), "output_conflict", message=x, hint="invoke again")
    np.testing.assert_array_equal(get(s3, x), 5 * ONES)
    done(client.invoke(bundle, {"x": x, "w": [3.0]}))
    np.testing.assert_array_equal(get(s3, x), 15 * ONES)


# ***** Budgets *****


def test_a_budget_spent_at_each_stage(gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str) -> None:
    """Four at once: one stores, one computes, one loads, and the last finds both slots taken."""
    client = gated_pool.client()
    saxpy, endless = client.upload(SAXPY), client.upload(ENDLESS)
    assert_serves(gated_pool, s3)
    x = put(s3, f"{name}/x.npy", ONES)
    y = [1.0] * 4
    budget = 5000
    store.hold(rb"%s|%s" % (WRITE, LOAD.replace(b"GET .*", b"GET /alice/%s/y.npy.*" % name.encode())))
    storing = client.invoking(saxpy, {"x": x, "y": y, "z": f"s3://alice/{name}/1.npy"}, budget_ms=budget)
    store.wait_until_held()
    computing = client.invoking(endless, {"x": [1], "z": f"s3://alice/{name}/2.npy"}, id="endless", budget_ms=budget)
    wait_until(lambda: "inputs loaded" in story(client, "endless"))
    late = {"x": x, "y": put(s3, f"{name}/y.npy", ONES)}
    loading = client.invoking(saxpy, {**late, "z": f"s3://alice/{name}/3.npy"}, budget_ms=budget)
    store.wait_until_held(2)
    queued = client.invoking(saxpy, {"x": x, "y": y, "z": f"s3://alice/{name}/4.npy"}, budget_ms=budget - 1500)
    for pending, words in [
        (queued, "waiting for a slot"),
        (storing, "storing results"),
        (computing, "computing"),
        (loading, "loading inputs"),
    ]:
        failed(pending.reply(), "budget_exceeded", message=f"while {words}", hint="larger budget_ms")
    store.drop_connections()
    store.release()
    assert_serves(gated_pool, s3)
    left = keys(s3, name)
    # A small PUT is in its last step as soon as it begins, and may come through: whole then.
    if f"{name}/1.npy" in left:
        left.remove(f"{name}/1.npy")
        np.testing.assert_array_equal(get(s3, f"s3://alice/{name}/1.npy"), 2 * ONES)
    assert left == [f"{name}/x.npy", f"{name}/y.npy"]


def test_a_budget_spent_before_acceptance(
    gated_pool: PoolProcess, store: TcpProxy, proxies: dict[str, ProxyProcess], s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(LOOK)
    reply = client.invoke(bundle, arguments, budget_ms=300)
    refused(reply, "budget_exceeded", message="300 ms was spent while being accepted", hint="larger budget_ms")
    store.release()
    assert_serves(gated_pool, s3)
    assert keys(s3, f"{name}/z") == []


def test_a_deadline_of_openwhisk_bounds_the_pool(
    store: TcpProxy, proxies: dict[str, ProxyProcess], s3: S3Client, name: str, deadline: Callable[[int], str]
) -> None:
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(LOAD)
    status, answer = proxies[SAXPY].run(arguments, deadline=deadline(2000))
    assert status == 200
    check_error(answer["error"], "budget_exceeded", message="while loading inputs", hint="longer timeout")
    store.drop_connections()
    store.release()
    status, answer = proxies[SAXPY].run(arguments, deadline=deadline(60_000))
    assert (status, answer["z"]) == (200, arguments["z"])


@pytest.fixture
def deadline() -> Callable[[int], str]:
    """From milliseconds to go to OpenWhisk's deadline."""
    return lambda left_ms: str(round(time.time() * 1000) + left_ms)


# ***** Somebody is not there *****


def test_the_store_is_down(
    gated_pool: PoolProcess, store: TcpProxy, proxies: dict[str, ProxyProcess], s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.stop()
    try:
        reply = client.invoke(bundle, arguments)
        refused(reply, "store_unreachable", message="cannot connect to the object store", hint="object store runs")
        status, answer = proxies[SAXPY].run(arguments)
        assert status == 502
        check_error(answer["error"], "store_unreachable", message="cannot connect")
        # Nothing to look at before, so it is the write that meets nobody.
        late = client.invoke(bundle, {"x": [1.0], "y": [1.0], "z": arguments["z"]})
        failed(late, "store_unreachable", message="cannot connect")
    finally:
        store.start()
    assert_serves(gated_pool, s3)
    assert keys(s3, f"{name}/z") == []


def test_the_store_goes_down_under_way_and_comes_back(
    gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    client = gated_pool.client()
    bundle = client.upload(SAXPY)
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    store.hold(WRITE)
    pending = client.invoking(bundle, arguments, id="back")
    store.wait_until_held()
    store.stop()
    store.release()
    wait_until(lambda: "attempt 1 lost" in story(client, "back"))
    store.start()
    assert done(pending.reply())["kaas"]["stats"]["attempts"] >= 2
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)


def test_the_pool_is_down_behind_the_proxy(
    gated_pool: PoolProcess, s3: S3Client, name: str, tmp_path: Path, deadline: Callable[[int], str]
) -> None:
    arguments: dict[str, Any] = {"x": put(s3, f"{name}/x.npy", ONES), "y": [1.0] * 4, "z": f"s3://alice/{name}/z.npy"}
    with TcpProxy(f"http://127.0.0.1:{gated_pool.port}") as between:
        between.stop()
        environment = {"KAAS_POOL_URL": between.endpoint, "KAAS_TOKEN": "alice-token"}
        with ProxyProcess(tmp_path, environment) as proxy:
            assert proxy.init(SAXPY) == (200, {"ok": True}), "a pool that is down is not the author's mistake"
            status, answer = proxy.run(arguments, deadline=deadline(1500))
            assert status == 502
            check_error(answer["error"], "pool_unreachable", message=between.endpoint, hint="is the pool running")
            assert keys(s3, f"{name}/z") == []
            between.start()
            status, answer = proxy.run(arguments, deadline=deadline(60_000))
            assert (status, answer["z"]) == (200, arguments["z"])
    np.testing.assert_array_equal(get(s3, arguments["z"]), 2 * ONES)


# ***** Who calls *****


@pytest.mark.parametrize(
    ("token", "headers", "code", "texts"),
    [
        (None, {}, "unauthenticated", {"hint": "Authorization"}),
        ("alice-tokem", {}, "unauthenticated", {}),
        ("reader-token", {}, "scope_missing", {"message": "invoke"}),
        ("admin-token", {}, "scope_missing", {"message": "invoke"}),
        ("alice-token", {"KaaS-Tenant": "bob"}, "scope_missing", {"message": "vouch"}),
    ],
)
def test_who_may_not_call(
    gated_pool: PoolProcess, s3: S3Client, token: str | None, headers: dict[str, str], code: str, texts: dict[str, str]
) -> None:
    data = SAXPY.encode()
    body = b'{"bundle": "%s", "arguments": {}}' % digest_of(data).encode()
    client = gated_pool.client(token)

    def told(method: str, path: str, sent: bytes | None) -> Reply:
        reply = client.request(method, path, sent, headers)
        refused(reply, code, **texts)
        assert reply.body["error"]["hint"]
        return reply

    told("PUT", f"/v1/bundles/{digest_of(data)}", data)
    told("POST", "/v1/invocations", body)
    told("GET", "/v1/invocations/some", None)
    told("POST", "/v1/cache/purge", b"{}")
    assert_serves(gated_pool, s3)


@pytest.mark.parametrize(
    ("token", "code"),
    [("nobodys-token", "unauthenticated"), ("reader-token", "scope_missing"), (None, "unauthenticated")],
)
def test_who_may_not_call_through_the_proxy(
    gated_pool: PoolProcess, tmp_path: Path, token: str | None, code: str
) -> None:
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{gated_pool.port}"}
    with ProxyProcess(tmp_path, environment | ({"KAAS_TOKEN": token} if token else {})) as proxy:
        assert proxy.init(SAXPY) == (200, {"ok": True})
        status, answer = proxy.run({"x": [1.0], "y": [1.0], "z": "inline"})
        assert status == ERRORS[code].run
        check_error(answer["error"], code, hint="" if token else "provide-api-key true")
        assert proxy.sentinels() == (1, 1)


def test_tenants_see_nothing_of_each_other(gated_pool: PoolProcess, s3: S3Client, name: str) -> None:
    alice, bob = gated_pool.client(), gated_pool.client("bob-token")
    text = SAXPY.replace("name: saxpy", "name: hers")
    bundle = alice.upload(text)
    own = put(s3, f"{name}/secret.npy", np.full(4, 7, np.float32))
    both = put(s3, f"{name}/both.npy", ONES, "shared")
    hers = {"x": own, "y": both, "z": "inline", "a": 2}
    assert done(alice.invoke(bundle, hers, id="hers"))["z"] == [15.0] * 4
    # Bundles and invocations: the same names are other things.
    refused(bob.invoke(bundle, hers), "bundle_unknown", hint="PUT")
    for reply in (bob.get("/v1/invocations/hers"), bob.delete("/v1/invocations/hers")):
        refused(reply, "invocation_unknown")
    bob.upload(text)
    mine = done(bob.invoke(bundle, {"x": both, "y": both, "z": "inline", "a": 2}, id="hers"))
    assert mine["z"] == [3.0] * 4
    # Data: hers is refused though it is cached, and what both may read is fetched under his own rights.
    refused(bob.invoke(bundle, hers), "object_forbidden", message=own)
    assert (mine["kaas"]["stats"]["device_hits"], mine["kaas"]["stats"]["host_hits"]) == (0, 0)
    assert bob.post("/v1/cache/purge", {}).body["bytes"] > 0
    assert done(alice.invoke(bundle, hers))["kaas"]["stats"]["device_hits"] == 2
    assert done(bob.invoke(bundle, {"x": both, "y": both, "z": "inline"}))["kaas"]["stats"]["device_hits"] == 0
    for path in ("devices", "cache", "queues", "tenants"):
        assert "alice" not in str(bob.get(f"/v1/{path}").body)
    assert "alice" not in bob.get("/metrics").body
    assert alice.get("/v1/invocations/hers").body["state"] == "done"
