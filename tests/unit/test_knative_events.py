"""CloudEvents over HTTP as the proxy reads and writes them, held against the CloudEvents SDK."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from kaas.errors import CallerError
from kaas_proxy.cloud_events import CloudEvent, Envelope

BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "content-type": "application/json"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
ENVELOPE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

#: What an attribute's text may hold: no control characters, no halves of pairs, no noncharacters.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=20)


def read(headers: dict[str, str], body: bytes = b"") -> CloudEvent | None:
    envelope = Envelope.of(headers.items())
    return envelope.open(body) if envelope is not None else None


def structured(**fields: Any) -> CloudEvent | None:
    return read(STRUCTURED, json.dumps({**ENVELOPE, **fields}).encode())


def refusal(headers: dict[str, str], body: bytes = b"") -> CallerError:
    with pytest.raises(CallerError) as caught:
        read(headers, body)
    return caught.value


@pytest.mark.parametrize("mode", [to_binary_event, to_structured_event])
@given(identifier=texts, source=texts, subject=texts)
def test_what_the_sdk_writes_is_read(mode: Any, identifier: str, source: str, subject: str) -> None:
    attributes = {"id": identifier, "source": source, "type": "t", "subject": subject, "traceparent": PARENT}
    message = mode(SdkEvent({**attributes, "unknown7": "x", "datacontenttype": "application/json"}, {"a": [1, None]}))
    found = read(dict(message.headers), message.body)
    assert found == CloudEvent(
        identifier, source, "t", {"a": [1, None]}, subject, {"traceparent": PARENT}, mode is to_structured_event
    )


@pytest.mark.parametrize("is_structured", [False, True])
@given(identifier=texts, source=texts, subject=texts)
def test_what_is_written_the_sdk_reads(is_structured: bool, identifier: str, source: str, subject: str) -> None:
    made = CloudEvent(identifier, source, "t", {"z": "ü"}, subject, {"tracestate": "a=b"}, is_structured)
    headers, body = made.to_http()
    for value in headers.values():
        value.encode("ascii")
    found: Any = from_http_event(HTTPMessage({name.lower(): value for name, value in headers.items()}, body))
    told = found.get_attributes()
    assert told.pop("time").utcoffset().total_seconds() == 0
    expected = {"specversion": "1.0", "id": identifier, "source": source, "type": "t", "subject": subject}
    assert told == {**expected, "tracestate": "a=b", "datacontenttype": "application/json"}
    assert found.get_data() == {"z": "ü"}


def test_a_request_without_a_word_of_events_is_none() -> None:
    assert read({"content-type": "application/json", "traceparent": "x", "cex": "y"}, b"{}") is None


@pytest.mark.parametrize(
    ("value", "text"), [("a%20b", "a b"), ('"a \\"b\\""', 'a "b"'), ("Ã¼", "ü"), ("%C3%BC", "ü"), ("100%25", "100%")]
)
def test_header_values_are_decoded(value: str, text: str) -> None:
    found = read({**BINARY, "ce-subject": value})
    assert found is not None
    assert found.subject == text


def test_an_event_may_have_no_data() -> None:
    found = read({name: value for name, value in BINARY.items() if name != "content-type"})
    assert found is not None
    assert found.data is None
    nothing = CloudEvent("1", "/s", "t", trace={}, is_structured=True)
    assert structured() == structured(data=None) == structured(data_base64="") == nothing


def test_data_without_a_type_are_json() -> None:
    for data in ({"x": 1}, [1], "text", 0, False):
        found = structured(data=data)
        assert found is not None
        assert found.data == data
    found = structured(data_base64=base64.b64encode(b'{"x": 1}').decode())
    assert found is not None
    assert found.data == {"x": 1}
    found = read({**BINARY, "content-type": "application/vnd.x+json; charset=utf-8"}, b'{"x": 1}')
    assert found is not None
    assert found.data == {"x": 1}


def test_the_events_own_trace_comes_before_the_requests() -> None:
    headers = {**BINARY, "traceparent": PARENT, "tracestate": "t=1"}
    found = read(headers)
    assert found is not None
    assert found.trace == {"traceparent": PARENT, "tracestate": "t=1"}
    found = read({**headers, "ce-traceparent": OTHER_PARENT})
    assert found is not None
    assert found.trace == {"traceparent": OTHER_PARENT}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00-1",
        "garbage",
        PARENT.upper(),
        f"{PARENT} ",
        f"{PARENT}\n",
        PARENT.replace("00-4b", "ff-4b"),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        7,
        {"a": PARENT},
        [PARENT],
    ],
)
def test_a_broken_trace_context_goes_no_further(parent: Any) -> None:
    found = structured(traceparent=parent, tracestate="a=b")
    assert found is not None
    assert found.trace == {}
    found = read({**BINARY, "traceparent": PARENT, "ce-traceparent": str(parent)})
    assert found is not None
    assert found.trace == {"traceparent": PARENT}, "that of the request is still there"


@pytest.mark.parametrize("state", ["", "a=b\n", "ü=1", 7, ["a=b"]])
def test_a_broken_trace_state_is_left_out(state: Any) -> None:
    found = structured(traceparent=f"{PARENT}-more", tracestate=state)
    assert found is not None
    assert found.trace == {"traceparent": f"{PARENT}-more"}


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_what_is_required(name: str) -> None:
    without = {key: value for key, value in BINARY.items() if key != f"ce-{name}"}
    for error in (refusal(without), refusal({**BINARY, f"ce-{name}": ""})):
        assert (error.code, error.where) == ("event_invalid", name)
    for value in (None, "", 7, ["x"]):
        error = refusal(STRUCTURED, json.dumps({**ENVELOPE, name: value}).encode())
        assert (error.code, error.where) == ("event_invalid", name)


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "batch"),
        ({"content-type": "application/cloudevents+xml"}, b"<event/>", "application/cloudevents+xml"),
        ({**BINARY, "ce-specversion": "0.3"}, b"", "0.3"),
        ({**BINARY, "ce-subject": "\xff"}, b"", "UTF-8"),
        ({**BINARY, "ce-subject": "%FF"}, b"", "UTF-8"),
        (BINARY, b"{", "not JSON"),
        (BINARY, b'{"x": NaN}', "NaN"),
        (BINARY, b'{"x": 1e999}', "1e999"),
        (BINARY, b'{"x": 1, "x": 2}', "'x' is given twice"),
        (STRUCTURED, b'{"id": "a", "id": "b"}', "'id' is given twice"),
        (BINARY, b"[" * 100_000, "nested over 64 levels"),
        (STRUCTURED, b"", "not JSON"),
        (STRUCTURED, b"[]", "not a JSON object"),
        (STRUCTURED, b'{"specversion": "1.0", "id": "1", "source": "/", "type": "t", "subject": 1}', "subject"),
        (STRUCTURED, b'{"datacontenttype": 1}', "datacontenttype"),
        (STRUCTURED, b'{"data": 1, "data_base64": "MQ=="}', "both"),
        (STRUCTURED, b'{"data_base64": "!"}', "base64"),
        (STRUCTURED, b'{"data_base64": 7}', "base64"),
        (STRUCTURED, b'{"data_base64": "ew=="}', "not JSON"),
    ],
)
def test_broken_events(headers: dict[str, str], body: bytes, message: str) -> None:
    error = refusal(headers, body)
    assert error.code == "event_invalid"
    assert message in error.message


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({**BINARY, "content-type": "text/plain"}, b"{}"),
        ({**BINARY, "content-type": "application/octet-stream"}, b"\0"),
        (STRUCTURED, json.dumps({**ENVELOPE, "datacontenttype": "text/xml", "data": "<x/>"}).encode()),
        (STRUCTURED, json.dumps({**ENVELOPE, "datacontenttype": "image/png", "data_base64": "AA=="}).encode()),
    ],
)
def test_data_that_are_no_json_are_the_callers_fault(headers: dict[str, str], body: bytes) -> None:
    error = refusal(headers, body)
    assert (error.code, error.where) == ("argument_invalid", "datacontenttype")


#: Names and values that come near to events.
_NAMES = st.sampled_from([*BINARY, "ce-subject", "ce-time", "ce-traceparent", "ce-", "ce-a b", "traceparent", "x"])
_VALUES = st.one_of(
    st.sampled_from(["1.0", "/s", "application/json", "application/cloudevents+json", "application/cloudevents-batch"]),
    st.text(st.characters(max_codepoint=255)),
)
_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
_BODIES = st.one_of(
    st.binary(),
    st.dictionaries(st.sampled_from([*ENVELOPE, "subject", "data", "data_base64", "datacontenttype"]), _JSON).map(
        lambda fields: json.dumps({**ENVELOPE, **fields}).encode()
    ),
)


@given(headers=st.dictionaries(_NAMES, _VALUES), body=_BODIES)
def test_whatever_comes_is_an_event_or_refused_or_none(headers: dict[str, str], body: bytes) -> None:
    try:
        found = read(headers, body)
    except CallerError as error:
        assert error.code in ("event_invalid", "argument_invalid")
        return
    if found is not None:
        answered, data = found.to_http()
        assert all(value.isascii() and value.isprintable() for value in answered.values())
        assert data
