"""What the rules look at: a manifest, what its sources compiled to, and what is known of its sizes. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kaas.binding import Binding
from kaas.dtypes import Number
from kaas.errors import AuthorError, CallerError, KaasError
from kaas.expressions import Expression
from kaas.graph import KernelStep, RepeatStep, Source, Step
from kaas.manifest import Manifest
from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.findings.history import History
from kaas_pool.findings.pointers import Pointers, read_pointers
from kaas_pool.findings.touches import Touch, touch
from kaas_pool.limits import Limits
from kaas_pool.signature_check import Signatures, mismatches

if TYPE_CHECKING:
    from kaas_pool.compiler.messages import CompiledSource, Unit

#: Values of the indices around a step that are tried: the first and the last of each loop, so many together.
_MAX_ENVIRONMENTS = 16

Environment = Mapping[str, Number]


@dataclass(frozen=True)
class Outcome:
    """What became of one compile: `compiler` is `emulated` or the architecture, `sm_90`."""

    unit: Unit
    compiler: str
    result: CompiledSource | KaasError


@dataclass(frozen=True, eq=False)
class Subject:
    """One action. `texts` are its files that are text, by name; `binding` is there if all sizes are given."""

    manifest: Manifest
    signatures: Signatures
    outcomes: Sequence[Outcome] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    binding: Binding | None = None

    # ***** what is known *****

    @cached_property
    def names(self) -> Environment:
        """The values of names outside loops, as far as they are known: without sizes, defaults and what follows."""
        if self.binding is not None:
            return self.binding.names
        names: dict[str, Number] = {}
        for param in self.manifest.params.values():
            if param.default is not None and not isinstance(param.default.value, complex):
                value = param.default.value
                names[param.name] = int(value) if isinstance(value, int) else value
        for name, expression in self.manifest.let.items():
            value_ = number(expression, names)
            if value_ is not None:
                names[name] = value_
        return names

    def bytes_of(self, buffer: str) -> int | None:
        """Bytes of a buffer, if its shape is known."""
        if self.binding is not None:
            return self.binding.buffers[buffer].nbytes
        declared = self.manifest.buffers[buffer]
        size = declared.dtype.itemsize
        for dimension in declared.shape:
            # A default may be another's in the next call; a shape counts only if nobody can change it.
            extent = whole(dimension, {})
            if extent is None:
                return None
            size *= extent
        return size

    def given(self, expressions: Sequence[Expression], environment: Environment) -> str:
        """` (with n = 1000)` for the names that expressions depend on; nothing for constants."""
        names = sorted(set().union(*(expression.names for expression in expressions)))
        values = ", ".join(f"{name} = {environment[name]}" for name in names if name in environment)
        return f" (with {values})" if values else ""

    # ***** steps *****

    @cached_property
    def placed(self) -> Sequence[tuple[Step, tuple[RepeatStep, ...]]]:
        """Every step in the order written, and the loops around it from the outside in."""
        return tuple(_placed(self.manifest.steps, ()))

    @cached_property
    def launches(self) -> Sequence[tuple[KernelStep, tuple[RepeatStep, ...]]]:
        """Every kernel step likewise."""
        return tuple((step, loops) for step, loops in self.placed if isinstance(step, KernelStep))

    def environments(self, loops: Sequence[RepeatStep]) -> list[Environment]:
        """What names may be inside `loops`: their first and last rounds; none, if one surely has no round."""
        found: list[dict[str, Number]] = [dict(self.names)]
        for loop in loops:
            grown: list[dict[str, Number]] = []
            for names in found:
                times = whole(loop.times, names)
                if times == 0:
                    continue
                indices = [0] if times is None else list(dict.fromkeys((0, times - 1)))
                grown += [{**names, loop.index: index} for index in indices] if loop.index is not None else [names]
            found = grown
        return list(itertools.islice(found, _MAX_ENVIRONMENTS))

    def signature(self, step: KernelStep) -> KernelSignature | None:
        """The signature of a step's kernel, if its source compiled."""
        return self.signatures.get((step.source, step.kernel))

    # ***** data *****

    def pointers(self, step: KernelStep) -> Pointers:
        """What the kernel's text proves about its pointers."""
        signature = self.signature(step)
        if signature is None:
            return {}
        key = (step.source, step.kernel)
        if key not in self._pointers:
            text, first_line = self._text(step.source, signature.file)
            self._pointers[key] = read_pointers(text, signature, first_line)
        return self._pointers[key]

    @cached_property
    def _pointers(self) -> dict[tuple[Source, str], Pointers]:
        return {}

    def _text(self, source: Source, file: str) -> tuple[str, int]:
        if source.text is not None:
            return source.text, source.first_line
        return self.texts.get(file, ""), 1

    @cached_property
    def touches(self) -> Mapping[int, Touch]:
        """What each step that is no loop does with buffers, by its identity."""
        return {id(step): self._touch(step) for step, _ in self.placed if not isinstance(step, RepeatStep)}

    def _touch(self, step: Step) -> Touch:
        if not isinstance(step, KernelStep) or id(step) in self.mismatches:
            # Of arguments that do not fit, nothing follows.
            return touch(step, None, {})
        return touch(step, self.signature(step), self.pointers(step))

    @cached_property
    def mismatches(self) -> Mapping[int, Sequence[AuthorError]]:
        """What `signature_check` says of the steps of which it says something, by identity."""
        found = {id(step): tuple(self.mismatches_of(step)) for step, _ in self.launches}
        return {step: told for step, told in found.items() if told}

    def mismatches_of(self, step: KernelStep) -> Iterator[AuthorError]:
        """What `signature_check` says of one step, which need not be the manifest's."""
        return mismatches(replace(self.manifest, steps=(step,)), self.signatures)

    def touch(self, step: Step) -> Touch:
        """What a step that is no loop does with buffers."""
        return self.touches[id(step)]

    def inside(self, loop: RepeatStep) -> Touch:
        """What all steps inside a loop do together, its `until` and its `swap` left out."""
        whole_ = Touch()
        for step, loops in self.placed:
            if any(one is loop for one in loops) and not isinstance(step, RepeatStep):
                whole_ |= self.touch(step)
        return whole_

    @cached_property
    def history(self) -> History:
        """What happens to the data of each buffer from the first step to the last."""
        return History.follow(self.manifest, self.touches)

    @cached_property
    def idle(self) -> Sequence[RepeatStep]:
        """The loops that have no round with the values that are known: those given, else the defaults."""
        return [step for step, _ in self.placed if isinstance(step, RepeatStep) and whole(step.times, self.names) == 0]

    @cached_property
    def history_of_known(self) -> History:
        """The history of a call with the values that are known: without the loops that are then idle."""
        return History.follow(self.manifest, self.touches, self.idle) if self.idle else self.history


def number(expression: Expression, names: Environment) -> Number | None:
    """The value of an expression, if all its names are known and it has one."""
    if not expression.names <= names.keys():
        return None
    try:
        return expression.number(names)
    except CallerError:
        return None


def whole(expression: Expression, names: Environment) -> int | None:
    """The value likewise, if it is a whole number from 0 on."""
    if not expression.names <= names.keys():
        return None
    try:
        return expression.integer(names)
    except CallerError:
        return None


def _placed(steps: Sequence[Step], loops: tuple[RepeatStep, ...]) -> Iterator[tuple[Step, tuple[RepeatStep, ...]]]:
    for step in steps:
        yield step, loops
        if isinstance(step, RepeatStep):
            yield from _placed(step.steps, (*loops, step))
