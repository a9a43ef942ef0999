"""The expressions of a step, and the names that it uses. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kaas.expressions import Expression
from kaas.graph import BufferArg, FillStep, KernelStep, ParamArg, RepeatStep, Step, ValueArg


@dataclass(frozen=True)
class Use:
    """An expression; with `least`, it must come out as a whole number from there on."""

    expression: Expression
    least: int | None = None


def uses(step: Step) -> Iterator[Use]:
    """The expressions of a step, without those of the steps inside it."""
    if isinstance(step, KernelStep):
        for extent in (*(step.threads or ()), *(step.grid or ()), *step.block):
            yield Use(extent, 0)
        if step.shared is not None:
            yield Use(step.shared, 0)
        for arg in step.args:
            if isinstance(arg, BufferArg) and arg.offset is not None:
                yield Use(arg.offset, 0)
            elif isinstance(arg, ValueArg):
                yield Use(arg.value)
    elif isinstance(step, FillStep) and isinstance(step.value, Expression):
        yield Use(step.value)
    elif isinstance(step, RepeatStep):
        yield Use(step.times, 0)
        if step.until is not None:
            yield Use(step.until.below)
            yield Use(step.until.every, 1)


def names_of(step: Step) -> set[str]:
    """The names that a step uses, the parameters among a kernel's arguments included; likewise."""
    names = {name for use in uses(step) for name in use.expression.names}
    if isinstance(step, KernelStep):
        names |= {arg.param for arg in step.args if isinstance(arg, ParamArg)}
    return names
