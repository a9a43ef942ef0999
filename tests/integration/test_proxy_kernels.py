"""The kernel analogues of OpenWhisk's canonical checks 3 and 5 to 10: proxy, pool and device for real.

docs/openwhisk-proxy.md says what each checks and why it is what it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pool_process import PoolProcess
from proxy_process import SENTINEL, ProxyProcess
from seaweed import S3Client
from test_pool_end_to_end import get, put

from kaas.bundle import Bundle

EXAMPLES = Path(__file__).parents[2] / "examples"

#: The echo action of OpenWhisk's tests, as a kernel: z is x times a, which is 1 unless said otherwise.
ECHO = """\
kaas: 1
name: echo
description: ❄ ☃ ❄
params:
  a: {type: float32, default: 1.0}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: echo
    source: |
      extern "C" __global__ void echo(float a, const float *x, float *z, int n) {
          int i = blockIdx.x * blockDim.x + threadIdx.x;
          if (i < n) z[i] = a * x[i];  // ❄
      }
    threads: [n]
    block: [64]
    args: [a, x, z, int32(n)]
"""


@pytest.fixture
def proxy(pool: PoolProcess, tmp_path: Path) -> Iterator[ProxyProcess]:
    with ProxyProcess(tmp_path, environment(pool)) as proxy:
        yield proxy


def environment(pool: PoolProcess) -> dict[str, str]:
    return {"KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}", "KAAS_TOKEN": "alice-token"}


@pytest.fixture(scope="module")
def shared_echo(pool: PoolProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with ProxyProcess(tmp_path_factory.mktemp("echo"), environment(pool)) as proxy:
        assert proxy.init(ECHO) == (200, {"ok": True})
        assert proxy.run({"x": [0], "z": "inline"})[0] == 200
        yield proxy


@pytest.fixture
def echo(shared_echo: ProxyProcess) -> ProxyProcess:
    """The echo action, initialised, and nothing of its log yet seen."""
    shared_echo.mark()
    return shared_echo


def output(answer: tuple[int, Any]) -> Any:
    """The inline output of a good run."""
    status, result = answer
    assert status == 200, result
    return result["z"]


def test_canonical_3_a_result_is_always_an_object(echo: ProxyProcess) -> None:
    """Without arguments nothing can be computed: an application error, and an object like every answer."""
    status, answer = echo.post("/run", {})
    assert (status, answer["error"]["code"]) == (200, "input_missing")
    assert echo.sentinels() == (1, 1)


def test_canonical_5_another_entry_point(proxy: ProxyProcess) -> None:
    """A graph has no main: whatever is named, it runs, with nothing on stderr."""
    assert proxy.init(ECHO, main="niam")[0] == 200
    assert output(proxy.run({"x": [1, 2], "z": "inline"})) == [1, 2]
    assert proxy.stderr == f"{SENTINEL}\n"
    assert proxy.sentinels() == (1, 1)


def test_canonical_6_echo_and_log(echo: ProxyProcess) -> None:
    for count, values in enumerate([[1.5], [42, 1], [0.25] * 1000, [-1, 2, -3]], 1):
        assert output(echo.run({"x": values, "z": "inline"})) == values
        assert echo.sentinels() == (count, count)
    lines = [json.loads(line) for line in echo.stdout.splitlines() if line != SENTINEL]
    assert [line["kaas"]["stats"]["attempts"] for line in lines] == [1, 1, 1, 1]


def test_canonical_7_unicode(echo: ProxyProcess, s3: S3Client) -> None:
    """In the source and the description (above), in keys of objects, names of arguments, messages and logs."""
    call = {"x": put(s3, "proxy/❄ ☃ ❄.npy", np.ones(3, np.float32)), "z": "s3://alice/proxy/❄.npy"}
    assert output(echo.run(call, action_name="/guest/☃")) == "s3://alice/proxy/❄.npy"
    assert get(s3, "s3://alice/proxy/❄.npy").tolist() == [1, 1, 1]
    assert "/guest/☃" in echo.stdout
    status, answer = echo.run({"❄ ☃ ❄": 1})
    assert (status, answer["error"]["code"]) == (200, "input_missing")
    assert "❄ ☃ ❄" in answer["error"]["hint"]
    assert "❄ ☃ ❄" in echo.stderr


def test_canonical_8_bound_at_init(proxy: ProxyProcess) -> None:
    assert proxy.init(ECHO, env={"a": "2.5", "z": "inline", "ANOTHER_VAR": ""})[0] == 200
    assert output(proxy.run({"x": [2]})) == [5]
    assert output(proxy.run({"x": [2], "a": 3})) == [6]


def test_canonical_10_large_input(echo: ProxyProcess) -> None:
    """As much as one value of a call may hold, and as much as the platform passes on."""
    values = [float(value) for value in range(16 * 1024)]
    assert output(echo.run({"x": values, "z": "inline"})) == values
    assert output(echo.run({"x": [7], "z": "inline", "string": "x" * 1_048_561})) == [7]


@pytest.mark.parametrize("binary", [True, False])
def test_from_s3_to_s3(proxy: ProxyProcess, s3: S3Client, binary: bool) -> None:
    if binary:
        code = base64.b64encode(Bundle.pack(EXAMPLES / "saxpy")).decode()
        arguments: dict[str, Any] = {"y": put(s3, "proxy/y.npy", np.ones(5000, np.float32)), "a": 2}
        offset = 1
    else:
        code, arguments, offset = ECHO, {"a": 2}, 0
    x = np.arange(5000, dtype=np.float32)
    assert proxy.init(code, binary=binary) == (200, {"ok": True})
    call = {"x": put(s3, "proxy/x.npy", x), "z": "s3://alice/proxy/z.npy", **arguments}
    assert output(proxy.run(call, activation_id="f" * 31 + str(int(binary)))) == "s3://alice/proxy/z.npy"
    np.testing.assert_array_equal(get(s3, "s3://alice/proxy/z.npy"), 2 * x + offset)
    assert proxy.stderr == f"{SENTINEL}\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"x": "s3://alice/none.npy"}, "object_not_found"),
        ({"x": "s3://bob/x.npy"}, "object_forbidden"),
        ({"x": "nonsense"}, "reference_invalid"),
        ({"x": [[1]]}, "shape_mismatch"),
        ({"x": [1], "a": "much"}, "argument_invalid"),
        ({"x": [1], "z": None}, "output_unbound"),
    ],
)
def test_mistakes_of_the_caller(echo: ProxyProcess, arguments: dict[str, Any], code: str) -> None:
    status, answer = echo.run({"z": "inline", **arguments})
    assert (status, answer["error"]["code"]) == (200, code)
    assert answer["error"]["message"] in echo.stderr
    assert echo.sentinels() == (1, 1)
    assert output(echo.run({"x": [1], "z": "inline"})) == [1]


def test_a_source_that_does_not_compile(proxy: ProxyProcess) -> None:
    """Found when the pool compiles, at the first run: the author's mistake, with the compiler's words."""
    assert proxy.init(ECHO.replace("z[i] = a", "z[i] = b"))[0] == 200
    status, answer = proxy.run({"x": [1], "z": "inline"})
    assert (status, answer["error"]["code"]) == (200, "compile_error")
    assert answer["error"]["where"] == "kaas.yaml:14"
    assert answer["error"]["message"].startswith("'b' was not declared")


def test_a_bad_token(pool: PoolProcess, tmp_path: Path) -> None:
    with ProxyProcess(tmp_path, {**environment(pool), "KAAS_TOKEN": "guess"}) as proxy:
        proxy.init(ECHO)
        status, answer = proxy.run({"x": [1], "z": "inline"})
        assert (status, answer["error"]["code"]) == (200, "unauthenticated")
