"""Buffers whose contents nothing reads."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import CopyStep, FillStep, KernelStep, RepeatStep
from kaas_pool.findings.finding import Finding, warning
from kaas_pool.findings.subject import Subject
from kaas_pool.findings.words import called


def find(subject: Subject) -> Iterator[Finding]:
    """Inputs that are loaded for nothing, temporaries that are not needed, and what is written in vain."""
    manifest, history = subject.manifest, subject.history
    named = _named(subject)
    for name in history.unread:
        buffer = manifest.buffers[name]
        origin = "the action carries it" if buffer.is_fixed else "the caller has to give it, and it is loaded"
        yield warning(
            buffer.where,
            f"no step reads {name}, which is {buffer.io}",
            f"{origin} for nothing",
            f"give {name} to a kernel that reads it, or remove it"
            + ("" if buffer.is_fixed or not buffer.shape else "; where only its shape is wanted, a parameter will do"),
        )
    for name in history.replaced:
        buffer = manifest.buffers[name]
        if buffer.io == "inout":
            yield warning(
                buffer.where,
                f"{name} is inout, and its first contents are overwritten before anything reads them",
                "an object is loaded for nothing",
                "declare io: out; or, if a kernel keeps some of them, name it in that step's reads as well",
            )
        else:
            yield warning(
                buffer.where,
                f"{name} is {buffer.io}, and it is overwritten before anything reads it",
                "an object is loaded for nothing",
                "declare io: temp, or read it first",
            )
    for name, buffer in manifest.buffers.items():
        if buffer.io == "temp" and name not in named:
            yield warning(
                buffer.where, f"no step uses the temporary {name}", "it does nothing", "remove it, or give it to a step"
            )
    for lost in history.lost:
        where = lost.step.place("args") if isinstance(lost.step, KernelStep) else lost.step.where
        if lost.to is not None:
            continue
        yield warning(
            where,
            f"nothing reads what {called(lost.step)} writes to {lost.name}",
            f"{lost.name} is {manifest.buffers[lost.name].io}, so its contents are dropped at the end",
            f"read {lost.name} in a later step, declare it io: out, or remove the step",
        )


def _named(subject: Subject) -> set[str]:
    names: set[str] = set()
    for step, _ in subject.placed:
        if isinstance(step, KernelStep):
            names |= subject.touch(step).looked_at | subject.touch(step).may_write
        elif isinstance(step, FillStep):
            names.add(step.buffer)
        elif isinstance(step, CopyStep):
            names |= {step.source, step.target}
        elif isinstance(step, RepeatStep):
            names |= {*(step.swap or ()), *([step.until.buffer] if step.until is not None else [])}
    return names
