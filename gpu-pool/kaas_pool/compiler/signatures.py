"""The one reader of kernel signatures: from preprocessed CUDA C++ to what each kernel takes. Pure.

It reads what a preprocessor leaves: line markers, and `__global__` either as it is (the emulator's headers, NVRTC's
built-in ones) or as `__attribute__((global))` (CUDA's own headers). It is no parser of C++: it finds kernels in
namespaces and `extern "C"`, and reads their parameters as text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaas_pool.compiler.tokens import Token, groups, tokens

_POINTER_BYTES = 8

#: Sizes of types on the GPU and on the host alike: both are LP64.
_SIZES = {
    "bool": 1, "char": 1, "short": 2, "int": 4, "long": 8, "float": 4, "double": 8, "size_t": 8, "ptrdiff_t": 8,
    "intptr_t": 8, "uintptr_t": 8, "dim3": 12, "half": 2, "__half": 2, "half2": 4, "__half2": 4,
    "__nv_bfloat16": 2, "__nv_bfloat162": 4, "clock_t": 8, "uint": 4, "uchar": 1, "ushort": 2, "ulong": 8,
}  # fmt: skip
_SIZES |= {f"{sign}int{bits}_t": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}
_SIZES |= {
    f"{name}{lanes}": size * lanes
    for name, size in (
        ("char", 1), ("uchar", 1), ("short", 2), ("ushort", 2), ("int", 4), ("uint", 4), ("long", 8), ("ulong", 8),
        ("longlong", 8), ("ulonglong", 8), ("float", 4), ("double", 8),
    )
    for lanes in (1, 2, 3, 4)
}  # fmt: skip

_BUILT_IN = frozenset({"void", "bool", "char", "short", "int", "long", "float", "double", "signed", "unsigned", "auto"})
_QUALIFIERS = frozenset({"volatile", "restrict", "__restrict__", "__restrict", "register", "__grid_constant__"})
_ELABORATED = frozenset({"struct", "class", "enum", "union", "typename"})
#: Words between `__global__` and the kernel's name, and those of them that a parenthesis belongs to.
_SPECIFIERS = _BUILT_IN | _QUALIFIERS | {"const", "static", "inline", "__inline__", "__forceinline__", "__noinline__"}
_WITH_ARGUMENTS = frozenset({"__launch_bounds__", "__attribute__", "__maxnreg__", "__cluster_dims__", "alignas"})


@dataclass(frozen=True)
class KernelParam:
    """One parameter; `type` is its text without the name, `size_bytes` is None where the text does not tell.

    Of a parameter in a cubin only the size is known; its `type` is empty.
    """

    name: str | None
    type: str
    is_pointer: bool
    is_const_pointee: bool
    size_bytes: int | None

    @property
    def writes(self) -> bool:
        """Whether the kernel may write what is bound to this: any pointer not to const, and what may be one."""
        return not self.is_const_pointee if self.is_pointer else self.size_bytes is None


@dataclass(frozen=True)
class KernelSignature:
    """A kernel as its source declares it. `name` is qualified by namespaces, `line` counts from 1 in `file`.

    `symbol` is its name in the image; the reader knows that of an `extern "C"` kernel only, the compiler the others.
    `is_told` is false where not even the number of parameters is known. `static_shared` (bytes of a block's shared
    memory) and `most_threads` (of a block, by `__launch_bounds__`) are known once it is compiled.
    """

    name: str
    extern_c: bool
    parameters: tuple[KernelParam, ...]
    file: str
    line: int
    template: bool = False
    symbol: str = ""
    is_told: bool = True
    static_shared: int = 0
    most_threads: int | None = None

    def with_symbol(self, symbol: str) -> KernelSignature:
        """The same kernel with its name in the image."""
        return dataclasses.replace(self, symbol=symbol)

    def to_json(self) -> dict[str, Any]:
        """A form that `from_json` takes."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(item: Mapping[str, Any]) -> KernelSignature:
        """Raises KeyError or TypeError for what `to_json` did not make."""
        parameters = tuple(KernelParam(**parameter) for parameter in item["parameters"])
        return KernelSignature(**{**item, "parameters": parameters})


