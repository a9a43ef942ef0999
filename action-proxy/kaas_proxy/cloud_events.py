"""CloudEvents 1.0 over HTTP, binary and structured: read from requests, written into answers.

It is not the CloudEvents SDK that reads here: 2.2.0 makes up an `id` that is missing, by which duplicates are known,
and takes data that are said to be JSON and are not for a text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, unquote

from kaas.dtypes import shorten
from kaas.errors import CallerError
from kaas_proxy.exchange import decode_json, encode_json

_STRUCTURED = "application/cloudevents+json"
_JSON = re.compile(r"[\w.!#$&^-]+/(?:json|[\w.!#$&^-]+\+json)", re.IGNORECASE)

#: What may stand in a header as it is: printable ASCII but for space, double quote and percent.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')

_REQUIRED = ("id", "source", "type")

#: Trace Context's version 00, and what later ones may append to it.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?")


@dataclass(frozen=True)
class CloudEvent:
    """One event. `data` is the decoded JSON, or None without data; `trace` has the trace context's attributes.

    Attributes that are not here are extensions that nobody here knows, which CloudEvents says to ignore.
    """

    id: str
    source: str
    type: str
    data: Any = None
    subject: str | None = None
    trace: Mapping[str, str] | None = None
    is_structured: bool = False

    def to_http(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of an answer; the time is now, the data are JSON."""
        attributes: dict[str, str] = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type}
        if self.subject is not None:
            attributes["subject"] = self.subject
        attributes["time"] = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        attributes.update(self.trace or {})
        if self.is_structured:
            body = {**attributes, "datacontenttype": "application/json", "data": self.data}
            return {"Content-Type": f"{_STRUCTURED}; charset=utf-8"}, encode_json(body)
        headers = {f"ce-{name}": quote(value, safe=_SAFE) for name, value in attributes.items()}
        return {**headers, "Content-Type": "application/json"}, encode_json(self.data)


@dataclass(frozen=True)
class Envelope:
    """What a request's headers say of the event that it carries, before there is a word of the body."""

    fields: Mapping[str, str]
    is_structured: bool

    @staticmethod
    def of(headers: Iterable[tuple[str, str]]) -> Envelope | None:
        """None if it is a plain request. `headers` are as WSGI has them, Latin-1."""
        fields = {name.lower(): value for name, value in headers}
        content_type = _media_type(fields.get("content-type"))
        is_structured = content_type is not None and content_type.startswith("application/cloudevents")
        if not is_structured and not any(name.startswith("ce-") for name in fields):
            return None
        return Envelope(fields, is_structured)

    @property
    def trace(self) -> Mapping[str, str]:
        """The trace context that the request came by."""
        return _trace(self.fields)

    def open(self, body: bytes) -> CloudEvent:
        """The event.

        Raises `event_invalid` for what claims to be an event and is none, and `argument_invalid` for an event whose
        data are not JSON.
        """
        content_type = self.fields.get("content-type")
        if self.is_structured:
            return _structured(_media_type(content_type), body, self.trace)
        attributes = {
            name[3:]: _attribute(name, value) for name, value in self.fields.items() if name.startswith("ce-")
        }
        data = _json_data(body, content_type) if body else None
        return _event(attributes, data, self.trace, is_structured=False)


def is_json(content_type: str | None) -> bool:
    """Whether a content type, its parameters aside, stands for JSON; none at all does."""
    media_type = _media_type(content_type)
    return media_type is None or _JSON.fullmatch(media_type) is not None


def _structured(content_type: str | None, body: bytes, trace: Mapping[str, str]) -> CloudEvent:
    if content_type is not None and content_type.startswith("application/cloudevents-batch"):
        raise _invalid("a batch of events is not taken", "send each event in a request of its own")
    if content_type != _STRUCTURED:
        raise _invalid(f"events as {shorten(content_type)} are not taken", f"send {_STRUCTURED}, or the binary mode")
    try:
        envelope = decode_json(body)
    except ValueError as error:
        raise _invalid(f"the event is not JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise _invalid("the event is not a JSON object")
    data = envelope.get("data")
    kind = envelope.get("datacontenttype")
    if kind is not None and not isinstance(kind, str):
        raise _invalid("datacontenttype is no text", where="datacontenttype")
    if envelope.get("data_base64") is not None:
        if data is not None:
            raise _invalid("the event has both data and data_base64", where="data_base64")
        decoded = _decode_base64(envelope["data_base64"])
        data = _json_data(decoded, kind) if decoded else None
    elif data is not None and not is_json(kind):
        raise _no_json(kind)
    return _event(envelope, data, trace, is_structured=True)


def _event(attributes: Mapping[str, Any], data: Any, trace: Mapping[str, str], *, is_structured: bool) -> CloudEvent:
    version = attributes.get("specversion")
    if version != "1.0":
        said = "has no specversion" if version is None else f"has specversion {shorten(version)}"
        raise _invalid(f"the event {said}", "CloudEvents 1.0 is what is read here", "specversion")
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            said = "is missing" if value is None else f"is {shorten(value)}"
            raise _invalid(f"the event's {name} {said}", "id, source and type are required texts", name)
    subject = attributes.get("subject")
    if subject is not None and not isinstance(subject, str):
        raise _invalid(f"the event's subject is {shorten(subject)}", "a subject is a text", "subject")
    return CloudEvent(
        attributes["id"],
        attributes["source"],
        attributes["type"],
        data,
        subject or None,
        # The extension tells where the event began; the header, where it came by.
        _trace(attributes) or trace,
        is_structured,
    )


def _trace(attributes: Mapping[str, Any]) -> dict[str, str]:
    """The trace context among attributes or headers; none if it is broken, as Trace Context says."""
    parent, state = attributes.get("traceparent"), attributes.get("tracestate")
    if not isinstance(parent, str) or not _TRACEPARENT.fullmatch(parent):
        return {}
    if isinstance(state, str) and state and state.isascii() and state.isprintable():
        return {"traceparent": parent, "tracestate": state}
    return {"traceparent": parent}


def _attribute(name: str, value: str) -> str:
    """A header's value as the attribute that it stands for."""
    try:
        text = value.encode("latin-1").decode()
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = re.sub(r"\\(.)", r"\1", text[1:-1])
        return unquote(text, errors="strict")
    except UnicodeError:
        raise _invalid(f"the header {name} is not UTF-8", where=f"header {name}") from None


def _json_data(body: bytes, content_type: str | None) -> Any:
    if not is_json(content_type):
        raise _no_json(content_type)
    try:
        return decode_json(body)
    except ValueError as error:
        raise _invalid(f"the event's data are not JSON: {error}", where="data") from None


def _decode_base64(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise _invalid("data_base64 is not base64", where="data_base64")


def _media_type(content_type: str | None) -> str | None:
    return content_type.partition(";")[0].strip().lower() or None if content_type is not None else None


def _no_json(content_type: str | None) -> CallerError:
    return CallerError(
        "argument_invalid",
        f"the event's data are {shorten(content_type)}",
        where="datacontenttype",
        hint="a kernel action takes its buffers and parameters as application/json",
    )


def _invalid(message: str, hint: str | None = None, where: str | None = None) -> CallerError:
    return CallerError("event_invalid", message, hint=hint, where=where)
