"""Which buffers a step reads and which it writes: the one place that tells. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaas.graph import BufferArg, CopyStep, FillStep, KernelStep, RepeatStep, Step

if TYPE_CHECKING:
    from kaas_pool.compiler.signatures import KernelSignature
    from kaas_pool.signature_check import Signatures

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Access:
    """Buffers by name. What is written and not read is overwritten, whatever it held."""

    reads: frozenset[str] = _NONE
    writes: frozenset[str] = _NONE

    def __or__(self, other: Access) -> Access:
        return Access(self.reads | other.reads, self.writes | other.writes)


def kernel_access(step: KernelStep, signature: KernelSignature | None) -> Access:
    """What a launch reads and writes: what the author declares, if anything, else what the signature tells.

    A `const T*` is read, any other pointer read and written. Where neither tells, every argument is both.
    """
    if step.reads is not None or step.writes is not None:
        return Access(step.reads or _NONE, step.writes or _NONE)
    buffers = [(at, arg.buffer) for at, arg in enumerate(step.args) if isinstance(arg, BufferArg)]
    names = frozenset(name for _, name in buffers)
    if signature is None:
        return Access(names, names)
    parameters = signature.parameters
    return Access(names, frozenset(name for at, name in buffers if at >= len(parameters) or parameters[at].writes))


def step_access(step: Step, signatures: Signatures | None) -> Access:
    """What any step reads and writes; a loop what its steps do, its `until` reads, and its `swap` exchanges.

    Without signatures, kernels that declare nothing are taken to read and write all their arguments.
    """
    if isinstance(step, KernelStep):
        return kernel_access(step, None if signatures is None else signatures.get((step.source, step.kernel)))
    if isinstance(step, FillStep):
        return Access(writes=frozenset({step.buffer}))
    if isinstance(step, CopyStep):
        return Access(frozenset({step.source}), frozenset({step.target}))
    assert isinstance(step, RepeatStep)
    whole = Access()
    for inner in step.steps:
        whole |= step_access(inner, signatures)
    if step.until is not None:
        whole |= Access(frozenset({step.until.buffer}))
    if step.swap is not None:
        swapped = frozenset(step.swap)
        whole |= Access(swapped, swapped)
    return whole
