"""The pool's client against a pool that misbehaves at will; against a real one it is tested with the proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from scripted_pool import Request, ScriptedPool, done, error

from kaas.client import PoolClient, basic, bearer, digest_of
from kaas.errors import CallerError, KaasError, PlatformError

RESULT = {"z": [1], "kaas": {"outputs": {}, "stats": {}}}
BUNDLE = b"kaas: 1\n"

Script = Callable[[Request], "tuple[int, Any] | None"]


def call(script: Script, act: Callable[[PoolClient], object], **settings: Any) -> tuple[object, ScriptedPool]:
    with ScriptedPool(script) as pool, PoolClient(pool.url, bearer("t"), **settings) as client:
        return act(client), pool


def refused(script: Script, act: Callable[[PoolClient], object], **settings: Any) -> tuple[KaasError, ScriptedPool]:
    with ScriptedPool(script) as pool, PoolClient(pool.url, **settings) as client:
        with pytest.raises(KaasError) as caught:
            act(client)
        return caught.value, pool


def test_a_known_bundle_is_not_uploaded() -> None:
    answer, pool = call(lambda r: done(r, RESULT), lambda c: c.invoke(BUNDLE, {"x": "❄"}, budget_ms=5000))
    assert answer.result == RESULT  # type: ignore[attr-defined]
    (request,) = pool.requests
    assert request.authorization == "Bearer t"
    assert request.body.pop("id")
    assert request.body == {
        "bundle": digest_of(BUNDLE),
        "arguments": {"x": "❄"},
        "budget_ms": 5000,
        "wait_ms": 10_000,
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"status": "not ready", "reason": "the mover does not answer"}, "answered 503: the mover does not answer"),
        ({"status": "not ready"}, "answered 503 without saying why"),
        ({}, "answered 503 without saying why"),
    ],
)
def test_a_pool_that_is_not_ready_says_what_is_missing(body: dict[str, str], said: str) -> None:
    failure, _ = refused(lambda r: (503, body), lambda c: c.ready())
    assert failure.code == "pool_unreachable"
    assert said in failure.message


def test_an_unknown_bundle_is_uploaded_once_and_called_under_the_same_id() -> None:
    def script(request: Request) -> tuple[int, Any]:
        return done(request, RESULT) if uploads(request) else (404, error("bundle_unknown"))

    seen: list[Request] = []

    def uploads(request: Request) -> bool:
        seen.append(request)
        return len(seen) > 1

    _, pool = call(script, lambda c: c.invoke(BUNDLE, {}, budget_ms=60_000))
    assert [request.method for request in pool.requests] == ["POST", "PUT", "POST"]
    first, second = pool.invocations
    assert first.body["id"] == second.body["id"]
    assert second.body["budget_ms"] <= first.body["budget_ms"], "the upload was on the invocation's time"


def test_a_digest_cannot_be_uploaded() -> None:
    failure, pool = refused(lambda r: (404, error("bundle_unknown")), lambda c: c.invoke(digest_of(BUNDLE), {}))
    assert failure.code == "bundle_unknown"
    assert len(pool.requests) == 1


def test_a_digest_with_its_content_is_as_good_as_the_bundle() -> None:
    answers = iter([(404, error("bundle_unknown"))])
    _, pool = call(lambda r: next(answers, done(r, RESULT)), lambda c: c.invoke(digest_of(BUNDLE), {}, content=BUNDLE))
    assert pool.uploads == {digest_of(BUNDLE): BUNDLE}


def test_a_pool_below_a_path() -> None:
    with ScriptedPool(lambda r: (200, {"devices": []})) as pool, PoolClient(f"{pool.url}/pools/a/") as client:
        client.status("devices")
    assert [request.path for request in pool.requests] == ["/pools/a/v1/devices"]


def test_errors_come_through_whole() -> None:
    body = error("pool_busy", hint="later", retry_after_ms=250)
    failure, pool = refused(lambda r: (429, body), lambda c: c.invoke(BUNDLE, {}))
    assert isinstance(failure, PlatformError)
    assert failure.to_json() == body["error"]
    assert len(pool.requests) == 1, "who called decides whether to come back"


def test_a_lost_connection_is_tried_again_under_the_same_id() -> None:
    drops = iter([None, None, None])
    answer, pool = call(lambda r: next(drops, done(r, RESULT)), lambda c: c.invoke(BUNDLE, {}))
    assert answer.result == RESULT  # type: ignore[attr-defined]
    assert len(pool.invocations) == 4
    assert len({request.body["id"] for request in pool.invocations}) == 1


def test_but_not_for_ever() -> None:
    failure, pool = refused(lambda r: None, lambda c: c.invoke(BUNDLE, {}))
    assert failure.code == "pool_unreachable"
    assert "closed the connection" in failure.message
    assert len(pool.requests) == 4


def test_who_only_looks_does_not_wait() -> None:
    failure, pool = refused(lambda r: None, lambda c: c.ready(), reconnect_s=0)
    assert failure.code == "pool_unreachable"
    assert len(pool.requests) == 1


def test_nobody_there() -> None:
    with ScriptedPool(lambda r: None) as gone:
        url = gone.url
    with PoolClient(url, reconnect_s=0) as client, pytest.raises(PlatformError, match="connection refused") as caught:
        client.ready()
    assert caught.value.code == "pool_unreachable"
    assert url in caught.value.message
    assert caught.value.hint


def test_a_silent_pool_is_the_budgets_end_for_an_invocation_and_unreachable_for_the_rest() -> None:
    silent = threading.Event()

    def script(request: Request) -> None:
        silent.wait()

    with ScriptedPool(script) as pool, PoolClient(pool.url) as client:
        try:
            with pytest.raises(CallerError) as spent:
                client.invoke(BUNDLE, {}, budget_ms=100, timeout_s=0.3)
            with pytest.raises(PlatformError) as silence:
                client.invoke(BUNDLE, {}, budget_ms=60_000, wait_ms=0, timeout_s=0.3)
        finally:
            silent.set()
    assert spent.value.code == "budget_exceeded"
    assert silence.value.code == "pool_unreachable"


def test_an_upload_that_spends_the_budget() -> None:
    failure, pool = refused(lambda r: (404, error("bundle_unknown")), lambda c: c.invoke(BUNDLE, {}, budget_ms=1))
    assert failure.code == "budget_exceeded"
    assert [request.method for request in pool.requests] == ["POST", "PUT"]


@pytest.mark.parametrize(
    "answer",
    [
        (502, b"<html>"),
        (200, b"<html>"),
        (200, [1]),
        (500, {"detail": "no"}),
        (302, b""),
        (200, {"state": "done"}),
        (200, {"id": "i", "state": "dancing"}),
    ],
)
def test_something_that_is_no_pool(answer: tuple[int, Any]) -> None:
    failure, _ = refused(lambda r: answer, lambda c: c.invoke(BUNDLE, {}))
    assert failure.code == "pool_unreachable"


@pytest.mark.parametrize("url", ["", "pool:7233", "ftp://pool", "http://", "http://[::1"])
def test_no_address(url: str) -> None:
    with pytest.raises(PlatformError) as caught:
        PoolClient(url)
    assert caught.value.code == "pool_unreachable"
    assert "KAAS_POOL_URL" in (caught.value.hint or "")


def test_identities_share_connections() -> None:
    with ScriptedPool(lambda r: (200, {"bytes": 7})) as pool, PoolClient(pool.url) as client:
        assert client.acting_as(basic("user:password")).purge() == 7
        assert client.acting_as(bearer("t")).purge() == 7
        client.purge()
    assert [request.authorization for request in pool.requests] == ["Basic dXNlcjpwYXNzd29yZA==", "Bearer t", None]


def test_get_and_cancel() -> None:
    answer = {"id": "i", "state": "cancelled", "error": error("cancelled")["error"], "logs": []}
    with ScriptedPool(lambda r: (200, answer)) as pool, PoolClient(pool.url) as client:
        assert client.get("i").state == "cancelled"
        assert client.cancel("i").error is not None
    assert [(request.method, request.path) for request in pool.requests] == [
        ("GET", "/v1/invocations/i"),
        ("DELETE", "/v1/invocations/i"),
    ]
