"""Messages of the pool's HTTP contract, version 1 (docs/contracts.md, "HTTP, version 1")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from kaas.dtypes import shorten
from kaas.errors import CallerError, KaasError
from kaas.references import Reference, whole_reference

State = Literal["accepted", "queued", "running", "done", "failed", "cancelled"]

#: States that never change again.
FINAL_STATES: frozenset[State] = frozenset({"done", "failed", "cancelled"})

DEFAULT_BUDGET_MS = 60_000
MAX_BUDGET_MS = 3_600_000
MAX_REQUEST_BYTES = 1 << 20
MAX_BUNDLE_BYTES = 48 << 20

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def check_digest(digest: object, where: str = "bundle") -> str:
    """Return `digest` if it is `sha256:` and 64 hex digits, else raise `request_invalid`."""
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        return digest
    raise CallerError(
        "request_invalid",
        f"{shorten(digest)} is not a bundle digest",
        where=where,
        hint="a digest is 'sha256:' followed by the 64 lower-case hex digits of the bytes that were uploaded",
    )


@dataclass(frozen=True)
class InvocationRequest:
    """Body of `POST /v1/invocations`; times in milliseconds."""

    bundle: str
    arguments: Mapping[str, Any]
    id: str | None = None
    budget_ms: int = DEFAULT_BUDGET_MS
    wait_ms: int | None = None

    @staticmethod
    def from_json(data: object) -> InvocationRequest:
        """Check a decoded body; raises `request_invalid` naming the field."""
        data = _fields(data, {"bundle", "arguments", "id", "budget_ms", "wait_ms"})
        arguments = data.get("arguments", {})
        if not isinstance(arguments, dict):
            raise CallerError("request_invalid", "arguments is not a JSON object", where="arguments")
        identifier = data.get("id")
        if "id" in data and not (isinstance(identifier, str) and _ID.fullmatch(identifier)):
            raise CallerError(
                "request_invalid",
                "id is not usable as an idempotency key",
                where="id",
                hint="1 to 128 characters of A-Z a-z 0-9 . _ : -",
            )
        budget = _milliseconds(data, "budget_ms", DEFAULT_BUDGET_MS, least=1)
        wait = _milliseconds(data, "wait_ms", budget, least=0)
        return InvocationRequest(check_digest(data.get("bundle")), arguments, identifier, budget, wait)

    def to_json(self) -> dict[str, Any]:
        """The body; absent fields are left out."""
        body: dict[str, Any] = {
            "bundle": self.bundle,
            "arguments": dict(self.arguments),
            "budget_ms": self.budget_ms,
        }
        if self.id is not None:
            body["id"] = self.id
        if self.wait_ms is not None:
            body["wait_ms"] = self.wait_ms
        return body


@dataclass(frozen=True)
class BundleRequest:
    """Body of `POST /v1/bundles`: the object that holds a bundle, and the only digest that it may have, or None."""

    reference: Reference
    digest: str | None = None

    @staticmethod
    def from_json(data: object) -> BundleRequest:
        """Check a decoded body; raises `request_invalid` naming the field, or `reference_invalid`."""
        fields = _fields(data, {"reference", "digest"})
        reference = fields.get("reference")
        if not isinstance(reference, str):
            raise CallerError("request_invalid", f"reference is {shorten(reference)}, no text", where="reference")
        digest = check_digest(fields["digest"], "digest") if "digest" in fields else None
        return BundleRequest(whole_reference(reference, "reference"), digest)

    def to_json(self) -> dict[str, str]:
        """The body; absent fields are left out."""
        body = {"reference": str(self.reference)}
        return body if self.digest is None else {**body, "digest": self.digest}


@dataclass(frozen=True)
class RefreshRequest:
    """Body of `POST /v1/cache/refresh`: which pinned versions to let go of; None means any.

    A `reference` to a whole object means all its parts, too.
    """

    bundle: str | None = None
    buffer: str | None = None
    reference: str | None = None

    @staticmethod
    def from_json(data: object) -> RefreshRequest:
        """Check a decoded body; raises `request_invalid` naming the field, or `reference_invalid`."""
        fields = _fields(data, {"bundle", "buffer", "reference"})
        for name in ("buffer", "reference"):
            if name in fields and not isinstance(fields[name], str):
                raise CallerError("request_invalid", f"{name} is {shorten(fields[name])}, no text", where=name)
        return RefreshRequest(
            check_digest(fields["bundle"]) if "bundle" in fields else None,
            fields.get("buffer"),
            str(Reference.parse(fields["reference"], "reference")) if "reference" in fields else None,
        )

    def to_json(self) -> dict[str, str]:
        """The body; absent fields are left out."""
        fields = {"bundle": self.bundle, "buffer": self.buffer, "reference": self.reference}
        return {name: value for name, value in fields.items() if value is not None}


def _fields(data: object, known: set[str]) -> dict[str, Any]:
    """The fields of a body; raises `request_invalid` for anything else."""
    if not isinstance(data, dict):
        raise CallerError("request_invalid", "the body is not a JSON object")
    if unknown := sorted(data.keys() - known):
        raise CallerError(
            "request_invalid",
            f"unknown field {shorten(unknown[0])}",
            hint=f"known fields: {', '.join(sorted(known))}",
        )
    return data


def _milliseconds(data: Mapping[str, Any], name: str, default: int, *, least: int) -> int:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_BUDGET_MS:
        raise CallerError(
            "request_invalid",
            f"{name} is {shorten(value)}",
            where=name,
            hint=f"a whole number of milliseconds from {least} to {MAX_BUDGET_MS}",
        )
    return value


@dataclass(frozen=True)
class LogLine:
    """One line of an invocation's log; `time` is RFC 3339 with a Z."""

    time: str
    stream: Literal["stdout", "stderr"]
    line: str

    @staticmethod
    def at(seconds: float, stream: Literal["stdout", "stderr"], line: str) -> LogLine:
        """A line of a time in seconds since the epoch."""
        stamp = f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{int(seconds % 1 * 1000):03d}Z"
        return LogLine(stamp, stream, line)

    def to_json(self) -> dict[str, str]:
        """The line as a JSON object."""
        return {"time": self.time, "stream": self.stream, "line": self.line}


@dataclass(frozen=True)
class Invocation:
    """What `POST` and `GET /v1/invocations` answer."""

    id: str
    state: State
    result: Mapping[str, Any] | None = None
    error: KaasError | None = None
    logs: tuple[LogLine, ...] = ()
    story: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def is_final(self) -> bool:
        """Whether the state can no longer change."""
        return self.state in FINAL_STATES

    def to_json(self) -> dict[str, Any]:
        """The answer's body; absent fields are left out."""
        body: dict[str, Any] = {"id": self.id, "state": self.state}
        if self.result is not None:
            body["result"] = dict(self.result)
        if self.error is not None:
            body["error"] = self.error.to_json()
        if self.is_final:
            body["logs"] = [line.to_json() for line in self.logs]
        if self.story:
            body["story"] = [dict(entry) for entry in self.story]
        return body

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Invocation:
        """Rebuild an answer; fields a newer pool adds are ignored."""
        error = data.get("error")
        return Invocation(
            id=data["id"],
            state=data["state"],
            result=data.get("result"),
            error=KaasError.from_json(error) if error is not None else None,
            logs=tuple(LogLine(entry["time"], entry["stream"], entry["line"]) for entry in data.get("logs", ())),
            story=tuple(data.get("story", ())),
        )
