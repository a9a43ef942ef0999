"""Invocations through the local OpenWhisk API: what actions are given, what callers get, what is recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from openwhisk_api import GUEST, OTHER, STEP_MS, Api, expect, run

from kaas_local.openwhisk.activation import Activation
from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.containers.model import Answer, Call, Executable
from kaas_local.openwhisk.entities import Action, Stamp
from kaas_local.openwhisk.kinds import Kinds
from kaas_local.openwhisk.limits import MAX_BODY_BYTES, MAX_PAYLOAD_BYTES
from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.store import Store
from kaas_local.openwhisk.target import Target
from kaas_local.openwhisk.throttle import Throttle

ACTIONS = "/namespaces/_/actions"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"[1]", "JSON object expected"),
        (b"3", "JSON object expected"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": 1e400}', "1e400 is too large a number"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b"\xff", "utf-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_object(tmp_path: Path, body: bytes, reason: str) -> None:
    async def script(api: Api) -> None:
        await api.create("a")
        for reply in (await api.call("PUT", f"{ACTIONS}/b", body), await api.call("POST", f"{ACTIONS}/a", body)):
            assert reply.status == 400
            assert reply.json["error"].startswith("The request content was malformed:\n")
            assert reason in reply.json["error"]

    assert run(tmp_path, script).containers.calls == []


def test_bodies_that_count_as_empty(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("a")
        for body in (b"", b"\n", b"{}\n"):
            for headers in ({}, {"content-type": "application/json; charset=utf-8"}):
                reply = await api.call("POST", f"{ACTIONS}/a", body, query="blocking=true&result=true", headers=headers)
                assert (reply.status, reply.json) == (200, {})
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await api.call("POST", f"{ACTIONS}/a", b"a=1", headers=form)).status == 415

    run(tmp_path, script)


def test_bodies_over_the_limit(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("a")
        frame = len(b'{"x": ""}')
        most = {"x": "y" * (MAX_PAYLOAD_BYTES - frame)}
        assert (await api.invoke("a", most)).status == 200
        text = f"Request larger than allowed: {MAX_PAYLOAD_BYTES + 1} > {MAX_PAYLOAD_BYTES} bytes."
        over = json.dumps({"x": "y" * (MAX_PAYLOAD_BYTES - frame + 1)}).encode()
        expect(await api.call("POST", f"{ACTIONS}/a", over), 413, text)
        unsaid = await api.call("POST", f"{ACTIONS}/a", over, headers={"content-length": ""})
        expect(unsaid, 413, text)
        huge = await api.call("PUT", f"{ACTIONS}/b", b" " * (MAX_BODY_BYTES + 1))
        expect(huge, 413, f"Request larger than allowed: {MAX_BODY_BYTES + 1} > {MAX_BODY_BYTES} bytes.")

    run(tmp_path, script)


def test_a_blocking_call_gets_the_record(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("a", limits={"memory": 128})
        reply = await api.invoke("a", {"x": 1})
        assert reply.status == 200
        record = reply.json
        activation_id = record["activationId"]
        assert reply.headers["x-openwhisk-activation-id"] == activation_id
        assert record["response"] == {"result": {"x": 1}, "status": "success", "success": True, "size": 10}
        assert (record["namespace"], record["name"], record["subject"]) == ("guest", "a", "guest")
        assert record["duration"] == record["end"] - record["start"] == STEP_MS
        assert (record["version"], record["publish"], record["logs"]) == ("0.0.1", False, [])
        notes = {one["key"]: one["value"] for one in record["annotations"]}
        assert notes.pop("waitTime") >= 0
        assert notes == {
            "path": "guest/a",
            "kind": "python:3",
            "limits": {"timeout": 60_000, "memory": 128, "logs": 10, "concurrency": 1},
            "initTime": 2,
            "timeout": False,
        }
        path = f"/namespaces/_/activations/{activation_id}"
        assert (await api.call("GET", path)).json == {**record, "logs": ["2026 stdout: hello"]}
        assert (await api.call("GET", f"{path}/logs")).json == {"logs": ["2026 stdout: hello"]}
        assert (await api.call("GET", f"{path}/result")).json == record["response"]
        (listed,) = (await api.call("GET", "/namespaces/_/activations")).json
        assert listed["statusCode"] == 0
        assert "response" not in listed
        bare = await api.invoke("a", {"x": 1}, "blocking=true&result=true")
        assert (bare.status, bare.json) == (200, {"x": 1})

    run(tmp_path, script)


def test_failures_of_actions(tmp_path: Path) -> None:
    def act(executable: Executable, call: Call) -> Any:
        if executable.name == "raises":
            raise RuntimeError("a defect")
        status = int(executable.name)
        return Answer(5, 6, None, status, {"error": "why"}, (), status == 2, 0)

    async def script(api: Api) -> None:
        names = ("application error", "action developer error", "whisk internal error")
        for status, (text, http) in enumerate(zip(names, (502, 502, 500), strict=True), 1):
            await api.create(str(status))
            reply = await api.invoke(str(status))
            assert reply.status == http
            response = reply.json["response"]
            assert (response["status"], response["success"]) == (text, False)
            assert {"key": "timeout", "value": status == 2} in reply.json["annotations"]
            assert "initTime" not in [one["key"] for one in reply.json["annotations"]]
            bare = await api.invoke(str(status), None, "blocking=true&result=true")
            assert (bare.status, bare.json) == (http, {"error": "why"})
        listed = (await api.call("GET", "/namespaces/_/activations")).json
        assert sorted(one["statusCode"] for one in listed) == [1, 1, 2, 2, 3, 3]
        await api.create("raises")
        reply = await api.invoke("raises")
        assert reply.status == 500
        assert reply.json["response"]["result"] == {"error": "There was an internal server error."}

    run(tmp_path, script, act)


def test_a_call_that_does_not_wait(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("a")
        gate = api.containers.gate = asyncio.Event()
        started = await api.invoke("a", {}, "blocking=false&result=false")
        impatient = await api.invoke("a", {}, "blocking=true&timeout=1")
        for reply in (started, impatient):
            assert reply.status == 202
            assert reply.json == {"activationId": reply.headers["x-openwhisk-activation-id"]}
            path = f"/namespaces/_/activations/{reply.json['activationId']}"
            assert (await api.call("GET", path)).status == 404, "it runs"
        assert len(api.containers.calls) == 2
        gate.set()
        assert (await api.invoke("a")).status == 200
        for reply in (started, impatient):
            path = f"/namespaces/_/activations/{reply.json['activationId']}"
            assert (await api.call("GET", path)).status == 200
        for timeout in ("60001", "x", "-1"):
            refused = await api.invoke("a", {}, f"blocking=true&timeout={timeout}")
            assert "Timeout must be number of milliseconds up to 60000." in refused.json["error"]

    run(tmp_path, script)


def test_what_an_action_is_given(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        env = {"key": "secret", "value": {"a": 1}, "init": True}
        await api.create(
            "a",
            exec={"kind": "python:3", "code": "abcd", "main": "go"},
            parameters=[env, {"key": "x", "value": 1}],
            annotations=[{"key": "provide-api-key", "value": True}],
            limits={"timeout": 500, "memory": 128, "logs": 1},
        )
        await api.invoke("a", {"y": 2})
        await api.create("b")
        await api.invoke("b")

    api = run(tmp_path, script)
    (executable, call), (_, unkeyed) = api.containers.calls
    assert (executable.code, executable.binary, executable.main, executable.kind) == ("abcd", True, "go", "python:3")
    assert (executable.namespace, executable.name, executable.version) == ("guest", "a", "0.0.1")
    assert executable.env == {"secret": '{"a":1}'}
    assert (executable.timeout_ms, executable.memory_mb, executable.logs_mb) == (500, 128, 1)
    assert call.value == {"x": 1, "y": 2}
    assert (call.api_key, unkeyed.api_key) == (GUEST, None)
    assert len(call.activation_id) == 32
    assert len(call.transaction_id) == 32
    assert call.api_host == "http://127.0.0.1:3233"


def test_how_long_a_call_may_wait_for_its_process(tmp_path: Path) -> None:
    """As long as OpenWhisk's load balancer waits for its end, in milliseconds, by the action's time limit."""
    waits = {3_000: 180_000, 60_000: 180_000, 300_000: 660_000}

    async def script(api: Api) -> None:
        for limit, wait in waits.items():
            await api.create(f"a{limit}", limits={"timeout": limit})
            before = now_ms()
            await api.invoke(f"a{limit}")
            _, call = api.containers.calls[-1]
            assert before <= call.deadline_ms - wait <= now_ms()

    run(tmp_path, script)


def test_each_change_of_what_a_process_is_started_with_is_a_new_revision(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        async def bind(value: int, init: bool) -> None:
            bound = [{"key": "x", "value": value, "init": init}]
            await api.call("PUT", "/namespaces/_/packages/p", {"parameters": bound}, query="overwrite=true")

        await bind(1, False)
        await api.create("p/a")
        await api.invoke("p/a")
        await bind(2, False)
        await api.invoke("p/a")
        await bind(3, True)
        await api.invoke("p/a")
        await bind(4, True)
        await api.invoke("p/a")
        await api.call("PUT", f"{ACTIONS}/p/a", {}, query="overwrite=true")
        await api.invoke("p/a")

    calls = run(tmp_path, script).containers.calls
    assert [call.value for _, call in calls] == [{"x": 1}, {"x": 2}, {}, {}, {}]
    assert [executable.env.get("x") for executable, _ in calls] == [None, None, "3", "4", "4"]
    revisions = [executable.revision for executable, _ in calls]
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 4


def test_a_final_action_keeps_its_parameters(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        bound = [{"key": "x", "value": 1}, {"key": "open", "value": None}]
        await api.create("a", parameters=bound, annotations=[{"key": "final", "value": True}])
        text = "Request defines parameters that are not allowed (e.g., reserved properties)."
        expect(await api.invoke("a", {"x": 2}), 400, text)
        assert (await api.invoke("a", {"open": 2, "y": 3})).status == 200

    run(tmp_path, script)


def test_lists_of_activations(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        activations = "/namespaces/_/activations"
        await api.call("PUT", "/namespaces/_/packages/p", {})
        for name in ("a", "p/a"):
            await api.create(name)
            for _ in range(2):
                await api.invoke(name)
        assert len((await api.call("GET", activations)).json) == 4
        for name, count in (("a", 2), ("p/a", 2), ("b", 0), ("", 4)):
            assert len((await api.call("GET", activations, query=f"name={name}")).json) == count
        assert (await api.call("GET", activations, query="count=true&name=a")).json == {"activations": 2}
        (first,) = (await api.call("GET", activations, query="docs=true&limit=1&skip=3")).json
        assert first["logs"]
        assert first["response"]["success"]
        since = first["start"]
        assert first in (await api.call("GET", activations, query=f"docs=true&limit=0&since={since}")).json
        assert first not in (await api.call("GET", activations, query=f"docs=true&since={since + 1}")).json
        assert (await api.call("GET", activations, query=f"upto={since - 1}")).json == []
        expect(
            await api.call("GET", activations, query="docs=true&count=true"),
            400,
            "The parameter 'docs' is not permitted with 'count'.",
        )
        assert (await api.call("GET", activations, query="since=x")).status == 400
        assert (await api.call("GET", activations, query="name=a/b/c")).status == 400
        expect(await api.call("GET", f"{activations}/x"), 400, "Activation id length is 1 but must be 32.")
        foreign = await api.call("GET", f"{activations}/{first['activationId']}", key=OTHER)
        expect(foreign, 404, "The requested resource does not exist.")

    run(tmp_path, script)


def test_whole_records_are_read_and_sent_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(api: Api) -> None:
        activations = "/namespaces/_/activations"
        empty = await api.call("GET", activations, query="docs=true")
        assert (empty.json, empty.headers["content-type"]) == ([], "application/json")
        await api.create("a")
        ids = [(await api.invoke("a")).json["activationId"] for _ in range(4)]
        reply = await api.call("GET", activations, query="docs=true")
        assert [one["activationId"] for one in reply.json] == ids[::-1]
        assert max(map(len, reply.parts)) < len(reply.body) / 3
        found = api.store.activations

        def find_and_forget(*which: Any, **page: Any) -> list[Activation]:
            listed = found(*which, **page)
            api.store.prune(listed[0].end, kept=2)
            return listed

        monkeypatch.setattr(api.store, "activations", find_and_forget)
        reply = await api.call("GET", activations, query="docs=true")
        assert [one["activationId"] for one in reply.json] == ids[:1:-1], "others are forgotten since they were listed"

    run(tmp_path, script)


@pytest.mark.parametrize("change", ["updated", "deleted", "sequence"])
@pytest.mark.parametrize("caller", ["a", "s"])
def test_an_action_replaced_between_its_look_up_and_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: str, change: str
) -> None:
    name = Name("guest", None, "a")
    body: dict[str, Any] = {
        "exec": {"kind": "python:3", "code": "# new"},
        "parameters": [{"key": "bound", "value": "new"}],
        "annotations": [{"key": "provide-api-key", "value": True}],
    }
    if change == "sequence":
        body["exec"] = {"kind": "sequence", "components": ["/guest/other"]}
    find = Target.find

    def find_late(store: Store, wanted: Name, *, with_code: bool = False) -> Target:
        if with_code and wanted == name:
            if change == "deleted":
                store.delete_action(name)
            else:
                store.put_action(name, True, lambda old: Action.put(old, name, body, Kinds(), Stamp(2000, "new")))
        return find(store, wanted, with_code=with_code)

    async def script(api: Api) -> None:
        await api.create("other")
        await api.create("a", parameters=[{"key": "bound", "value": "old"}])
        await api.create_sequence("s", "a")
        monkeypatch.setattr(Target, "find", find_late)
        reply = await api.invoke(caller, {"own": 1})
        if change == "deleted":
            assert (reply.status, api.containers.calls) == (404 if caller == "a" else 502, [])
            return
        assert reply.status == 200
        ((executable, call),) = api.containers.calls
        # What a sequence is bound to is no component's argument.
        arguments = {"own": 1} if change == "sequence" else {"own": 1, "bound": "new"}
        assert call.value == arguments
        assert executable.code == ("# other" if change == "sequence" else "# new")
        assert (call.api_key is not None) == (change == "updated")
        (record,) = (await api.call("GET", "/namespaces/_/activations", query="name=a")).json
        notes = {one["key"]: one["value"] for one in record["annotations"]}
        assert (record["version"], notes["kind"]) == ("0.0.2", "sequence" if change == "sequence" else "python:3")

    run(tmp_path, script)


def test_an_action_deleted_while_it_runs_ends_as_it_would(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("a")
        gate = api.containers.gate = asyncio.Event()
        running = asyncio.create_task(api.invoke("a", {"x": 1}))
        while not api.containers.calls:
            await asyncio.sleep(0)
        assert (await api.call("DELETE", f"{ACTIONS}/a")).status == 200
        gate.set()
        assert (await running).json["response"]["result"] == {"x": 1}

    run(tmp_path, script)


def test_too_many_at_a_time_and_too_many_a_minute() -> None:
    throttle = Throttle(per_minute=3, concurrent=2)
    throttle.enter("guest", 0)
    throttle.enter("guest", 0)
    throttle.enter("other", 0)
    with pytest.raises(Exception, match=r"Too many concurrent requests in flight \(count: 3, allowed: 2\)."):
        throttle.enter("guest", 0)
    throttle.leave("guest")
    throttle.enter("guest", 59_999)
    throttle.leave("guest")
    with pytest.raises(Exception, match=r"Too many requests in the last minute \(count: 4, allowed: 3\)."):
        throttle.enter("guest", 59_999)
    throttle.enter("guest", 60_000)


def test_a_refused_call_is_not_counted_as_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(api: Api) -> None:
        monkeypatch.setattr(api.invoker, "_throttle", Throttle(concurrent=1))
        await api.create("a")
        gate = api.containers.gate = asyncio.Event()
        assert (await api.invoke("a", {}, "")).status == 202
        for _ in range(3):
            assert (await api.invoke("a")).status == 429
        gate.set()
        while api.containers.calls and not (await api.call("GET", "/namespaces/_/activations")).json:
            await asyncio.sleep(0)
        assert (await api.invoke("a")).status == 200

    run(tmp_path, script)
