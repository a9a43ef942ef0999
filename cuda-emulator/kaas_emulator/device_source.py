"""What the host's compiler cannot read in preprocessed CUDA C++, in words it can.

Four words are left: ``__global__`` goes, ``__noinline__`` becomes an attribute (a macro would also be replaced in the
C++ library's attributes), ``__launch_bounds__`` becomes a constant in the kernel's body, and ``__shared__`` becomes
thread-local storage, because one worker thread runs one block at a time. ``extern __shared__ T name[]`` becomes a
pointer to the block's dynamic shared memory, so that several kernels can see it with different types. Lines stay where
they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kaas_emulator.resources import KERNEL, LAUNCH_BOUND

#: What of C++ matters here; the rest is passed over.
TOKEN = re.compile(
    r"""
      (?P<raw> (?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)" )
    | (?P<text> (?:u8|[uUL])?"(?:[^"\\\n]|\\.)*" | (?:u8|[uUL])?'(?:[^'\\\n]|\\.)*' )
    | (?P<directive> ^[ \t]*\#[^\n]* )
    | (?P<number> \.?\d(?:[\w.]|'\w|[eEpP][+-])* )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<mark> [{};\[\]()] )
    | (?P<launch> <<< )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)

_DYNAMIC = re.compile(r"(?P<type>.*?)\b(?P<name>[A-Za-z_]\w*)\s*\[[^\]]*\](?P<rest>(?:\s*\[[^\]]*\])*)\s*\Z", re.DOTALL)

#: What comes before the word where it is an attribute's name already.
_ATTRIBUTE = re.compile(r"(?:__attribute(?:__)?\s*\(\s*\([^()]*|::\s*)\Z")

#: The device language, included before every source.
PREFIX = "kaas_device.h"

#: Before the name of a kernel where the compiler's messages name a file.
KERNEL_MARK = "kernel "


class _Reader:
    """Walks over the tokens, knows in which kind of braces it is, and collects replacements."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.replacements: list[tuple[int, int, str]] = []
        # One entry per open brace: True where it only groups declarations (a namespace, extern "C").
        self.braces: list[bool] = []
        self.balanced = True
        self._statement = 0
        self._words: list[str] = []
        self._shared: list[tuple[int, int]] = []
        self._arrays = 0
        self._bounds = ""

    def read(self) -> None:
        for token in TOKEN.finditer(self.text):
            kind = token.lastgroup
            if token["directive"] is not None:
                self._statement = max(self._statement, token.end()) if not self._words else self._statement
            elif kind == "mark":
                self._mark(token.group(), token.start(), token.end())
            elif kind == "word":
                self._word(token.group(), token.start(), token.end())
            elif token["text"] is not None:
                self._words.append(token.group())
        self.balanced = self.balanced and not self.braces

    def _word(self, word: str, start: int, end: int) -> None:
        if not self._words:
            self._statement = start
        self._words.append(word)
        if word == "__global__":
            self.replacements.append((start, end, ""))
        elif word == "__noinline__":
            if _ATTRIBUTE.search(self.text, max(0, start - 200), start) is None:
                self.replacements.append((start, end, "__attribute__((noinline))"))
        elif word == "__shared__":
            self._shared.append((start, end))
        elif word == "__launch_bounds__":
            closed = _closing(self.text, end)
            arguments = self.text[end:closed]
            self.replacements.append((start, closed, "\n" * arguments.count("\n")))
            self._bounds = " ".join(arguments.split())

    def _mark(self, mark: str, start: int, end: int) -> None:
        if mark in "()[]":
            return
        if mark == ";" and self._shared and "extern" in self._words:
            self._replace_dynamic(start)
        else:
            for place in self._shared:
                self.replacements.append((*place, "thread_local"))
        if mark == "{":
            if self._bounds:
                # A constant of the body has the template's arguments in sight, and costs nothing.
                text = f'static constexpr unsigned {LAUNCH_BOUND} [[gnu::used, gnu::visibility("hidden")]]'
                self.replacements.append((end, end, f" {text} = ::kaas_device::launch_bound{self._bounds};"))
            words = self._words[1:] if self._words[:1] == ["inline"] else self._words
            self.braces.append(words[:1] == ["namespace"] or words in (["extern", '"C"'], ["extern", '"C++"']))
        elif mark == "}":
            if self.braces:
                self.braces.pop()
            else:
                self.balanced = False
        self._statement = end
        self._words = []
        self._shared = []
        self._bounds = ""

    def _replace_dynamic(self, end: int) -> None:
        declaration = self.text[self._statement : end]
        plain = re.sub(r"\b(?:extern|__shared__|static)\b", " ", declaration)
        found = _DYNAMIC.match(plain)
        if found is None:
            self.replacements.extend((*place, "thread_local") for place in self._shared)
            return
        kind, name, rest = (" ".join(found[part].split()) for part in ("type", "name", "rest"))
        if all(self.braces):
            self._arrays += 1
            element = f"kaas_element_{self._arrays}"
            text = (
                f"typedef {kind} {element}{rest}; "
                f"static constexpr ::kaas_device::DynamicSharedArray<{element}> {name}{{}}"
            )
        else:
            text = f"{kind} (*const {name}){rest} = ::kaas_device::dynamic_shared"
        self.replacements.append((self._statement, end, text + "\n" * declaration.count("\n")))

    def result(self) -> str:
        parts: list[str] = []
        place = 0
        for start, end, text in sorted(self.replacements):
            parts += [self.text[place:start], text]
            place = end
        return "".join(parts) + self.text[place:]


def _closing(text: str, start: int) -> int:
    """Where the parenthesis closes that opens at ``start`` or after blanks behind it; ``start`` where none does."""
    depth = 0
    for token in TOKEN.finditer(text, start):
        here = token.group()
        if depth == 0 and (here != "(" or text[start : token.start()].strip()):
            return start
        depth += (here == "(") - (here == ")")
        if depth == 0:
            return token.end()
    return start


def to_host_source(text: str, kernels: Sequence[str]) -> str:
    """Preprocessed CUDA C++ as host C++, with the image's table of ``kernels`` at its end."""
    reader = _Reader(text)
    reader.read()
    source = reader.result()
    # Behind an open brace the table would only hide where the user's error is.
    return source + _table(kernels) if reader.balanced else source


def _table(kernels: Sequence[str]) -> str:
    entries = "".join(
        f'\n# 1 "{KERNEL_MARK}{_quote(name)}"\n::kaas_device::describe<&{name}>("{_quote(name)}"),' for name in kernels
    )
    # The address of each once more, as a constant by whose name the assembly tells which kernel it is.
    addresses = "".join(
        f'\n# 1 "{KERNEL_MARK}{_quote(name)}"\nstatic constexpr auto {KERNEL}{index} [[gnu::used]] = &{name};'
        for index, name in enumerate(kernels)
    )
    return (
        '\n# 1 "the image\'s table"\n'
        f"static const ::kaas_abi::Kernel kaas_kernels[] = {{{entries}\n}};\n"
        'extern "C" __attribute__((visibility("default"))) const ::kaas_abi::Image kaas_emulator_image = '
        f"::kaas_device::image(kaas_kernels);{addresses}\n"
    )


def _quote(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def split(preprocessed: str, main: str) -> tuple[str, str]:
    """Preprocessed text as the device language that is included before every source, and the source ``main`` itself."""
    mark = f'# 1 "{_quote(main)}"\n'
    start = preprocessed.find("\n" + mark) + 1
    return preprocessed[:start], preprocessed[start:]
