"""The function without a cluster and without a GPU; `pool` is in conftest.py."""

import asyncio
import json

from cloudevents.core.v1.event import CloudEvent
from function import new
from function.func import EXAMPLE


def call(data, **attributes):
    """Status and event that answer one event."""
    sent = []

    async def send(event, status=200):
        sent.append((status, event))

    event = CloudEvent({"id": "1", "source": "/test", "type": "dev.kaas.invoke", **attributes}, data)
    asyncio.run(new().handle({"event": event}, None, send))
    return sent[0]


def test_an_event(pool):
    status, event = call(EXAMPLE, subject="s", traceparent="00-1")
    assert (status, event.get_type(), event.get_data()) == (200, "dev.kaas.result", {"asked": EXAMPLE})
    assert (event.get_subject(), event.get_extension("traceparent")) == ("s", "00-1")


def test_outputs_are_inline_unless_the_event_says_where_they_go(pool):
    inline = {name: value for name, value in EXAMPLE.items() if value == "inline"}
    others = {name: value for name, value in EXAMPLE.items() if name not in inline}
    assert call(others)[1].get_data() == {"asked": EXAMPLE}
    for said in ({name: f"s3://out/{name}.npy" for name in inline}, {"outputs": "s3://out"}):
        assert call({**others, **said})[1].get_data() == {"asked": {**others, **said}}


def test_the_same_event_is_the_same_call(pool):
    first, second, other = (call(EXAMPLE, id=name)[1] for name in ("1", "1", "2"))
    assert first.get_id() == second.get_id() != other.get_id()
    assert len({one["id"] for one in pool.calls}) == 2


def test_an_answer_has_another_type(pool):
    kind = "dev.kaas.invoke"
    for _ in range(3):
        answered = call(EXAMPLE, type=kind)[1].get_type()
        assert answered != kind
        kind = answered


def test_its_own_answer_ends_there(pool):
    """Without a filter a Trigger brings it back."""
    event = call(EXAMPLE)[1]
    status, error = call(event.get_data(), source=event.get_source(), type=event.get_type())
    assert (status, error.get_data()["error"]["where"]) == (422, "source")
    assert len(pool.calls) == 1


def test_an_answer_names_the_service(pool, monkeypatch):
    event = call(EXAMPLE)[1]
    assert (event.get_source(), event.get_subject()) == ("/kaas/function", "function")
    monkeypatch.setenv("K_SERVICE", "mine")
    event = call(EXAMPLE)[1]
    assert (event.get_source(), event.get_subject()) == ("/kaas/mine", "mine")


def test_the_first_func_invoke_is_told_what_to_send(pool):
    status, event = call({"message": "Hello World"}, type="boson.fn")
    assert (status, event.get_type()) == (200, "dev.kaas.hint")
    assert json.dumps(EXAMPLE) in event.get_data()["hint"]
    assert event.get_data()["example"] == {"asked": EXAMPLE}


def test_an_event_without_the_input_is_no_success(pool):
    """A Broker would take a hint with 200 for a reply, and never send the event to the dead letter sink."""
    pool.refuses = {"code": "input_missing", "message": "the input is missing", "hint": "give it"}
    for data, kind in (({"inptu": [1]}, "dev.kaas.invoke"), ({"message": "Hello World"}, "dev.kaas.invoke")):
        status, event = call(data, type=kind)
        assert (status, event.get_type()) == (422, "dev.kaas.error")
        assert event.get_data()["error"]["hint"] == f"give it (for example {json.dumps(EXAMPLE)})"


def test_errors_are_events(pool):
    pool.refuses = {"code": "unauthenticated", "message": "who?"}
    for data, code, expected in (
        (EXAMPLE, "unauthenticated", 401),
        ("{", "event_invalid", 400),
        ("[" * 100_000, "event_invalid", 400),
        ("[1]", "argument_invalid", 422),
    ):
        status, event = call(data)
        assert (status, event.get_type()) == (expected, "dev.kaas.error")
        assert event.get_data()["error"]["code"] == code


def test_without_a_pool(no_pool):
    status, event = call(EXAMPLE)
    assert (status, event.get_data()["error"]["code"]) == (503, "pool_unreachable")


def test_a_token_is_not_shown(pool, monkeypatch):
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\n")
    assert call({"x": [1]})[0] == 200, "a Secret may end in a line end"
    monkeypatch.setenv("KAAS_TOKEN", "s3cr3t\nx")
    status, answer = call({"x": [1]})
    assert (status, answer.get_data()["error"]["code"]) == (401, "unauthenticated")
    assert "s3cr3t" not in str(answer.get_data()["error"])
