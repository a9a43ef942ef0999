"""Kernel actions of the local OpenWhisk: the real action proxy, and a pool that answers what a test says."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openwhisk_actions import Machine, call, executable, lines, zipped
from scripted_pool import Request, ScriptedPool, done, error
from test_proxy_protocol import COPY, RESULT, go_well

from kaas.client import digest_of
from kaas_local.openwhisk.containers import Answer
from kaas_local.openwhisk.containers.model import APPLICATION_ERROR, DEVELOPER_ERROR, SUCCESS
from kaas_local.openwhisk.kinds import KERNEL


@pytest.fixture(scope="module")
def shared_pool() -> Iterator[ScriptedPool]:
    with ScriptedPool(go_well) as pool:
        yield pool


@pytest.fixture(scope="module")
def machine(shared_pool: ScriptedPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    environment = {"KAAS_POOL_URL": shared_pool.url}
    with Machine(tmp_path_factory.mktemp("actions"), proxy_environment=environment) as running:
        yield running


@pytest.fixture
def pool(shared_pool: ScriptedPool) -> ScriptedPool:
    shared_pool.script = go_well
    shared_pool.requests.clear()
    return shared_pool


KEY: dict[str, Any] = {"api_key": "abc:def"}
copy = executable(COPY, KERNEL)


def summary(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lines(answer, "stdout")[-1])["kaas"]
    return found


def test_a_kernel_action(machine: Machine, pool: ScriptedPool) -> None:
    action = executable(COPY, KERNEL, name="pkg/copy", timeout_ms=10_000)
    answers = [machine.run(action, {"x": "s3://data/x.npy"}, activation_id=letter * 32, **KEY) for letter in "ab"]
    for answer, request, letter in zip(answers, pool.invocations, "ab", strict=True):
        assert (answer.status, answer.result) == (SUCCESS, RESULT)
        assert answer.size == len(json.dumps(RESULT, separators=(",", ":")))
        assert request.authorization == "Basic " + base64.b64encode(b"abc:def").decode()
        assert request.body["arguments"] == {"x": "s3://data/x.npy"}
        assert request.body["id"] == letter * 32
        assert 8_000 <= request.body["budget_ms"] <= 9_000
        assert (len(answer.logs), lines(answer, "stderr")) == (1, [])
        assert summary(answer)["activation"]["activation_id"] == letter * 32
        assert summary(answer)["activation"]["action_name"] == "/guest/pkg/copy"
    assert [answer.init_ms is not None for answer in answers] == [True, False]


def test_a_zip(machine: Machine, pool: ScriptedPool) -> None:
    code = zipped({"kaas.yaml": COPY})
    assert machine.run(executable(code, KERNEL, binary=True), **KEY).result == RESULT
    assert pool.invocations[0].body["bundle"] == digest_of(base64.b64decode(code))


def test_no_key(machine: Machine, pool: ScriptedPool) -> None:
    answer = machine.run(copy)
    assert (answer.status, answer.result["error"]["code"]) == (APPLICATION_ERROR, "unauthenticated")
    assert pool.requests == []


def test_a_token_that_speaks_for_all(pool: ScriptedPool, tmp_path: Path) -> None:
    with Machine(tmp_path, proxy_environment={"KAAS_POOL_URL": pool.url, "KAAS_TOKEN": "secret"}) as machine:
        assert machine.run(copy).status == SUCCESS
        assert pool.invocations[0].authorization == "Bearer secret"
        assert "secret" not in repr(machine.containers._settings)


def test_the_users_own_token_speaks_for_nobody(
    pool: ScriptedPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAAS_TOKEN", "mine")
    with Machine(tmp_path, proxy_environment={"KAAS_POOL_URL": pool.url}) as machine:
        assert machine.run(copy).result["error"]["code"] == "unauthenticated"


def test_what_is_bound_at_init(machine: Machine, pool: ScriptedPool) -> None:
    action = executable(COPY, KERNEL, env={"a": "2.5", "OTHER": "xyz"})
    assert machine.run(action, {"x": "s3://data/x.npy"}, **KEY).status == SUCCESS
    assert pool.invocations[0].body["arguments"] == {"a": 2.5, "x": "s3://data/x.npy"}


@pytest.mark.parametrize(
    ("refusal", "status", "warm"),
    [
        ((422, error("shape_mismatch")), APPLICATION_ERROR, True),
        ((429, error("pool_busy")), APPLICATION_ERROR, True),
        ((500, error("internal")), DEVELOPER_ERROR, False),
    ],
)
def test_errors(machine: Machine, pool: ScriptedPool, refusal: Any, status: int, warm: bool) -> None:
    action = executable(COPY, KERNEL)
    pool.script = lambda request: refusal
    answer = machine.run(action, activation_id="f" * 32, **KEY)
    assert (answer.status, answer.result) == (status, {"error": {**refusal[1]["error"], "activation": "f" * 32}})
    assert any(refusal[1]["error"]["message"] in line for line in lines(answer, "stderr"))
    pool.script = go_well
    again = machine.run(action, **KEY)
    assert (again.status, again.init_ms is None) == (SUCCESS, warm)


def test_a_broken_bundle(machine: Machine, pool: ScriptedPool) -> None:
    for _ in range(2):
        answer = machine.run(executable("kaas: 1\nname: [", KERNEL), **KEY)
        assert (answer.status, answer.result["error"]["code"]) == (DEVELOPER_ERROR, "manifest_invalid")
        assert answer.result["error"]["message"] in lines(answer, "stderr")[0]
    assert pool.requests == []


def test_an_array(machine: Machine) -> None:
    answer = machine.run(copy, [1], **KEY)
    assert (answer.status, answer.result["error"]["code"]) == (APPLICATION_ERROR, "argument_invalid")


def test_calls_overlap_and_their_logs_do_not(machine: Machine, pool: ScriptedPool) -> None:
    """Twenty at a time in one process, held until all have come, answered in another order."""
    count = 20
    together = threading.Barrier(count)

    def script(request: Request) -> tuple[int, Any]:
        together.wait(60)
        number = request.body["arguments"]["number"]
        logs = [
            {"time": "2026-01-01T00:00:00Z", "stream": stream, "line": f"{stream} {part} of {number} ❄"}
            for part in range(50)
            for stream in ("stdout", "stderr")
        ]
        return done(request, {**RESULT, "number": number}, logs)

    pool.script = script

    async def go() -> list[Answer]:
        calls = [call({"number": number}, **KEY) for number in range(count)]
        return list(await asyncio.gather(*(machine.containers.run(copy, one) for one in calls)))

    for number, answer in enumerate(machine.wait(go())):
        assert answer.result["number"] == number
        for stream in ("stdout", "stderr"):
            assert lines(answer, stream)[:50] == [f"{stream} {part} of {number} ❄" for part in range(50)]
        assert len(answer.logs) == 101


def test_a_call_that_is_too_late_harms_no_other(machine: Machine, pool: ScriptedPool) -> None:
    """A pool that answers nobody in time: the proxy's own answer comes before the limit."""
    action = executable(COPY, KERNEL, timeout_ms=3_000)
    assert machine.run(action, **KEY).status == SUCCESS
    silent = threading.Event()

    def script(request: Request) -> tuple[int, Any]:
        if request.body["arguments"]:
            silent.wait()
        return go_well(request)

    pool.script = script

    async def go() -> list[Answer]:
        values: list[dict[str, Any]] = [{"x": [1]}, {}]
        return list(await asyncio.gather(*(machine.containers.run(action, call(value, **KEY)) for value in values)))

    try:
        late, other = machine.wait(go())
    finally:
        silent.set()
    assert (late.status, late.result["error"]["code"]) == (APPLICATION_ERROR, "budget_exceeded")
    assert (other.status, other.init_ms) == (SUCCESS, None)


