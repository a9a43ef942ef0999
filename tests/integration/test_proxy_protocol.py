"""OpenWhisk's action protocol against the real server process, with a pool that answers what the test says."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy_process import ProxyProcess
from scripted_pool import Request, ScriptedPool, done, error

from kaas.client import digest_of

COPY = """\
kaas: 1
name: copy
params:
  a: {type: float32, default: 1.0}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - kernel: copy
    source: |
      extern "C" __global__ void copy(float a, const float *x, float *z, int n) {
          int i = blockIdx.x * blockDim.x + threadIdx.x;
          if (i < n) z[i] = a * x[i];
      }
    threads: [n]
    block: [64]
    args: [a, x, z, int32(n)]
"""

RESULT: dict[str, Any] = {"z": "s3://out/z.npy", "kaas": {"outputs": {}, "stats": {"device": "0", "gpu_ms": 0.5}}}


def go_well(request: Request) -> tuple[int, Any]:
    """The script of a pool with which nothing is wrong."""
    return done(request, RESULT)


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[ScriptedPool]:
    with ScriptedPool(go_well) as pool:
        yield pool


@pytest.fixture(scope="module")
def shared_proxy(shared_pool: ScriptedPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    environment = {"KAAS_POOL_URL": shared_pool.url, "KAAS_TOKEN": "secret"}
    with ProxyProcess(tmp_path_factory.mktemp("shared"), environment) as proxy:
        assert proxy.init(COPY) == (200, {"ok": True})
        yield proxy


@pytest.fixture
def pool(shared_pool: ScriptedPool) -> ScriptedPool:
    """The scripted pool, with nothing recorded yet."""
    shared_pool.script = go_well
    shared_pool.requests.clear()
    return shared_pool


@pytest.fixture
def ready(shared_proxy: ProxyProcess, pool: ScriptedPool) -> ProxyProcess:
    """A proxy that is initialised, and has run before."""
    shared_proxy.mark()
    return shared_proxy


@pytest.fixture
def proxy(pool: ScriptedPool, tmp_path: Path) -> Iterator[ProxyProcess]:
    """A proxy that has just started."""
    with ProxyProcess(tmp_path, {"KAAS_POOL_URL": pool.url, "KAAS_TOKEN": "secret"}) as proxy:
        yield proxy


def test_init_and_run(proxy: ProxyProcess, pool: ScriptedPool) -> None:
    assert proxy.init(COPY) == (200, {"ok": True})
    assert (proxy.stdout, proxy.stderr) == ("", ""), "a good init ends no activation"
    assert pool.requests == [], "init never calls the pool"
    status, result = proxy.run({"x": "s3://data/x.npy", "a": 2}, activation_id="a" * 32)
    assert (status, result) == (200, RESULT)
    (request,) = pool.invocations
    assert request.authorization == "Bearer secret"
    assert request.body["bundle"] == digest_of(COPY.encode())
    assert request.body["arguments"] == {"x": "s3://data/x.npy", "a": 2}
    assert request.body["id"] == "a" * 32
    assert proxy.sentinels() == (1, 1)


def test_registers_at_the_first_run(proxy: ProxyProcess, pool: ScriptedPool) -> None:
    pool.script = lambda request: (
        done(request, RESULT) if request.body["bundle"] in pool.uploads else (404, error("bundle_unknown"))
    )
    pool.uploads.clear()
    proxy.init(COPY)
    assert proxy.run({})[0] == 200
    assert proxy.run({})[0] == 200
    assert [request.method for request in pool.requests] == ["POST", "PUT", "POST", "POST"]
    assert list(pool.uploads.values()) == [COPY.encode()]


def test_registers_once_and_no_more(ready: ProxyProcess, pool: ScriptedPool) -> None:
    pool.script = lambda request: (404, error("bundle_unknown"))
    status, answer = ready.run({})
    assert (status, answer["error"]["code"]) == (200, "bundle_unknown")
    assert [request.method for request in pool.requests] == ["POST", "PUT", "POST"]


def test_code_as_zip(proxy: ProxyProcess, pool: ScriptedPool) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("kaas.yaml", COPY)
    code = base64.b64encode(buffer.getvalue()).decode()
    assert proxy.init(code, binary=True) == (200, {"ok": True})
    assert proxy.run({})[0] == 200
    assert pool.invocations[0].body["bundle"] == digest_of(buffer.getvalue())


# OpenWhisk's canonical checks 1, 2 and 4, word for word.


def test_canonical_1_no_code(proxy: ProxyProcess) -> None:
    status, _ = proxy.init("", main="")
    assert status != 200
    assert proxy.sentinels() == (1, 1)


def test_canonical_2_no_content(proxy: ProxyProcess) -> None:
    status, answer = proxy.post("/init", {})
    assert status != 200
    assert answer == {"error": "Missing main/no code to execute."}


def test_canonical_4_second_init(proxy: ProxyProcess) -> None:
    text = "Cannot initialize the action more than once."
    assert proxy.init(COPY)[0] == 200
    status, answer = proxy.init(COPY)
    assert status != 200
    assert answer == {"error": text}
    assert text in proxy.stdout
    assert text in proxy.stderr
    assert proxy.sentinels() == (0, 0)


def test_failed_init_may_be_followed_by_a_good_one(proxy: ProxyProcess) -> None:
    assert proxy.init("kaas: 1\n")[0] == 400
    assert proxy.init(COPY) == (200, {"ok": True})
    assert proxy.run({})[0] == 200
    assert proxy.sentinels() == (2, 2), "one after the failed init, one after the run"


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ({"code": "kaas: 1\nname: [", "binary": False}, 400, "manifest_invalid"),
        ({"code": COPY.replace("threads:", "thread:")}, 400, "unknown_key"),
        ({"code": COPY.replace("  x:", "  error:")}, 400, "name_reserved"),
        ({"code": "not base64!", "binary": True}, 400, "bundle_invalid"),
        ({"code": base64.b64encode(b"not a zip").decode(), "binary": True}, 400, "manifest_invalid"),
        ({"code": base64.b64encode(b"\x7fELF\x00").decode(), "binary": True}, 400, "bundle_invalid"),
        ({"code": base64.b64encode(b"PK\x03\x04").decode(), "binary": True}, 400, "bundle_invalid"),
        (
            {"code": COPY.split("source: |")[0] + "source: none.cu\n    threads: [n]\n    block: [64]\n    args: []\n"},
            400,
            "source_missing",
        ),
        ({"code": 7}, 400, "request_invalid"),
        ({"code": COPY, "binary": "yes"}, 400, "request_invalid"),
        ({"code": COPY, "env": ["A"]}, 400, "request_invalid"),
        ([], 400, "request_invalid"),
    ],
)
def test_broken_code(proxy: ProxyProcess, pool: ScriptedPool, value: object, status: int, code: str) -> None:
    answer = proxy.post("/init", {"value": value})
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
    assert answer[1]["error"]["message"] in proxy.stderr
    assert proxy.sentinels() == (1, 1)
    assert pool.requests == []


def test_zip_without_manifest(proxy: ProxyProcess) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("copy.cu", "")
    status, answer = proxy.init(base64.b64encode(buffer.getvalue()).decode(), binary=True)
    assert (status, answer["error"]["code"]) == (403, "manifest_missing")


def test_run_before_init(proxy: ProxyProcess) -> None:
    assert proxy.run({}) == (500, {"error": "no action defined yet"})
    assert proxy.sentinels() == (1, 1)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"7", b'{"value": "text"}', b"\xff", b'{"value": {"a": NaN}}', b"[" * 100_000]
)
def test_malformed_run(ready: ProxyProcess, body: bytes) -> None:
    status, answer = ready.post("/run", body)
    assert (status, answer["error"]["code"]) == (400, "request_invalid")
    assert ready.sentinels() == (1, 1)
    assert ready.run({})[0] == 200, "the next good run works"


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": {}}])
def test_no_arguments(ready: ProxyProcess, pool: ScriptedPool, body: object) -> None:
    assert ready.post("/run", body)[0] == 200
    assert pool.invocations[0].body["arguments"] == {}


def test_an_array_is_refused_with_advice(ready: ProxyProcess, pool: ScriptedPool) -> None:
    status, answer = ready.run([1, 2])
    assert (status, answer["error"]["code"]) == (200, "argument_invalid")
    assert "object" in answer["error"]["hint"]
    assert pool.requests == []


def test_malformed_init(proxy: ProxyProcess) -> None:
    status, answer = proxy.post("/init", b"{")
    assert (status, answer["error"]["code"]) == (400, "request_invalid")
    assert proxy.sentinels() == (1, 1)


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/init"), ("POST", "/pause"), ("DELETE", "/run")])
def test_other_paths(ready: ProxyProcess, method: str, path: str) -> None:
    status, answer = ready.post(path, {}, method=method)
    assert (status, answer["error"]["code"]) == (404, "route_unknown")
    assert ready.sentinels() == (0, 0)


def test_body_over_the_limit(proxy: ProxyProcess, pool: ScriptedPool) -> None:
    big = b'{"value": {"code": "' + b"A" * (49 << 20) + b'"}}'
    status, answer = proxy.post("/init", big)
    assert (status, answer["error"]["code"]) == (413, "payload_too_large")
    assert proxy.init(COPY)[0] == 200
    status, answer = proxy.post("/run", big)
    assert (status, answer["error"]["code"]) == (200, "payload_too_large")
    assert proxy.sentinels() == (2, 2)


def test_code_at_the_limit(proxy: ProxyProcess, pool: ScriptedPool) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("kaas.yaml", COPY)
        archive.writestr("ballast", bytes(35 << 20))
    code = base64.b64encode(buffer.getvalue()).decode()
    assert 46 << 20 < len(code) <= 48 << 20
    assert proxy.init(code, binary=True) == (200, {"ok": True})
    assert proxy.run({})[0] == 200
    assert pool.invocations[0].body["bundle"] == digest_of(buffer.getvalue())


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        ((422, error("shape_mismatch", where="arguments.x", hint="look")), 200),
        ((429, error("pool_busy", retry_after_ms=5)), 200),
        ((401, error("unauthenticated")), 200),
        ((409, error("id_conflict")), 200),
        ((503, error("pool_draining")), 502),
        ((503, error("store_unreachable")), 502),
        ((500, error("internal")), 502),
        ((400, error("from_the_future")), 502),
        ((502, b"<html>bad gateway</html>"), 502),
        ((200, {"id": "i", "state": "failed", "error": error("kernel_fault")["error"], "logs": []}), 200),
        ((200, {"id": "i", "state": "failed", "error": error("executor_lost")["error"], "logs": []}), 502),
        ((200, {"id": "i", "state": "cancelled", "error": error("cancelled")["error"], "logs": []}), 200),
        ((200, {"id": "i", "state": "done", "logs": []}), 502),
        ((200, {"surprise": True}), 502),
        ((200, [1]), 502),
        ((202, {"id": "i", "state": "running"}), 200),
    ],
)
def test_errors_of_the_pool(ready: ProxyProcess, pool: ScriptedPool, refusal: tuple[int, Any], status: int) -> None:
    pool.script = lambda request: refusal
    got, answer = ready.run({})
    assert got == status
    assert set(answer) == {"error"}
    assert answer["error"]["message"] in ready.stderr
    content = refusal[1]
    if isinstance(content, dict) and isinstance(content.get("error"), dict) and "future" not in str(content):
        assert answer["error"] == content["error"]
    assert ready.sentinels() == (1, 1)


def test_logs_stand_before_the_sentinel_on_their_streams(ready: ProxyProcess, pool: ScriptedPool) -> None:
    """Canonical checks 6 and 7."""
    logs = [
        {"time": "2026-01-01T00:00:00Z", "stream": "stdout", "line": "hello stdout ❄ ☃ ❄"},
        {"time": "2026-01-01T00:00:00Z", "stream": "stderr", "line": "hello stderr"},
        {"time": "2026-01-01T00:00:00Z", "stream": "stdout", "line": "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"},
    ]
    pool.script = lambda request: done(request, RESULT, logs)
    for count in (1, 2, 3, 4):
        assert ready.run({"string": "❄ ☃ ❄"}) == (200, RESULT)
        assert ready.sentinels() == (count, count), "a kernel that prints the sentinel ends nothing"
    assert ready.stderr.splitlines()[:2] == ["hello stderr", "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"]
    assert ready.stdout.splitlines()[0] == "hello stdout ❄ ☃ ❄"
    assert json.loads(ready.stdout.splitlines()[2])["kaas"]["stats"] == RESULT["kaas"]["stats"]
    assert pool.invocations[3].body["arguments"] == {"string": "❄ ☃ ❄"}


def test_the_activations_key_goes_to_the_pool_and_nowhere_else(pool: ScriptedPool, tmp_path: Path) -> None:
    """Canonical check 9: what OpenWhisk says of an activation comes back out, in the log's summary."""
    with ProxyProcess(tmp_path, {"KAAS_POOL_URL": pool.url, "__OW_API_HOST": "xyz"}) as proxy:
        proxy.init(COPY)
        fields = {
            "api_key": "abc:def",
            "namespace": "zzz",
            "action_name": "xxx",
            "action_version": "0.0.1",
            "activation_id": "iii",
            "deadline": "123",
        }
        assert proxy.run({}, **fields)[0] == 200
        assert pool.invocations[0].authorization == "Basic " + base64.b64encode(b"abc:def").decode()
        summary = json.loads(proxy.stdout.splitlines()[0])
        del fields["api_key"]
        assert summary["kaas"]["activation"] == {**fields, "api_host": "xyz"}
        assert "abc" not in proxy.stdout + proxy.stderr


