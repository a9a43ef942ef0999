"""From the `graph` of a manifest's YAML tree to steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kaas._names import Scope, duplicate
from kaas._sections import Section, check_name, describe, place, read_expression
from kaas._yaml import Node
from kaas.dtypes import NON_FINITE, TypedScalar, parse_scalar
from kaas.errors import AuthorError
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
    Source,
    Step,
    ValueArg,
)
from kaas.manifest import Buffer, SameShape
from kaas.suggest import advise

MAX_STEPS = 4096
MAX_LOOP_DEPTH = 8
#: CUDA passes at most 4 KiB of arguments: 512 pointers.
MAX_ARGS = 512
MAX_DEFINES = 64

_KERNEL_KEYS = ("kernel", "source", "threads", "grid", "block", "shared", "args", "defines")
_KERNEL_LATER = {
    "cubin": "launching from a cubin",
    "cubins": "cubins per architecture",
    "reads": "declaring what a kernel reads (reads)",
    "writes": "declaring what a kernel writes (writes)",
}
_REPEAT_KEYS = ("times", "as", "swap", "steps")
_REPEAT_LATER = {"until": "ending a loop by a value on the device (until)"}
_KINDS = ("kernel", "fill", "copy", "repeat")

_KERNEL_NAME = re.compile(r"[A-Za-z_][\w:<>,.*& ()\-]{0,511}", re.ASCII)
_MACRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SOURCE_SUFFIXES = (".cu", ".cuh", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".hxx")


class GraphReader:
    """Reads the steps of one manifest; `same_shapes` collects what can only be checked with data."""

    def __init__(self, filename: str, scope: Scope, let_places: Mapping[str, str]) -> None:
        self.filename = filename
        self.scope = scope
        self.same_shapes: list[SameShape] = []
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
            section.check_keys(_KERNEL_KEYS, {**_KERNEL_LATER, **_REPEAT_LATER})
            raise section.invalid(None, "a step needs one of kernel, fill, copy, repeat")
        if kinds[0] == "kernel":
            return self._kernel(section, names)
        section.check_keys(kinds)
        inner = Section(section.entries[kinds[0]], section.join(kinds[0]), self.filename, repr(kinds[0]))
        if kinds[0] == "fill":
            return self._fill(inner, names)
        if kinds[0] == "copy":
            return self._copy(inner)
        return self._repeat(inner, names, depth)

    # Kernels

    def _kernel(self, section: Section, names: frozenset[str]) -> KernelStep:
        section.check_keys(_KERNEL_KEYS, _KERNEL_LATER)
        kernel = section.text("kernel", example="kernel: saxpy", limit=512)
        if not _KERNEL_NAME.fullmatch(kernel):
            raise section.invalid(
                "kernel",
                f"{kernel[:80]!r} cannot name a kernel",
                "write the name of the __global__ function, such as saxpy or scale<float, 256>",
            )
        if ("threads" in section.entries) == ("grid" in section.entries):
            both = "threads" in section.entries
            raise section.invalid(
                "grid" if both else None,
                "a launch has either threads or grid, not both" if both else "a launch needs threads or grid",
                "threads counts threads and is rounded up to whole blocks; grid counts blocks",
            )

        def extents(key: str) -> tuple[Expression, ...]:
            found = section.items(key, self._expression(names), example=f"{key}: [256]")
            if not 1 <= len(found) <= 3:
                raise section.invalid(key, f"{key!r} has {len(found)} extents", "1 to 3 of them: x, y, z")
            return found

        shared = None
        if "shared" in section.entries:
            shared = self._expression_at(section, "shared", names)
        args: tuple[Arg, ...] = ()
        if "args" in section.entries:
            args = section.items("args", self._arg_reader(names), example="args: [x, y, int32(n)]")
        if len(args) > MAX_ARGS:
            raise section.invalid("args", f"{len(args)} arguments; at most {MAX_ARGS} are allowed")
        return KernelStep(
            kernel=kernel.strip(),
            source=self._source(section),
            threads=extents("threads") if "threads" in section.entries else None,
            grid=extents("grid") if "grid" in section.entries else None,
            block=extents("block"),
            shared=shared,
            args=args,
            where=section.where(),
        )

    def _source(self, section: Section) -> Source:
        example = "source: kernels.cu"
        node = section.require("source", example)
        defines = self._defines(section)
        if isinstance(node.value, list):
            raise section.invalid(
                "source", "a kernel has one source", "other files of the bundle can be included in it"
            )
        text = section.text("source", example=example, limit=1 << 20)
        if "\n" in text:
            first_line = node.value_line + (1 if node.is_block else 0)
            return Source(f"{self.filename}:{node.value_line}", text, first_line, defines)
        if text.endswith((".cubin", ".fatbin", ".ptx")):
            raise section.not_yet("source", "launching from a compiled file")
        parts = text.split("/")
        if "\\" in text or any(part in ("", ".", "..") for part in parts):
            raise section.invalid(
                "source", f"{text[:80]!r} is not a path inside the bundle", "for example kernels/saxpy.cu"
            )
        if not text.endswith(_SOURCE_SUFFIXES):
            raise section.invalid(
                "source",
                f"{text[:80]!r} is not a CUDA source",
                "a file that ends in .cu (or another ending of C++), or the text itself after 'source: |'",
            )
        return Source(text, defines=defines)

    def _defines(self, section: Section) -> tuple[tuple[str, str], ...]:
        if "defines" not in section.entries:
            return ()
        inner = Section(section.entries["defines"], section.join("defines"), self.filename, "'defines'")
        if len(inner.entries) > MAX_DEFINES:
            raise section.invalid("defines", f"{len(inner.entries)} macros; at most {MAX_DEFINES} are allowed")
        found: dict[str, str] = {}
        for name, node in inner.entries.items():
            if not _MACRO_NAME.fullmatch(name):
                raise inner.invalid(
                    name, f"{name[:80]!r} cannot name a macro", "letters, digits and underscores, at most 128"
                )
            value = node.value
            if isinstance(value, bool):
                found[name] = str(int(value))
            elif isinstance(value, (int, float)):
                found[name] = node.text
            elif isinstance(value, str) and value.isprintable() and len(value) <= 256:
                found[name] = value
            else:
                raise inner.invalid(
                    name,
                    f"a macro is a number, true, false or one line of text, not {describe(node)}",
                    "for example defines: {TILE: 16}",
                )
        return tuple(sorted(found.items()))

    def _expression(self, names: frozenset[str]) -> Callable[[Node, str], Expression]:
        def read(node: Node, path: str) -> Expression:
            expression = read_expression(node, place(self.filename, node.line, path))
            self.scope.check(expression, names)
            return expression

        return read

    def _expression_at(self, section: Section, key: str, names: frozenset[str]) -> Expression:
        return self._expression(names)(section.entries[key], section.join(key))

    def _arg_reader(self, names: frozenset[str]) -> Callable[[Node, str], Arg]:
        def read(node: Node, path: str) -> Arg:
            where = place(self.filename, node.line, path)
            if node.value is None:
                return NullArg()
            if isinstance(node.value, dict):
                return self._view(Section(node, path, self.filename, "an argument"), names)
            expression = read_expression(node, where, plain=False)
            if expression.is_name and expression.dtype is None:
                name = expression.text.strip()
                if name in self.scope.buffers:
                    return BufferArg(name)
                if name in self.scope.params:
                    return ParamArg(name)
            self.scope.check(expression, names)
            if expression.dtype is None:
                raise AuthorError(
                    "manifest_invalid",
                    f"{expression.text!r} is a number without a type, and a kernel's argument needs one",
                    where=where,
                    hint=f"say the type, for example int32({expression.text.strip()})",
                )
            return ValueArg(expression)

        return read

    def _view(self, section: Section, names: frozenset[str]) -> BufferArg:
        section.check_keys(("buffer", "offset"))
        buffer = self._buffer(section, "buffer").name
        offset = None
        if "offset" in section.entries:
            offset = self._expression_at(section, "offset", names)
        return BufferArg(buffer, offset)

    # Other steps

    def _buffer(self, section: Section, key: str, *, written: bool = False) -> Buffer:
        name = section.text(key, example=f"{key}: x")
        return self._find(section, key, name, section.where(key), written=written)

    def _find(self, section: Section, key: str, name: str, where: str, *, written: bool) -> Buffer:
        buffer = self.scope.buffers.get(name)
        if buffer is None:
            raise AuthorError(
                "name_unknown",
                f"there is no buffer {name[:80]!r}",
                where=where,
                hint=advise(name, self.scope.buffers, "buffers"),
            )
        if written and buffer.io == "const":
            raise section.invalid(
                key, f"{name!r} is const: it is never written, swapped or cleared", "declare io: in or temp"
            )
        return buffer

    def _fill(self, section: Section, names: frozenset[str]) -> FillStep:
        section.check_keys(("buffer", "value"))
        buffer = self._buffer(section, "buffer", written=True)
        node = section.require("value", "value: 0")
        where = section.where("value")
        value: TypedScalar | Expression
        if isinstance(node.value, str) and node.value.lower() not in NON_FINITE:
            expression = read_expression(node, where)
            self.scope.check(expression, names)
            value = expression.typed(buffer.dtype.name)
        else:
            plain = [item.value for item in node.value] if isinstance(node.value, list) else node.value
            try:
                value = parse_scalar(buffer.dtype, plain)
            except ValueError as reason:
                raise section.invalid("value", f"{buffer.name!r} holds {buffer.dtype.name}: {reason}") from None
        return FillStep(buffer.name, value, section.where())

    def _copy(self, section: Section) -> CopyStep:
        section.check_keys(("from", "to"))
        source = self._buffer(section, "from")
        target = self._buffer(section, "to", written=True)
        self._check_alike(section, "to", source, target, "copy")
        return CopyStep(source.name, target.name, section.where())

    def _repeat(self, section: Section, names: frozenset[str], depth: int) -> RepeatStep:
        section.check_keys(_REPEAT_KEYS, _REPEAT_LATER)
        if depth >= MAX_LOOP_DEPTH:
            raise section.invalid(None, f"loops nest deeper than {MAX_LOOP_DEPTH}")
        section.require("times", "times: 100")
        times = self._expression_at(section, "times", names)
        index = self._index(section) if "as" in section.entries else None
        swap = self._swap(section) if "swap" in section.entries else None
        inner = names | {index} if index else names
        return RepeatStep(times, index, swap, self._steps(section, "steps", inner, depth + 1), section.where())

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
            return self._find(section, "swap", node.text, where, written=True)

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
