"""Requests' bodies within their limits, and answers as JSON: what both interfaces of the proxy share."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import flask
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, HTTPException, InternalServerError, RequestEntityTooLarge

from kaas import strict_json
from kaas.errors import CallerError, KaasError, PlatformError

#: Of a body over its limit, so much is read and thrown away, so that the sender lives to read the answer.
_DISCARD_BYTES = 196 << 20

_log = logging.getLogger("gunicorn.error")


def read_body(limit: int, hint: str) -> bytes:
    """The body of the present request; raises `payload_too_large` with this hint, or what else is wrong with it."""
    request = flask.request
    # What comes in chunks is cut off at this, not refused.
    request.max_content_length = limit + 1
    try:
        body = request.get_data(cache=False)
        if len(body) > limit:
            raise RequestEntityTooLarge
    except RequestEntityTooLarge:
        discarded = 0
        with suppress(OSError, ParseException):
            while discarded < _DISCARD_BYTES and (chunk := request.environ["wsgi.input"].read(1 << 20)):
                discarded += len(chunk)
        raise CallerError("payload_too_large", f"the request is over {limit} bytes", hint=hint) from None
    except ParseException as error:
        raise CallerError("request_invalid", f"the body's chunks are broken: {error}") from None
    except ClientDisconnected:
        raise _incomplete("its connection ended or was silent") from None
    if len(body) < (request.content_length or 0):
        raise _incomplete(f"{len(body)} of {request.content_length} bytes came")
    return body


def _incomplete(what: str) -> CallerError:
    # What there is of it may be JSON, and nothing at all would be a call without arguments.
    return CallerError("request_incomplete", f"the body stopped arriving: {what}", hint="send the request again")


def decode_json(body: bytes) -> Any:
    """The value of a JSON body; raises ValueError with the reason."""
    data = strict_json.parse(body)
    if b"\\u" in body:  # What JSON can escape and UTF-8 cannot hold, half a surrogate pair, would fail much later.
        json.dumps(data, ensure_ascii=False).encode()
    return data


def as_kaas(error: Exception) -> KaasError:
    """The error as users see it; what nobody foresaw is logged and `internal`."""
    if isinstance(error, KaasError):
        return error
    _log.error("unexpected", exc_info=error)
    return PlatformError("internal", f"the action proxy failed: {type(error).__name__}: {error}")


def answer_of_flask(error: HTTPException, hint: str) -> KaasError:
    """What Flask itself answers, as an error of the table: no such route, or a defect outside any handler."""
    if isinstance(error, InternalServerError):
        cause = error.original_exception
        return as_kaas(cause if isinstance(cause, Exception) else error)
    return CallerError("route_unknown", f"{flask.request.method} {flask.request.path} is not known here", hint=hint)


def encode_json(body: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def json_answer(status: int, body: Mapping[str, Any]) -> flask.Response:
    """JSON with a Content-Length, without which OpenWhisk does not take an answer."""
    return flask.Response(encode_json(body), status, mimetype="application/json")
