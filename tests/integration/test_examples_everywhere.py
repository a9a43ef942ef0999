"""Every example by `kaas run`, through the pool from S3 to S3, and through the proxy: equal to NumPy each time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pool_calls import Array, done, get, put
from pool_process import PoolProcess
from proxy_process import ProxyProcess
from seaweed import S3Client

from kaas_cli.examples import Example, load_example

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.parent.name for path in FOLDER.glob("*/kaas.yaml"))


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    """Each example with its own inputs, reference and tolerances."""
    return load_example(str(request.param))


def targets(example: Example, run: str) -> dict[str, str]:
    """Where each output goes."""
    return {buffer: f"s3://alice/examples/{run}/{example.name}/out/{buffer}.npy" for buffer in example.expected}


def call(s3: S3Client, example: Example, run: str) -> dict[str, Any]:
    """Its call, from S3 to S3; what is changed goes to an object of its own, so that a second call finds the first."""
    name = f"examples/{run}/{example.name}"
    inputs = {buffer: put(s3, f"{name}/{buffer}.npy", array) for buffer, array in example.inputs.items()}
    outputs = {
        buffer: {"from": inputs[buffer], "to": target} if buffer in inputs else target
        for buffer, target in targets(example, run).items()
    }
    return {**example.params, **inputs, **outputs}


def check_stored(s3: S3Client, example: Example, stored: dict[str, str], result: dict[str, Any]) -> None:
    """The stored outputs are NumPy's, and the result tells where and what they are."""
    outputs: dict[str, Array] = {}
    for name, array in example.expected.items():
        assert result[name] == stored[name]
        told = result["kaas"]["outputs"][name]
        outputs[name] = get(s3, stored[name])
        assert (told["dtype"], tuple(told["shape"]), told["bytes"]) == (str(array.dtype), array.shape, array.nbytes)
    assert example.is_equal(outputs)


def test_without_a_server(example: Example, tmp_path: Path) -> None:
    files = []
    for name, array in example.inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
        files += ["-p", f"{name}=@{tmp_path / f'{name}.npy'}"]
    for name, value in example.params.items():
        files += ["-p", f"{name}={json.dumps(value)}"]
    for name in example.expected:
        files += ["-o", f"{name}={tmp_path / f'{name}.out.npy'}"]
    command = [sys.executable, "-m", "kaas_cli", "run", str(FOLDER / example.name), "--device", "emulated", *files]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert ended.returncode == 0, ended.stderr
    assert example.is_equal({name: np.load(tmp_path / f"{name}.out.npy") for name in example.expected})


def test_through_the_pool(pool: PoolProcess, s3: S3Client, example: Example) -> None:
    client = pool.client()
    bundle = client.upload(example.content)
    arguments, stored = call(s3, example, "pool"), targets(example, "pool")
    for hits in (0, len(example.inputs)):
        for target in stored.values():
            s3.delete_object(Bucket="alice", Key=target.removeprefix("s3://alice/"))
        result = done(client.invoke(bundle, arguments))
        check_stored(s3, example, stored, result)
        stats = result["kaas"]["stats"]
        assert (stats["device_hits"], stats["misses"]) == (hits, len(example.inputs) - hits)
        loaded = 0 if hits else sum(array.nbytes for array in example.inputs.values())
        assert stats["bytes_loaded"] == loaded


def test_through_the_proxy(pool: PoolProcess, s3: S3Client, example: Example, tmp_path: Path) -> None:
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}", "KAAS_TOKEN": "alice-token"}
    arguments, stored = call(s3, example, "proxy"), targets(example, "proxy")
    with ProxyProcess(tmp_path, environment) as proxy:
        assert proxy.init(base64.b64encode(example.content).decode(), binary=True) == (200, {"ok": True})
        for activation, hits in (("first", 0), ("second", len(example.inputs))):
            status, result = proxy.run(arguments, activation_id=f"{example.name}-{activation}")
            assert status == 200, result
            check_stored(s3, example, stored, result)
            assert result["kaas"]["stats"]["device_hits"] == hits
