"""From the `graph` of a manifest's YAML tree to steps."""

from __future__ import annotations

from collections.abc import Mapping

from kaas import _kernel_reader
from kaas._kernel_reader import KernelReader
from kaas._names import Scope, duplicate
from kaas._sections import Section, check_name, place, read_expression
from kaas._steps import StepReader, check_value
from kaas._yaml import Node
from kaas.dtypes import NON_FINITE, TypedScalar, parse_scalar
from kaas.expressions import Expression
from kaas.graph import CopyStep, FillStep, RepeatStep, Step, Until
from kaas.manifest import Buffer, SameShape

MAX_STEPS = 4096
MAX_LOOP_DEPTH = 8

_REPEAT_KEYS = ("times", "as", "swap", "until", "steps")
_UNTIL_KEYS = ("buffer", "below", "every")
_KINDS = ("kernel", "fill", "copy", "repeat")


class GraphReader(StepReader):
    """Reads the steps of one manifest; `same_shapes` collects what can only be checked with data."""

    def __init__(self, filename: str, scope: Scope, let_places: Mapping[str, str]) -> None:
        super().__init__(filename, scope)
        self.same_shapes: list[SameShape] = []
        self._kernels = KernelReader(filename, scope)
        self._indices: dict[str, str] = {}
        self._let_places = let_places
        self._count = 0

    def read(self, top: Section) -> tuple[Step, ...]:
        """The steps at `graph`."""
        return self._steps(top, "graph", self.scope.values, 0)

    def _steps(self, section: Section, key: str, names: frozenset[str], depth: int) -> tuple[Step, ...]:
        def read(node: Node, path: str) -> Step:
            self._count += 1
            if self._count > MAX_STEPS:
                raise section.invalid(key, f"more than {MAX_STEPS} steps", "a repeat says it shorter")
            return self._step(Section(node, path, self.filename, "a step"), names, depth)

        steps = section.items(key, read, example=f"{key}: [{{kernel: ..., source: ...}}]")
        if not steps:
            raise section.invalid(key, f"{key!r} has no steps", "a step is a kernel, fill, copy or repeat")
        return steps

    def _step(self, section: Section, names: frozenset[str], depth: int) -> Step:
        kinds = [kind for kind in _KINDS if kind in section.entries]
        if len(kinds) > 1:
            raise section.invalid(kinds[1], f"one step cannot be both {kinds[0]} and {kinds[1]}", "write two steps")
        if not kinds:
            section.check_keys(_kernel_reader.KEYS)
            raise section.invalid(None, "a step needs one of kernel, fill, copy, repeat")
        if kinds[0] == "kernel":
            return self._kernels.kernel(section, names)
        section.check_keys(kinds)
        inner = Section(section.entries[kinds[0]], section.join(kinds[0]), self.filename, repr(kinds[0]))
        if kinds[0] == "fill":
            return self._fill(inner, names)
        if kinds[0] == "copy":
            return self._copy(inner)
        return self._repeat(inner, names, depth)

    def _fill(self, section: Section, names: frozenset[str]) -> FillStep:
        section.check_keys(("buffer", "value"))
        buffer = self.buffer(section, "buffer", written=True)
        node = section.require("value", "value: 0")
        where = section.where("value")
        value: TypedScalar | Expression
        if isinstance(node.value, str) and node.value.lower() not in NON_FINITE:
            expression = read_expression(node, where)
            self.scope.check(expression, names)
            value = expression.typed(buffer.dtype.name)
            check_value(value)
        else:
            plain = [item.value for item in node.value] if isinstance(node.value, list) else node.value
            try:
                value = parse_scalar(buffer.dtype, plain)
            except ValueError as reason:
                raise section.invalid("value", f"{buffer.name!r} holds {buffer.dtype.name}: {reason}") from None
        return FillStep(buffer.name, value, section.where())

    def _copy(self, section: Section) -> CopyStep:
        section.check_keys(("from", "to"))
        source = self.buffer(section, "from")
        target = self.buffer(section, "to", written=True)
        self._check_alike(section, "to", source, target, "copy")
        return CopyStep(source.name, target.name, section.where())

    def _repeat(self, section: Section, names: frozenset[str], depth: int) -> RepeatStep:
        section.check_keys(_REPEAT_KEYS)
        if depth >= MAX_LOOP_DEPTH:
            raise section.invalid(None, f"loops nest deeper than {MAX_LOOP_DEPTH}")
        section.require("times", "times: 100")
        times = self.expression_at(section, "times", names, least=0)
        index = self._index(section) if "as" in section.entries else None
        swap = self._swap(section) if "swap" in section.entries else None
        until = self._until(section, names) if "until" in section.entries else None
        inner = names | {index} if index else names
        steps = self._steps(section, "steps", inner, depth + 1)
        return RepeatStep(times, index, swap, steps, section.where(), until)

    def _until(self, section: Section, names: frozenset[str]) -> Until:
        inner = Section(section.entries["until"], section.join("until"), self.filename, "'until'")
        inner.check_keys(_UNTIL_KEYS)
        buffer = self.buffer(inner, "buffer")
        if buffer.dtype.kind == "c":
            raise inner.invalid(
                "buffer",
                f"{buffer.name!r} is {buffer.dtype.name}, and complex numbers have no order",
                "let a kernel write what is to be compared, such as the magnitude, to a buffer of its own",
            )
        if 0 in buffer.dimensions:
            raise inner.invalid(
                "buffer", f"{buffer.name!r} has no element to compare: its shape is {buffer.shape_text}"
            )
        inner.require("below", "below: 1e-6")
        below = self.expression_at(inner, "below", names)
        every = (
            self.expression_at(inner, "every", names, least=1)
            if "every" in inner.entries
            else Expression.parse(1, inner.where())
        )
        return Until(buffer.name, below, every, inner.where())

    def _index(self, section: Section) -> str:
        name, where = section.text("as", example="as: k"), section.where("as")
        check_name(name, "loop index", where)
        first = self._indices.get(name) or self._let_places.get(name)
        if name in self.scope.params:
            first = self.scope.params[name].where
        elif name in self.scope.buffers:
            first = self.scope.buffers[name].where
        elif name in self.scope.symbols:
            first = next(buffer.where for buffer in self.scope.buffers.values() if name in buffer.dimensions)
        if first:
            raise duplicate(name, where, first)
        self._indices[name] = where
        return name

    def _swap(self, section: Section) -> tuple[str, str]:
        def read(node: Node, path: str) -> Buffer:
            where = place(self.filename, node.line, path)
            return self.find(section, "swap", node.text, where, written=True)

        pair = section.items("swap", read, example="swap: [x, x_new]")
        if len(pair) != 2 or pair[0].name == pair[1].name:
            raise section.invalid("swap", "swap exchanges two different buffers", "for example swap: [x, x_new]")
        self._check_alike(section, "swap", pair[0], pair[1], "swap")
        return pair[0].name, pair[1].name

    def _check_alike(self, section: Section, key: str, one: Buffer, other: Buffer, what: str) -> None:
        if one.name == other.name:
            raise section.invalid(key, f"{what} needs two different buffers, not {one.name!r} twice")
        fixed = all(isinstance(dimension, int) for dimension in (*one.dimensions, *other.dimensions))
        if (
            one.dtype is not other.dtype
            or len(one.shape) != len(other.shape)
            or (fixed and one.dimensions != other.dimensions)
        ):
            raise section.invalid(
                key,
                f"{what} needs two buffers of the same type and shape: {one.name} is {one.dtype.name} "
                f"{one.shape_text}, {other.name} is {other.dtype.name} {other.shape_text}",
            )
        if one.shape != other.shape:
            self.same_shapes.append(SameShape(one.name, other.name, section.where(key)))
