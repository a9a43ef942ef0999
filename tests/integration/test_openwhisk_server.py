"""The local OpenWhisk API as a process: real actions, restarts, kills, callers who leave."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from local_stack import wait_for_end, wait_until
from openwhisk_process import KEYS, OpenWhiskProcess, Reply

from kaas_local.openwhisk.containers.answers import INTERRUPTED
from kaas_local.state import Process

HELLO = """\
import sys

def main(args):
    print("hello", args.get("name", "you"))
    print("to stderr", file=sys.stderr)
    return {"greeting": "Hello " + args.get("name", "you") + "!"}
"""

#: Says that it runs, in a file, and ends when another file is there.
WAITS = """\
import os, pathlib, time

def main(args):
    (pathlib.Path(args["at"]) / "runs").write_text(str(os.getpid()))
    while not (pathlib.Path(args["at"]) / "go").exists():
        time.sleep(0.005)
    return {"waited": True}
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenWhiskProcess]:
    with OpenWhiskProcess(tmp_path_factory.mktemp("openwhisk")) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OpenWhiskProcess]:
    """One that a test may stop and kill."""
    with OpenWhiskProcess(tmp_path / "api") as running:
        yield running


def invoke_waiting(api: OpenWhiskProcess, at: Path) -> str:
    """Invoke WAITS without waiting for it, and wait until it runs; the activation's id."""
    api.create("waits", WAITS)
    reply = api.invoke("waits", {"at": str(at)}, "blocking=false")
    assert reply.status == 202
    wait_until(lambda: (at / "runs").exists() and (at / "runs").read_text() != "", "the action runs")
    return reply.activation_id


def test_hello(api: OpenWhiskProcess) -> None:
    api.create("hello", HELLO, parameters=[{"key": "name", "value": "Bob"}])
    reply = api.invoke("hello", None, "blocking=true&result=true")
    assert (reply.status, reply.body) == (200, {"greeting": "Hello Bob!"})
    record = api.activation(reply.activation_id)
    assert record is not None
    notes = {one["key"]: one["value"] for one in record["annotations"]}
    assert notes["initTime"] > 0
    lines = [line.split(" ", 1)[1].strip() for line in record["logs"]]
    assert sorted(lines) == ["stderr: to stderr", "stdout: hello Bob"]
    warm = api.invoke("hello", {"name": "Al"})
    assert warm.body["response"]["result"] == {"greeting": "Hello Al!"}
    assert "initTime" not in [one["key"] for one in warm.body["annotations"]]


def test_an_update_runs_the_new_code(api: OpenWhiskProcess) -> None:
    for number in range(3):
        api.create("changes", f"def main(args): return {{'number': {number}}}")
        assert api.invoke("changes", None, "result=true&blocking=true").body == {"number": number}
    document = {"exec": {"kind": "python:3", "code": "def other(args): return {'other': 1}", "main": "other"}}
    assert api.call("PUT", "actions/changes?overwrite=true", document).status == 200
    assert api.invoke("changes", None, "result=true&blocking=true").body == {"other": 1}


def test_errors_of_code(api: OpenWhiskProcess) -> None:
    for code, status, text in (
        ("def main(args): return {'error': 'mine'}", "application error", "mine"),
        ("def main(args): return 3", "action developer error", "did not return a dictionary"),
        ("def main(", "action developer error", "See logs for details"),
    ):
        api.create("wrong", code)
        reply = api.invoke("wrong")
        assert reply.status == 502
        assert reply.body["response"]["status"] == status
        assert text in str(reply.body["response"]["result"]["error"])


def test_the_time_limit(api: OpenWhiskProcess) -> None:
    api.create("endless", "def main(args):\n while True: pass", limits={"timeout": 200})
    reply = api.invoke("endless")
    assert reply.status == 502
    assert "exceeded its time limits of 200 milliseconds" in reply.body["response"]["result"]["error"]
    assert {"key": "timeout", "value": True} in reply.body["annotations"]