def test_key_from_init(pool: ScriptedPool, tmp_path: Path) -> None:
    with ProxyProcess(tmp_path, {"KAAS_POOL_URL": pool.url}) as proxy:
        proxy.init(COPY, env={"__OW_API_KEY": "abc:def"})
        assert proxy.run({})[0] == 200
        assert pool.invocations[0].authorization == "Basic " + base64.b64encode(b"abc:def").decode()


def test_no_key(pool: ScriptedPool, tmp_path: Path) -> None:
    with ProxyProcess(tmp_path, {"KAAS_POOL_URL": pool.url}) as proxy:
        proxy.init(COPY)
        status, answer = proxy.run({})
        assert (status, answer["error"]["code"]) == (200, "unauthenticated")
        assert "-a provide-api-key true" in answer["error"]["hint"]
        assert pool.requests == []


def test_arguments_bound_at_init(proxy: ProxyProcess, pool: ScriptedPool) -> None:
    """Canonical check 8: a kernel has no environment, so what is bound at init becomes the call's arguments."""
    proxy.init(COPY, env={"a": "2.5", "x": "s3://data/x.npy", "z": "[1]", "OTHER": "xyz", "EMPTY": ""})
    assert proxy.run({"z": "inline"})[0] == 200
    assert pool.invocations[0].body["arguments"] == {"a": 2.5, "x": "s3://data/x.npy", "z": "inline"}


