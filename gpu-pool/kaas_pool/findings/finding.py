"""One finding: what is wrong, where, why it matters, and what to do. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from kaas.errors import KaasError

Severity = Literal["error", "warning", "note"]

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}

#: `kaas.yaml:12:5 graph[0].args[1]`, of which all but the file may be missing; names of files may have spaces.
_PLACE = re.compile(r"(?P<file>.*?)(?::(?P<line>\d+)(?::(?P<column>\d+))?(?: (?P<path>.+))?)?", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """`rule` names the rule, `file` is a file of the action.

    `line` and `column` count from 1; `path` leads to the place inside the manifest. `what`, `why` and `fix` are clauses
    without a full stop: the fact, its consequence, the remedy.
    """

    severity: Severity
    what: str
    why: str
    fix: str
    file: str
    line: int | None = None
    column: int | None = None
    path: str | None = None
    rule: str = ""

    @property
    def text(self) -> str:
        """All of it but the place, in one line."""
        told = f"{self.what}: {self.why}" if self.why else self.what
        return " ".join((f"{told}; {self.fix}" if self.fix else told).split())

    @property
    def place(self) -> str:
        """`file:line:column`, as far as they are known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        inside = f"{self.path}: " if self.path else ""
        return f"{self.place}: {self.severity}: {inside}{self.text} [{self.rule}]"

    def to_json(self) -> dict[str, Any]:
        """The form of docs/check.md."""
        return {
            "severity": self.severity,
            "rule": self.rule,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }

    @property
    def order(self) -> tuple[str, int, int, int, str, str]:
        """The key by which findings are sorted: as one reads the files, of one place the gravest first."""
        return self.file, self.line or 0, self.column or 0, _ORDER[self.severity], self.path or "", self.text


def error(where: str, what: str, why: str, fix: str) -> Finding:
    """What makes the action fail, or its result meaningless."""
    return _made("error", where, what, why, fix)


def warning(where: str, what: str, why: str, fix: str) -> Finding:
    """What is most likely not meant."""
    return _made("warning", where, what, why, fix)


def note(where: str, what: str, why: str, fix: str) -> Finding:
    """What may be meant, and what it costs."""
    return _made("note", where, what, why, fix)


def from_error(failure: KaasError, where: str | None = None) -> Finding:
    """An error of the product's own table as a finding; its code is the rule. `file` is empty where it has no place."""
    found = error(where or failure.where or "", failure.message, "", failure.hint or "")
    return Finding(**{**found.__dict__, "rule": failure.code.replace("_", "-")})


def _made(severity: Severity, where: str, what: str, why: str, fix: str) -> Finding:
    place = _PLACE.fullmatch(where)
    assert place is not None
    return Finding(
        severity=severity,
        what=what,
        why=why,
        fix=fix,
        file=place["file"],
        line=int(place["line"]) if place["line"] else None,
        column=int(place["column"]) if place["column"] else None,
        path=place["path"],
    )
