"""What one step does with the data of its buffers, as surely as it can be told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaas.graph import BufferArg, KernelStep, Step
from kaas_pool.access import kernel_access, step_access
from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.findings.pointers import Pointers

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Touch:
    """Buffers by name. `reads` are read for sure, `may_read` perhaps; `may_write` are written, or may be.

    `writes` are written and not read, for sure; `overwrites` are those of them that are written whole.
    """

    reads: frozenset[str] = _NONE
    may_read: frozenset[str] = _NONE
    may_write: frozenset[str] = _NONE
    writes: frozenset[str] = _NONE
    overwrites: frozenset[str] = _NONE

    def __or__(self, other: Touch) -> Touch:
        return Touch(
            self.reads | other.reads,
            self.may_read | other.may_read,
            self.may_write | other.may_write,
            self.writes | other.writes,
            self.overwrites | other.overwrites,
        )

    @property
    def looked_at(self) -> frozenset[str]:
        """What is read, or may be."""
        return self.reads | self.may_read


def touch(step: Step, signature: KernelSignature | None, pointers: Pointers) -> Touch:
    """The touch of a step that is no loop. `signature` and `pointers` belong to a kernel, where they are known."""
    if not isinstance(step, KernelStep):
        access = step_access(step, None)
        return Touch(access.reads, _NONE, access.writes, access.writes, access.writes)
    access = kernel_access(step, signature)
    if step.reads is not None or step.writes is not None:
        # What is not in `reads` is overwritten without being read: so docs/manifest.md defines it.
        written = access.writes - access.reads
        return Touch(access.reads, _NONE, access.writes, written, written - _views(step))
    proven = _by_buffer(step, pointers)
    never_written = {name for name, (written, _) in proven.items() if not written}
    never_read = {name for name, (_, read) in proven.items() if not read}
    may_write = access.writes - never_written
    may_read = access.reads & access.writes - never_read
    writes = may_write & never_read
    return Touch((access.reads - access.writes) | never_written, may_read - never_written, may_write, writes)


def _by_buffer(step: KernelStep, pointers: Pointers) -> Mapping[str, tuple[bool, bool]]:
    """Whether the kernel may write, and read, each buffer whose every pointer something is proven about."""
    found: dict[str, tuple[bool, bool]] = {}
    for at, arg in enumerate(step.args):
        if isinstance(arg, BufferArg):
            written, read = pointers.get(at, (True, True))
            before = found.get(arg.buffer, (False, False))
            found[arg.buffer] = written or before[0], read or before[1]
    return found


def _views(step: KernelStep) -> frozenset[str]:
    return frozenset(arg.buffer for arg in step.args if isinstance(arg, BufferArg) and arg.offset is not None)
