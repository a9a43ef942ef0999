"""The pool's HTTP contract from the caller's side (docs/contracts.md, "HTTP, version 1").

    client = PoolClient("http://127.0.0.1:7233", bearer(token))
    invocation = client.invoke(bundle_bytes, {"x": "s3://data/x.npy", "a": 2})

Every call may be repeated without harm (uploads go by digest, invocations by id), so a connection that is refused or
lost is tried again for a few seconds before it becomes `pool_unreachable`: that outlasts a restart of the pool's front.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, get_args
from urllib.parse import quote

from kaas.connections import (
    CertificateError,
    ConnectionFailedError,
    Connections,
    LostError,
    SilentError,
    UntrustedError,
)
from kaas.errors import CallerError, KaasError, PlatformError
from kaas.messages import DEFAULT_BUDGET_MS, MAX_BUDGET_MS, Invocation, InvocationRequest, RefreshRequest, State

#: How long a refused or lost connection is tried again: a front is back within 3 s of its death (docs/numbers.md, P9).
RECONNECT_SECONDS = 5.0

#: Beyond the wait: an endless kernel is killed 2 s after the budget, and its answer has to travel.
GRACE_SECONDS = 5.0

#: For everything that computes nothing.
STATUS_SECONDS = 10.0

#: The compiler's own limit is 60 s of processor time per source; several sources may be compiled, on a busy machine.
UPLOAD_SECONDS = 300.0

_TOKEN = re.compile(r"[ -~]+")

_STATES = frozenset(get_args(State))

_TRUST = (
    "SSL_CERT_FILE=/path/to/ca.crt names the certificate of the authority that signed the pool's; "
    "its address has to be one of the names that the certificate is for"
)

_CONNECT_SECONDS = 3.0
_FIRST_PAUSE_SECONDS = 0.05
_LAST_PAUSE_SECONDS = 0.5

#: A request that takes the front down with it is not sent for ever.
_MAX_LOST = 3


def bearer(token: str) -> str:
    """The `Authorization` header of a pool token; raises `unauthenticated` for what no header can carry."""
    text = token.strip()  # Where secrets are kept they often end in a line end.
    if not _TOKEN.fullmatch(text):
        raise CallerError(
            "unauthenticated",
            "the token is empty, or has characters that no HTTP header can carry",
            hint="a token of the pool has printable ASCII characters",
        )
    return f"Bearer {text}"


def basic(api_key: str) -> str:
    """The `Authorization` header of an OpenWhisk key, `user:password`."""
    return f"Basic {base64.b64encode(api_key.encode()).decode()}"


def digest_of(content: bytes) -> str:
    """The digest by which the pool knows a bundle of exactly these bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class PoolClient:
    """A connection to one pool under one identity; safe for use by several threads.

    Every method raises KaasError: what the pool answered, or `pool_unreachable`.
    """

    def __init__(self, url: str, authorization: str | None = None, *, reconnect_s: float = RECONNECT_SECONDS) -> None:
        """`authorization` is the header's value (see `bearer` and `basic`); `reconnect_s` is 0 for who only looks."""
        try:
            self._connections = Connections(url)
        except ValueError as error:
            raise PlatformError(
                "pool_unreachable",
                f"the pool's address is no URL: {error}",
                hint="KAAS_POOL_URL looks like http://127.0.0.1:7233",
            ) from error
        self.url = url.rstrip("/")
        self._authorization = authorization
        self._reconnect_s = reconnect_s

    def acting_as(self, authorization: str | None) -> PoolClient:
        """The same connections under another identity."""
        other = PoolClient.__new__(PoolClient)
        other.__dict__.update(self.__dict__, _authorization=authorization)
        return other

    def __enter__(self) -> PoolClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()

    def put_bundle(self, content: bytes, *, timeout_s: float = UPLOAD_SECONDS) -> dict[str, Any]:
        """Upload a zip or a manifest's text; the pool checks and compiles it before it answers."""
        kind = "application/zip" if content.startswith(b"PK") else "application/yaml"
        return self._json("PUT", f"/v1/bundles/{digest_of(content)}", content, kind, timeout_s=timeout_s)

    def fetch_bundle(
        self, reference: str, digest: str | None = None, *, timeout_s: float = UPLOAD_SECONDS
    ) -> dict[str, Any]:
        """Have the pool take a bundle from the object store, under this tenant's rights; what `put_bundle` returns.

        With `digest`, any other contents are `object_changed`.
        """
        body = {"reference": reference} if digest is None else {"reference": reference, "digest": digest}
        return self._json("POST", "/v1/bundles", json.dumps(body).encode(), timeout_s=timeout_s)

    def bundle(self, digest: str, *, timeout_s: float = UPLOAD_SECONDS) -> dict[str, Any]:
        """What `put_bundle` returned for a bundle of this tenant, and its `manifest`; raises `bundle_unknown`."""
        return self._json("GET", f"/v1/bundles/{quote(digest, safe=':')}", timeout_s=timeout_s)

    def invoke(
        self,
        bundle: bytes | str,
        arguments: Mapping[str, Any],
        *,
        content: bytes | None = None,
        id: str | None = None,
        budget_ms: int = DEFAULT_BUDGET_MS,
        wait_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> Invocation:
        """Start an invocation and wait for it.

        `bundle` is the bundle itself, or its digest with the bundle as `content`: it is uploaded if the pool does not
        know it. A digest alone is never uploaded. Without `wait_ms` the call waits until the invocation has ended.
        `timeout_s` bounds the whole call, an upload included (default: the wait and some grace); giving up cancels the
        invocation.
        """
        content, digest = (bundle, digest_of(bundle)) if isinstance(bundle, bytes) else (content, bundle)
        wait = min(budget_ms + round(GRACE_SECONDS * 1000), MAX_BUDGET_MS) if wait_ms is None else wait_ms
        limit = wait / 1000 + GRACE_SECONDS if timeout_s is None else timeout_s
        started = time.monotonic()

        def spent_ms() -> int:
            return round((time.monotonic() - started) * 1000)

        def left_s() -> float:
            return max(0.0, limit - spent_ms() / 1000)

        request = InvocationRequest(digest, arguments, id or uuid.uuid4().hex, budget_ms, wait)
        try:
            try:
                return self._invoke(request, left_s())
            except KaasError as error:
                if error.code != "bundle_unknown" or content is None:
                    raise
            self.put_bundle(content, timeout_s=left_s())
            budget_left = budget_ms - spent_ms()
            if budget_left > 0:
                return self._invoke(replace(request, budget_ms=budget_left), left_s())
        except _Unanswered as error:
            if spent_ms() < budget_ms:
                raise
            raise _late(budget_ms, "before the pool answered") from error
        raise _late(budget_ms, "while the pool checked and compiled the bundle")

    def _invoke(self, request: InvocationRequest, timeout_s: float) -> Invocation:
        body = json.dumps(request.to_json(), separators=(",", ":"), ensure_ascii=False).encode()
        return self._invocation("POST", "/v1/invocations", body, timeout_s=timeout_s)

    def get(self, id: str) -> Invocation:
        """The state, result or error, and story of one of the tenant's invocations."""
        return self._invocation("GET", f"/v1/invocations/{quote(id, safe='')}")

    def cancel(self, id: str) -> Invocation:
        """Cancel an invocation; what has ended stays as it is."""
        return self._invocation("DELETE", f"/v1/invocations/{quote(id, safe='')}")

    def status(self, what: str) -> dict[str, Any]:
        """One of the pool's views: `devices`, `cache`, `queues` or `tenants`."""
        return self._json("GET", f"/v1/{what}")

    def purge(self) -> int:
        """Drop the tenant's idle cache entries; returns the bytes freed."""
        return int(self._json("POST", "/v1/cache/purge", b"{}")["bytes"])

    def refresh(self, *, bundle: str | None = None, buffer: str | None = None, reference: str | None = None) -> int:
        """Let go of the tenant's pinned versions that agree with what is given; returns how many went.

        The next call finds the present versions. `bundle` is a digest (`digest_of`).
        """
        body = RefreshRequest(bundle, buffer, reference).to_json()
        return int(self._json("POST", "/v1/cache/refresh", json.dumps(body).encode())["refreshed"])

    def ready(self, *, timeout_s: float = STATUS_SECONDS) -> None:
        """Return if the pool would serve an invocation now, else raise what it says is missing."""
        self._json("GET", "/healthz/ready", timeout_s=timeout_s)

    def _invocation(
        self, method: str, path: str, body: bytes | None = None, *, timeout_s: float = STATUS_SECONDS
    ) -> Invocation:
        answer = self._json(method, path, body, timeout_s=timeout_s)
        if not isinstance(answer.get("id"), str) or answer.get("state") not in _STATES:
            raise self._unreachable("answered with something that is not an invocation")
        return Invocation.from_json(answer)

    def _json(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        *,
        timeout_s: float = STATUS_SECONDS,
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = kind
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        status, data = self._send(method, path, body, headers, timeout_s)
        try:
            answer = json.loads(data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            # Somebody else, as where a Service of Kubernetes has no pod yet: the next connection may lead to the pool.
            self._connections.close()
            raise self._unreachable(f"answered {status} with something that is not JSON")
        if 200 <= status < 300:
            return answer
        error = answer.get("error")
        if not isinstance(error, dict):
            # `/healthz/ready` gives its reason in words.
            why = answer.get("reason")
            raise self._unreachable(f"answered {status}" + (f": {why}" if why else " without saying why"))
        raise KaasError.from_json(error)

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + timeout_s
        last_try: float | None = None
        lost, pause = 0, _FIRST_PAUSE_SECONDS
        while True:
            left = max(0.001, deadline - time.monotonic())
            connect = min(left, _CONNECT_SECONDS)
            try:
                return self._connections.send(method, path, body, headers, connect_s=connect, answer_s=left)
            except SilentError as error:
                raise self._unreachable(f"{error} ({timeout_s:.1f} s)", _Unanswered) from error
            except CertificateError as error:
                raise PlatformError("pool_unreachable", f"the pool at {self.url} {error}", hint=_TRUST) from error
            except UntrustedError as error:
                raise self._unreachable(str(error)) from error
            except ConnectionFailedError as error:
                now = time.monotonic()
                if isinstance(error, LostError):
                    lost += 1
                    last_try = None  # it was there, so this is the start of an outage
                last_try = last_try or now + self._reconnect_s
                if now + pause > min(last_try, deadline) or lost > _MAX_LOST:
                    raise self._unreachable(str(error)) from error
            time.sleep(pause)  # The back-off itself: a server that is away cannot tell when it is back.
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    def _unreachable(self, what: str, kind: type[PlatformError] = PlatformError) -> PlatformError:
        return kind(
            "pool_unreachable",
            f"the pool at {self.url} {what}",
            hint="is the pool running, and is this its address? On one machine `kaas status` tells",
        )


class _Unanswered(PlatformError):
    """The pool has the request, and the caller's time is up."""


def _late(budget_ms: int, when: str) -> CallerError:
    return CallerError(
        "budget_exceeded",
        f"the budget of {budget_ms} ms was spent {when}",
        hint="give the invocation more time or less work",
    )
