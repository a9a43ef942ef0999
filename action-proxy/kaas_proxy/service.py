"""A kernel action as a Knative Service: found at start, called with JSON or with events."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kaas.call import Call
from kaas.client import GRACE_SECONDS
from kaas.dtypes import shorten
from kaas.errors import CallerError, KaasError, PlatformError
from kaas.manifest import Manifest
from kaas.messages import Invocation
from kaas_proxy.action import error_of, fitting
from kaas_proxy.bound import check_bound
from kaas_proxy.cloud_events import CloudEvent, Envelope
from kaas_proxy.notifications import Nothing, read_notification, refuse_loop
from kaas_proxy.readiness import Readiness
from kaas_proxy.settings import Bundled, Known, Settings, Stored
from kaas_proxy.streams import Streams

#: Calls at a time. Beyond them the answer is `pool_busy`, so that probes and refusals still find a thread.
MAX_CALLS = 64

RESULT = "dev.kaas.result"
ERROR = "dev.kaas.error"

#: A look at the pool that takes longer counts as none, in seconds.
_LOOK_SECONDS = 2.0

_MORE_TIME = "give it more time (KAAS_BUDGET_MS, and the Service's timeoutSeconds) or less work"


@dataclass(frozen=True)
class Served:
    """The action as it was found: its digest and what it takes."""

    digest: str
    manifest: Manifest


class Service:
    """One action under one token; safe for use by several threads."""

    def __init__(self, settings: Settings, streams: Streams) -> None:
        self._settings = settings
        self._streams = streams
        self._client = settings.connect()
        self._looking = settings.connect(reconnect_s=0)
        self._served: Served | None = None
        self._calls = threading.BoundedSemaphore(MAX_CALLS)
        self._lock = threading.Lock()
        #: The ids of the events that are being handled.
        self._running: set[str] = set()
        self.readiness = Readiness(self._look, self._tell)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the calls at a time; raises `pool_busy`. Whoever is slow to send one has it, too."""
        if not self._calls.acquire(blocking=False):
            raise PlatformError(
                "pool_busy",
                f"this instance handles {MAX_CALLS} calls already",
                hint="try again, or let Knative start more instances: containerConcurrency at most 64",
                retry_after_ms=1000,
            )
        try:
            yield
        finally:
            self._calls.release()

    def call(self, payload: Mapping[str, Any]) -> Invocation | Nothing:
        """Call the action with a JSON payload, which may be a store's notification.

        Raises KaasError and CallFailedError; an invocation has a result.
        """
        served = self._action()
        identifier = uuid.uuid4().hex
        arguments = self._arguments(served, payload, identifier)
        return arguments if isinstance(arguments, Nothing) else self._invoke(served, arguments, identifier)

    def handle(self, event: CloudEvent) -> tuple[Invocation, CloudEvent] | Nothing:
        """Call the action with an event's data, once per (source, id), and make the event that answers it.

        Raises as `call` does, and `event_running` while the same event is being handled here.
        """
        served = self._action()
        self._refuse_own(served, event)
        identifier = self._identifier(served, event)
        arguments = self._arguments(served, _payload(event), identifier)
        if isinstance(arguments, Nothing):
            return arguments
        with self._alone(identifier):
            invocation = self._invoke(served, arguments, identifier)
        return invocation, self._reply(event, identifier, invocation.result)

    def failure(self, envelope: Envelope, event: CloudEvent | None, error: KaasError) -> CloudEvent:
        """The event that tells of an error, of what came in `envelope` and was an event, or none that could be read."""
        served = self._served
        name = served.manifest.name if served is not None else "action"
        identifier = uuid.uuid4().hex if event is None else self._identifier(served, event)
        return CloudEvent(
            f"{identifier}-error",
            self._settings.source(name),
            ERROR,
            {"error": error.to_json()},
            (event.subject if event is not None else None) or name,
            event.trace if event is not None else envelope.trace,
            envelope.is_structured,
        )

    def _reply(self, event: CloudEvent, identifier: str, result: Any) -> CloudEvent:
        name = self._action().manifest.name
        # In a chain of actions each answer has another type, or a Trigger would get its own answer back.
        kind = f"{event.type}.result" if event.type.startswith(RESULT) else RESULT
        return CloudEvent(
            identifier,
            self._settings.source(name),
            kind,
            result,
            event.subject or name,
            event.trace,
            event.is_structured,
        )

    # The action.

    def _action(self) -> Served:
        if self._served is not None:
            return self._served
        problem = self.readiness.problem
        raise PlatformError(
            "action_unavailable",
            f"the Service has no action yet: {problem or 'it has just started'}",
            hint=None if problem else "try again in a second",
            retry_after_ms=1000,
        )

    def _look(self) -> None:
        """See whether the pool answers, and has the action under this token; find the action if it is not found yet."""
        self._looking.ready(timeout_s=_LOOK_SECONDS)
        found = self._known()
        if self._served is None:
            manifest = Manifest.parse(found["manifest"])
            check_bound(manifest, self._settings.arguments, self._settings.watched)
            self._served = Served(str(found["digest"]), manifest)

    def _known(self) -> dict[str, Any]:
        """What the pool says of the action, which it has from now on."""
        action, served = self._settings.action, self._served
        # What is found at the start is what is served, whatever the object in the store becomes.
        digest = served.digest if served is not None else None if isinstance(action, Stored) else action.digest
        if digest is not None:
            try:
                return self._looking.bundle(digest)
            except KaasError as error:
                if error.code != "bundle_unknown" or isinstance(action, Known):
                    raise
        if isinstance(action, Bundled):
            self._looking.put_bundle(action.content)
            digest = action.digest
        elif isinstance(action, Stored):
            digest = str(self._looking.fetch_bundle(str(action.reference), digest or action.digest)["digest"])
        assert digest is not None
        return self._looking.bundle(digest)

    def _tell(self, problem: KaasError | None) -> None:
        if problem is not None:
            self._streams.end_call((), None, f"not ready: {problem}")
        elif self._served is not None:
            self._streams.end_call(
                (), {"kaas": {"ready": self._served.manifest.name, "digest": self._served.digest}}, None
            )

    # Calls.

    @contextmanager
    def _alone(self, identifier: str) -> Iterator[None]:
        with self._lock:
            if identifier in self._running:
                raise CallerError(
                    "event_running",
                    "the same event is being handled",
                    hint="delivered again later, it is answered with the same result",
                    retry_after_ms=1000,
                )
            self._running.add(identifier)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(identifier)

    def _arguments(self, served: Served, payload: Mapping[str, Any], identifier: str) -> Mapping[str, Any] | Nothing:
        """What the action is called with: what is bound, and over it the payload, or the object it notifies of."""
        manifest, bound = served.manifest, self._settings.arguments
        told = read_notification(payload) if manifest.event_input is not None else None
        if isinstance(told, Nothing):
            return told
        if told is None or manifest.event_input is None:
            return fitting({**bound, **payload}, {*manifest.buffers, *manifest.params})
        name, reference = manifest.event_input, str(told.reference)
        arguments: dict[str, Any] = {**bound, name: reference}
        given = bound.get("rename", {})
        if isinstance(given, dict) and (given or manifest.rename):
            # The object is this buffer's, whatever else would become it, or would be made of its name.
            arguments["rename"] = {**{key: target for key, target in given.items() if target != name}, name: name}
        if told.etag is not None:
            # It saves the look at an object that the pool itself has written; the pool believes no more of it.
            arguments["kaas"] = {"outputs": {name: {"ref": reference, "etag": told.etag}}}
        refuse_loop(Call.parse(manifest, arguments, activation_id=identifier), told.reference, self._settings.watched)
        return arguments

    def _invoke(self, served: Served, arguments: Mapping[str, Any], identifier: str) -> Invocation:
        action = self._settings.action
        # Of everything together: Knative gives up soon after it.
        deadline = time.monotonic() + self._settings.budget_ms / 1000

        def invoke() -> Invocation:
            budget = max(1, round((deadline - time.monotonic()) * 1000))
            return self._client.invoke(
                served.digest,
                arguments,
                content=action.content if isinstance(action, Bundled) else None,
                id=identifier,
                budget_ms=budget,
                timeout_s=budget / 1000 + GRACE_SECONDS,
            )

        try:
            invocation = invoke()
        except KaasError as error:
            if error.code != "bundle_unknown":
                raise
            self._restore(served, error, deadline)
            invocation = invoke()
        failure = error_of(invocation, _MORE_TIME)
        if failure is not None:
            raise CallFailedError(failure, invocation)
        return invocation

    def _restore(self, served: Served, problem: KaasError, deadline: float) -> None:
        """Have the pool take the action again, of which it has lost what it knew. That is no fault of the call's."""
        action = self._settings.action
        if isinstance(action, Stored):
            try:
                left = max(0.001, deadline - time.monotonic())
                self._client.fetch_bundle(str(action.reference), served.digest, timeout_s=left)
                return
            except KaasError as error:
                problem = error
        raise PlatformError(
            "action_unavailable",
            f"the pool has not got the action any more: {problem}",
            hint="put back what this revision has served, or deploy a new one",
            retry_after_ms=1000,
        )

    def _refuse_own(self, served: Served, event: CloudEvent) -> None:
        if event.source == self._settings.source(served.manifest.name) and event.type.startswith((RESULT, ERROR)):
            raise CallerError(
                "argument_invalid",
                "the event is an answer of this Service, and its answer would come in again, without end",
                where="source",
                hint="filter its Trigger by the type of the events that it is for",
            )

    def _identifier(self, served: Served | None, event: CloudEvent) -> str:
        """The idempotency key: another revision, with another bundle or other arguments, makes its own results."""
        whole = [served.digest if served is not None else None, self._settings.arguments, event.source, event.id]
        return f"event-{hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:40]}"


class CallFailedError(Exception):
    """An invocation that was accepted and failed: its error, and its log."""

    def __init__(self, error: KaasError, invocation: Invocation) -> None:
        super().__init__(str(error))
        self.error = error
        self.invocation = invocation


def _payload(event: CloudEvent) -> Mapping[str, Any]:
    if event.data is None:
        return {}
    if isinstance(event.data, dict):
        return event.data
    raise CallerError(
        "argument_invalid",
        f"the event's data are {shorten(event.data)}",
        where="data",
        hint='a kernel action takes its buffers and parameters by name: {"x": "s3://bucket/x.npy"}',
    )
