"""Kernel actions through the local OpenWhisk API: real proxies, a real pool, a real store; alone and in sequences."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from openwhisk_process import OpenWhiskProcess
from pool_calls import get, put
from pool_process import PoolProcess
from seaweed import S3Client
from test_proxy_kernels import ECHO

from kaas.bundle import Bundle

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def api(pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWhiskProcess]:
    """Its proxies act as alice, whoever calls."""
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}", "KAAS_TOKEN": "alice-token"}
    with OpenWhiskProcess(tmp_path_factory.mktemp("openwhisk"), environment) as running:
        running.create("saxpy", zipped("saxpy"), "kaas:1")
        yield running


def zipped(example: str) -> str:
    return base64.b64encode(Bundle.pack(EXAMPLES / example)).decode()


def test_from_store_to_store(api: OpenWhiskProcess, s3: S3Client, name: str) -> None:
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
    payload = {"x": put(s3, f"{name}/x.npy", x), "y": put(s3, f"{name}/y.npy", y), "a": 2}
    reply = api.invoke("saxpy", {**payload, "z": f"s3://alice/{name}/z.npy"}, "blocking=true&result=true")
    assert reply.status == 200, reply
    assert reply.body["z"] == f"s3://alice/{name}/z.npy"
    np.testing.assert_array_equal(get(s3, reply.body["z"]), 2 * x + y)
    record = api.activation(reply.activation_id)
    assert record is not None
    assert any(reply.activation_id in line and '"stats"' in line for line in record["logs"])


def test_parameters_of_the_action_and_of_its_package_are_defaults(api: OpenWhiskProcess) -> None:
    bound = [{"key": "x", "value": [1, 2, 3]}, {"key": "z", "value": "inline"}, {"key": "a", "value": 5}]
    assert api.call("PUT", "packages/kernels?overwrite=true", {"parameters": bound}).status == 200
    parameters = [{"key": "a", "value": 10}, {"key": "y", "value": [1, 1, 1], "init": True}]
    api.create("kernels/saxpy", zipped("saxpy"), "kaas:1", parameters=parameters)
    assert api.invoke("kernels/saxpy", None, "blocking=true&result=true").body["z"] == [11, 21, 31]
    assert api.invoke("kernels/saxpy", {"a": 1}, "blocking=true&result=true").body["z"] == [2, 3, 4]


def test_an_error_of_the_caller_is_an_application_error(api: OpenWhiskProcess) -> None:
    reply = api.invoke("saxpy", {"x": [1, 2], "y": [1], "z": "inline"})
    assert reply.status == 502
    assert reply.body["response"]["status"] == "application error"
    assert reply.body["response"]["result"]["error"]["code"] == "shape_mismatch"
    assert api.invoke("saxpy", {"x": [1], "y": [1], "z": "inline"}).status == 200, "and its process goes on"


@pytest.mark.parametrize("code", [base64.b64encode(b"PK no zip at all").decode(), "kaas: 2\n"])
def test_a_broken_bundle_is_explained_at_the_first_run(api: OpenWhiskProcess, code: str) -> None:
    api.create("broken", code, "kaas:1")
    reply = api.invoke("broken")
    assert reply.status == 502
    assert reply.body["response"]["status"] == "action developer error"
    error = reply.body["response"]["result"]["error"]
    assert error["code"] in ("bundle_invalid", "manifest_invalid")
    assert error["message"]


def test_a_sequence_of_both_kinds(api: OpenWhiskProcess, s3: S3Client, name: str) -> None:
    x = put(s3, f"{name}/x.npy", np.arange(4, dtype=np.float32))
    api.create("prepare", "def main(args): return {'x': args['image'], 'y': args['image'], 'a': 3, 'z': args['to']}")
    bound = [{"key": "rename", "value": {"z": "x"}}, {"key": "outputs", "value": f"s3://alice/{name}/out"}]
    api.create("echo", ECHO, "kaas:1", parameters=bound)
    api.create("tell", "def main(args): return {'z': args['z'], 'hits': args['kaas']['stats']['device_hits']}")
    api.sequence("all", "prepare", "saxpy", "echo", "tell")
    reply = api.invoke("all", {"image": x, "to": f"s3://alice/{name}/z.npy"})
    assert reply.status == 200, reply
    result = reply.body["response"]["result"]
    third = reply.body["logs"][2]
    assert result == {"z": f"s3://alice/{name}/out/{third}/z.npy", "hits": 1}, "the input was still on the device"
    assert get(s3, result["z"]).tolist() == [0, 4, 8, 12]
    assert get(s3, f"s3://alice/{name}/z.npy").tolist() == [0, 4, 8, 12]


def test_a_kernel_that_fails_ends_a_sequence(api: OpenWhiskProcess) -> None:
    api.create("wrong", "def main(args): return {'x': [1, 2], 'y': [1], 'z': 'inline'}")
    api.create("never", "def main(args): raise RuntimeError")
    api.sequence("ends", "wrong", "saxpy", "never")
    reply = api.invoke("ends")
    assert reply.body["response"]["result"]["error"]["code"] == "shape_mismatch"
    assert len(reply.body["logs"]) == 2
