"""HTTP requests byte by byte: good ones, and ones whose head, framing or body lies."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st
from made_calls import WILD, bodies
from made_objects import damaged, zips

#: Stands for the digest of a bundle that is there.
DIGEST = "sha256:" + "d" * 64

_METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "get", "CONNECT", "PRI", "G\x00T", ""]
)
_ROUTES = [
    *("POST /v1/invocations", "GET /v1/invocations/id-1", "DELETE /v1/invocations/id-1", f"PUT /v1/bundles/{DIGEST}"),
    *("GET /v1/devices", "GET /v1/cache", "POST /v1/cache/purge", "POST /v1/cache/refresh", "GET /v1/queues"),
    *("GET /v1/tenants", "GET /healthz/live", "GET /healthz/ready", "GET /metrics", "GET /openapi.json"),
]
_TARGETS = st.sampled_from(
    [
        *(
            "/",
            "*",
            "http://x/v1/devices",
            "/v1/invocations/%ff%00",
            "/v1/bundles/",
            "//",
            "/v1/../metrics",
            "?",
            "/v1/devices#x",
        ),
        *(f"/v1/invocations/{'x' * 3000}", "/\u00e9", "/v1/devices?a=b&a=c", "/v1/invocations/a b"),
    ]
)
_HEADERS = st.sampled_from(
    [
        *(
            "Authorization: Bearer nobody",
            "Authorization: Basic YTpi",
            "Authorization:",
            "KaaS-Tenant: bob",
            "KaaS-Tenant: \xff",
        ),
        *(
            "Content-Type: text/html",
            "Content-Type: application/yaml",
            "Content-Type: application/json; charset=x",
            "Accept: x",
        ),
        *(
            "Expect: 100-continue",
            "Upgrade: websocket",
            "Connection: upgrade",
            "Connection: keep-alive",
            "Transfer-Encoding: x",
        ),
        *(
            "Content-Encoding: gzip",
            "Host: y",
            "no colon",
            " folded",
            "X: " + "y" * 70_000,
            "X\x00: y",
            "Trailer: X",
            ": empty",
        ),
    ]
)
_FRAMINGS = st.sampled_from(
    [
        *(
            "length",
            "length",
            "length",
            "chunked",
            "chunked",
            "both",
            "longer",
            "shorter",
            "twice",
            "minus",
            "huge",
            "none",
        ),
        *("bad chunk", "huge chunk", "no last chunk", "trailers", "text"),
    ]
)


class MadeRequest(NamedTuple):
    """The bytes to send, in the pieces in which they go out."""

    pieces: list[bytes]


@st.composite
def requests(draw: st.DrawFn) -> MadeRequest:
    """One connection's bytes: one request or two, whole or cut, changed or not."""
    data = b"".join(draw(st.lists(_one_request(), min_size=1, max_size=2)))
    how = draw(st.integers(0, 5))
    if how == 5:
        data = draw(damaged(st.just(data), (b"\r\n", b"\r\n\r\n", b"\n", b"Content-Length: 5\r\n", b"\x00", b" ")))
    elif how == 4:
        data = data[: draw(st.integers(0, len(data)))]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=2)))
    pieces = [data[first:last] for first, last in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return MadeRequest([piece for piece in pieces if piece])


@st.composite
def _one_request(draw: st.DrawFn) -> bytes:
    method, _, target = draw(st.sampled_from([_ROUTES[0], *_ROUTES])).partition(" ")
    body = draw(_bodies(method, target)) if method in ("POST", "PUT") else b""
    headers = ["Host: x", "Authorization: Bearer alice-token"]
    if draw(st.integers(0, 2)) == 2:
        headers += draw(st.lists(_HEADERS, max_size=2))
    if draw(st.integers(0, 5)) == 5:
        method = draw(_METHODS)
    if draw(st.integers(0, 5)) == 5:
        target = draw(_TARGETS)
    version = draw(st.sampled_from(["HTTP/1.1"] * 30 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.9", "x", ""]))
    framing, framed = _framed(draw, body)
    head = "\r\n".join([f"{method} {target} {version}", *headers, *framing, "", ""])
    return head.encode("latin-1", "replace") + framed


@st.composite
def _bodies(draw: st.DrawFn, method: str, target: str) -> bytes:
    if method == "PUT":
        return draw(zips().map(lambda data: data[:2000]) | st.binary(max_size=30))
    if "invocations" in target:
        return draw(bodies() | _invocations())
    return json.dumps(
        draw(st.dictionaries(st.sampled_from(["bundle", "buffer", "reference"]), WILD, max_size=2))
    ).encode("utf-8", "surrogatepass")


@st.composite
def _invocations(draw: st.DrawFn) -> bytes:
    """Invocations of a bundle that is there, mostly good."""
    arguments: dict[str, Any] = {"x": [1.0, 2.0], "y": [3.0, 4.0], "z": "inline"}
    if draw(st.booleans()):
        arguments[draw(st.sampled_from(["x", "y", "z", "a", "freshness", "rename", "outputs"]))] = draw(WILD)
    fields: dict[str, Any] = {"bundle": DIGEST, "arguments": arguments}
    for name in draw(st.lists(st.sampled_from(["id", "wait_ms", "budget_ms"]), max_size=2)):
        fields[name] = {"id": "id-1", "wait_ms": 0, "budget_ms": 5000}[name]
    return json.dumps(fields).encode("utf-8", "surrogatepass")


def _framed(draw: st.DrawFn, body: bytes) -> tuple[list[str], bytes]:
    """Headers that say where the body ends, and the body as they say it; or not."""
    size = len(body)
    kind = draw(_FRAMINGS) if body or draw(st.integers(0, 3)) == 3 else "none"
    lengths = {
        "length": [size],
        "both": [size],
        "longer": [size + 10],
        "shorter": [max(0, size - 3)],
        "twice": [size, size + 1],
        "minus": [-1],
        "huge": [1 << 40],
    }
    if kind in lengths and kind != "both":
        return [f"Content-Length: {length}" for length in lengths[kind]], body
    if kind == "text":
        return ["Content-Length: ten"], body
    if kind == "none":
        return [], body
    middle = size // 2
    parts = [part for part in (body[:middle], body[middle:]) if part]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    end = {"no last chunk": b"", "trailers": b"0\r\nX: y\r\nContent-Length: 3\r\n\r\n"}.get(kind, b"0\r\n\r\n")
    if kind == "bad chunk":
        chunks = draw(st.sampled_from([b"xyz\r\n", b"-1\r\n", b"5\r\nab", b"1\r\naa\r\n", b"2;a=b\r\nab\r\n", b"\r\n"]))
    elif kind == "huge chunk":
        chunks = b"f" * draw(st.sampled_from([8, 15, 17, 3000])) + b"\r\n"
    headers = ["Transfer-Encoding: chunked"]
    if kind == "both":
        headers += [f"Content-Length: {size}"]
    return headers, chunks + end
