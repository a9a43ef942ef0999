"""Every error a user can meet: one hierarchy, one table, one JSON shape.

    KaasError
    ├── CallerError      the caller or the author of the bundle must change something
    │   ├── AuthorError      ... in the bundle
    │   └── (CallerError)    ... in the call, the objects or the credentials
    └── PlatformError    the pool, its store or its devices

The class follows from the code's `blame` in `error_table.json`, which the docs, the pool, the action proxy and the
Knative adapter all read; see docs/contracts.md, "Errors". Raise the class that fits the code: a mismatch is a defect
and fails at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, ClassVar


@dataclass(frozen=True)
class ErrorRow:
    """One line of the error table.

    Statuses are HTTP statuses; None where the error cannot occur. `retry` says who may try again: `nobody`, `caller`,
    `client` (the client library does it unasked) or `platform` (the pool does it within the budget).
    """

    blame: str
    pool: int | None
    init: int | None
    run: int | None
    knative: int | None
    retry: str
    meaning: str


ERRORS: Mapping[str, ErrorRow] = {
    code: ErrorRow(**row)
    for code, row in json.loads(files("kaas").joinpath("error_table.json").read_text("utf-8")).items()
}


class KaasError(Exception):
    """The root: a code of the table, what is wrong, where, and what to do."""

    blames: ClassVar[frozenset[str]] = frozenset({"author", "caller", "platform"})

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        where: str | None = None,
        retry_after_ms: int | None = None,
        activation: str | None = None,
    ) -> None:
        row = ERRORS[code]
        if row.blame not in self.blames:
            raise TypeError(f"{code} is the {row.blame}'s fault; {type(self).__name__} does not fit it")
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.where = where
        self.retry_after_ms = retry_after_ms
        self.activation = activation

    @property
    def row(self) -> ErrorRow:
        """The code's line of the table."""
        return ERRORS[self.code]

    def to_json(self) -> dict[str, Any]:
        """The inner object of `{"error": {...}}`; absent fields are left out."""
        fields = {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "where": self.where,
            "retry_after_ms": self.retry_after_ms,
            "activation": self.activation,
        }
        return {key: value for key, value in fields.items() if value is not None}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> KaasError:
        """Rebuild an error that crossed a process; a code this version does not know becomes `internal`."""
        code = data.get("code", "internal")
        message = str(data.get("message", "no message"))
        if code not in ERRORS:
            message, code = f"{code}: {message}", "internal"
        kind = _CLASS_BY_BLAME[ERRORS[code].blame]
        return kind(
            code,
            message,
            hint=data.get("hint"),
            where=data.get("where"),
            retry_after_ms=data.get("retry_after_ms"),
            activation=data.get("activation"),
        )

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (KaasError.from_json, (self.to_json(),))


class CallerError(KaasError):
    """Trying again unchanged gives the same answer."""

    blames = frozenset({"author", "caller"})


class AuthorError(CallerError):
    """The bundle must change."""

    blames = frozenset({"author"})


class PlatformError(KaasError):
    """The call was fine; the pool, its store or its devices were not."""

    blames = frozenset({"platform"})


_CLASS_BY_BLAME: Mapping[str, type[KaasError]] = {
    "author": AuthorError,
    "caller": CallerError,
    "platform": PlatformError,
}
