"""Expressions that have no value for the sizes and defaults that are known."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.errors import CallerError
from kaas_pool.findings.finding import Finding, from_error
from kaas_pool.findings.subject import Environment, Subject
from kaas_pool.findings.uses import Use, uses


def find(subject: Subject) -> Iterator[Finding]:
    """The first failure of each expression."""
    for name, expression in subject.manifest.let.items():
        if name not in subject.names:
            yield from _failure(Use(expression), subject.names)
    for step, loops in subject.placed:
        environments = subject.environments(loops)
        for use in uses(step):
            failures = (failure for names in environments for failure in _failure(use, names))
            yield from [first] if (first := next(failures, None)) is not None else []


def _failure(use: Use, names: Environment) -> Iterator[Finding]:
    if not use.expression.names <= names.keys():
        return
    try:
        if use.least is not None:
            use.expression.integer(names, least=use.least)
        else:
            use.expression.evaluate(names)
    except CallerError as failure:
        yield from_error(failure)