def test_payloads_and_results_at_their_limit(api: OpenWhiskProcess) -> None:
    api.create("echo", "def main(args): return args")
    text = "x" * ((1 << 20) - len('{"x": ""}'))
    assert api.invoke("echo", {"x": text}, "blocking=true&result=true").body == {"x": text}
    assert api.invoke("echo", {"x": text + "y"}).status == 413
    api.create("large", "def main(args): return {'x': 'y' * (1 << 20)}")
    reply = api.invoke("large")
    assert reply.status == 502
    assert "exceeded the allowed length" in reply.body["response"]["result"]["error"]


def test_code_over_its_limit_is_answered(api: OpenWhiskProcess) -> None:
    document = {"exec": {"kind": "python:3", "code": "#" * ((48 << 20) + 1)}}
    reply = api.call("PUT", "actions/huge", document)
    assert reply.status == 413
    assert reply.body["error"] == "exec larger than allowed: 50331649 > 50331648 bytes."
    reply = api.call("PUT", "actions/huge", b" " * (51 << 20))
    assert reply.status == 413
    assert reply.body["error"].startswith("Request larger than allowed: 53477376 >")


def test_a_zip(api: OpenWhiskProcess) -> None:
    reply = api.call("PUT", "actions/nozip", {"exec": {"kind": "python:3", "code": base64.b64encode(b"no").decode()}})
    assert reply.status == 200, "as OpenWhisk, which looks into nothing"
    assert "cannot decode" in api.invoke("nozip").body["response"]["result"]["error"]


def test_a_namespace_sees_its_own_only(api: OpenWhiskProcess) -> None:
    api.create("mine", HELLO)
    activation_id = api.invoke("mine").activation_id
    assert api.call("GET", "actions/mine", namespace="other").status == 404
    assert api.call("GET", f"activations/{activation_id}", namespace="other").status == 404
    assert api.call("GET", "activations", namespace="other").body == []
    assert api.send("POST", "/api/v1/namespaces/guest/actions/mine", {}, key=KEYS["other"]).status == 403
    assert api.send("GET", "/api/v1/namespaces", key="guess:key").status == 401


def test_a_published_action_has_a_process_for_each_namespace(api: OpenWhiskProcess) -> None:
    code = "import os\ncalls = []\ndef main(args):\n calls.append(1)\n return {'calls': len(calls), **os.environ}"
    assert api.call("PUT", "packages/public?overwrite=true", {"publish": True}).status == 200
    api.create("public/tells", code, annotations=[{"key": "provide-api-key", "value": True}])
    path = "/api/v1/namespaces/guest/actions/public/tells?blocking=true&result=true"
    for calls in (1, 2):
        for namespace, key in KEYS.items():
            result = api.send("POST", path, {}, key=key).body
            assert (result["calls"], result["__OW_NAMESPACE"], result["__OW_API_KEY"]) == (calls, namespace, key)
            assert result["__OW_ACTION_NAME"] == "/guest/public/tells"


def test_many_at_a_time(api: OpenWhiskProcess) -> None:
    api.create("echo", "def main(args): return args")
    with ThreadPoolExecutor(16) as threads:
        replies = list(threads.map(lambda n: api.invoke("echo", {"n": n}, "blocking=true&result=true"), range(100)))
    assert [reply.body for reply in replies] == [{"n": n} for n in range(100)]


