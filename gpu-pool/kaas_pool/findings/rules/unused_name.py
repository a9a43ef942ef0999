"""Parameters, `let` symbols and loop indices that nothing uses."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import RepeatStep
from kaas_pool.findings.finding import Finding, note, warning
from kaas_pool.findings.subject import Subject
from kaas_pool.findings.uses import names_of


def find(subject: Subject) -> Iterator[Finding]:
    """Names that no shape and no step needs, directly or through a `let` that is needed."""
    manifest = subject.manifest
    used = {name for buffer in manifest.buffers.values() for extent in buffer.shape for name in extent.names}
    for step, _ in subject.placed:
        used |= names_of(step)
    for name in reversed(tuple(manifest.let)):
        if name in used:
            used |= manifest.let[name].names
    by_let = {name for expression in manifest.let.values() for name in expression.names}
    for name, param in manifest.params.items():
        if name not in used:
            only = " but a let that nothing uses" if name in by_let else ""
            yield warning(
                param.where,
                f"nothing uses the parameter {name}{only}",
                "its value changes nothing",
                f"use {name} in args or in an expression, or remove it",
            )
    for name, expression in manifest.let.items():
        if name not in used:
            yield warning(
                expression.where,
                f"nothing uses the symbol {name}",
                "it is computed for nothing",
                f"use {name} in a shape or a step, or remove it from let",
            )
    for step, _ in subject.placed:
        if isinstance(step, RepeatStep) and step.index is not None and step.index not in used:
            yield note(
                f"{step.where}.as",
                f"no step of the loop uses its index {step.index}",
                "every round is launched alike",
                "leave out as, or use the index in args or in an expression",
            )
