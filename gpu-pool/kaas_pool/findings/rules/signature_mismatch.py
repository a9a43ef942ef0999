"""Arguments that do not fit the kernel: number, order, types, pointers and values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kaas.errors import AuthorError
from kaas.graph import Arg, BufferArg, KernelStep, ParamArg, ValueArg
from kaas_pool.findings.finding import Finding, from_error
from kaas_pool.findings.subject import Subject

#: Orders of so many arguments are tried: 24 of them.
_MOST_MOVED = 4


def find(subject: Subject) -> Iterator[Finding]:
    """Every argument of every step that does not fit."""
    for step, _ in subject.launches:
        told = subject.mismatches.get(id(step), ())
        better = _order(subject, step, told) if told else None
        for number, mismatch in enumerate(told):
            finding = from_error(mismatch)
            if better is not None:
                fix = f"in this order they fit: args: [{better}]" if number == 0 else "as above"
                finding = replace(finding, fix=fix)
            yield finding


def _order(subject: Subject, step: KernelStep, told: Sequence[AuthorError]) -> str | None:
    """The order in which the arguments fit, if there is exactly one that is likely."""
    positions = [int(found[1]) for one in told if (found := re.search(r"\.args\[(\d+)\]$", str(one.where)))]
    if len(positions) != len(told) or not 2 <= len(positions) <= _MOST_MOVED:
        return None
    fitting = []
    for order in itertools.permutations(positions):
        args = list(step.args)
        for at, origin in zip(positions, order, strict=True):
            args[at] = step.args[origin]
        if not list(subject.mismatches_of(replace(step, args=tuple(args)))):
            fitting.append(args)
    likely = [args for args in fitting if _is_likely(subject, step, args)] or fitting
    return ", ".join(map(_text, likely[0])) if len(likely) == 1 else None


def _is_likely(subject: Subject, step: KernelStep, args: Sequence[Arg]) -> bool:
    """Whether every pointer to const gets an input and every other pointer something that can be a result."""
    signature = subject.signature(step)
    assert signature is not None
    for arg, parameter in zip(args, signature.parameters, strict=True):
        if isinstance(arg, BufferArg):
            io = subject.manifest.buffers[arg.buffer].io
            if io in (("out",) if parameter.is_const_pointee else ("in", "const")):
                return False
    return True


def _text(arg: Arg) -> str:
    if isinstance(arg, BufferArg):
        return arg.buffer if arg.offset is None else f"{{buffer: {arg.buffer}, offset: {arg.offset.text}}}"
    if isinstance(arg, ParamArg):
        return arg.param
    return arg.value.text if isinstance(arg, ValueArg) else "null"
