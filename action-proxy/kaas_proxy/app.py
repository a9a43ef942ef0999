"""The action's HTTP interface: `POST /init` and `POST /run`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from kaas.errors import KaasError
from kaas_proxy.action import Action, Outcome, PoolAccess
from kaas_proxy.exchange import answer_of_flask, as_kaas, json_answer, read_body
from kaas_proxy.protocol import InitRequest, ProtocolError, RunRequest, SecondInitError
from kaas_proxy.streams import Streams

#: OpenWhisk's limit on an action's code, and room for what stands around it.
MAX_CODE_BYTES = 48 << 20
MAX_BODY_BYTES = MAX_CODE_BYTES + (1 << 20)


def create_app(access: PoolAccess, streams: Streams | None = None) -> flask.Flask:
    """One action's application; its state is in memory only."""
    app = flask.Flask("kaas_proxy", static_folder=None)
    action = Action(access)
    streams = streams or Streams()
    host = {key: value for key, value in os.environ.items() if key == "__OW_API_HOST"}

    @app.post("/init")
    def init() -> flask.Response:
        try:
            action.refuse_second_init()
            action.init(InitRequest.from_body(_body()))
        except SecondInitError as error:
            streams.say(error.text)
            return json_answer(error.status, {"error": error.text})
        except ProtocolError as error:
            streams.end_activation(error=error.text)
            return json_answer(error.status, {"error": error.text})
        except Exception as error:
            failure = as_kaas(error)
            streams.end_activation(error=str(failure))
            return json_answer(failure.row.init or failure.row.pool or 500, {"error": failure.to_json()})
        return json_answer(200, {"ok": True})

    @app.post("/run")
    def run() -> flask.Response:
        started = time.monotonic()
        environment = host
        outcome: Outcome | None = None
        try:
            request = RunRequest.from_body(_body())
            environment = host | request.environment
            outcome = action.run(request)
            failure = outcome.error
            if failure is not None:
                failure.activation = failure.activation or request.activation_id
        except ProtocolError as error:
            streams.end_activation(error=error.text)
            return json_answer(error.status, {"error": error.text})
        except Exception as error:
            failure = as_kaas(error)
        invocation = outcome.invocation if outcome else None
        streams.end_activation(
            invocation.logs if invocation else (),
            summary=_summary(environment, outcome, failure, time.monotonic() - started),
            error=str(failure) if failure else None,
        )
        if failure is not None:
            return json_answer(failure.row.run or 502, {"error": failure.to_json()})
        assert invocation is not None
        assert invocation.result is not None
        return json_answer(200, invocation.result)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> flask.Response:
        failure = answer_of_flask(error, "an action answers POST /init and POST /run")
        return json_answer(failure.row.run or 502, {"error": failure.to_json()})

    return app


def _body() -> bytes:
    return read_body(MAX_BODY_BYTES, "data belongs into the object store; a bundle holds code")


def _summary(
    environment: Mapping[str, str], outcome: Outcome | None, failure: KaasError | None, seconds: float
) -> dict[str, Any]:
    summary: dict[str, Any] = {"activation": {key[5:].lower(): value for key, value in environment.items()}}
    if outcome is not None:
        summary["budget_ms"] = outcome.budget_ms
        result = outcome.invocation.result if outcome.invocation else None
        if result is not None:
            summary["stats"] = result.get("kaas", {}).get("stats")
    if failure is not None:
        summary["error"] = failure.code
    summary["ms"] = round(seconds * 1000, 2)
    return {"kaas": summary}
