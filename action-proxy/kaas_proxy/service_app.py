"""The HTTP interface of a Knative Service: `POST /` for payloads and events, and the two probes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from kaas.dtypes import shorten
from kaas.errors import CallerError, KaasError
from kaas.messages import MAX_REQUEST_BYTES, Invocation
from kaas_proxy.cloud_events import CloudEvent, Envelope, is_json
from kaas_proxy.exchange import answer_of_flask, as_kaas, decode_json, json_answer, read_body
from kaas_proxy.notifications import Nothing
from kaas_proxy.service import CallFailedError, Service
from kaas_proxy.settings import Settings
from kaas_proxy.streams import Streams

#: Without a word of the pool's on when to come back.
_RETRY_AFTER_MS = 1000

#: So much of each attribute of an event goes to the log, in characters.
_LOGGED = 256


def create_service_app(settings: Settings) -> flask.Flask:
    """The application of one Service; it looks for its action at once, in a thread."""
    app = flask.Flask("kaas_proxy", static_folder=None)
    streams = Streams()
    service = Service(settings, streams)

    @app.post("/")
    def call() -> flask.Response:
        exchange = _Exchange(service, streams)
        try:
            with service.place():
                return exchange.answer()
        except CallFailedError as failed:
            return exchange.fail(failed.error, failed.invocation)
        except Exception as error:
            return exchange.fail(as_kaas(error))

    @app.get("/health/liveness")
    def live() -> flask.Response:
        return json_answer(200, {"status": "live"})

    @app.get("/health/readiness")
    def ready() -> flask.Response:
        if service.readiness.ask():
            return json_answer(200, {"status": "ready"})
        problem = service.readiness.problem
        told = {"error": problem.to_json()} if problem is not None else {}
        return json_answer(503, {"status": "not ready", **told})

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> flask.Response:
        known = "it answers POST / with JSON or a CloudEvent, and GET /health/liveness and /health/readiness"
        failure = answer_of_flask(error, known)
        return json_answer(failure.row.knative or 503, {"error": failure.to_json()})

    return app


class _Exchange:
    """One request and its answer."""

    def __init__(self, service: Service, streams: Streams) -> None:
        self._service = service
        self._streams = streams
        self._started = time.monotonic()
        self._envelope = Envelope.of(flask.request.headers)
        self._event: CloudEvent | None = None

    def answer(self) -> flask.Response:
        body = read_body(MAX_REQUEST_BYTES, "put data into the object store and give references")
        if self._envelope is None:
            answered = self._service.call(_payload(flask.request.headers.get("Content-Type"), body))
            return self._nothing(answered) if isinstance(answered, Nothing) else self._done(answered)
        self._event = self._envelope.open(body)
        handled = self._service.handle(self._event)
        return self._nothing(handled) if isinstance(handled, Nothing) else self._done(*handled)

    def _done(self, invocation: Invocation, reply: CloudEvent | None = None) -> flask.Response:
        self._log(invocation, None)
        assert invocation.result is not None
        return json_answer(200, invocation.result) if reply is None else _event_answer(200, reply)

    def _nothing(self, nothing: Nothing) -> flask.Response:
        """Handled, and no word in reply: a sender that takes replies would take a body for one."""
        self._log(None, None, ignored=nothing.reason)
        return flask.Response(b"", 202)

    def fail(self, error: KaasError, invocation: Invocation | None = None) -> flask.Response:
        self._log(invocation, error)
        status = error.row.knative or 503
        if self._envelope is None:
            response = json_answer(status, {"error": error.to_json()})
        else:
            response = _event_answer(status, self._service.failure(self._envelope, self._event, error))
        if status in (409, 429) or error.retry_after_ms is not None:
            milliseconds = _RETRY_AFTER_MS if error.retry_after_ms is None else error.retry_after_ms
            response.headers["Retry-After"] = str(math.ceil(milliseconds / 1000))
        return response

    def _log(self, invocation: Invocation | None, error: KaasError | None, *, ignored: str | None = None) -> None:
        summary: dict[str, Any] = {} if ignored is None else {"ignored": ignored}
        if self._event is not None:
            event = self._event
            told = {"id": event.id, "source": event.source, "type": event.type, **(event.trace or {})}
            summary["event"] = {name: _cut(text) for name, text in told.items()}
        if invocation is not None:
            summary["id"] = invocation.id
            summary["stats"] = (invocation.result or {}).get("kaas", {}).get("stats")
        if error is not None:
            summary["error"] = error.code
        summary["ms"] = round((time.monotonic() - self._started) * 1000, 2)
        logs = invocation.logs if invocation is not None else ()
        self._streams.end_call(logs, {"kaas": summary}, str(error) if error is not None else None)


def _payload(content_type: str | None, body: bytes) -> Mapping[str, Any]:
    """The arguments in a plain request; without a body there are none."""
    if not body:
        return {}
    if not is_json(content_type):
        raise CallerError(
            "request_invalid",
            f"the request's body is said to be {shorten(content_type)}",
            where="header content-type",
            hint="send application/json, or a CloudEvent",
        )
    try:
        value = decode_json(body)
    except ValueError as error:
        raise CallerError("request_invalid", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CallerError(
            "request_invalid",
            "the body is not a JSON object",
            hint='a kernel action takes its buffers and parameters by name: {"x": "s3://bucket/x.npy"}',
        )
    return value


def _cut(text: str) -> str:
    """A text for the log: an event's attributes may be as long as the event."""
    return text if len(text) <= _LOGGED else f"{text[:_LOGGED]}..."


def _event_answer(status: int, event: CloudEvent) -> flask.Response:
    headers, body = event.to_http()
    return flask.Response(body, status, headers)