def read_signatures(preprocessed: str) -> tuple[KernelSignature, ...]:
    """The kernels of a preprocessed source in the order of their first appearance; every overload counts."""
    found: dict[tuple[str, tuple[str, ...]], KernelSignature] = {}
    for signature, is_definition in _Reader(list(tokens(preprocessed))).kernels():
        key = (signature.name, tuple(parameter.type for parameter in signature.parameters))
        if is_definition or key not in found:
            found[key] = signature
    return tuple(found.values())


def candidates(signatures: Sequence[KernelSignature], wanted: str) -> tuple[KernelSignature, ...]:
    """The kernels that a manifest's `kernel: wanted` may mean: one if it is clear, none if there is none.

    By the whole name; else by the end of a qualified one; else, for `f<float, 256>`, the templates called `f`.
    """
    name = "".join(wanted.split())
    exact = tuple(one for one in signatures if "".join(one.name.split()) == name and not one.template)
    if exact:
        return exact
    base = name.partition("<")[0]
    templated = "<" in name
    matching = [one for one in signatures if one.template == templated]
    qualified = tuple(one for one in matching if one.name == base)
    return qualified or tuple(one for one in matching if one.name.endswith(f"::{base}"))


class _Reader:
    """Walks over the tokens and knows in which namespaces, language and other braces it is."""

    def __init__(self, source: list[Token]) -> None:
        self._tokens = source
        self._statement: list[Token] = []
        #: One entry per open brace: the namespace it opens ("" for extern "C" and unnamed ones), None for any other.
        self._braces: list[str | None] = []
        self._languages: list[bool] = []

    def kernels(self) -> Iterator[tuple[KernelSignature, bool]]:
        index = 0
        while index < len(self._tokens):
            token = self._tokens[index]
            text = token.text
            if text == "{":
                self._open()
            elif text == "}":
                self._close()
            elif text == ";":
                self._statement = []
            elif self._is_mark(index):
                end, kernel = self._kernel(index)
                if kernel is not None:
                    yield kernel
                self._statement = []
                index = end
                continue
            else:
                self._statement.append(token)
            index += 1

    def _open(self) -> None:
        words = [token.text for token in self._statement if token.text not in ("inline", "static")]
        words = words[: words.index("__attribute__")] if "__attribute__" in words else words
        if words[:1] == ["namespace"]:
            self._braces.append("".join(words[1:]))
            self._languages.append(self._in_c())
        elif words[:1] == ["extern"] and len(words) == 2 and words[1] in ('"C"', '"C++"'):
            self._braces.append("")
            self._languages.append(words[1] == '"C"')
        else:
            self._braces.append(None)
            self._languages.append(False)
        self._statement = []

    def _close(self) -> None:
        if self._braces:
            self._braces.pop()
            self._languages.pop()
        self._statement = []

    def _in_c(self) -> bool:
        return bool(self._languages) and self._languages[-1]

    def _is_mark(self, index: int) -> bool:
        text = self._tokens[index].text
        if text == "__global__":
            return True
        ahead = [token.text for token in self._tokens[index + 1 : index + 4]]
        return text == "__attribute__" and ahead in (["(", "(", "global"], ["(", "(", "__global__"])

    def _kernel(self, mark: int) -> tuple[int, tuple[KernelSignature, bool] | None]:
        """The kernel whose `__global__` is at `mark`, and where reading goes on: at the token after its head."""
        before = [token.text for token in self._statement]
        index = mark + 1
        name: list[Token] = []
        source = self._tokens
        while index < len(source) and source[index].text not in ("{", "}", ";"):
            text = source[index].text
            if text == "(":
                # What belongs to a specifier, or to __attribute__((global)) itself; else the parameters.
                end = groups(source, index)
                if name and name[-1].text not in _WITH_ARGUMENTS:
                    break
                name = []
                index = end
                continue
            if text == "<" and name:
                end = groups(source, index)
                name += source[index:end]
                index = end
                continue
            if text in _SPECIFIERS:
                name = []
            elif source[index].is_word and (not name or name[-1].text != "::"):
                name = [source[index]]
            else:
                name.append(source[index])
            index += 1
        else:
            return index, None
        end = groups(source, index)
        if any(text is None for text in self._braces):
            return end, None
        if before[:1] == ["template"] and before[1:2] != ["<"]:
            return end, None  # An explicit instantiation declares nothing new.
        is_definition = end < len(source) and source[end].text == "{"
        return end, (self._signature(before, name, source[index + 1 : end - 1]), is_definition)

    def _signature(self, before: list[str], name: list[Token], inside: list[Token]) -> KernelSignature:
        spaces = [brace for brace in self._braces if brace]
        qualified = "::".join([*spaces, _spell(name).removeprefix("::")])
        extern_c = self._in_c() or before[:2] == ["extern", '"C"']
        place = next((token for token in reversed(name) if token.is_word), name[0])
        return KernelSignature(
            name=qualified,
            extern_c=extern_c,
            parameters=tuple(_parameter(part) for part in _split(inside)),
            file=place.file,
            line=place.line,
            template="template" in before and not _is_empty_template(before),
            symbol=name[-1].text if extern_c else "",
        )


