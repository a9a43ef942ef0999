"""Every example as its README says, by `kaas check`, through the pool from S3 to S3, and through the proxy.

What comes out is NumPy's each time.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kaas_command import clean_environment
from pool_calls import Array, done, get, put
from pool_process import PoolProcess
from proxy_process import ProxyProcess
from seaweed import S3Client, S3Server

from kaas.bundle import Bundle
from kaas_cli.examples import Example, load_example
from kaas_cli.main import main

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.parent.name for path in FOLDER.glob("*/kaas.yaml"))

SHELL = Path(__file__).parent / "readme_shell.py"

#: Through the proxy goes what differs there: sizes, kinds of arguments, and files beside the sources.
THROUGH_PROXY = ("cgemm", "jacobi", "kmeans", "saxpy")

#: Single elements, whole blocks, and the ways that the kernels go at other sizes than their own: an example, the
#: parameters of its call, and the sizes of its inputs.
OTHER_SIZES = [
    ("cg", {}, {"side": 1}),
    ("cgemm", {"alpha": [2, 0], "beta": [0, 0]}, {"m": 1, "n": 1, "k": 1}),
    ("cgemm", {}, {"m": 32, "n": 64, "k": 96}),
    ("edges", {}, {"height": 1, "width": 1}),
    ("fft", {"size": 1024}, {"frames": 3, "size": 1024}),
    ("fft", {"size": 2}, {"frames": 70, "size": 2}),
    ("fft", {"size": 4}, {"frames": 1, "size": 4}),
    ("kmeans", {"rounds": 2}, {"height": 64, "width": 64}),
    ("kmeans", {"rounds": 0}, {"height": 9, "width": 8}),
    ("kmeans", {}, {"height": 1, "width": 1}),
    ("mlp", {}, {"n": 3}),
    ("nbody", {"steps": 3, "dt": 0.001}, {"n": 128}),
    ("roots", {}, {"degree": 1}),
    ("softmax", {"head": 64}, {"rows": 2, "columns": 17_000}),
    ("softmax", {"head": 1}, {"rows": 3, "columns": 2}),
]


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    """Each example with its own inputs, reference and tolerances."""
    return load_example(str(request.param))


def targets(example: Example, run: str) -> dict[str, str]:
    """Where each output goes."""
    return {buffer: f"s3://alice/examples/{run}/{example.name}/out/{buffer}.npy" for buffer in example.expected}


def call(s3: S3Client, example: Example, run: str) -> dict[str, Any]:
    """Its call, from S3 to S3; what is changed goes to an object of its own, so that a second call finds the first.

    It is read at once, so it has to be stored by then, whatever the manifest says.
    """
    name = f"examples/{run}/{example.name}"
    inputs = {buffer: put(s3, f"{name}/{buffer}.npy", array) for buffer, array in example.inputs.items()}
    outputs = {
        buffer: {"from": inputs[buffer], "to": target} if buffer in inputs else target
        for buffer, target in targets(example, run).items()
    }
    return {**example.params, **inputs, **outputs, "ack": "durable"}


def check_stored(s3: S3Client, example: Example, stored: dict[str, str], result: dict[str, Any]) -> None:
    """The stored outputs are NumPy's, and the result tells where and what they are."""
    outputs: dict[str, Array] = {}
    for name, array in example.expected.items():
        assert result[name] == stored[name]
        told = result["kaas"]["outputs"][name]
        outputs[name] = get(s3, stored[name])
        assert (told["dtype"], tuple(told["shape"]), told["bytes"]) == (str(array.dtype), array.shape, array.nbytes)
    assert example.is_equal(outputs)


def test_nothing_is_found(example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "action.zip").write_bytes(example.content)
    status = main(["check", str(tmp_path / "action.zip"), "--device", "emulated", "--strict", "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert (status, report["findings"]) == (0, [])
    assert report["compilers"] == ["emulated", "sm_90"]


def saved(lines: list[str]) -> dict[str, str]:
    """The files that the first `kaas run` with an `-o` saves its outputs to."""
    (line, *_) = (line for line in lines if line.startswith("kaas run ") and " -o " in line)
    return dict(re.findall(r"-o (\w+)=(\S+)", line))


def test_as_its_readme_says(example: Example, pool: PoolProcess, s3_server: S3Server, tmp_path: Path) -> None:
    """Line by line in a folder with nothing but the bundle's own files; only the buckets have other names here."""
    folder = tmp_path / example.name
    folder.mkdir()
    for name, data in Bundle.open(example.content).files.items():
        if not name.endswith(".cubin"):
            (folder / name).write_bytes(data)
    shutil.copy(FOLDER / example.name / "generate.py", folder)
    readme = (FOLDER / example.name / "README.md").read_text()
    lines = [line[4:] for line in readme.splitlines() if line.startswith("    ")]
    bucket = f"s3://alice/readme/{example.name}"
    identity = s3_server.identities["alice"]
    ended = subprocess.run(
        [sys.executable, SHELL],
        input="\n".join(lines).replace("s3://data", f"{bucket}/data").replace("s3://out", f"{bucket}/out"),
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean_environment(
            {
                "KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}",
                "KAAS_TOKEN": "alice-token",
                "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
                "AWS_ACCESS_KEY_ID": identity.access_key,
                "AWS_SECRET_ACCESS_KEY": identity.secret_key,
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        ),
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    files = saved(lines)
    assert example.is_equal({name: np.load(folder / files[name]) for name in example.expected})


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


@pytest.mark.parametrize(("name", "given", "sizes"), OTHER_SIZES, ids=str)
def test_at_other_sizes(
    pool: PoolProcess, s3: S3Client, name: str, given: dict[str, Any], sizes: dict[str, int]
) -> None:
    example = load_example(name, given, **sizes)
    client = pool.client()
    run = f"sizes/{'-'.join(map(str, sizes.values()))}"
    result = done(client.invoke(client.upload(example.content), call(s3, example, run)))
    check_stored(s3, example, targets(example, run), result)


@pytest.mark.parametrize("example", THROUGH_PROXY, indirect=True)
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
