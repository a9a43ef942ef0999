"""The HTTP interface: which path is whose, who may ask, and OpenWhisk's headers and errors around every answer."""

from __future__ import annotations

import logging
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kaas_local.openwhisk.actions import Actions
from kaas_local.openwhisk.activations import Activations
from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.exchange import Exchange, answer
from kaas_local.openwhisk.namespaces import Namespaces, about, version
from kaas_local.openwhisk.packages import Packages
from kaas_local.openwhisk.refusal import DEFECT, NOT_FOUND, Refusal, left_out
from kaas_local.openwhisk.services import Services

_HEADERS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-headers", b"Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"),
    (b"access-control-allow-methods", b"GET, DELETE, POST, PUT, HEAD"),
]
_CHALLENGE = 'Basic realm="OpenWhisk secure realm"'

#: Transactions that the platform begins by itself.
_SYSTEM_PREFIX = "sid_"

_LETTERS = string.ascii_letters + string.digits

_log = logging.getLogger(__name__)

Handler = Callable[[Exchange], Awaitable[Response]]


def make_app(services: Services) -> ASGIApp:
    """The application over services that have been started."""
    router = Router(services)
    application = Starlette(
        routes=router.routes(),
        exception_handlers={
            Refusal: _answer_refusal,
            HTTPException: _answer_http,
            ClientDisconnect: _answer_nobody,
            Exception: _answer_defect,
        },
    )
    # A package's path with a slash lists it, without one it is an action of that name.
    application.router.redirect_slashes = False
    return _Envelope(application)


class Router:
    """The table of routes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """All routes."""
        actions, packages = Actions(self._services), Packages(self._services)
        activations, namespaces = Activations(self._services), Namespaces()
        one_action = {"GET": actions.get, "PUT": actions.put, "POST": actions.invoke, "DELETE": actions.delete}
        one_package = {"GET": packages.get, "PUT": packages.put, "DELETE": packages.delete}
        every = ["GET", "PUT", "POST", "DELETE"]
        inside = "/namespaces/{namespace}"
        table: list[tuple[str, Mapping[str, Handler]]] = [
            ("/namespaces", {"GET": namespaces.list}),
            ("/namespaces/", {"GET": namespaces.list}),
            (f"{inside}/limits", {"GET": namespaces.limits}),
            (f"{inside}/actions", {"GET": actions.list}),
            (f"{inside}/actions/", {"GET": actions.list}),
            (f"{inside}/actions/{{name}}", one_action),
            (f"{inside}/actions/{{package}}/", {"GET": actions.list_package}),
            (f"{inside}/actions/{{package}}/{{name}}", one_action),
            (f"{inside}/packages", {"GET": packages.list}),
            (f"{inside}/packages/", {"GET": packages.list}),
            (f"{inside}/packages/{{name}}", one_package),
            (f"{inside}/activations", {"GET": activations.list}),
            (f"{inside}/activations/", {"GET": activations.list}),
            (f"{inside}/activations/{{id}}", {"GET": activations.get}),
            (f"{inside}/activations/{{id}}/logs", {"GET": activations.logs}),
            (f"{inside}/activations/{{id}}/result", {"GET": activations.result}),
        ]
        for collection in ("triggers", "rules"):
            missing = _refusing(f"{collection.capitalize()} are")
            table += [
                (f"{inside}/{collection}", {"GET": namespaces.nothing}),
                (f"{inside}/{collection}/{{name}}", dict.fromkeys(every, missing)),
            ]
        found = [self._route(path, handlers) for path, handlers in table]
        found.append(Route("/api/v1/web/{rest:path}", _refuse_web, methods=every))
        found.append(Route("/", self._about, methods=["GET"]))
        found.append(Route("/ping", _ping, methods=["GET"]))
        found += [Route(path, _version, methods=["GET"]) for path in ("/api/v1", "/api/v1/")]
        return found

    def _route(self, path: str, handlers: Mapping[str, Handler]) -> Route:
        return Route(f"/api/v1{path}", self._endpoint(handlers), methods=list(handlers))

    def _endpoint(self, handlers: Mapping[str, Handler]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            identity = self._services.keys.identify(request.headers.get("authorization"))
            handler = handlers["GET" if request.method == "HEAD" else request.method]
            return await handler(Exchange(request, identity, request.scope["transaction_id"], now_ms()))

        return endpoint

    async def _about(self, request: Request) -> Response:
        return answer(about(self._services.kinds))


class _Envelope:
    """Gives every request a transaction's id and every answer OpenWhisk's headers; answers OPTIONS."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        transaction_id = _transaction_id(scope)
        scope["transaction_id"] = transaction_id

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [*_HEADERS, (b"x-request-id", transaction_id.encode("latin-1"))]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        application = Response() if scope["method"] == "OPTIONS" else self._application
        await application(scope, receive, with_headers)


def _transaction_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        given: str = value.decode("latin-1")
        if name == b"x-request-id" and given and not given.startswith(_SYSTEM_PREFIX):
            return given
    return "".join(secrets.choice(_LETTERS) for _ in range(32))


async def _refuse_web(request: Request) -> Response:
    # Web actions are for callers without a key, so nobody is asked for one.
    raise left_out("Web actions and API gateways are")


def _refusing(what: str) -> Handler:
    async def refuse(exchange: Exchange) -> Response:
        raise left_out(what)

    return refuse


def _error(request: Request, status: int, text: str) -> Response:
    return answer({"error": text, "code": request.scope["transaction_id"]}, status)


async def _ping(request: Request) -> Response:
    return PlainTextResponse("pong")


async def _version(request: Request) -> Response:
    return answer(version())


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    response = _error(request, error.status, error.text)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = _CHALLENGE
    return response


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return _error(request, 405, f"HTTP method not allowed, supported methods: {allowed}")
    return _error(request, error.status_code, NOT_FOUND)


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


async def _answer_defect(request: Request, error: Exception) -> Response:
    _log.error("a defect in %s %s", request.method, request.url.path, exc_info=error)
    return _error(request, 500, DEFECT)
