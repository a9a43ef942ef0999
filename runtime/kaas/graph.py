"""The steps of a kernel action's graph, as parsed from the manifest.

Every expression here is evaluated with the binding's symbols and parameters and the indices of the loops around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kaas.dtypes import TypedScalar
from kaas.expressions import Expression, Names


@dataclass(frozen=True)
class Source:
    """A CUDA source and the macros it is compiled with; equal ones are compiled once, with all kernels they serve.

    `path` is a file of the bundle. A source written inside the manifest has its `text`; its `path` is then
    `kaas.yaml:LINE`, and `first_line` the line of the manifest on which the text begins. `defines` are names and
    values in the preprocessor's own words, sorted.

    `cubins` are compiled files of the bundle by architecture, (`sm_90`, path), the lowest first: they are taken in
    place of a compile where one runs on the device. With `compiled_only` there is nothing to compile; `path` is then
    that of the first of them.
    """

    path: str
    text: str | None = None
    first_line: int = 1
    defines: tuple[tuple[str, str], ...] = ()
    cubins: tuple[tuple[str, str], ...] = ()
    compiled_only: bool = False


@dataclass(frozen=True)
class BufferArg:
    """A pointer to a buffer, `offset` bytes after its beginning."""

    buffer: str
    offset: Expression | None = None


@dataclass(frozen=True)
class ParamArg:
    """A parameter, passed with its declared type."""

    param: str


@dataclass(frozen=True)
class ValueArg:
    """The value of a typed expression; `value.dtype` is never None."""

    value: Expression


@dataclass(frozen=True)
class NullArg:
    """A null pointer."""


Arg = BufferArg | ParamArg | ValueArg | NullArg


@dataclass(frozen=True)
class KernelStep:
    """A launch. Exactly one of `threads` (rounded up to whole blocks) and `grid` is given; extents are x, y, z.

    `kernel` is the source-level name, and the exact symbol where the source has cubins; `shared` the dynamic shared
    memory in bytes. `reads` and `writes` are the buffers among `args` of which the author says so; both are None where
    the signature alone tells. `places` says where the step's parts stand; see `place`.
    """

    kernel: str
    source: Source
    threads: tuple[Expression, ...] | None
    grid: tuple[Expression, ...] | None
    block: tuple[Expression, ...]
    shared: Expression | None
    args: tuple[Arg, ...]
    where: str
    reads: frozenset[str] | None = None
    writes: frozenset[str] | None = None
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def place(self, part: str) -> str:
        """Where a part stands, `kaas.yaml:14 graph[0].args[2]` for `args[2]`; it may have been left out."""
        return self.places.get(part) or f"{self.where}.{part}"


@dataclass(frozen=True)
class FillStep:
    """Every element of a buffer becomes one value."""

    buffer: str
    value: TypedScalar | Expression
    where: str

    def evaluate(self, names: Names) -> TypedScalar:
        """The value in the buffer's element type; raises `expression_range`."""
        value = self.value if isinstance(self.value, TypedScalar) else self.value.evaluate(names)
        assert isinstance(value, TypedScalar)
        return value


@dataclass(frozen=True)
class CopyStep:
    """The whole of one buffer is copied to another of the same type and shape."""

    source: str
    target: str
    where: str


@dataclass(frozen=True)
class Until:
    """Ends a loop early: after every `every`th round (the first such round is number `every`, counted from 1), before
    the swap, element 0 of `buffer` is read, and the round is the last if it is less than `below`. NaN never is.

    Both expressions are evaluated once, when the loop begins, with the names outside it.
    """

    buffer: str
    below: Expression
    every: Expression
    where: str


@dataclass(frozen=True)
class RepeatStep:
    """`steps`, `times` over or until a value on the device says so; `index` names the round, counted from 0.

    After every round, the last included, the two names of `swap` exchange their storage and stay exchanged.
    """

    times: Expression
    index: str | None
    swap: tuple[str, str] | None
    steps: tuple[Step, ...]
    where: str
    until: Until | None = None


Step = KernelStep | FillStep | CopyStep | RepeatStep


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """Every step in the order written, those inside loops included, each once."""
    for step in steps:
        yield step
        if isinstance(step, RepeatStep):
            yield from walk(step.steps)