def test_memory_is_the_proxys_own_matter(machine: Machine, pool: ScriptedPool) -> None:
    """No code of a user's runs in it: the limit that OpenWhisk puts on a container would only hit large bundles."""
    action = executable(zipped({"kaas.yaml": COPY, "ballast": bytes(30 << 20)}), KERNEL, binary=True, memory_mb=1)
    assert machine.run(action, **KEY).status == SUCCESS


def test_a_proxy_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kaas_proxy.py").write_text("raise ImportError('none here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Machine(tmp_path / "actions") as machine:
        answer = machine.run(copy, **KEY)
    assert answer.status == DEVELOPER_ERROR
    assert answer.result == {"error": "The action did not initialize and exited unexpectedly."}
    assert "ImportError: none here" in lines(answer, "stderr")


def test_a_long_way_to_its_directory(pool: ScriptedPool, tmp_path: Path) -> None:
    """Longer than a socket's address can be."""
    directory = tmp_path / ("long" * 30)
    with Machine(directory, proxy_environment={"KAAS_POOL_URL": pool.url}) as machine:
        assert machine.run(copy, **KEY).status == SUCCESS
        (socket,) = directory.glob("*/proxy")
        assert socket.is_socket()
        assert socket.parent.stat().st_mode & 0o077 == 0, "nobody else can speak to it"
