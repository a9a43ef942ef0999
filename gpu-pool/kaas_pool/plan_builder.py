"""Builds plans: evaluates a manifest's steps and lays out each launch's arguments. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kaas.binding import Binding
from kaas.dtypes import DTYPES, Number, TypedScalar
from kaas.errors import AuthorError, CallerError
from kaas.expressions import Expression
from kaas.graph import (
    Arg,
    BufferArg,
    CopyStep,
    FillStep,
    KernelStep,
    NullArg,
    ParamArg,
    RepeatStep,
    Step,
    ValueArg,
)
from kaas.manifest import Manifest
from kaas_pool.limits import Limits
from kaas_pool.operations import Copy, Extent, Fill, Launch, Loop, Operation, Varying
from kaas_pool.plan import Plan, private_copies
from kaas_pool.signature_check import Kernel, Signatures, check_signatures

#: CUDA passes a launch's arguments in constant memory of this size.
MAX_ARGUMENT_BYTES = 4096

_NONE: frozenset[str] = frozenset()
_POINTER_BYTES = 8


class Builder:
    """One plan's construction. Loop indices that have no value yet are `open`: what names them is made later."""

    def __init__(self, manifest: Manifest, binding: Binding, signatures: Signatures, limits: Limits) -> None:
        self._manifest = manifest
        self._binding = binding
        self._signatures = signatures
        self._limits = limits
        self._names = dict(binding.names)
        self._buffers = tuple(manifest.buffers)
        self._number = {name: number for number, name in enumerate(self._buffers)}
        kernels = {(step.source, step.kernel): None for step in manifest.kernel_steps}
        self._kernels: dict[Kernel, int] = {kernel: number for number, kernel in enumerate(kernels)}

    def plan(self) -> Plan:
        """The plan; raises as Plan.build."""
        check_signatures(self._manifest, self._signatures)
        operations = self._sequence(self._manifest.steps, self._names, _NONE)
        buffers = self._manifest.buffers
        return Plan(
            buffers=self._buffers,
            sizes=tuple(self._binding.buffers[name].nbytes for name in self._buffers),
            inputs=frozenset(name for name, buffer in buffers.items() if buffer.is_read),
            private=private_copies(self._manifest, self._signatures),
            zeroed=frozenset(name for name, buffer in buffers.items() if buffer.zero),
            kernels=tuple(self._kernels),
            operations=operations,
            names=self._names,
        )

    def _sequence(
        self, steps: Sequence[Step], names: Mapping[str, Number], open_: frozenset[str]
    ) -> tuple[Operation, ...]:
        return tuple(operation for step in steps for operation in self._step(step, names, open_))

    def _step(self, step: Step, names: Mapping[str, Number], open_: frozenset[str]) -> tuple[Operation, ...]:
        if open_ and not open_.isdisjoint(_names_of(step)):
            return (Varying(lambda values: self._step(step, values, _NONE)),)
        if isinstance(step, KernelStep):
            return self._launch(step, names)
        if isinstance(step, FillStep):
            size = self._size(step.buffer)
            pattern = step.evaluate(names).data
            return (Fill(self._number[step.buffer], pattern, size),) if size else ()
        if isinstance(step, CopyStep):
            size = self._size(step.source)
            return (Copy(self._number[step.source], self._number[step.target], size),) if size else ()
        return self._loop(step, names, open_)

    def _loop(self, step: RepeatStep, names: Mapping[str, Number], open_: frozenset[str]) -> tuple[Operation, ...]:
        times = step.times.integer(names)
        inner = open_ | {step.index} if step.index is not None else open_
        body = self._sequence(step.steps, names, inner)
        swap = (self._number[step.swap[0]], self._number[step.swap[1]]) if step.swap is not None else None
        if times == 0 or (not body and swap is None):
            return ()
        return (Loop(times, step.index, swap, body),)

    # ***** launches *****

    def _launch(self, step: KernelStep, names: Mapping[str, Number]) -> tuple[Operation, ...]:
        block = _extent(step.block, names)
        if step.threads is not None:
            threads = _extent(step.threads, names)
            if 0 in block or 0 in threads:
                return ()
            x, y, z = (-(-count // size) for count, size in zip(threads, block, strict=True))
            grid = (x, y, z)
        else:
            assert step.grid is not None
            grid = _extent(step.grid, names)
            if 0 in block or 0 in grid:
                return ()
        shared = step.shared.integer(names) if step.shared is not None else 0
        self._check_launch(step, grid, block, shared)
        template, pointers = self._arguments(step, names)
        return (Launch(self._kernels[step.source, step.kernel], grid, block, shared, template, pointers, step.where),)

    def _check_launch(self, step: KernelStep, grid: Extent, block: Extent, shared: int) -> None:
        limits = self._limits
        problem, hint = None, None
        if any(size > most for size, most in zip(block, limits.block, strict=True)):
            problem = f"block {_text(block)} is over the device's {_text(limits.block)}"
        elif math.prod(block) > limits.threads_per_block:
            problem = (
                f"block {_text(block)} has {math.prod(block)} threads; the device takes {limits.threads_per_block}"
            )
            hint = "use a smaller block"
        elif any(size > most for size, most in zip(grid, limits.grid, strict=True)):
            problem = f"grid {_text(grid)} is over the device's {_text(limits.grid)}"
            hint = "let each thread do several elements, or put the large extent first: x has the largest limit"
        elif shared > limits.shared_bytes:
            problem = f"{shared} bytes of shared memory are over the device's {limits.shared_bytes}"
        if problem is not None:
            raise CallerError("launch_invalid", f"{step.kernel}: {problem}", where=step.where, hint=hint)

    def _arguments(
        self, step: KernelStep, names: Mapping[str, Number]
    ) -> tuple[bytes, tuple[tuple[int, int, int], ...]]:
        """All arguments at their natural alignment, as CUDA lays parameters out, and where pointers go."""
        template = bytearray()
        pointers: list[tuple[int, int, int]] = []
        for arg in step.args:
            data, alignment = self._value(arg, names)
            template += bytes(-len(template) % alignment)
            if isinstance(arg, BufferArg):
                pointers.append((len(template), self._number[arg.buffer], self._offset(arg, names)))
            template += data
        if len(template) > MAX_ARGUMENT_BYTES:
            raise AuthorError(
                "signature_mismatch",
                f"the arguments of {step.kernel} take {len(template)} bytes; CUDA passes {MAX_ARGUMENT_BYTES}",
                where=step.where,
            )
        return bytes(template), tuple(pointers)

    def _value(self, arg: Arg, names: Mapping[str, Number]) -> tuple[bytes, int]:
        if isinstance(arg, (BufferArg, NullArg)):
            return bytes(_POINTER_BYTES), _POINTER_BYTES
        if isinstance(arg, ParamArg):
            scalar = self._binding.params[arg.param]
        else:
            value = arg.value.evaluate(names)
            assert isinstance(value, TypedScalar)
            scalar = value
        dtype = DTYPES[scalar.dtype]
        return scalar.data, dtype.itemsize

    def _offset(self, arg: BufferArg, names: Mapping[str, Number]) -> int:
        if arg.offset is None:
            return 0
        return arg.offset.integer(names, most=self._size(arg.buffer))

    def _size(self, buffer: str) -> int:
        return self._binding.buffers[buffer].nbytes


def _extent(expressions: Sequence[Expression], names: Mapping[str, Number]) -> Extent:
    values = [expression.integer(names) for expression in expressions]
    x, y, z = [*values, 1, 1][:3]
    return x, y, z


def _text(extent: Extent) -> str:
    return "x".join(map(str, extent))


def _names_of(step: Step) -> frozenset[str]:
    """The names that a step itself uses; a loop's body counts for itself."""
    expressions: list[Expression] = []
    if isinstance(step, KernelStep):
        expressions += [*(step.threads or ()), *(step.grid or ()), *step.block]
        expressions += [step.shared] if step.shared is not None else []
        for arg in step.args:
            if isinstance(arg, BufferArg) and arg.offset is not None:
                expressions.append(arg.offset)
            elif isinstance(arg, ValueArg):
                expressions.append(arg.value)
    elif isinstance(step, FillStep):
        expressions += [step.value] if isinstance(step.value, Expression) else []
    elif isinstance(step, RepeatStep):
        expressions.append(step.times)
    return frozenset[str]().union(*(expression.names for expression in expressions))