def test_large_input(ready: ProxyProcess, pool: ScriptedPool) -> None:
    """Canonical check 10: what a sequence drags along does not hurt, up to the platform's own limit."""
    assert ready.run({"string": "x" * 1_048_561, "a": 3})[0] == 200
    assert pool.invocations[0].body["arguments"] == {"a": 3}
    assert ready.run({"string": "x" * 1_000_000, "a": 3})[0] == 200
    assert pool.invocations[1].body["arguments"] == {"string": "x" * 1_000_000, "a": 3}


@pytest.mark.parametrize(
    ("seconds", "least", "most"), [(60, 55_000, 57_500), (10, 8_000, 9_000), (100_000, 3_590_000, 3_597_500)]
)
def test_deadline_becomes_a_budget(
    ready: ProxyProcess, pool: ScriptedPool, seconds: int, least: int, most: int
) -> None:
    assert ready.run({}, deadline=str(round((time.time() + seconds) * 1000)))[0] == 200
    assert least <= pool.invocations[0].body["budget_ms"] <= most


@pytest.mark.parametrize("deadline", ["123", "", "soon", "-5", "9" * 40, "²"])
def test_a_deadline_that_cannot_be_meant(ready: ProxyProcess, pool: ScriptedPool, deadline: str) -> None:
    assert ready.run({}, deadline=deadline)[0] == 200
    assert 57_000 <= pool.invocations[0].body["budget_ms"] <= 60_000


