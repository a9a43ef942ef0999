"""What the API asks of a container, and what it gets back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Of an Answer: what OpenWhisk's records call success, application error, action developer error, whisk internal error.
SUCCESS, APPLICATION_ERROR, DEVELOPER_ERROR, INTERNAL_ERROR = 0, 1, 2, 3


@dataclass(frozen=True)
class Executable:
    """One revision of an action."""

    namespace: str
    #: "name", or "package/name".
    name: str
    version: str
    #: New with every update: a process serves one revision.
    revision: str
    #: A kind that `kinds` knows, resolved: `python:3`, not `python:default`.
    kind: str
    #: A text, or base64 of a zip where `binary` is true.
    code: str
    binary: bool
    #: The function to call; empty means `main`.
    main: str
    #: The parameters flagged `init`, as texts.
    env: Mapping[str, str]
    timeout_ms: int
    memory_mb: int
    logs_mb: int


@dataclass(frozen=True)
class Call:
    """One activation of an action; `deadline_ms` is milliseconds since 1970."""

    #: A list only from the component of a sequence before this one.
    value: dict[str, Any] | list[Any]
    #: Who invokes: another's than the action's where that is in a published package.
    namespace: str
    activation_id: str
    transaction_id: str
    deadline_ms: int
    #: Only where the action's annotation `provide-api-key` is truthy.
    api_key: str | None = field(repr=False)
    api_host: str


@dataclass(frozen=True)
class Answer:
    """How an activation ended; `start_ms` and `end_ms` are milliseconds since 1970."""

    #: When its process began with it, `init` included.
    start_ms: int
    end_ms: int
    #: None where the process was initialised before.
    init_ms: int | None
    #: SUCCESS to INTERNAL_ERROR.
    status: int
    #: JSON; of a failure, an object with the one key `error`.
    result: Any
    #: Lines as OpenWhisk's records have them: time, stream, text.
    logs: tuple[str, ...]
    timed_out: bool
    #: Bytes of the result as JSON.
    size: int
