"""Reads of what nothing has written yet."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import KernelStep, RepeatStep
from kaas_pool.findings.finding import Finding, warning
from kaas_pool.findings.subject import Subject
from kaas_pool.findings.words import called


def find(subject: Subject) -> Iterator[Finding]:
    """The first step that reads each such buffer, in any call or with the values that are known."""
    told: set[str] = set()
    found = [(step, name, "") for step, name in subject.history.undefined]
    known = subject.given([loop.times for loop in subject.idle], subject.names)
    found += [(step, name, known) for step, name in subject.history_of_known.undefined]
    for step, name, given in found:
        if name in told:
            continue
        told.add(name)
        where = step.where
        if isinstance(step, KernelStep):
            where = step.place("args")
        elif isinstance(step, RepeatStep) and step.until is not None:
            where = step.until.where
        buffer = subject.manifest.buffers[name]
        yield warning(
            where,
            f"{called(step)} reads {name} before any step has written it{given}",
            f"the contents of {buffer.io} buffers are undefined at the start, and differ from call to call",
            f"write {name} in an earlier step, or declare it with zero: true",
        )
