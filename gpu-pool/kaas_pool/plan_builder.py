"""Builds plans: evaluates a manifest's steps and lays out each launch's arguments. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count

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
    walk,
)
from kaas.graph import Until as UntilStep
from kaas.manifest import Manifest
from kaas_pool import workspace
from kaas_pool.access import step_access
from kaas_pool.branches import Node, assign, lanes_of
from kaas_pool.limits import Limits
from kaas_pool.operations import Check, Copy, Extent, Fill, Launch, Loop, Operation, Until, Varying
from kaas_pool.plan import Plan, private_copies
from kaas_pool.signature_check import Kernel, Signatures, check_signatures

#: CUDA passes a launch's arguments in constant memory of this size.
MAX_ARGUMENT_BYTES = 4096

_NONE: frozenset[str] = frozenset()
_NO_STORAGE: frozenset[int] = frozenset()
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
        loops = [step for step in walk(manifest.steps) if isinstance(step, RepeatStep) and step.until is not None]
        self._untils = {id(step): number for number, step in enumerate(loops)}
        self._signals = count()
        sizes = {name: binding.buffers[name].nbytes for name in self._buffers}
        private = private_copies(manifest, signatures)
        self._memory = workspace.own_memory(manifest, sizes, private, apart=limits.apart)
        self._neighbours = workspace.neighbours(manifest, sizes, self._memory.workspace)

    def plan(self) -> Plan:
        """The plan; raises as Plan.build."""
        check_signatures(self._manifest, self._signatures)
        buffers = self._manifest.buffers
        late = self._cleared_late()
        operations = self._branched(self._manifest.steps, self._names, _NONE, late)
        cleared = {name for names in late.values() for name in names}
        used = {*self._memory.blocks, *self._memory.workspace.offsets}
        return Plan(
            buffers=self._buffers,
            sizes=tuple(self._binding.buffers[name].nbytes for name in self._buffers),
            inputs=frozenset(name for name, buffer in buffers.items() if buffer.is_read),
            private=private_copies(self._manifest, self._signatures),
            zeroed=frozenset(name for name in used - cleared if name and buffers[name].zero),
            memory=self._memory,
            kernels=tuple(self._kernels),
            operations=operations,
            names=self._names,
            lanes=lanes_of(operations),
            untils=len(self._untils),
        )

    def _cleared_late(self) -> dict[int, list[str]]:
        """By outermost step, the temporaries to clear before it, because others use their places earlier."""
        spans = workspace.spans(self._manifest)
        late: dict[int, list[str]] = {}
        for name in spans:
            first = spans[name][0]
            others = self._neighbours.get(name, _NONE)
            if self._manifest.buffers[name].zero and any(spans[other][0] < first for other in others):
                late.setdefault(first, []).append(name)
        return late

    def _branched(
        self,
        steps: Sequence[Step],
        names: Mapping[str, Number],
        open_: frozenset[str],
        late: Mapping[int, Sequence[str]] | None = None,
    ) -> tuple[Operation, ...]:
        """The operations of steps, on lanes; `late` has what is to be cleared before each step."""
        nodes: list[Node] = []
        for at, step in enumerate(steps):
            for name in (late or {}).get(at, ()):
                if size := self._size(name):
                    fill = Fill(self._number[name], b"\0", size)
                    nodes.append(Node((fill,), _NO_STORAGE, self._storages(frozenset({name}))))
            if operations := self._step(step, names, open_):
                access = step_access(step, self._signatures)
                nodes.append(Node(operations, self._storages(access.reads), self._storages(access.writes)))
        return assign(nodes, lambda: next(self._signals))

    def _storages(self, names: frozenset[str]) -> frozenset[int]:
        """The numbers of these buffers, and of those whose storage theirs may overlap."""
        touched = names.union(*(self._neighbours.get(name, _NONE) for name in names))
        return frozenset(self._number[name] for name in touched)

    def _step(
        self, step: Step, names: Mapping[str, Number], open_: frozenset[str], *, branched: bool = True
    ) -> tuple[Operation, ...]:
        if open_ and not open_.isdisjoint(_names_of(step)):
            # What is made in a round is on one lane: its place among the others was settled before.
            return (Varying(lambda values: self._step(step, values, _NONE, branched=False)),)
        if isinstance(step, KernelStep):
            return self._launch(step, names)
        if isinstance(step, FillStep):
            size = self._size(step.buffer)
            pattern = step.evaluate(names).data
            return (Fill(self._number[step.buffer], pattern, size),) if size else ()
        if isinstance(step, CopyStep):
            size = self._size(step.source)
            return (Copy(self._number[step.source], self._number[step.target], size),) if size else ()
        return self._loop(step, names, open_, branched)

    def _loop(
        self, step: RepeatStep, names: Mapping[str, Number], open_: frozenset[str], branched: bool
    ) -> tuple[Operation, ...]:
        times = step.times.integer(names)
        until = self._until(step, step.until, names) if step.until is not None else None
        inner = open_ | {step.index} if step.index is not None else open_
        if branched:
            body = self._branched(step.steps, names, inner)
        else:
            parts = (self._step(one, names, inner, branched=False) for one in step.steps)
            body = tuple(operation for part in parts for operation in part)
        swap = (self._number[step.swap[0]], self._number[step.swap[1]]) if step.swap is not None else None
        if not body and until is None:
            # Nothing to do but to exchange the names: once or not at all.
            times = times % 2 if swap is not None else 0
        return (Loop(times, step.index, swap, body, until),) if times else ()

    def _until(self, step: RepeatStep, until: UntilStep, names: Mapping[str, Number]) -> Until:
        every = until.every.integer(names, least=1)
        check = Check(self._number[until.buffer], self._binding.buffers[until.buffer].dtype, until.below.number(names))
        return Until(check, every, self._untils[id(step)])

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
        problem, key, hint = None, "block", "use a smaller block"
        if any(size > most for size, most in zip(block, limits.block, strict=True)):
            problem = f"block {_text(block)} is over the device's {_text(limits.block)}"
        elif math.prod(block) > limits.threads_per_block:
            problem = (
                f"block {_text(block)} has {math.prod(block)} threads; the device takes {limits.threads_per_block}"
            )
        elif any(size > most for size, most in zip(grid, limits.grid, strict=True)):
            problem = f"grid {_text(grid)} is over the device's {_text(limits.grid)}"
            key = "threads" if step.grid is None else "grid"
            hint = "let each thread do several elements, or put the large extent first: x has the largest limit"
        elif shared > limits.shared_bytes:
            problem = f"{shared} bytes of shared memory are over the device's {limits.shared_bytes}"
            key, hint = "shared", "keep less in shared memory, for example a tile instead of a whole row"
        if problem is not None:
            raise CallerError("launch_invalid", f"{step.kernel}: {problem}", where=step.place(key), hint=hint)

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
        expressions += [step.until.below, step.until.every] if step.until is not None else []
    return frozenset[str]().union(*(expression.names for expression in expressions))
