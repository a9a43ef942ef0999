"""Launches that the device cannot take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from kaas.dtypes import DTYPES
from kaas.expressions import Expression
from kaas.graph import KernelStep, ParamArg, ValueArg
from kaas_pool.findings.finding import Finding, error
from kaas_pool.findings.subject import Environment, Subject, whole
from kaas_pool.plan_builder import MAX_ARGUMENT_BYTES

_POINTER_BYTES = 8


def find(subject: Subject) -> Iterator[Finding]:
    """One finding a step and kind of limit, wherever extents can be evaluated."""
    for step, loops in subject.launches:
        told: set[str] = set()
        for names in subject.environments(loops):
            for finding in (
                *_block(subject, step, names),
                *_grid(subject, step, names),
                *_shared(subject, step, names),
            ):
                if finding.path not in told:
                    told.add(finding.path or "")
                    yield finding
        size = _argument_bytes(subject, step)
        if size > MAX_ARGUMENT_BYTES:
            yield error(
                step.place("args"),
                f"the arguments of {step.kernel} take {size} bytes",
                f"CUDA passes at most {MAX_ARGUMENT_BYTES}",
                "put values into a buffer",
            )


def _block(subject: Subject, step: KernelStep, names: Environment) -> Iterator[Finding]:
    block = _extents(step.block, names)
    if block is None:
        return
    given, limits = subject.given(step.block, names), subject.limits
    for axis, size, most in zip("xyz", block, limits.block, strict=False):
        if size > most:
            yield error(
                step.place("block"),
                f"a block of {step.kernel} has {size} threads along {axis}{given}",
                f"the device takes at most {most}, so the launch would be refused",
                "use a smaller block",
            )
            return
    threads, signature = math.prod(block), subject.signature(step)
    bound = signature.most_threads if signature is not None else None
    shape = f"{' x '.join(map(str, block))} = {threads}" if len(block) > 1 else str(threads)
    if threads > limits.threads_per_block:
        yield error(
            step.place("block"),
            f"a block of {step.kernel} has {shape} threads{given}",
            f"the device takes at most {limits.threads_per_block}, so the launch would be refused",
            "use a smaller block",
        )
    elif bound is not None and threads > bound:
        yield error(
            step.place("block"),
            f"a block of {step.kernel} has {shape} threads{given}",
            f"its __launch_bounds__ allow {bound}, so the launch would be refused",
            "use a smaller block, or allow more",
        )


def _grid(subject: Subject, step: KernelStep, names: Environment) -> Iterator[Finding]:
    block = _extents(step.block, names)
    if step.threads is not None:
        threads = _extents(step.threads, names)
        if threads is None or block is None or 0 in block:
            return
        sizes = [*block, 1, 1]
        grid, key, used = (
            [-(-count // size) for count, size in zip(threads, sizes, strict=False)],
            "threads",
            (
                *step.threads,
                *step.block,
            ),
        )
    else:
        assert step.grid is not None
        found = _extents(step.grid, names)
        if found is None:
            return
        grid, key, used = found, "grid", step.grid
    for axis, blocks, most in zip("xyz", grid, subject.limits.grid, strict=False):
        if blocks > most:
            yield error(
                step.place(key),
                f"the grid of {step.kernel} has {blocks} blocks along {axis}{subject.given(used, names)}",
                f"the device takes at most {most}, so the launch would be refused",
                "put the large extent first, for x has the largest limit, or let each thread do several elements",
            )
            return


def _shared(subject: Subject, step: KernelStep, names: Environment) -> Iterator[Finding]:
    size = whole(step.shared, names) if step.shared is not None else None
    signature = subject.signature(step)
    own = signature.static_shared if signature is not None else 0
    if size is not None and own + size > subject.limits.shared_bytes:
        assert step.shared is not None
        beside = f" beside the {own} that it declares" if own else ""
        yield error(
            step.place("shared"),
            f"{step.kernel} asks for {size} bytes of shared memory{beside}{subject.given([step.shared], names)}",
            f"a block can have {subject.limits.shared_bytes}, so the launch would be refused",
            "use less, for example smaller tiles",
        )


def _extents(expressions: Sequence[Expression], names: Environment) -> list[int] | None:
    values = [whole(expression, names) for expression in expressions]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _argument_bytes(subject: Subject, step: KernelStep) -> int:
    total = 0
    for arg in step.args:
        size = _POINTER_BYTES
        if isinstance(arg, ParamArg):
            size = subject.manifest.params[arg.param].dtype.itemsize
        elif isinstance(arg, ValueArg) and arg.value.dtype is not None:
            size = DTYPES[arg.value.dtype].itemsize
        total += -total % size + size
    return total
