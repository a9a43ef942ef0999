"""The function without a cluster and without a GPU; `pool` is in conftest.py."""

import asyncio
import json
import threading

from function import new
from function.func import EXAMPLE
from function.pool import CALLS


def call(*bodies):
    """Status and answer to requests that one function gets at once."""

    async def ask(function, body):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message)

        await function.handle({"type": "http", "method": "POST"}, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def ask_all():
        function = new()
        return await asyncio.gather(*(ask(function, body) for body in bodies))

    answers = asyncio.run(ask_all())
    return answers[0] if len(answers) == 1 else answers


def test_a_call(pool):
    assert call(json.dumps(EXAMPLE).encode()) == (200, {"asked": EXAMPLE})


def test_outputs_are_inline_unless_the_call_says_where_they_go(pool):
    inline = {name: value for name, value in EXAMPLE.items() if value == "inline"}
    others = {name: value for name, value in EXAMPLE.items() if name not in inline}
    assert call(json.dumps(others).encode()) == (200, {"asked": EXAMPLE})
    for said in ({name: f"s3://out/{name}.npy" for name in inline}, {"outputs": "s3://out"}):
        assert call(json.dumps({**others, **said}).encode()) == (200, {"asked": {**others, **said}})


def test_the_first_call_is_told_what_to_send(pool):
    status, answer = call(b'{"message": "Hello World"}')
    assert status == 200
    assert json.dumps(EXAMPLE) in answer["hint"]
    assert answer["example"] == {"asked": EXAMPLE}


def test_errors_are_answered(pool):
    assert call(b"{")[1]["error"]["code"] == "request_invalid"
    assert call(b"[" * 100_000)[1]["error"]["code"] == "request_invalid"
    assert call(b"[]")[1]["error"]["code"] == "request_invalid"
    assert call(b" " * (1 << 20) + b"{}")[1]["error"]["code"] == "payload_too_large"
    pool.refuses = {"code": "unauthenticated", "message": "who?"}
    assert call(b"{}") == (401, {"error": pool.refuses})


def test_a_call_without_the_input_is_told_what_is_missing_and_how_a_call_looks(pool):
    pool.refuses = {"code": "input_missing", "message": "the input is missing", "hint": "give it"}
    status, answer = call(b'{"inptu": [1]}')
    assert status == 422
    assert answer["error"]["hint"] == f"give it (for example {json.dumps(EXAMPLE)})"


def test_calls_wait_side_by_side(pool):
    assert call(b"{}")[0] == 200
    pool.together = threading.Barrier(CALLS, timeout=60)
    assert {status for status, _ in call(*([b"{}"] * CALLS))} == {200}


def test_without_a_pool(no_pool):
    status, answer = call(b"{}")
    assert (status, answer["error"]["code"]) == (503, "pool_unreachable")
    status, answer = call(b'{"message": "Hello World"}')
    assert status == 200
    assert answer["error"]["code"] == "pool_unreachable"


def test_a_token_is_not_shown(pool, monkeypatch):
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\n")
    assert call(b'{"x": [1]}')[0] == 200, "a Secret may end in a line end"
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\nx")
    status, answer = call(b'{"x": [1]}')
    assert (status, answer["error"]["code"]) == (401, "unauthenticated")
    assert "s3cr3t" not in str(answer["error"])