def test_an_activation_runs_on_when_its_caller_leaves(api: OpenWhiskProcess, tmp_path: Path) -> None:
    api.create("waits", WAITS)
    connection = http.client.HTTPConnection("127.0.0.1", api.port)
    key = base64.b64encode(KEYS["guest"].encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    body = json.dumps({"at": str(tmp_path)})
    connection.request("POST", "/api/v1/namespaces/_/actions/waits?blocking=true", body, headers)
    wait_until((tmp_path / "runs").exists, "the action runs")
    connection.close()
    (tmp_path / "go").touch()

    def ended() -> bool:
        (last,) = api.call("GET", "activations?name=waits&limit=1&docs=true").body or [None]
        return last is not None and last["response"]["result"] == {"waited": True}

    wait_until(ended, "the record")


def test_a_deleted_action_ends_what_it_does(api: OpenWhiskProcess, tmp_path: Path) -> None:
    activation_id = invoke_waiting(api, tmp_path)
    assert api.call("DELETE", "actions/waits").status == 200
    assert api.invoke("waits").status == 404
    (tmp_path / "go").touch()
    assert api.wait_for(activation_id)["response"]["result"] == {"waited": True}


def test_sequences_of_code(api: OpenWhiskProcess) -> None:
    api.create("up", "def main(args): return {'text': args['text'].upper()}")
    api.create("split", "def main(args): return args['text'].split()")
    api.create("count", "def main(args): return {'count': len(args), 'last': args[-1]}")
    api.create("fails", "def main(args): raise ValueError('no')")
    api.sequence("words", "up", "split", "count")
    assert api.invoke("words", {"text": "a bc d"}, "blocking=true&result=true").body == {"count": 3, "last": "D"}
    api.sequence("broken", "up", "fails", "count")
    reply = api.invoke("broken", {"text": "a"})
    assert reply.status == 502
    assert reply.body["response"]["result"] == {"error": "no"}
    assert len(reply.body["logs"]) == 2


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_everything_is_there_after_a_restart(own: OpenWhiskProcess, end: str) -> None:
    own.create("hello", HELLO)
    assert own.call("PUT", "packages/p", {"parameters": [{"key": "name", "value": "Pat"}]}).status == 200
    own.create("p/hello", HELLO)
    own.sequence("s", "hello", "p/hello")
    before = own.invoke("p/hello")
    logs = own.call("GET", f"activations/{before.activation_id}/logs").body
    assert before.body["response"]["result"] == {"greeting": "Hello Pat!"}
    getattr(own, end)()
    own.start()
    assert {one["name"] for one in own.call("GET", "actions").body} == {"hello", "s"}
    after = own.activation(before.activation_id)
    assert after == {**before.body, "logs": logs["logs"]}
    assert own.invoke("s", None, "blocking=true&result=true").body == {"greeting": "Hello Pat!"}
    assert own.call("PUT", "actions/hello", {}).status == 409


def test_what_ran_when_it_was_killed_is_recorded_as_failed(own: OpenWhiskProcess, tmp_path: Path) -> None:
    activation_id = invoke_waiting(own, tmp_path)
    action = Process.of(int((tmp_path / "runs").read_text()))
    own.kill()
    if action is not None:
        wait_for_end(action)
    own.start()
    record = own.activation(activation_id)
    assert record is not None
    assert record["response"]["status"] == "whisk internal error"
    assert record["response"]["result"] == {"error": INTERRUPTED}


def test_a_stop_answers_who_waits_and_leaves_records(own: OpenWhiskProcess, tmp_path: Path) -> None:
    own.create("waits", WAITS)
    replies: list[Reply] = []
    waiting = threading.Thread(target=lambda: replies.append(own.invoke("waits", {"at": str(tmp_path)})))
    waiting.start()
    wait_until((tmp_path / "runs").exists, "the action runs")
    assert own.stop() == 0
    waiting.join()
    (reply,) = replies
    assert reply.status == 500
    assert reply.body["response"]["result"] == {"error": INTERRUPTED}
    own.start()
    record = own.activation(reply.activation_id)
    assert record is not None
    assert record["response"] == reply.body["response"]


def test_its_files_are_the_users_alone(own: OpenWhiskProcess) -> None:
    own.create("hello", HELLO)
    assert own.state.stat().st_mode & 0o777 == 0o700
    assert (own.state / "api.sqlite").stat().st_mode & 0o777 == 0o600
    assert KEYS["guest"].partition(":")[2].encode() not in (own.state / "api.sqlite").read_bytes()


def test_a_second_process_does_not_share_the_directory(own: OpenWhiskProcess) -> None:
    assert own.spawn(0).wait(60) == 2
    assert f"another process uses {own.state}" in own.log
    own.create("hello", HELLO)
