"""What kernels print, as callers get it: in the pool's answers, on the proxy's streams, from `kaas invoke`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_peers import ScriptedExecutor, error_frame
from front_process import SAXPY, FrontProcess, HttpClient, Reply, wait_until
from kaas_command import kaas
from pool_calls import done, story
from pool_process import PoolProcess
from printing_actions import bundle
from proxy_process import SENTINEL, ProxyProcess

from kaas_pool.frames import Frame

CALL = {"x": [3, 1, 4], "z": "inline"}
SAID = ["x[0] is 3 in round 0", "x[1] is 1 in round 0", "x[2] is 4 in round 0"]


def lines(body: dict[str, Any], stream: str = "stdout") -> list[str]:
    """The lines of an answer's log."""
    return [line["line"] for line in body["logs"] if line["stream"] == stream]


def known(client: HttpClient, identifier: str) -> Any:
    """What GET says of an invocation."""
    return client.get(f"/v1/invocations/{identifier}").body


@pytest.fixture
def chatting(pool: PoolProcess) -> Iterator[str]:
    """An invocation of alice's that computes and prints, until it is cancelled."""
    client = pool.client()
    say(client)  # Its input is on the device from now on, so that what the executor is given begins at once.
    reply = client.invoke(client.upload(bundle("chat")), CALL, wait_ms=0)
    assert reply.status == 202
    identifier = reply.body["id"]
    wait_until(lambda: "given to the executor" in story(client, identifier))
    yield identifier
    client.delete(f"/v1/invocations/{identifier}")


def say(client: HttpClient) -> Reply:
    """Invoke the action with three lines, and its values have to be right in any case."""
    reply = client.invoke(client.upload(bundle("say")), CALL)
    assert done(reply)["z"] == CALL["x"]
    return reply


def test_the_answer_and_get_have_the_lines(pool: PoolProcess) -> None:
    client = pool.client()
    reply = say(client)
    assert sorted(lines(reply.body)) == SAID
    assert known(client, reply.body["id"])["logs"] == reply.body["logs"]
    assert lines(reply.body, "stderr") == []
    # Beside what the pool itself has to say.
    both = client.invoke(client.upload(bundle("say")), {**CALL, "colour": "red"})
    assert (len(lines(both.body)), len(lines(both.body, "stderr"))) == (3, 1)


def test_nobody_waits(pool: PoolProcess) -> None:
    client = pool.client()
    identifier = client.invoke(client.upload(bundle("say")), CALL, wait_ms=0).body["id"]
    wait_until(lambda: known(client, identifier)["state"] == "done")
    assert sorted(lines(known(client, identifier))) == SAID


def test_much_of_it_is_kept_on_disk(pool: PoolProcess) -> None:
    client = pool.client()
    reply = client.invoke(client.upload(bundle("chat")), {"x": list(range(1000)), "z": "inline", "rounds": 200})
    assert done(reply)["z"] == list(range(1000))
    [told] = lines(reply.body, "stderr")
    assert "bytes are left out" in told
    wait_until(lambda: known(client, reply.body["id"])["logs"] == reply.body["logs"])


def test_beside_another_of_the_tenants_it_is_left_out(pool: PoolProcess, chatting: str) -> None:
    client = pool.client()
    reply = say(client)
    assert lines(reply.body) == []
    [told] = lines(reply.body, "stderr")
    assert "left out: other invocations computed" in told
    cancelled = client.delete(f"/v1/invocations/{chatting}").body
    assert (cancelled["state"], cancelled["logs"]) == ("cancelled", [])
    # It may compute for a moment more, which leaves the next one's out; but nothing of it ever shows.
    seen: list[list[str]] = []

    def alone() -> bool:
        body = say(client).body
        seen.append(lines(body))
        return not lines(body, "stderr")

    wait_until(alone)
    assert [sorted(one) for one in seen if one] == [SAID]
    assert known(client, chatting)["logs"] == []


def test_tenants_do_not_see_each_others(pool: PoolProcess, chatting: str) -> None:
    bob = pool.client("bob-token")
    for _ in range(3):
        body = say(bob).body
        assert sorted(lines(body)) == SAID
        assert lines(body, "stderr") == []
    assert known(pool.client(), chatting)["state"] == "running"


def test_what_was_printed_before_a_fault(pool: PoolProcess) -> None:
    client = pool.client()
    reply = client.invoke(client.upload(bundle("say_and_fault")), CALL)
    assert (reply.body["state"], reply.body["error"]["code"]) == ("failed", "kernel_fault")
    assert lines(reply.body) == ["before the fault: 3"]
    assert sorted(lines(say(client).body)) == SAID


def test_a_lost_attempts_lines_are_not_told(tmp_path: Path) -> None:
    def lose(executor: ScriptedExecutor, frame: Frame) -> bool:
        if frame["type"] != "run" or not frame["inv"].endswith("/1"):
            return False
        printed = {"text": "of the first attempt\n", "left_out": 0}
        error = error_frame("executor_lost")
        executor.send({"type": "failed", "inv": frame["inv"], "error": error, "fatal": True, "printed": printed})
        executor.die()
        return True

    with FrontProcess(tmp_path / "state") as front:
        client = front.client()
        front.supervisor.executor_script = lose
        reply = client.invoke(client.upload(SAXPY), {"x": [1.0], "y": [1.0], "z": "inline"})
        assert done(reply)["kaas"]["stats"]["attempts"] == 2
        assert reply.body["logs"] == []


def test_on_the_streams_of_the_proxy(pool: PoolProcess, tmp_path: Path) -> None:
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}", "KAAS_TOKEN": "alice-token"}
    with ProxyProcess(tmp_path, environment) as proxy:
        assert proxy.init(base64.b64encode(bundle("odd")).decode(), binary=True)[0] == 200
        assert proxy.run(CALL)[0] == 200
        *printed, summary, end = proxy.stdout.splitlines()
        assert json.loads(summary)["kaas"]["stats"]["attempts"] == 1
        # A kernel that prints the sentinel does not end its log.
        assert printed[-2:] == [f"> {SENTINEL}", "no end"]
        assert printed[0] == "\\x1b[31mred\tand\\x7f"
        assert end == SENTINEL
        assert proxy.sentinels() == (1, 1)


def test_from_the_command_line(pool: PoolProcess, tmp_path: Path) -> None:
    environment = {"KAAS_POOL_URL": f"http://127.0.0.1:{pool.port}", "KAAS_TOKEN": "alice-token"}
    (tmp_path / "say.zip").write_bytes(bundle("say"))
    words = ("-p", "x=[3,1,4]", "-p", "z=inline")
    invoked = kaas("invoke", tmp_path / "say.zip", *words, environment=environment)
    assert json.loads(invoked.stdout)["z"] == CALL["x"]
    heading, *said = invoked.stderr.splitlines()
    assert heading == "printed by the kernels:"
    assert sorted(said) == [f"  | {line}" for line in SAID]
