"""Tokens of preprocessed C++ with the place each has in the author's files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<raw> (?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)" )
    | (?P<text> (?:u8|[uUL])?"(?:[^"\\\n]|\\.)*" | (?:u8|[uUL])?'(?:[^'\\\n]|\\.)*' )
    | (?P<comment> //[^\n]* | /\*.*?\*/ )
    | (?P<directive> ^[ \t]*\#[^\n]* )
    | (?P<number> \.?\d(?:[\w.]|'\w|(?<=[eEpP])[+-])* )
    | (?P<word> [A-Za-z_$][\w$]* )
    | (?P<newline> \n )
    | (?P<mark> :: | -> | \S )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)

_MARKER = re.compile(r'[ \t]*#(?:line)?[ \t]*(?P<line>\d+)(?:[ \t]+"(?P<file>(?:[^"\\]|\\.)*)")?')

_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}


@dataclass(frozen=True)
class Token:
    """A word, number, string or mark; `line` counts from 1 in `file` as the line markers tell it."""

    text: str
    is_word: bool
    file: str
    line: int


def tokens(preprocessed: str) -> Iterator[Token]:
    """The tokens of preprocessed text; comments and directives are none."""
    file, line = "", 1
    for found in _TOKEN.finditer(preprocessed):
        kind, text = found.lastgroup, found.group()
        if kind == "newline":
            line += 1
        elif kind == "directive":
            marker = _MARKER.match(text)
            if marker is not None:
                # The marker speaks of the line after it, whose newline is still to come.
                line = int(marker["line"]) - 1
                file = re.sub(r"\\(.)", r"\1", marker["file"]) if marker["file"] is not None else file
        elif kind == "comment":
            line += text.count("\n")
        else:
            yield Token(text, kind == "word", file, line)
            line += text.count("\n")


def groups(source: Sequence[Token], start: int) -> int:
    """The index after the bracket that closes the one at `start`; the end, where none does.

    Within angle brackets only round ones and angles nest, and a semicolon ends them: it was a comparison.
    """
    opening = source[start].text
    closing = _CLOSING[opening]
    depth = 0
    index = start
    while index < len(source):
        text = source[index].text
        if text == opening:
            depth += 1
        elif text == closing:
            depth -= 1
            if depth == 0:
                return index + 1
        elif opening == "<" and text == "(":
            index = groups(source, index)
            continue
        elif opening == "<" and text in (";", "{"):
            return index
        index += 1
    return index
