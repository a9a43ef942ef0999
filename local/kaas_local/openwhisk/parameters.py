"""Parameters and annotations: lists of keys and values, of which a later one replaces an earlier."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kaas_local.openwhisk.limits import MAX_PARAMETERS_BYTES
from kaas_local.openwhisk.refusal import malformed, too_large


@dataclass(frozen=True)
class Parameters:
    """Values by key; keys of `init` are given to an action's process once, as its environment."""

    values: Mapping[str, Any] = field(default_factory=dict)
    init: frozenset[str] = frozenset()

    @staticmethod
    def read(given: Any, what: str) -> Parameters:
        """From a request's list; `what` is its name there. Raises Refusal."""
        if not isinstance(given, list):
            raise malformed("parameters malformed!")
        values: dict[str, Any] = {}
        init = set()
        for item in given:
            if not isinstance(item, dict) or not isinstance(item.get("key"), str) or "value" not in item:
                raise malformed("parameters malformed!")
            key = item["key"]
            values[key] = item["value"]
            init.discard(key)
            if item.get("init") is True:
                init.add(key)
        size = sum(len(key.encode()) + len(compact(value).encode()) for key, value in values.items())
        if size > MAX_PARAMETERS_BYTES:
            raise too_large(what, size, MAX_PARAMETERS_BYTES)
        return Parameters(values, frozenset(init))

    def to_json(self) -> list[dict[str, Any]]:
        """As documents show it."""
        return [
            {"key": key, "value": value, **({"init": True} if key in self.init else {})}
            for key, value in self.values.items()
        ]

    def over(self, base: Parameters) -> Parameters:
        """These, and those of `base` that these do not name."""
        kept = {key for key in base.init if key not in self.values}
        return Parameters({**base.values, **self.values}, self.init | kept)

    def without(self, keys: list[str]) -> Parameters:
        """All but those keys."""
        return Parameters(
            {key: value for key, value in self.values.items() if key not in keys}, self.init - frozenset(keys)
        )

    def is_truthy(self, key: str, *, absent: bool = False) -> bool:
        """Whether the value counts as yes: not false, null, 0 or an empty text."""
        if key not in self.values:
            return absent
        value = self.values[key]
        return value is not None and value is not False and value != 0 and value != ""

    def environment(self) -> Iterator[tuple[str, str]]:
        """The `init` ones, as texts."""
        for key in sorted(self.init):
            value = self.values[key]
            yield key, value if isinstance(value, str) else "" if value is None else compact(value)


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
