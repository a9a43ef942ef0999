"""OpenWhisk's mapping of what an action's process answers to what the activation's record says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kaas_local.openwhisk.containers import answers
from kaas_local.openwhisk.containers.answers import MAX_RESULT_BYTES, Reply, of_init, of_run
from kaas_local.openwhisk.containers.model import APPLICATION_ERROR, DEVELOPER_ERROR, INTERNAL_ERROR, SUCCESS


def reply(status: int, body: bytes | str) -> Reply:
    data = body if isinstance(body, bytes) else body.encode()
    return Reply(status, data, len(data))


NO_JSON = "The action did not produce a valid JSON or JSON Array response: "


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "{}", (SUCCESS, {})),
        (200, '{"a": [1, null, "❄"]}', (SUCCESS, {"a": [1, None, "❄"]})),
        (200, "[1]", (SUCCESS, [1])),
        (200, '{"error": "no", "other": 1}', (APPLICATION_ERROR, {"error": "no"})),
        (200, '{"error": null}', (APPLICATION_ERROR, {"error": None})),
        (200, '{"error": {"code": "shape_mismatch"}}', (APPLICATION_ERROR, {"error": {"code": "shape_mismatch"}})),
        (400, '{"error": "command exited"}', (DEVELOPER_ERROR, {"error": "command exited"})),
        (502, '{"error": {"code": "x"}, "other": 1}', (DEVELOPER_ERROR, {"error": {"code": "x"}})),
        (502, '{"other": 1}', (DEVELOPER_ERROR, {"error": NO_JSON + '{"other": 1}'})),
        (502, "[1]", (DEVELOPER_ERROR, {"error": NO_JSON + "[1]"})),
        (200, "7", (DEVELOPER_ERROR, {"error": NO_JSON + "7"})),
        (200, "null", (DEVELOPER_ERROR, {"error": NO_JSON + "null"})),
        (200, '"text"', (DEVELOPER_ERROR, {"error": NO_JSON + '"text"'})),
        (200, '{"a": NaN}', (DEVELOPER_ERROR, {"error": NO_JSON + '{"a": NaN}'})),
        (200, "<html>", (DEVELOPER_ERROR, {"error": NO_JSON + "<html>"})),
        (200, "", (DEVELOPER_ERROR, {"error": NO_JSON})),
        (200, b"\xff", (DEVELOPER_ERROR, {"error": NO_JSON + "\N{REPLACEMENT CHARACTER}"})),
        (200, '{"a": "\\ud83d\\ude00 \\ud800"}', (SUCCESS, {"a": "😀 ?"})),
    ],
)
def test_run(status: int, body: bytes | str, outcome: tuple[int, Any]) -> None:
    found = of_run(reply(status, body))
    assert (found.status, found.result) == outcome
    json.dumps(found.result, ensure_ascii=False).encode()
    if found.status != SUCCESS:
        assert found.size == len(json.dumps(found.result, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (502, '{"error": "no"}', "no"),
        (403, '{"error": {"code": "x"}, "other": 1}', {"code": "x"}),
        (500, "{}", "The action failed during initialization: {}"),
        (503, "gone", "The action failed during initialization: gone"),
        (400, "[1]", "The action failed during initialization: [1]"),
    ],
)
def test_init(status: int, body: str, error: object) -> None:
    found = of_init(reply(status, body))
    assert found is not None
    assert (found.status, found.result) == (DEVELOPER_ERROR, {"error": error})


@pytest.mark.parametrize("body", ['{"ok": true}', "", "no JSON"])
def test_a_good_init_says_nothing(body: str) -> None:
    assert of_init(reply(200, body)) is None


def test_what_is_too_long() -> None:
    long = Reply(200, b"{" + b"x" * 70_000, MAX_RESULT_BYTES + 1)
    text = (
        "The action produced a response that exceeded the allowed length: 1048577 > 1048576 bytes. "
        "The truncated response was: {" + "x" * 1023
    )
    run, init = of_run(long), of_init(long)
    assert init is not None
    assert (run.status, run.result) == (APPLICATION_ERROR, {"error": text})
    assert (init.status, init.result) == (DEVELOPER_ERROR, {"error": text})


def test_what_is_nested_too_deeply() -> None:
    found = of_run(reply(200, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"))
    assert found.status == DEVELOPER_ERROR
    assert found.size < 2000


def test_what_came_without_a_reply() -> None:
    late, never = answers.timed_out(100, in_init=False), answers.not_started("why")
    assert (late.status, late.timed_out) == (DEVELOPER_ERROR, True)
    assert (never.status, never.timed_out) == (INTERNAL_ERROR, False)
