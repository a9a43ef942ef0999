"""An activation's record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kaas_local.openwhisk.containers.model import INTERNAL_ERROR, SUCCESS

_STATUS = ("success", "application error", "action developer error", "whisk internal error")


@dataclass(frozen=True)
class Activation:
    """All of a record but the result and the logs; `start` and `end` are milliseconds since 1970."""

    activation_id: str
    namespace: str
    #: "name", or "package/name".
    action: str
    version: str
    start: int
    end: int
    duration: int
    status: int
    size: int
    annotations: Mapping[str, Any]
    #: The sequence that it is part of.
    cause: str | None = None

    @property
    def http_status(self) -> int:
        """The status of the answer to a blocking call."""
        if self.status == SUCCESS:
            return 200
        return 500 if self.status == INTERNAL_ERROR else 502

    def to_list(self) -> dict[str, Any]:
        """As a list shows it."""
        return {**self._base(), "statusCode": self.status}

    def response(self, result: Any) -> dict[str, Any]:
        """The outcome alone."""
        return {
            "result": result,
            "status": _STATUS[self.status],
            "success": self.status == SUCCESS,
            "size": self.size,
        }

    def to_json(self, result: Any, logs: list[str]) -> dict[str, Any]:
        """The whole record."""
        return {**self._base(), "subject": self.namespace, "response": self.response(result), "logs": logs}

    def to_row(self) -> dict[str, Any]:
        """What `Activation(**row)` takes."""
        return asdict(self)

    def _base(self) -> dict[str, Any]:
        found = {
            "namespace": self.namespace,
            "name": self.action.rpartition("/")[2],
            "activationId": self.activation_id,
            "start": self.start,
            "end": self.end,
            "duration": self.duration,
            "version": self.version,
            "publish": False,
            "annotations": [{"key": key, "value": value} for key, value in self.annotations.items()],
        }
        return found if self.cause is None else {**found, "cause": self.cause}


@dataclass(frozen=True)
class Ended:
    """An activation that has ended, with what came of it."""

    activation: Activation
    #: JSON; of a failure, an object with the one key `error`.
    result: Any
    #: Lines; of a sequence, the ids of its components.
    logs: list[str]

    def to_json(self) -> dict[str, Any]:
        """The whole record."""
        return self.activation.to_json(self.result, self.logs)


def failure(text: str) -> dict[str, Any]:
    """The result of what has failed."""
    return {"error": text}
