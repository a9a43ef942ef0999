"""`ack: device` in a sequence through the local OpenWhisk API: answered before its PUT ends, and what a kill loses."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from front_process import wait_until
from openwhisk_process import OpenWhiskProcess
from pool_calls import check_error, get, keys, put
from pool_process import PoolProcess
from seaweed import S3Client
from tcp_proxy import TcpProxy
from test_kills import wait_for_end
from test_proxy_kernels import ECHO, environment

#: 1 MiB: too much for a value of a result, so that it has to go by way of the pool.
X = np.arange(1 << 18, dtype=np.float32)


@pytest.fixture(scope="module")
def api(gated_pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWhiskProcess]:
    """With `both`: `double`, acknowledged before its PUT, and `triple`, which reads that and is durable."""
    with OpenWhiskProcess(tmp_path_factory.mktemp("openwhisk"), environment(gated_pool)) as running:
        code = base64.b64encode(ECHO.encode()).decode()
        eager = [{"key": "ack", "value": "device"}, {"key": "a", "value": 2}]
        running.create("double", code, "kaas:1", parameters=eager)
        bound = [
            {"key": "rename", "value": {"z": "x"}},
            {"key": "outputs", "value": "s3://alice/triple"},
            {"key": "a", "value": 3},
        ]
        running.create("triple", code, "kaas:1", parameters=bound)
        running.sequence("both", "double", "triple")
        yield running


def test_the_next_kernel_action_runs_while_the_put_is_held(
    api: OpenWhiskProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    x, middle = put(s3, f"{name}/x.npy", X), f"s3://alice/{name}/middle.npy"
    store.hold(rb"^PUT /alice/" + f"{name}/middle".encode())
    reply = api.invoke("both", {"x": x, "z": middle})
    assert reply.status == 200, reply
    result = reply.body["response"]["result"]
    store.wait_until_held()
    assert keys(s3, f"{name}/middle") == [], "both are answered, and the first is not stored"
    double, triple = (api.wait_for(one)["response"]["result"]["kaas"] for one in reply.body["logs"])
    assert "version" in double["outputs"]["z"]
    assert "etag" in triple["outputs"]["z"]
    stats = triple["stats"]
    assert (stats["device_hits"], stats["host_hits"], stats["misses"], stats["bytes_loaded"]) == (1, 0, 0, 0)
    np.testing.assert_array_equal(get(s3, result["z"]), 6 * X)
    store.release()
    wait_until(lambda: keys(s3, f"{name}/middle") != [])
    np.testing.assert_array_equal(get(s3, middle), 2 * X)


def test_who_uses_what_a_killed_pool_has_lost_is_told_so(
    api: OpenWhiskProcess, gated_pool: PoolProcess, store: TcpProxy, s3: S3Client, name: str
) -> None:
    x, middle = put(s3, f"{name}/x.npy", X), f"s3://alice/{name}/middle.npy"
    put(s3, f"{name}/middle.npy", 9 * X)
    store.hold(rb"^PUT /alice/" + f"{name}/middle".encode())
    first = api.invoke("double", {"x": x, "z": middle})
    assert first.status == 200, first
    result = first.body["response"]["result"]
    store.wait_until_held()
    for pid in (gated_pool.front_pid, gated_pool.mover_pid()):
        gated_pool.kill(pid)
        wait_for_end(pid)
    store.drop_connections()
    store.release()
    gated_pool.wait_until_ready()
    api.create("hand_on", "def main(args): return args")
    api.sequence("later", "hand_on", "triple")
    for action in ("triple", "later"):
        for arguments in ({"z": middle}, result):
            reply = api.invoke(action, arguments)
            assert reply.status == 502
            error = reply.body["response"]["result"]["error"]
            check_error(error, "output_lost", message=middle, where="arguments.z", hint="again")
    np.testing.assert_array_equal(get(s3, middle), 9 * X, "and nobody took the older object for it")
    again = api.invoke("both", {"x": x, "z": middle}).body["response"]["result"]
    np.testing.assert_array_equal(get(s3, again["z"]), 6 * X)
