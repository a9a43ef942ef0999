"""The whole of `kaas up` through its OpenWhisk API: who a kernel action's caller is, and with whose rights it runs."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_stack import running_stack, wait_until
from openwhisk_process import OpenWhiskClient

from kaas.bundle import Bundle
from kaas_local.state import StateDirectory

SAXPY = Path(__file__).parents[2] / "examples" / "saxpy"
CALL = {"x": [1, 2], "y": [1, 1], "a": 2, "z": "inline"}
PROVIDE = [{"key": "provide-api-key", "value": True}]

Running = tuple[StateDirectory, OpenWhiskClient]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_stack(tmp_path_factory.mktemp("up") / "state") as (state, stack, variables):
        assert variables["WHISK_APIHOST"] == variables["__OW_API_HOST"] == stack.api_url
        assert variables["WHISK_AUTH"] == variables["__OW_API_KEY"]
        port = int(stack.api_url.rpartition(":")[2])
        api = OpenWhiskClient(port, {"guest": variables["WHISK_AUTH"]})
        yield state, api


def create_saxpy(api: OpenWhiskClient, name: str, **body: object) -> None:
    api.create(name, base64.b64encode(Bundle.pack(SAXPY)).decode(), "kaas:1", **body)


def test_the_callers_key_is_who_calls(running: Running) -> None:
    _, api = running
    create_saxpy(api, "saxpy", annotations=PROVIDE)
    reply = api.invoke("saxpy", CALL, "blocking=true&result=true")
    assert (reply.status, reply.body["z"]) == (200, [3, 5])


def test_without_the_key_the_pool_asks_for_the_annotation(running: Running) -> None:
    _, api = running
    create_saxpy(api, "anonymous")
    reply = api.invoke("anonymous", CALL)
    assert reply.status == 502
    error = reply.body["response"]["result"]["error"]
    assert error["code"] == "unauthenticated"
    assert "provide-api-key true" in error["hint"]


def test_the_key_is_written_nowhere(running: Running) -> None:
    state, api = running
    create_saxpy(api, "saxpy", annotations=PROVIDE)
    api.create("tells", "def main(args):\n import os\n print(sorted(os.environ))\n return {}")
    assert api.invoke("saxpy", CALL).status == 200
    secret = api.keys["guest"].partition(":")[2].encode()
    logs = api.call("GET", f"activations/{api.invoke('tells').activation_id}/logs").body["logs"]
    assert any("__OW_ACTIVATION_ID" in line for line in logs)
    assert not any("API_KEY" in line or "KAAS_" in line or "AWS_" in line for line in logs)
    files = [path for path in state.path.rglob("*") if path.is_file() and path.name != "credentials.json"]
    assert any(path.name == "api.sqlite-wal" for path in files)
    assert [path for path in files if secret in path.read_bytes()] == []


def test_an_activation_during_a_restart_of_the_pool_is_answered(running: Running) -> None:
    state, api = running
    create_saxpy(api, "saxpy", annotations=PROVIDE)
    stack = state.running()
    assert stack is not None
    before = stack.processes["pool"]
    started = [api.invoke("saxpy", CALL, "") for _ in range(3)]
    assert [reply.status for reply in started] == [202] * 3
    os.kill(before.pid, signal.SIGKILL)

    def is_back() -> bool:
        now = state.running()
        return now is not None and now.processes["pool"] != before

    wait_until(is_back, "a new pool")
    for reply in started:
        response = api.wait_for(reply.activation_id)["response"]
        assert response["success"] or response["result"]["error"]["code"]
    wait_until(lambda: api.invoke("saxpy", CALL).status == 200, "the pool serves again")
