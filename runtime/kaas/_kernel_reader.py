"""From a kernel step of a manifest's YAML tree to a `KernelStep`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from kaas._sections import Section, describe, is_bundle_path, place, read_expression
from kaas._steps import StepReader, check_value
from kaas._yaml import Node
from kaas.errors import AuthorError
from kaas.expressions import Expression
from kaas.graph import Arg, BufferArg, KernelStep, NullArg, ParamArg, Source, ValueArg
from kaas.suggest import advise

#: CUDA passes at most 4 KiB of arguments: 512 pointers.
MAX_ARGS = 512
MAX_DEFINES = 64
MAX_CUBINS = 32

#: Limits of every device since compute capability 3.0 (CUDA C++ Programming Guide, "Technical Specifications per
#: Compute Capability"): a constant over them is wrong wherever it runs.
_MAX_BLOCK = (1024, 1024, 64)
_MAX_BLOCK_THREADS = 1024
_MAX_GRID = ((1 << 31) - 1, 65535, 65535)

KEYS = ("kernel", "source", "cubins", "threads", "grid", "block", "shared", "args", "reads", "writes", "defines")

_KERNEL_NAME = re.compile(r"[A-Za-z_][\w:<>,.*& ()\-]{0,511}", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z_$][\w$.]{0,511}", re.ASCII)
_MACRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ARCHITECTURE = re.compile(r"sm_[1-9][0-9]{1,2}")
_SOURCE_SUFFIXES = (".cu", ".cuh", ".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".hxx")

_OPEN_ENDED = (
    "what it becomes depends on the device's driver, and what runs must be fixed by the bundle",
    "compile it to a cubin for each architecture: cubins: {sm_90: kernels.sm_90.cubin}",
)


class KernelReader(StepReader):
    """Reads the launches of one manifest."""

    def kernel(self, section: Section, names: frozenset[str]) -> KernelStep:
        """The launch at `section`, whose expressions may use `names`."""
        section.check_keys(KEYS)
        kernel = self._name(section)
        if ("threads" in section.entries) == ("grid" in section.entries):
            both = "threads" in section.entries
            raise section.invalid(
                "grid" if both else None,
                "a launch has either threads or grid, not both" if both else "a launch needs threads or grid",
                "threads counts threads and is rounded up to whole blocks; grid counts blocks",
            )
        shared = self.expression_at(section, "shared", names, least=0) if "shared" in section.entries else None
        args: tuple[Arg, ...] = ()
        if "args" in section.entries:
            args = section.items("args", self._arg_reader(names), example="args: [x, y, int32(n)]")
        if len(args) > MAX_ARGS:
            raise section.invalid("args", f"{len(args)} arguments; at most {MAX_ARGS} are allowed")
        source = self._source(section)
        reads, writes = self._declared(section, args, source)
        return KernelStep(
            kernel=kernel,
            source=source,
            threads=self._extents(section, "threads", names),
            grid=self._extents(section, "grid", names),
            block=self._block(section, names),
            shared=shared,
            args=args,
            where=section.where(),
            reads=reads,
            writes=writes,
            places=_places(section),
        )

    def _name(self, section: Section) -> str:
        kernel = section.text("kernel", example="kernel: saxpy", limit=512).strip()
        if not _KERNEL_NAME.fullmatch(kernel) and not _SYMBOL.fullmatch(kernel):
            raise section.invalid(
                "kernel",
                f"{kernel[:80]!r} cannot name a kernel",
                "write the name of the __global__ function, such as saxpy or scale<float, 256>",
            )
        if "cubins" in section.entries and not _SYMBOL.fullmatch(kernel):
            raise section.invalid(
                "kernel",
                f"{kernel[:80]!r} is no symbol, and in a cubin kernels are found by their exact symbol",
                'write the name of an extern "C" kernel, or the mangled name as cuobjdump --dump-elf-symbols shows it',
            )
        return kernel

    # ***** launch dimensions *****

    def _extents(self, section: Section, key: str, names: frozenset[str]) -> tuple[Expression, ...] | None:
        if key not in section.entries:
            return None
        extents = section.items(key, self.expression(names, least=0), example=f"{key}: [256]")
        if not 1 <= len(extents) <= 3:
            raise section.invalid(key, f"{key!r} has {len(extents)} extents", "1 to 3 of them: x, y, z")
        if key == "grid":
            _check_limits(extents, _MAX_GRID, "blocks")
        return extents

    def _block(self, section: Section, names: frozenset[str]) -> tuple[Expression, ...]:
        section.require("block", "block: [256]")
        extents = self._extents(section, "block", names) or ()
        _check_limits(extents, _MAX_BLOCK, "threads in a block")
        threads = math.prod(int(extent.constant) for extent in extents if extent.constant is not None)
        if threads > _MAX_BLOCK_THREADS and all(extent.constant is not None for extent in extents):
            raise section.invalid(
                "block",
                f"a block of {' x '.join(extent.text for extent in extents)} has {threads} threads; "
                f"CUDA allows {_MAX_BLOCK_THREADS}",
                "use a smaller block",
            )
        return extents

    # ***** what runs *****

    def _source(self, section: Section) -> Source:
        cubins = self._cubins(section)
        if cubins and "source" not in section.entries:
            if "defines" in section.entries:
                raise section.invalid("defines", "macros belong to a source, and the step has none", "leave them out")
            return Source(cubins[0][1], cubins=cubins, compiled_only=True)
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
            return Source(f"{self.filename}:{node.value_line}", text, first_line, defines, cubins)
        _refuse_open_ended(section, "source", text)
        if text.endswith(".cubin"):
            raise section.invalid(
                "source",
                f"{text[:80]!r} is compiled, for one architecture",
                f"say which, in place of source: cubins: {{sm_90: {text[:80]}}}",
            )
        if not is_bundle_path(text):
            raise section.invalid(
                "source", f"{text[:80]!r} is not a path inside the bundle", "for example kernels/saxpy.cu"
            )
        if not text.endswith(_SOURCE_SUFFIXES):
            raise section.invalid(
                "source",
                f"{text[:80]!r} is not a CUDA source",
                "a file that ends in .cu (or another ending of C++), or the text itself after 'source: |'",
            )
        return Source(text, defines=defines, cubins=cubins)

    def _cubins(self, section: Section) -> tuple[tuple[str, str], ...]:
        if "cubins" not in section.entries:
            return ()
        example = "cubins: {sm_90: kernels.sm_90.cubin}"
        inner = Section(section.entries["cubins"], section.join("cubins"), self.filename, "'cubins'")
        if not 1 <= len(inner.entries) <= MAX_CUBINS:
            raise section.invalid("cubins", f"{len(inner.entries)} cubins; 1 to {MAX_CUBINS} are allowed", example)
        for architecture in inner.entries:
            if not _ARCHITECTURE.fullmatch(architecture):
                raise inner.invalid(
                    architecture,
                    f"{architecture[:80]!r} is no architecture",
                    "sm_ and the compute capability without its point, such as sm_90 for 9.0",
                )
            path = inner.text(architecture, example=example, limit=1024)
            _refuse_open_ended(inner, architecture, path)
            if not is_bundle_path(path) or not path.endswith(".cubin"):
                raise inner.invalid(
                    architecture, f"{path[:80]!r} is not the path of a .cubin inside the bundle", example
                )
        return tuple(
            (architecture, str(inner.entries[architecture].value))
            for architecture in sorted(inner.entries, key=lambda architecture: int(architecture[3:]))
        )

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

    # ***** arguments *****

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
            check_value(expression)
            return ValueArg(expression)

        return read

    def _view(self, section: Section, names: frozenset[str]) -> BufferArg:
        section.check_keys(("buffer", "offset"))
        buffer = self.buffer(section, "buffer").name
        offset = None
        if "offset" in section.entries:
            offset = self.expression_at(section, "offset", names, least=0)
        return BufferArg(buffer, offset)

    # ***** what it reads and writes *****

    def _declared(
        self, section: Section, args: tuple[Arg, ...], source: Source
    ) -> tuple[frozenset[str] | None, frozenset[str] | None]:
        pointed = list(dict.fromkeys(arg.buffer for arg in args if isinstance(arg, BufferArg)))
        said = [key for key in ("reads", "writes") if key in section.entries]
        if not said:
            if source.compiled_only and pointed:
                raise section.invalid(
                    None,
                    "only a source tells what a kernel reads and writes, and this step has none",
                    f"say it, for example reads: [{pointed[0]}] and writes: [{pointed[-1]}]",
                )
            return (frozenset(), frozenset()) if source.compiled_only else (None, None)
        reads, writes = self._said(section, "reads", pointed), self._said(section, "writes", pointed)
        for name in pointed:
            if name not in reads | writes:
                raise section.invalid(
                    said[0],
                    f"the argument {name!r} is neither in reads nor in writes",
                    "name every buffer among args in one of them, or in both",
                )
        return reads, writes

    def _said(self, section: Section, key: str, pointed: list[str]) -> frozenset[str]:
        if key not in section.entries:
            return frozenset()

        def read(node: Node, path: str) -> str:
            where = place(self.filename, node.line, path)
            name = self.find(section, key, node.text, where, written=key == "writes").name
            if name not in pointed:
                raise AuthorError(
                    "manifest_invalid",
                    f"{name!r} is not among args, so the kernel cannot reach it",
                    where=where,
                    hint=advise(name, pointed, "buffers among args"),
                )
            return name

        found = section.items(key, read, example=f"{key}: [x]")
        for at, name in enumerate(found):
            if name in found[:at]:
                raise section.invalid(key, f"{name!r} stands twice in {key}", "once is enough")
        return frozenset(found)


def _places(section: Section) -> dict[str, str]:
    """Where each key of a launch stands, and each argument and cubin."""
    places = {key: section.where(key) for key in section.entries}
    for key in ("args", "reads", "writes"):
        for at, node in enumerate(section.entries[key].value if key in section.entries else ()):
            places[f"{key}[{at}]"] = place(section.file, node.line, section.join(f"{key}[{at}]"))
    for name, node in (section.entries["cubins"].value if "cubins" in section.entries else {}).items():
        places[f"cubins.{name}"] = place(section.file, node.line, section.join(f"cubins.{name}"))
    return places


def _check_limits(extents: tuple[Expression, ...], limits: tuple[int, int, int], what: str) -> None:
    for axis, extent, most in zip("xyz", extents, limits, strict=False):
        if extent.constant is not None and extent.constant > most:
            raise AuthorError(
                "manifest_invalid",
                f"{extent.text} is over CUDA's limit of {most} {what} along {axis}",
                where=extent.where,
            )


def _refuse_open_ended(section: Section, key: str, path: str) -> None:
    if path.endswith((".ptx", ".fatbin")):
        reason, hint = _OPEN_ENDED
        raise AuthorError("not_supported", f"{path[:80]!r}: {reason}", where=section.where(key), hint=hint)
