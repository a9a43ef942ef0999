"""Pointers that a kernel never writes through, and which do not say so."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import BufferArg
from kaas_pool.findings.finding import Finding, note
from kaas_pool.findings.subject import Subject
from kaas_pool.findings.words import listed


def find(subject: Subject) -> Iterator[Finding]:
    """One note for each parameter of each kernel, at the kernel."""
    bound: dict[tuple[str, int, str, str], list[str]] = {}
    for step, _ in subject.launches:
        signature = subject.signature(step)
        if signature is None or step.reads is not None or step.writes is not None:
            continue
        for at, (written, _read) in subject.pointers(step).items():
            if written or at >= len(step.args):
                continue
            parameter, arg = signature.parameters[at], step.args[at]
            key = (signature.file, signature.line, signature.name, f"{parameter.type} {parameter.name}")
            names = bound.setdefault(key, [])
            if isinstance(arg, BufferArg) and arg.buffer not in names:
                names.append(arg.buffer)
    for (file, line, kernel, declared), names in bound.items():
        copied = [name for name in names if subject.manifest.buffers[name].io in ("in", "const")]
        why = "it counts as written, so steps that share it wait for each other"
        if copied:
            why = f"it counts as written, so every call makes a copy of {listed(copied)} on the device first"
        yield note(
            f"{file}:{line}",
            f"{kernel} never writes through {declared!r}",
            why,
            f"declare it const {declared}",
        )
