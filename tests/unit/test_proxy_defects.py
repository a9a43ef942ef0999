"""A defect in the action proxy itself is no wrong address, which a Broker would try again and a caller look up."""

from __future__ import annotations

from typing import Any

import flask
import pytest

from kaas_proxy.action import PoolAccess
from kaas_proxy.app import create_app
from kaas_proxy.service_app import create_service_app
from kaas_proxy.settings import Settings

VARIABLES = {"KAAS_ACTION": f"sha256:{'0' * 64}", "KAAS_POOL_URL": "http://127.0.0.1:9"}


@pytest.fixture(params=["OpenWhisk", "Knative"])
def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    def gone(*_: Any, **__: Any) -> None:
        raise OSError("nobody reads the log")

    monkeypatch.setattr("kaas_proxy.streams.Streams.end_call", gone)
    monkeypatch.setattr("kaas_proxy.streams.Streams.end_activation", gone)
    # The look for a pool that is not there goes on in its thread.
    monkeypatch.setattr("kaas_proxy.readiness.Readiness.__init__", lambda *_: None)
    if request.param == "OpenWhisk":
        return create_app(PoolAccess(None, None))
    return create_service_app(Settings.read(VARIABLES))


def test_a_defect_is_told_as_one(app: flask.Flask) -> None:
    path = "/init" if any(rule.rule == "/init" for rule in app.url_map.iter_rules()) else "/"
    answer = app.test_client().post(path, json={})
    assert answer.status_code in (502, 503)
    error = answer.get_json()["error"]
    assert error["code"] == "internal"
    assert "nobody reads the log" in error["message"]


def test_a_wrong_address_is_told_as_one(app: flask.Flask) -> None:
    answer = app.test_client().put("/elsewhere")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "route_unknown")