def test_pool_down(proxy: ProxyProcess, pool: ScriptedPool, tmp_path: Path) -> None:
    with ScriptedPool(lambda request: None) as gone:
        url = gone.url
    (tmp_path / "other").mkdir()
    with ProxyProcess(tmp_path / "other", {"KAAS_POOL_URL": url, "KAAS_TOKEN": "t"}) as other:
        assert other.init(COPY)[0] == 200, "a pool that is down is not the author's mistake"
        status, answer = other.run({}, deadline=str(round((time.time() + 1) * 1000)))
        assert (status, answer["error"]["code"]) == (502, "pool_unreachable")
        assert url in answer["error"]["message"]
        assert other.sentinels() == (1, 1)


def test_pool_comes_back(ready: ProxyProcess, pool: ScriptedPool) -> None:
    answers = iter([None, None])
    pool.script = lambda request: next(answers, done(request, RESULT))
    assert ready.run({})[0] == 200
    ids = {request.body["id"] for request in pool.invocations}
    assert (len(pool.invocations), len(ids)) == (3, 1), "tried again under one id"


def test_no_address(tmp_path: Path) -> None:
    with ProxyProcess(tmp_path, {"KAAS_TOKEN": "t"}) as proxy:
        assert proxy.init(COPY)[0] == 200
        status, answer = proxy.run({})
        assert (status, answer["error"]["code"]) == (502, "pool_unreachable")
        assert "KAAS_POOL_URL" in answer["error"]["hint"]


def test_a_silent_pool_spends_the_budget(ready: ProxyProcess, pool: ScriptedPool) -> None:
    silent = threading.Event()

    def script(request: Request) -> None:
        silent.wait()

    pool.script = script
    try:
        status, answer = ready.run({}, deadline=str(round((time.time() + 1) * 1000)))
    finally:
        silent.set()
    assert (status, answer["error"]["code"]) == (200, "budget_exceeded")


def test_server_ends_with_its_worker(proxy: ProxyProcess) -> None:
    """A worker that came back would have forgotten its action."""
    proxy.init(COPY)
    (worker,) = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    assert proxy.process.wait(30) != 0


def test_sigterm_is_a_clean_end(proxy: ProxyProcess) -> None:
    proxy.init(COPY)
    proxy.process.terminate()
    assert proxy.process.wait(30) == 0
