"""The HTTP routes (docs/contracts.md, "HTTP, version 1"): read the request, call the pool, shape the answer."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kaas.errors import CallerError, KaasError, PlatformError
from kaas.messages import BundleRequest, InvocationRequest, RefreshRequest, check_digest
from kaas_pool.front import metrics
from kaas_pool.front.invocations import going_down
from kaas_pool.front.journal import Outcome
from kaas_pool.front.pins import PinFilter
from kaas_pool.front.pool import Pool
from kaas_pool.front.requests import headers_of, read_bundle, read_json
from kaas_pool.front.ticket import Ticket
from kaas_pool.front.tokens import Identity

#: Most invocations end within this time, in seconds: only later is it worth watching the connection.
_WATCH_AFTER = 0.02

_log = logging.getLogger(__name__)


def make_app(pool: Pool) -> ASGIApp:
    """The application over a pool that has been started."""
    routes = Routes(pool)
    return _Farewell(_Shortcut(routes, make_router(routes)))


def make_router(routes: Routes) -> Starlette:
    """All routes."""
    application = Starlette(
        routes=[
            Route("/v1/invocations", routes.invoke, methods=["POST"]),
            Route("/v1/invocations/{id}", routes.get, methods=["GET"]),
            Route("/v1/invocations/{id}", routes.cancel, methods=["DELETE"]),
            Route("/v1/bundles", routes.fetch_bundle, methods=["POST"]),
            Route("/v1/bundles/{digest}", routes.put_bundle, methods=["PUT"]),
            Route("/v1/bundles/{digest}", routes.get_bundle, methods=["GET"]),
            Route("/v1/devices", routes.devices, methods=["GET"]),
            Route("/v1/cache", routes.cache, methods=["GET"]),
            Route("/v1/cache/purge", routes.purge, methods=["POST"]),
            Route("/v1/cache/refresh", routes.refresh, methods=["POST"]),
            Route("/v1/queues", routes.queues, methods=["GET"]),
            Route("/v1/tenants", routes.tenants, methods=["GET"]),
            Route("/healthz/live", routes.live, methods=["GET"]),
            Route("/healthz/ready", routes.ready, methods=["GET"]),
            Route("/metrics", routes.metrics, methods=["GET"]),
            Route("/openapi.json", routes.openapi, methods=["GET"]),
        ],
        exception_handlers={
            KaasError: _answer_error,
            HTTPException: _answer_http,
            ClientDisconnect: _answer_nobody,
            Exception: _answer_defect,
        },
    )
    # A path with a slash more is another path, and no reason to send the client there again with its body.
    application.router.redirect_slashes = False
    return application


class _Farewell:
    """Answers requests that the server's end cuts off: it cancels them, and would say 500 without a word."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._application(scope, receive, note)
        except asyncio.CancelledError:
            if has_begun:
                raise
            await _error(going_down())(scope, receive, send)