def _is_empty_template(before: list[str]) -> bool:
    return before[:3] == ["template", "<", ">"]


def _split(inside: list[Token]) -> list[list[Token]]:
    """Parameters, without their default values and attributes."""
    parts: list[list[Token]] = [[]]
    is_default = False
    index = 0
    while index < len(inside):
        token = inside[index]
        if token.text == ",":
            parts.append([])
            is_default = False
        elif token.text == "=":
            is_default = True
        elif token.text in ("(", "[", "{") or (token.text == "<" and not is_default):
            end = groups(inside, index)
            words = [part.text for part in inside[index:end]]
            if parts[-1] and parts[-1][-1].text in _WITH_ARGUMENTS:
                parts[-1].pop()
            elif not is_default and words[:2] != ["[", "["]:
                parts[-1] += inside[index:end]
            index = end
            continue
        elif not is_default:
            parts[-1].append(token)
        index += 1
    parts = [part for part in parts if part]
    return [] if [[token.text for token in part] for part in parts] == [["void"]] else parts


def _parameter(part: list[Token]) -> KernelParam:
    part = [token for token in part if token.text not in _QUALIFIERS]
    arrays = 0
    # `T name[4]` and `T (*name)[4]` are pointers.
    while part and part[-1].text == "]":
        part = part[: _last(part, "[")]
        arrays += 1
    if part and part[-1].text == ")":
        start = _last(part, "(")
        part = part[:start] + part[start + 1 : -1]
        arrays = 0
    part, name = _without_name(part)
    stars = [index for index, token in enumerate(part) if token.text == "*" and not _is_nested(part, index)]
    if arrays:
        stars.append(len(part))
    is_pointer = bool(stars)
    is_const = False
    if stars:
        pointee = part[stars[-2] + 1 if len(stars) > 1 else 0 : stars[-1]]
        is_const = any(token.text == "const" and not _is_nested(pointee, at) for at, token in enumerate(pointee))
    text = _spell(part) + ("*" if arrays else "")
    return KernelParam(name, text, is_pointer, is_const, _POINTER_BYTES if is_pointer else _size(part))


def _last(part: list[Token], bracket: str) -> int:
    """Where the last such bracket is; 0 in a text that has none, which no compiler takes."""
    return max((index for index, token in enumerate(part) if token.text == bracket), default=0)


def _without_name(part: list[Token]) -> tuple[list[Token], str | None]:
    """The type's tokens and the parameter's name, if it has one."""
    last = part[-1] if part else None
    if last is None or not last.is_word or last.text in _BUILT_IN or last.text == "const":
        return part, None
    type_part = part[:-1]
    types = [token for token in type_part if token.text != "const"]
    if not types or types[-1].text == "::" or types[-1].text in _ELABORATED:
        return part, None
    return type_part, last.text


def _is_nested(part: Sequence[Token], index: int) -> bool:
    depth = 0
    for token in part[:index]:
        depth += token.text in ("<", "(")
        depth -= token.text in (">", ")")
    return depth > 0


def _size(part: list[Token]) -> int | None:
    words = [token.text for token in part if token.text != "const" and token.text not in _ELABORATED]
    if words[:2] == ["std", "::"]:
        words = words[2:]
    if len(words) == 1 and words[0] not in ("signed", "unsigned"):
        return _SIZES.get(words[0])
    if words and all(word in _BUILT_IN for word in words):
        for word in ("char", "short", "double", "long"):
            if word in words:
                return None if words.count("long") and word == "double" else _SIZES[word]
        return 4
    return None


def _spell(part: Sequence[Token]) -> str:
    """Tokens as one text: a space between words only."""
    text = ""
    for token in part:
        if text and token.is_word and (text[-1].isalnum() or text[-1] in "_*&>"):
            text += " "
        text += token.text if token.text != "," else ", "
    return text
