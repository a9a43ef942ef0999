"""OpenWhisk's API keys: whose they are, as its controller says (docs/contracts.md, "Identity").

On stock OpenWhisk no secret of the pool lies in an action's container: the caller's own key comes along, and the pool
asks the controller for the namespace behind it (`GET /api/v1/namespaces`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import re
import secrets
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kaas.connections import ConnectionFailedError, Connections
from kaas.errors import CallerError, KaasError, PlatformError
from kaas_pool.front.tokens import Identity, is_tenant

#: What a key allows: its namespace's own invocations, and to see its own part of the pool.
_SCOPES = frozenset({"invoke", "read"})

#: For how long a key that the controller refused is refused without asking, in seconds: it may just have been made.
_REFUSED_SECONDS = 5.0
#: Keys remembered; the least recently used go first.
_REMEMBERED = 10_000
#: Questions under way at a time, and how many may wait for that: whoever guesses keys must not fill the front.
_AT_A_TIME = 4
_MOST_ASKED = 256
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0

#: A user and a password, as `wsk property get --auth` shows them.
_KEY = re.compile(rb"[\x21-\x39\x3b-\x7e]{1,256}:[\x21-\x7e]{1,256}")


@dataclass(frozen=True)
class _Known:
    """What the controller said of a key, good until `until`: whose it is, or None if it is nobody's."""

    identity: Identity | None
    until: float


class Controller:
    """The controller at a URL. `believed` is for how many seconds its word on a key is good."""

    def __init__(self, url: str, believed: float) -> None:
        """Raises ValueError for what is no URL of an HTTP server."""
        self._url = url
        self._connections = Connections(url)
        self._believed = believed
        # Keys are kept by a digest that means nothing outside this process.
        self._salt = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Identity]] = {}
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "controller")

    def close(self) -> None:
        """Ask nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._connections.close()

    async def identify(self, credentials: str) -> Identity:
        """The identity behind what follows `Basic` in an Authorization header.

        Raises `unauthenticated`; `controller_unreachable` if the key is not known and the controller does not tell;
        `pool_busy` if too many unknown keys are being asked for.
        """
        key = _decode(credentials)
        name = hashlib.blake2b(key, digest_size=32, key=self._salt).digest()
        known = self._known.get(name)
        if known is not None and time.monotonic() < known.until:
            self._known.move_to_end(name)
            if known.identity is None:
                raise _nobodys()
            return known.identity
        task = self._asked.get(name)
        if task is None:
            if len(self._asked) >= _MOST_ASKED:
                raise PlatformError(
                    "pool_busy", "too many API keys are being checked with OpenWhisk's controller", retry_after_ms=1000
                )
            task = asyncio.get_running_loop().create_task(self._ask(name, key), name="check an API key")
            task.add_done_callback(lambda done: self._answered(name, done))
            self._asked[name] = task
        # Whoever leaves must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    def _answered(self, name: bytes, done: asyncio.Task[Identity]) -> None:
        del self._asked[name]
        if not done.cancelled():
            done.exception()  # Perhaps nobody waits any more; asyncio would complain.

    async def _ask(self, name: bytes, key: bytes) -> Identity:
        loop = asyncio.get_running_loop()
        authorization = f"Basic {base64.b64encode(key).decode()}"
        try:
            status, body = await loop.run_in_executor(self._threads, self._get, authorization)
        except ConnectionFailedError as error:
            raise _unreachable(f"OpenWhisk's controller at {self._url} {error}") from error
        if status in (401, 403):
            self._remember(name, _Known(None, time.monotonic() + _REFUSED_SECONDS))
            raise _nobodys()
        identity = Identity(_namespace(status, body), _SCOPES)
        self._remember(name, _Known(identity, time.monotonic() + self._believed))
        return identity

    def _get(self, authorization: str) -> tuple[int, bytes]:
        headers = {"Authorization": authorization, "Accept": "application/json"}
        return self._connections.send(
            "GET", "/api/v1/namespaces", None, headers, connect_s=_CONNECT_SECONDS, answer_s=_ANSWER_SECONDS
        )

    def _remember(self, name: bytes, known: _Known) -> None:
        self._known[name] = known
        self._known.move_to_end(name)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _decode(credentials: str) -> bytes:
    try:
        key = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not _KEY.fullmatch(key):
        raise CallerError(
            "unauthenticated",
            "the credentials after 'Basic' are not an OpenWhisk key, USER:PASSWORD in base64",
            where="header authorization",
        )
    return key


def _namespace(status: int, body: bytes) -> str:
    """The one namespace of a key, from the controller's answer."""
    try:
        namespaces = json.loads(body) if status == 200 else None
    except (ValueError, RecursionError):
        namespaces = None
    if not isinstance(namespaces, list) or len(namespaces) != 1 or not isinstance(namespaces[0], str):
        raise _unreachable(f"OpenWhisk's controller answered {status}, and not with the key's one namespace")
    if not is_tenant(namespaces[0]):
        raise _unreachable("OpenWhisk's controller names a namespace that cannot be a tenant")
    return namespaces[0]


def _nobodys() -> KaasError:
    return CallerError(
        "unauthenticated",
        "OpenWhisk's controller does not know this API key",
        hint="`wsk property get --auth` shows it",
    )


def _unreachable(message: str) -> KaasError:
    return PlatformError(
        "controller_unreachable", message, hint="the key cannot be checked now; the pool's --controller says where"
    )
