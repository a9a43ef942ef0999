"""What a name points to at the moment of an invocation: the action, and its parameters over its package's."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from kaas_local.openwhisk.containers.model import Executable
from kaas_local.openwhisk.entities import PROVIDE_API_KEY, Action
from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.parameters import Parameters
from kaas_local.openwhisk.refusal import Refusal
from kaas_local.openwhisk.store import Store

#: Code of actions lately invoked that is kept in memory.
_CACHED_BYTES = 64 << 20


@dataclass(frozen=True)
class Target:
    """An action ready to be invoked."""

    action: Action
    parameters: Parameters
    #: New with each change of what a process of the action is started with.
    revision: str

    @staticmethod
    def find(store: Store, name: Name, *, with_code: bool = False) -> Target:
        """Look it up; raises Refusal."""
        package = store.package(name.parent) if name.parent is not None else None
        action = store.action(name, with_code=with_code)
        if package is None:
            return Target(action, action.parameters, action.stamp.revision)
        parameters = action.parameters.over(package.parameters)
        # A process knows the package by its environment alone.
        shares = package.parameters.init - action.parameters.values.keys()
        parts = [action.stamp.revision, *([package.stamp.revision] if shares else [])]
        return Target(action, parameters, "-".join(parts))

    @property
    def provides_api_key(self) -> bool:
        """Whether its process is told the caller's key."""
        return self.action.annotations.is_truthy(PROVIDE_API_KEY, absent=True)

    def check_payload(self, payload: dict[str, Any]) -> None:
        """Raises Refusal for a payload that would replace a bound parameter of a `final` action."""
        if self.action.annotations.values.get("final") is True:
            bound = {key for key, value in self.parameters.values.items() if value is not None}
            if bound & payload.keys():
                raise Refusal(400, "Request defines parameters that are not allowed (e.g., reserved properties).")

    def arguments(self, value: dict[str, Any] | list[Any]) -> dict[str, Any] | list[Any]:
        """The bound parameters, less those for the environment, under a call's own; an array stays as it is."""
        if isinstance(value, list):
            return value
        bound = {key: item for key, item in self.parameters.values.items() if key not in self.parameters.init}
        return {**bound, **value}

    def executable(self) -> Executable:
        """What a process is started for, with the code, which has to be loaded."""
        action = self.action
        return Executable(
            namespace=action.name.namespace,
            name=action.name.local,
            version=action.version,
            revision=self.revision,
            kind=action.code.kind,
            code=action.code.text or "",
            binary=action.code.binary,
            main=action.code.main or "",
            env=dict(self.parameters.environment()),
            timeout_ms=action.limits.timeout,
            memory_mb=action.limits.memory,
            logs_mb=action.limits.logs,
        )


class Executables:
    """Those lately used: a warm invocation reads no code from the file."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Name, Executable] = OrderedDict()
        self._bytes = 0

    def get(self, target: Target) -> Executable | None:
        """The executable of exactly this revision, if it is here."""
        found = self._kept.get(target.action.name)
        if found is None or found.revision != target.revision:
            return None
        self._kept.move_to_end(target.action.name)
        return found

    def put(self, name: Name, executable: Executable) -> None:
        """Keep one, in place of its action's last, and of what was not used longest."""
        self.drop(name)
        self._kept[name] = executable
        self._bytes += len(executable.code)
        while self._bytes > _CACHED_BYTES and len(self._kept) > 1:
            self.drop(next(iter(self._kept)))

    def drop(self, name: Name) -> None:
        """The action is gone."""
        found = self._kept.pop(name, None)
        if found is not None:
            self._bytes -= len(found.code)
