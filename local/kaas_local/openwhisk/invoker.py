"""Invocations: each one a task that runs to its end and leaves a record, whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kaas_local.openwhisk.activation import Activation, Ended, failure
from kaas_local.openwhisk.clock import now_ms
from kaas_local.openwhisk.containers.model import INTERNAL_ERROR, Answer, Call, Executable
from kaas_local.openwhisk.entities import Action
from kaas_local.openwhisk.identity import Identity
from kaas_local.openwhisk.kinds import SEQUENCE
from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.parameters import compact
from kaas_local.openwhisk.refusal import DEFECT
from kaas_local.openwhisk.sequences import Allowance, Outcome, run_components
from kaas_local.openwhisk.store import Store, StoreThread
from kaas_local.openwhisk.target import Executables, Target
from kaas_local.openwhisk.throttle import Throttle

_STANDARD_MS = 60_000
_ADDED_MS = 60_000

_log = logging.getLogger(__name__)

Value = dict[str, Any] | list[Any]


class Containers(Protocol):
    """What runs code."""

    async def run(self, executable: Executable, call: Call) -> Answer:
        """Run one activation; never raises for what an action does."""

    async def stop(self, namespace: str, name: str) -> None:
        """The action is gone or replaced: its process ends after what runs."""


@dataclass(frozen=True)
class Caller:
    """Who invokes, by which transaction, since when (milliseconds since 1970)."""

    identity: Identity
    transaction_id: str
    came_ms: int


@dataclass(frozen=True)
class Running:
    """An activation on its way."""

    activation_id: str
    task: asyncio.Task[Ended]


class Invoker:
    """Starts activations and keeps their tasks."""

    def __init__(self, store: Store, in_store: StoreThread, containers: Containers, api_host: str) -> None:
        self._store = store
        self._in_store = in_store
        self._containers = containers
        self._api_host = api_host
        self._throttle = Throttle()
        self._executables = Executables()
        self._tasks: set[asyncio.Task[Ended]] = set()

    async def start(self, caller: Caller, target: Target, payload: dict[str, Any]) -> Running:
        """Start an activation that is part of no other; raises Refusal when there are too many, or no such action."""
        namespace = caller.identity.namespace
        self._throttle.enter(namespace, now_ms())
        try:
            activation_id, work = await self._begin(caller, target, payload, None, Allowance())
            task = asyncio.create_task(work())
        except BaseException:
            self._throttle.leave(namespace)
            raise
        self._tasks.add(task)

        def forget(ended: asyncio.Task[Ended]) -> None:
            self._tasks.discard(ended)
            self._throttle.leave(namespace)

        task.add_done_callback(forget)
        return Running(activation_id, task)

    async def stop(self, name: Name) -> None:
        """An action is gone or replaced."""
        self._executables.drop(name)
        await self._containers.stop(name.namespace, name.local)

    async def drain(self) -> None:
        """Wait for what runs, and for its records."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _begin(
        self, caller: Caller, target: Target, value: Value, cause: str | None, allowance: Allowance
    ) -> tuple[str, Callable[[], Coroutine[Any, Any, Ended]]]:
        """Note the activation; its id, and what runs it and leaves its record. Raises Refusal where it is gone."""
        begun = now_ms()
        target, executable = await self._load(target)
        activation = _first_record(caller, target.action, begun, cause)

        async def work() -> Ended:
            try:
                if executable is None:
                    ended = await self._run_sequence(caller, target, value, activation, allowance)
                else:
                    ended = await self._run_code(caller, target, executable, value, activation)
            except Exception:
                _log.exception("activation %s", activation.activation_id)
                ended = _failed(activation, DEFECT)
            await self._in_store(self._store.end, ended)
            return ended

        await self._in_store(self._store.begin, activation)
        return activation.activation_id, work

    async def _load(self, target: Target) -> tuple[Target, Executable | None]:
        """The target as it is when its code is loaded, and what runs it: None for a sequence. Raises Refusal."""
        if target.action.code.kind == SEQUENCE:
            return target, None
        executable = self._executables.get(target)
        if executable is None:
            # It may have been replaced since it was looked up: OpenWhisk, too, runs what is there.
            target = await self._in_store(Target.find, self._store, target.action.name, with_code=True)
            if target.action.code.kind == SEQUENCE:
                return target, None
            executable = target.executable()
            self._executables.put(target.action.name, executable)
        return target, executable

    async def _run_code(
        self, caller: Caller, target: Target, executable: Executable, value: Value, activation: Activation
    ) -> Ended:
        call = Call(
            value=target.arguments(value),
            namespace=caller.identity.namespace,
            activation_id=activation.activation_id,
            transaction_id=caller.transaction_id,
            deadline_ms=now_ms() + _patience_ms(target.action.limits.timeout),
            api_key=caller.identity.api_key if target.provides_api_key else None,
            api_host=self._api_host,
        )
        answer = await self._containers.run(executable, call)
        waited = {"waitTime": max(0, answer.start_ms - caller.came_ms)}
        init = {"initTime": answer.init_ms} if answer.init_ms is not None else {}
        ended = replace(
            activation,
            start=answer.start_ms,
            end=answer.end_ms,
            duration=answer.end_ms - answer.start_ms,
            status=answer.status,
            size=answer.size,
            annotations={**activation.annotations, **waited, **init, "timeout": answer.timed_out},
        )
        return Ended(ended, answer.result, list(answer.logs))

    async def _run_sequence(
        self, caller: Caller, target: Target, value: Value, activation: Activation, allowance: Allowance
    ) -> Ended:
        async def run(name: Name, payload: Value) -> Ended:
            found = await self._in_store(Target.find, self._store, name)
            if found.action.code.kind != SEQUENCE:
                allowance.left -= 1
            began = replace(caller, came_ms=now_ms())
            _, work = await self._begin(began, found, payload, activation.activation_id, allowance)
            return await work()

        outcome = await run_components(target.action.code.components, value, run, allowance)
        return Ended(_sequence_record(activation, outcome), outcome.result, outcome.activation_ids)


def _patience_ms(timeout: int) -> int:
    """How long an activation may wait for its turn: as long as OpenWhisk's load balancer waits for its end."""
    return 2 * max(timeout, _STANDARD_MS) + _ADDED_MS


def _first_record(caller: Caller, action: Action, begun: int, cause: str | None) -> Activation:
    """As it stands if nothing follows."""
    is_sequence = action.code.kind == SEQUENCE
    annotations: dict[str, Any] = {"path": str(action.name), "kind": action.code.kind}
    if is_sequence:
        annotations |= {"topmost": cause is None, "waitTime": max(0, begun - caller.came_ms)}
    if cause is not None:
        annotations["causedBy"] = SEQUENCE
    annotations["limits"] = action.limits.to_json()
    return Activation(
        activation_id=uuid.uuid4().hex,
        namespace=caller.identity.namespace,
        action=action.name.local,
        version=action.version,
        start=begun,
        end=begun,
        duration=0,
        status=INTERNAL_ERROR,
        size=0,
        annotations=annotations,
        cause=cause,
    )


def _sequence_record(activation: Activation, outcome: Outcome) -> Activation:
    limits = dict(activation.annotations["limits"])
    if outcome.memory is not None:
        limits["memory"] = outcome.memory
    return replace(
        activation,
        end=now_ms(),
        duration=outcome.duration,
        status=outcome.status,
        size=len(compact(outcome.result).encode()),
        annotations={**activation.annotations, "limits": limits},
    )


def _failed(activation: Activation, text: str) -> Ended:
    ended = now_ms()
    return Ended(replace(activation, end=ended, duration=ended - activation.start), failure(text), [])
