"""The one kernel action of this process: checked at `/init`, run by the pool at every `/run`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from kaas.bundle import Bundle
from kaas.client import PoolClient, basic, bearer
from kaas.errors import CallerError, KaasError, PlatformError
from kaas.messages import DEFAULT_BUDGET_MS, MAX_BUDGET_MS, MAX_REQUEST_BYTES, Invocation
from kaas_proxy.protocol import NOT_INITIALIZED, InitRequest, ProtocolError, RunRequest, SecondInitError

#: The pool ends an endless kernel 2 s after the budget; its answer must still come before the platform's own time-out.
_MARGIN_MS = 2500
#: ... unless that were more than this part of a short time-out.
_MARGIN_PART = 0.1
#: When this process gives up on the pool, before the deadline.
_ANSWER_MS = 100

_MORE_TIME = "give the action more time (`-t`) or less work"

#: Keys of a call that are neither buffers nor parameters.
_CALL_KEYS = frozenset({"ack", "freshness", "kaas", "outputs", "rename", "store"})

#: What the frame of an invocation request takes beside the arguments.
_FRAME_BYTES = 1024


@dataclass(frozen=True)
class PoolAccess:
    """Where the pool is, and the token that speaks for every caller of this process, if there is one."""

    url: str | None
    token: str | None


@dataclass(frozen=True)
class Outcome:
    """An activation's end: an invocation that the pool has ended, or the error that came before."""

    budget_ms: int
    invocation: Invocation | None = None
    error: KaasError | None = None


class Action:
    """Not initialised, then initialised for ever; safe for use by several threads."""

    def __init__(self, access: PoolAccess) -> None:
        self._access = access
        self._client: PoolClient | None = None
        self._lock = threading.Lock()
        #: None until an `/init` has succeeded.
        self._loaded: _Loaded | None = None

    def init(self, request: InitRequest) -> None:
        """Check the bundle here, without the pool: a pool that is down is not the author's mistake.

        Raises AuthorError for a broken bundle and SecondInitError for a second `/init`.
        """
        with self._lock:
            self.refuse_second_init()
            bundle = Bundle.open(request.content)
            self._loaded = _Loaded(request.content, bundle, request.environment)

    def refuse_second_init(self) -> None:
        """Raise SecondInitError if the action is initialised."""
        if self._loaded is not None:
            raise SecondInitError

    def run(self, request: RunRequest) -> Outcome:
        """Have the pool run it. Raises ProtocolError before `/init`; every other failure is in the outcome."""
        loaded = self._loaded
        if loaded is None:
            raise ProtocolError(500, NOT_INITIALIZED)
        left_ms = _time_left_ms(request.deadline_ms)
        budget_ms = left_ms - min(_MARGIN_MS, round(left_ms * _MARGIN_PART))
        try:
            client = self._pool().acting_as(self._authorization(request, loaded))
            invocation = client.invoke(
                loaded.bundle.digest,
                loaded.arguments(request.arguments),
                content=loaded.content,
                id=request.activation_id,
                budget_ms=budget_ms,
                timeout_s=max(budget_ms, left_ms - _ANSWER_MS) / 1000,
            )
        except KaasError as error:
            return Outcome(budget_ms, error=error)
        return Outcome(budget_ms, invocation=invocation, error=error_of(invocation, _MORE_TIME))

    def _pool(self) -> PoolClient:
        if self._access.url is None:
            raise PlatformError(
                "pool_unreachable",
                "this action proxy does not know where the pool is",
                hint="start the container with KAAS_POOL_URL",
            )
        with self._lock:
            if self._client is None:
                self._client = PoolClient(self._access.url)
            return self._client

    def _authorization(self, request: RunRequest, loaded: _Loaded) -> str:
        if self._access.token is not None:
            return bearer(self._access.token)
        key = request.api_key or loaded.environment.get("__OW_API_KEY")
        if not key:
            raise CallerError(
                "unauthenticated",
                "the activation carries no API key, so the pool cannot know who calls",
                hint="create or update the action with `-a provide-api-key true`",
            )
        return basic(key)


@dataclass(frozen=True)
class _Loaded:
    content: bytes
    bundle: Bundle
    environment: Mapping[str, str]

    def arguments(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The call's arguments, over those that were bound to the action with `init: true`.

        OpenWhisk puts the latter into the environment, as texts, and there is no host code here that could read it.
        """
        manifest = self.bundle.manifest
        names = {*manifest.buffers, *manifest.params}
        bound = {name: _value(text) for name, text in self.environment.items() if name in names}
        return fitting({**bound, **given}, names)


def fitting(arguments: Mapping[str, Any], names: Set[str]) -> Mapping[str, Any]:
    """The arguments, without those that the action does not know if the request would be over the pool's limit.

    Sequences, triggers and events pass on whatever they have, up to 1 MiB of it.
    """
    if len(json.dumps(arguments, ensure_ascii=False).encode()) + _FRAME_BYTES <= MAX_REQUEST_BYTES:
        return arguments
    return {name: value for name, value in arguments.items() if name in names or name in _CALL_KEYS}


def _value(text: str) -> Any:
    """A parameter that the platform has made a text: the JSON it was, or else the text."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def _time_left_ms(deadline_ms: int | None) -> int:
    """No platform sends an activation whose time is up: a deadline in the past is a clock that differs."""
    left = deadline_ms - round(time.time() * 1000) if deadline_ms is not None else 0
    return min(left, MAX_BUDGET_MS) if left > 0 else DEFAULT_BUDGET_MS


def error_of(invocation: Invocation, more_time: str) -> KaasError | None:
    """What went wrong with an invocation that was waited for; `more_time` is the hint if its time was up."""
    if invocation.error is not None:
        return invocation.error
    if invocation.state == "done" and invocation.result is not None:
        return None
    if invocation.is_final:
        return PlatformError("internal", f"the pool answered {invocation.state} without a result or an error")
    return CallerError(
        "budget_exceeded", f"the invocation was still {invocation.state} when its time was up", hint=more_time
    )
