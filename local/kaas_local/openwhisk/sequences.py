"""Sequences: what one may be made of, and how its components follow each other. Does no I/O of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kaas_local.openwhisk.activation import Ended, failure
from kaas_local.openwhisk.containers.model import APPLICATION_ERROR
from kaas_local.openwhisk.entities import Action
from kaas_local.openwhisk.limits import MAX_SEQUENCE_LENGTH
from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.refusal import Refusal

_TOO_LONG = "Too many actions in the sequence."
_NO_COMPONENT = "No component specified for the sequence."
_CYCLE = "Sequence may not refer to itself."
_MISSING = "Sequence component does not exist."


def check_sequence(name: Name, components: tuple[Name, ...], find: Callable[[Name], Action | None]) -> None:
    """Raises Refusal for a sequence that cannot run: empty, too long, in a circle; and what `find` raises."""
    if not components:
        raise Refusal(400, _NO_COMPONENT)
    _count(name, components, find)


def _count(name: Name, components: tuple[Name, ...], find: Callable[[Name], Action | None]) -> int:
    """How many actions it is, with its own sequences spelt out."""
    if len(components) > MAX_SEQUENCE_LENGTH:
        raise Refusal(400, _TOO_LONG)
    total = 0
    for component in components:
        if component == name:
            raise Refusal(400, _CYCLE)
        action = find(component)
        if action is None:
            raise Refusal(400, _MISSING)
        total += _count(name, action.code.components, find) if action.code.components else 1
        if total > MAX_SEQUENCE_LENGTH:
            raise Refusal(400, _TOO_LONG)
    return total


@dataclass
class Allowance:
    """How many actions may still run: components may have become sequences since this one was checked."""

    left: int = MAX_SEQUENCE_LENGTH


@dataclass(frozen=True)
class Outcome:
    """What a sequence has come to: its last component's result, and sums over those that ran."""

    status: int
    result: Any
    #: Of the components, in order.
    activation_ids: list[str] = field(default_factory=list)
    #: Milliseconds that components ran.
    duration: int = 0
    #: The largest memory limit of a component, in MB.
    memory: int | None = None

    def after(self, ended: Ended) -> Outcome:
        """With one component more."""
        activation = ended.activation
        memory = max(self.memory or 0, activation.annotations["limits"]["memory"])
        ids = [*self.activation_ids, activation.activation_id]
        return Outcome(activation.status, ended.result, ids, self.duration + activation.duration, memory)

    def failed(self, text: str) -> Outcome:
        """Ended by what is no component's doing."""
        return replace(self, status=APPLICATION_ERROR, result=failure(text))


async def run_components(
    components: tuple[Name, ...],
    value: dict[str, Any] | list[Any],
    run: Callable[[Name, dict[str, Any] | list[Any]], Awaitable[Ended]],
    allowance: Allowance,
) -> Outcome:
    """Run one after the other, each on the result of the one before, up to the first result that is an error.

    `run` raises Refusal for a component that is not there (any more).
    """
    outcome = Outcome(APPLICATION_ERROR, value)
    for name in components:
        if allowance.left <= 0:
            return outcome.failed(_TOO_LONG)
        try:
            outcome = outcome.after(await run(name, outcome.result))
        except Refusal:
            return outcome.failed(_MISSING)
        if isinstance(outcome.result, dict) and "error" in outcome.result:
            break
    return outcome
