"""How findings name things. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kaas.graph import CopyStep, FillStep, KernelStep, Step


def called(step: Step) -> str:
    """A step in a sentence: `the kernel saxpy (line 14)`."""
    line = step.where.partition(" ")[0].rpartition(":")[2]
    if isinstance(step, KernelStep):
        return f"the kernel {step.kernel} (line {line})"
    if isinstance(step, FillStep):
        return f"the fill of {step.buffer} (line {line})"
    if isinstance(step, CopyStep):
        return f"the copy from {step.source} to {step.target} (line {line})"
    return f"the loop (line {line})"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
