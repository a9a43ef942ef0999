"""Reading requests: one value per header, bodies within their limits, JSON that means one thing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

from starlette.requests import Request

from kaas.dtypes import shorten
from kaas.errors import AuthorError, CallerError, KaasError
from kaas.messages import MAX_BUNDLE_BYTES, MAX_REQUEST_BYTES

#: Lists and objects of a body inside each other: 32 for the dimensions of an inline value, and those around it.
MAX_DEPTH = 64

_JSON = frozenset({"application/json"})
_BUNDLE = frozenset({"application/zip", "application/yaml", "application/octet-stream"})

#: Headers that say something else if they are given twice.
_SINGLE = frozenset({b"authorization", b"kaas-tenant", b"content-type", b"content-length"})


def headers_of(request: Request) -> dict[bytes, str]:
    """The headers that the pool reads, by lower-case name. Raises `request_invalid` for one that is there twice."""
    found: dict[bytes, str] = {}
    for name, value in request.scope["headers"]:
        if name in _SINGLE:
            if name in found:
                text = name.decode()
                raise CallerError("request_invalid", f"the header {text} is given twice", where=f"header {text}")
            found[name] = value.decode("latin-1")
    return found


async def read_json(request: Request, headers: dict[bytes, str], empty: Any = None) -> Any:
    """The body of an API request, `empty` if there is none. Raises `request_invalid` and `payload_too_large`."""
    _check_type(headers, _JSON)
    body = await _read(request, headers, MAX_REQUEST_BYTES, _request_too_large)
    return parse_json(body) if body else empty


def parse_json(body: bytes) -> Any:
    """The value of a body. Raises `request_invalid`."""
    try:
        value = _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise CallerError("request_invalid", f"the body is not JSON: {error}") from None
    # Counting is much cheaper than walking, and hardly any body has so many.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise CallerError("request_invalid", f"the body nests lists and objects over {MAX_DEPTH} levels deep")
    return value


async def read_bundle(request: Request, headers: dict[bytes, str]) -> bytes:
    """The body of an upload. Raises `request_invalid` and `bundle_too_large`."""
    _check_type(headers, _BUNDLE)
    return await _read(request, headers, MAX_BUNDLE_BYTES, _bundle_too_large)


def _check_type(headers: dict[bytes, str], served: Collection[str]) -> None:
    """A body without a type is taken for what it has to be."""
    given = headers.get(b"content-type")
    if given is not None and given.partition(";")[0].strip().lower() not in served:
        raise CallerError(
            "request_invalid",
            f"the body is said to be {shorten(given)}",
            where="header content-type",
            hint=f"send {' or '.join(sorted(served))}",
        )


async def _read(request: Request, headers: dict[bytes, str], limit: int, too_large: Callable[[], KaasError]) -> bytes:
    announced = headers.get(b"content-length", "0")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise too_large()
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _request_too_large() -> KaasError:
    return CallerError(
        "payload_too_large",
        f"the body of a request is at most {MAX_REQUEST_BYTES} bytes",
        hint="put data into the object store and give references",
    )


def _bundle_too_large() -> KaasError:
    return AuthorError(
        "bundle_too_large",
        f"a bundle is at most {MAX_BUNDLE_BYTES} bytes",
        hint="leave data out of it: bind constants to objects in the store",
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shorten(twice)} is given twice in one object")
    return made


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True
