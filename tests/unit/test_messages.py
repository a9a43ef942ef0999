"""The pool's messages: what is accepted, what is refused and how, and that both sides read the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.errors import KaasError
from kaas.messages import Invocation, InvocationRequest, LogLine, check_digest

DIGEST = "sha256:" + "0" * 64


def test_defaults_are_a_minute_and_waiting_for_all_of_it() -> None:
    request = InvocationRequest.from_json({"bundle": DIGEST})
    assert (request.budget_ms, request.wait_ms, request.arguments, request.id) == (60_000, 60_000, {}, None)
    assert InvocationRequest.from_json({"bundle": DIGEST, "budget_ms": 5}).wait_ms == 5


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "bundle"),
        ({"bundle": "sha256:xyz"}, "bundle"),
        ({"bundle": DIGEST.upper()}, "bundle"),
        ({"bundle": DIGEST, "arguments": []}, "arguments"),
        ({"bundle": DIGEST, "id": ""}, "id"),
        ({"bundle": DIGEST, "id": "a b"}, "id"),
        ({"bundle": DIGEST, "id": 7}, "id"),
        ({"bundle": DIGEST, "id": "x" * 129}, "id"),
        ({"bundle": DIGEST, "budget_ms": 0}, "budget_ms"),
        ({"bundle": DIGEST, "budget_ms": True}, "budget_ms"),
        ({"bundle": DIGEST, "budget_ms": 1.5}, "budget_ms"),
        ({"bundle": DIGEST, "budget_ms": 3_600_001}, "budget_ms"),
        ({"bundle": DIGEST, "wait_ms": -1}, "wait_ms"),
        ([], None),
        (None, None),
        ({"bundle": DIGEST, "budget": 5}, None),
    ],
)
def test_a_malformed_request_names_the_field(body: Any, where: str | None) -> None:
    with pytest.raises(KaasError) as caught:
        InvocationRequest.from_json(body)
    assert caught.value.code == "request_invalid"
    assert caught.value.where == where


@given(
    st.dictionaries(st.text(), st.integers() | st.text()),
    st.none() | st.from_regex(r"[A-Za-z0-9._:-]{1,128}", fullmatch=True),
    st.integers(1, 3_600_000),
    st.integers(0, 3_600_000),
)
def test_a_request_survives_json(arguments: dict[str, Any], identifier: str | None, budget: int, wait: int) -> None:
    request = InvocationRequest(DIGEST, arguments, identifier, budget, wait)
    assert InvocationRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_an_invocation_survives_json() -> None:
    error = KaasError.from_json({"code": "kernel_fault", "message": "m"})
    line = LogLine("2026-01-01T00:00:00.000Z", "stderr", "text")
    failed = Invocation("i", "failed", error=error, logs=(line,), story=({"ms": 1.5, "event": "queued"},))
    copy = Invocation.from_json(json.loads(json.dumps(failed.to_json())))
    assert copy.error is not None and copy.error.to_json() == error.to_json()
    assert (copy.id, copy.state, copy.logs, copy.story, copy.is_final) == ("i", "failed", (line,), failed.story, True)
    waiting = Invocation("i", "queued").to_json()
    assert waiting == {"id": "i", "state": "queued"}
    assert Invocation.from_json({**waiting, "from_the_future": 1}) == Invocation("i", "queued")


def test_a_digest_is_exact() -> None:
    assert check_digest(DIGEST) == DIGEST
    with pytest.raises(KaasError):
        check_digest(DIGEST + "\n")
