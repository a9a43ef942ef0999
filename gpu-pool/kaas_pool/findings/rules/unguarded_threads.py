"""Launches rounded up to whole blocks, of kernels that cannot know where to stop."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import KernelStep
from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.findings.finding import Finding, note
from kaas_pool.findings.subject import Environment, Subject, whole
from kaas_pool.signature_check import kind_of


def find(subject: Subject) -> Iterator[Finding]:
    """Steps with `threads` that are no multiple of the block, whose kernel takes no whole number."""
    for step, loops in subject.launches:
        signature = subject.signature(step)
        if step.threads is None or signature is None or _takes_bound(signature) or step.source.defines:
            continue
        for names in subject.environments(loops):
            told = _rounded(step, names)
            if told is None:
                continue
            yield note(
                step.place("threads"),
                f"threads is rounded up to whole blocks ({told}), and {step.kernel} takes no whole number",
                "the threads beyond the end cannot know that they are, and would read and write past the buffers",
                "pass the count, such as int32(n), and let the kernel return where the index is not below it",
            )
            break


def _takes_bound(signature: KernelSignature) -> bool:
    return any(
        not parameter.is_pointer and kind_of(parameter.type) in ("integer", "vector", "unknown")
        for parameter in signature.parameters
    )


def _rounded(step: KernelStep, names: Environment) -> str | None:
    """What is rounded, in words; None where nothing is."""
    assert step.threads is not None
    for threads, block in zip(step.threads, step.block, strict=False):
        count, size = whole(threads, names), whole(block, names)
        if size is None or size < 2:
            continue
        if count is None:
            return f"{threads.text} to a multiple of {size}"
        if count % size:
            return f"{count} to {-(-count // size) * size}"
    return None
