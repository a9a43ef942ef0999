"""Steps that write over what nothing has read."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import KernelStep
from kaas_pool.findings.finding import Finding, warning
from kaas_pool.findings.subject import Subject
from kaas_pool.findings.words import called


def find(subject: Subject) -> Iterator[Finding]:
    """The step that writes over it."""
    for lost in subject.history.lost:
        if lost.to is None:
            continue
        where = lost.to.place("args") if isinstance(lost.to, KernelStep) else lost.to.where
        fix = f"put {called(lost.to)} first, or remove {called(lost.step)}"
        if isinstance(lost.to, KernelStep):
            fix += (
                f"; if {lost.to.kernel} leaves a part of {lost.name} as it was, name {lost.name} in its reads as well"
            )
        if lost.to is lost.step:
            fix = f"read {lost.name} inside the loop, or take the step out of it"
        yield warning(
            where,
            f"{called(lost.to)} overwrites {lost.name}, and nothing has read what {called(lost.step)} wrote there",
            "the first result is lost",
            fix,
        )