class _Shortcut:
    """Takes invocations past the router and its middleware, which cost an eighth of a small one's time."""

    def __init__(self, routes: Routes, router: Starlette) -> None:
        self._routes = routes
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/invocations" or scope["method"] != "POST":
            await self._router(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._routes.invoke(request)
        except KaasError as error:
            response = _error(error)
        except ClientDisconnect as error:
            response = await _answer_nobody(request, error)
        except Exception as error:
            response = await _answer_defect(request, error)
        await response(scope, receive, send)


class Routes:
    """One method per route."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def invoke(self, request: Request) -> Response:
        """POST /v1/invocations"""
        began = time.monotonic()
        headers = headers_of(request)
        identity = await self._identify(headers, "invoke")
        body = InvocationRequest.from_json(await read_json(request, headers))
        assert body.wait_ms is not None
        found = await self._pool.invocations.accept(identity.tenant, body)
        if isinstance(found, Ticket):
            # Who waits as long as the budget waits for the end, which the budget brings.
            left = began + body.wait_ms / 1e3 - time.monotonic() if body.wait_ms < body.budget_ms else math.inf
            if not await self._wait(request, found, left):
                await self._pool.invocations.promise(found)
                if not found.life.is_final:
                    return _json({"id": found.life.id, "state": found.life.answer().state}, 202)
            found = found.life
        return _json((found.answer if isinstance(found, Outcome) else found.answer()).to_json())

    async def _wait(self, request: Request, ticket: Ticket, seconds: float) -> bool:
        """Wait for a ticket's end, the client's leaving or the time; whether it has ended."""
        if seconds <= 0:
            return ticket.life.is_final
        invocations = self._pool.invocations
        ticket.waiters += 1
        try:
            if await invocations.wait(ticket, min(seconds, _WATCH_AFTER)):
                return True
            gone = asyncio.ensure_future(_disconnected(request))
            try:
                rest = None if seconds == math.inf else seconds - _WATCH_AFTER
                await asyncio.wait({gone, ticket.ended}, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
                left = gone.done() and not ticket.life.is_final
            finally:
                gone.cancel()
        finally:
            ticket.waiters -= 1
        if left:
            invocations.leave(ticket)
            raise ClientDisconnect  # Answered to nobody.
        return ticket.life.is_final

    async def get(self, request: Request) -> Response:
        """GET /v1/invocations/{id}"""
        identity = await self._identify(headers_of(request), "invoke")
        return _json(self._pool.invocations.get(identity.tenant, request.path_params["id"]).to_json())

    async def cancel(self, request: Request) -> Response:
        """DELETE /v1/invocations/{id}"""
        identity = await self._identify(headers_of(request), "invoke")
        return _json(self._pool.invocations.cancel(identity.tenant, request.path_params["id"]).to_json())

    async def put_bundle(self, request: Request) -> Response:
        """PUT /v1/bundles/{digest}"""
        headers = headers_of(request)
        identity = await self._identify(headers, "invoke")
        digest = check_digest(request.path_params["digest"], "digest")
        data = await read_bundle(request, headers)
        return _json(await self._pool.bundles.put(identity.tenant, digest, data))

    async def fetch_bundle(self, request: Request) -> Response:
        """POST /v1/bundles"""
        headers = headers_of(request)
        identity = await self._identify(headers, "invoke")
        body = BundleRequest.from_json(await read_json(request, headers))
        return _json(await self._pool.fetcher.fetch(identity.tenant, body))

    async def get_bundle(self, request: Request) -> Response:
        """GET /v1/bundles/{digest}"""
        identity = await self._identify(headers_of(request), "invoke")
        digest = check_digest(request.path_params["digest"], "digest")
        return _json(await self._pool.bundles.describe(identity.tenant, digest))

    async def devices(self, request: Request) -> Response:
        """GET /v1/devices"""
        return _json(self._pool.status.devices(await self._identify(headers_of(request), "read")))

    async def cache(self, request: Request) -> Response:
        """GET /v1/cache"""
        return _json(await self._pool.status.cache(await self._identify(headers_of(request), "read")))

    async def queues(self, request: Request) -> Response:
        """GET /v1/queues"""
        return _json(self._pool.status.queues(await self._identify(headers_of(request), "read")))

    async def tenants(self, request: Request) -> Response:
        """GET /v1/tenants"""
        identity = await self._identify(headers_of(request), "read")
        return _json({"tenants": self._pool.metrics.tenants(None if "admin" in identity.scopes else identity.tenant)})

    async def purge(self, request: Request) -> Response:
        """POST /v1/cache/purge"""
        identity = await self._identify(headers_of(request), "invoke")
        return _json({"bytes": await self._pool.purge(identity.tenant)})

    async def refresh(self, request: Request) -> Response:
        """POST /v1/cache/refresh"""
        headers = headers_of(request)
        identity = await self._identify(headers, "invoke")
        body = RefreshRequest.from_json(await read_json(request, headers, empty={}))
        which = PinFilter(body.bundle, body.buffer, body.reference)
        return _json({"refreshed": await self._pool.objects.refresh(identity.tenant, which)})

    async def live(self, request: Request) -> Response:
        """GET /healthz/live"""
        return _json({"status": "live"})

    async def ready(self, request: Request) -> Response:
        """GET /healthz/ready"""
        reason = self._pool.not_ready()
        if reason is not None:
            return _json({"status": "not ready", "reason": reason}, 503)
        return _json({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """GET /metrics"""
        identity = await self._identify(headers_of(request), "read")
        everything = "admin" in identity.scopes
        self._pool.refresh_gauges()
        text = self._pool.metrics.expose(None if everything else identity.tenant)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json"""
        return Response(await asyncio.to_thread(openapi_json), media_type="application/json")

    async def _identify(self, headers: dict[bytes, str], scope: str) -> Identity:
        authorization, on_behalf_of = headers.get(b"authorization"), headers.get(b"kaas-tenant")
        kind, _, credentials = (authorization or "").partition(" ")
        if kind.lower() == "basic" and self._pool.controller is not None:
            identity = await self._pool.controller.identify(credentials)
            if on_behalf_of is not None:
                identity.require("vouch")
        else:
            identity = self._pool.tokens.identify(authorization, on_behalf_of)
        identity.require(scope)
        return identity


@cache
def openapi_json() -> bytes:
    """docs/openapi.yaml as JSON."""
    text = files("kaas_pool.front").joinpath("openapi.yaml").read_text("utf-8")
    return json.dumps(yaml.safe_load(text), separators=(",", ":")).encode()


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(_encode(body).encode(), status, media_type="application/json")


_encode = json.JSONEncoder(separators=(",", ":")).encode


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _error(error: KaasError, status: int | None = None) -> Response:
    response = _json({"error": error.to_json()}, status or error.row.pool or 500)
    if error.retry_after_ms is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_ms / 1e3))
    if error.code == "unauthenticated":
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, KaasError)
    return _error(error)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(
        CallerError(
            "route_unknown",
            f"the pool does not serve {request.method} {request.url.path}",
            hint="GET /openapi.json lists what it serves",
        )
    )


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _answer_defect(request: Request, error: Exception) -> Response:
    _log.error("a defect in %s %s", request.method, request.url.path, exc_info=error)
    return _error(PlatformError("internal", "the front failed; its log has the details"))
