"""A `const` that a kernel may write, though a const never changes."""

from __future__ import annotations

from collections.abc import Iterator

from kaas.graph import BufferArg
from kaas_pool.findings.finding import Finding, warning
from kaas_pool.findings.subject import Subject


def find(subject: Subject) -> Iterator[Finding]:
    """One warning for each step and pointer, unless the kernel's text proves that nothing is written through it."""
    for step, _ in subject.launches:
        signature = subject.signature(step)
        if signature is None or id(step) in subject.mismatches:
            continue
        written = subject.touch(step).may_write
        for at, (arg, parameter) in enumerate(zip(step.args, signature.parameters, strict=True)):
            if not isinstance(arg, BufferArg) or arg.buffer not in written or not parameter.writes:
                continue
            if subject.manifest.buffers[arg.buffer].io == "const":
                yield warning(
                    step.place(f"args[{at}]"),
                    f"{step.kernel} may write {arg.buffer} through '{parameter.type} {parameter.name}', and "
                    f"{arg.buffer} is const",
                    f"every call makes a copy of {arg.buffer} on the device first, and what is written is lost at "
                    "its end",
                    f"declare {parameter.name} const in the source if it is only read; else make {arg.buffer} io: "
                    "inout, which stores it, or io: in",
                )
