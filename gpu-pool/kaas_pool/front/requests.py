"""Reading requests: one value per header, bodies within their limits, JSON that means one thing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from starlette.requests import Request

from kaas import strict_json
from kaas.dtypes import shorten
from kaas.errors import AuthorError, CallerError, KaasError
from kaas.messages import MAX_BUNDLE_BYTES, MAX_REQUEST_BYTES

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
        return strict_json.parse(body)
    except ValueError as error:
        raise CallerError("request_invalid", f"the body is not JSON: {error}") from None


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
