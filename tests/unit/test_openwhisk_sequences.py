"""Sequences of the local OpenWhisk API: what is refused, how components follow each other, what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openwhisk_api import STEP_MS, Api, Script, run

from kaas_local.openwhisk.containers.model import Answer, Call, Executable


def add_one(executable: Executable, call: Call) -> Any:
    """Counts in `n`; the action `fails` fails, the action `list` returns an array."""
    if executable.name == "fails":
        return {"error": {"why": "asked to"}}
    if executable.name == "crashes":
        return Answer(0, 1, None, 2, {"error": "crashed"}, (), False, 0)
    if executable.name == "raises":
        raise RuntimeError("a defect")
    if executable.name == "list":
        return [call.value]
    if isinstance(call.value, list):
        return {"list": call.value}
    return {**call.value, "n": call.value.get("n", 0) + 1, executable.name: True}


def with_api(path: Path, script: Script) -> Api:
    async def prepared(api: Api) -> None:
        for name in ("a", "b", "fails", "crashes", "raises", "list"):
            assert (await api.create(name)).status == 200
        await script(api)

    return run(path, prepared, add_one)


async def record(api: Api, activation_id: str) -> dict[str, Any]:
    found = await api.call("GET", f"/namespaces/_/activations/{activation_id}")
    assert found.status == 200
    return dict(found.json)


def notes_of(found: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in found["annotations"]}


def test_each_result_is_the_next_ones_input(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        assert (await api.create_sequence("s", "/_/a", "/guest/b", "/_/a")).status == 200
        done = await api.invoke("s", {"n": 5, "kept": "x"}, "blocking=true&result=true")
        assert (done.status, done.json) == (200, {"n": 8, "kept": "x", "a": True, "b": True})

    with_api(tmp_path, script)


def test_records_of_a_sequence_and_of_its_components(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("big", limits={"memory": 512})
        await api.create_sequence("s", "/_/a", "/_/big")
        found = (await api.invoke("s")).json
        assert found["response"]["result"] == {"n": 2, "a": True, "big": True}
        assert found["duration"] == 2 * STEP_MS
        assert "cause" not in found
        notes = notes_of(found)
        assert notes["topmost"] is True
        assert (notes["kind"], notes["path"], notes["limits"]["memory"]) == ("sequence", "guest/s", 512)
        assert notes["waitTime"] >= 0
        first, second = [await record(api, one) for one in found["logs"]]
        assert await record(api, found["activationId"]) == found
        assert [first["name"], second["name"]] == ["a", "big"]
        for one in (first, second):
            assert one["cause"] == found["activationId"]
            assert notes_of(one)["causedBy"] == "sequence"
            assert "topmost" not in notes_of(one)

    with_api(tmp_path, script)


def test_parameters_of_a_component_are_under_what_comes_in(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.call("PUT", "/namespaces/_/packages/p", {"parameters": [{"key": "n", "value": 10}]})
        await api.create("p/c", parameters=[{"key": "own", "value": 1}])
        await api.create_sequence("s", "/_/p/c", "/_/p/c")
        done = await api.invoke("s", None, "blocking=true&result=true")
        assert done.json == {"n": 12, "own": 1, "p/c": True}, "bound to the package, once"

    with_api(tmp_path, script)


def test_parameters_of_the_sequence_itself_reach_nobody(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        sequence = {"kind": "sequence", "components": ["/_/a"]}
        await api.create("s", exec=sequence, parameters=[{"key": "n", "value": 10}])
        assert (await api.invoke("s", {"own": 1}, "blocking=true&result=true")).json == {"n": 1, "a": True, "own": 1}

    with_api(tmp_path, script)


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [("fails", "application error", {"why": "asked to"}), ("crashes", "action developer error", "crashed")],
)
def test_the_first_error_ends_it(tmp_path: Path, name: str, status: str, error: Any) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("s", "/_/a", f"/_/{name}", "/_/b")
        done = await api.invoke("s")
        assert done.status == 502
        assert done.json["response"]["status"] == status
        assert done.json["response"]["result"] == {"error": error}
        assert len(done.json["logs"]) == 2

    api = with_api(tmp_path, script)
    assert [executable.name for executable, _ in api.containers.calls] == ["a", name]


def test_an_error_in_the_first_input_ends_nothing(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("s", "/_/a")
        done = await api.invoke("s", {"error": "of before"})
        assert len(done.json["logs"]) == 1, "the component ran"

    with_api(tmp_path, script)


def test_arrays_pass_on_and_come_back_bare(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("s", "/_/list", "/_/b")
        done = await api.invoke("s", {"x": 1}, "blocking=true&result=true")
        assert done.json == {"list": [{"x": 1}]}
        await api.create_sequence("t", "/_/a", "/_/list")
        done = await api.invoke("t", {}, "blocking=true")
        assert (done.status, done.json) == (200, [{"n": 1, "a": True}])

    with_api(tmp_path, script)


def test_a_sequence_of_sequences(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("inner", "/_/a", "/_/b")
        await api.create_sequence("outer", "/_/inner", "/_/a")
        found = (await api.invoke("outer")).json
        assert found["response"]["result"]["n"] == 3
        inner = await record(api, found["logs"][0])
        assert (inner["name"], inner["cause"]) == ("inner", found["activationId"])
        assert notes_of(inner)["topmost"] is False
        assert notes_of(inner)["causedBy"] == "sequence"
        assert {(await record(api, one))["cause"] for one in inner["logs"]} == {inner["activationId"]}

    with_api(tmp_path, script)


def test_a_component_that_is_gone(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("s", "/_/a", "/_/b")
        await api.call("DELETE", "/namespaces/_/actions/b")
        done = await api.invoke("s", None, "blocking=true&result=true")
        assert (done.status, done.json) == (502, {"error": "Sequence component does not exist."})

    with_api(tmp_path, script)


def test_a_defect_in_a_component_is_the_machines(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("s", "/_/raises", "/_/b")
        done = await api.invoke("s")
        assert done.status == 500
        assert done.json["response"]["status"] == "whisk internal error"

    with_api(tmp_path, script)


@pytest.mark.parametrize(
    ("components", "status", "text"),
    [
        ([], 400, "No component specified for the sequence."),
        (["/_/nobody"], 400, "Sequence component does not exist."),
        (["/_/nowhere/a"], 400, "Sequence component does not exist."),
        (["/_/s"], 400, "Sequence may not refer to itself."),
        (["/_/a"] * 51, 400, "Too many actions in the sequence."),
        (["/_/three"] * 17, 400, "Too many actions in the sequence."),
        (["/_/a", "/other/a"], 403, "The supplied authentication is not authorized to access 'other/a'."),
    ],
)
def test_what_is_refused(tmp_path: Path, components: list[str], status: int, text: str) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("three", "/_/a", "/_/a", "/_/b")
        refused = await api.create_sequence("s", *components)
        assert (refused.status, refused.json["error"]) == (status, text)
        assert (await api.create_sequence("s", *["/_/three"] * 16, "/_/a")).status == 200, "49 are not too many"

    with_api(tmp_path, script)


def test_a_circle_is_refused_however_it_closes(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create_sequence("s", "/_/a")
        await api.create_sequence("t", "/_/s")
        closing = await api.call(
            "PUT",
            "/namespaces/_/actions/a",
            {"exec": {"kind": "sequence", "components": ["/_/t"]}},
            query="overwrite=true",
        )
        assert (closing.status, closing.json["error"]) == (400, "Sequence may not refer to itself.")

    with_api(tmp_path, script)


def test_one_that_has_become_too_long_stops_at_the_limit(tmp_path: Path) -> None:
    async def script(api: Api) -> None:
        await api.create("grows")
        await api.create_sequence("s", *["/_/grows"] * 40)
        await api.call(
            "PUT",
            "/namespaces/_/actions/grows",
            {"exec": {"kind": "sequence", "components": ["/_/a", "/_/b"]}},
            query="overwrite=true",
        )
        done = await api.invoke("s", None, "blocking=true&result=true")
        assert (done.status, done.json) == (502, {"error": "Too many actions in the sequence."})

    assert len(with_api(tmp_path, script).containers.calls) == 50
