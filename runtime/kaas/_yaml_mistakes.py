"""What people get wrong in YAML, in words that say what to mend: a parser tells where it stopped, not why."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

_GLUED_DASH = re.compile(r"\s*-[^\s-]")
_CLOSING = {"sequence": ("[", "]"), "mapping": ("{", "}")}


class Mistake(NamedTuple):
    """What is wrong, the mark of the place, and what to do."""

    message: str
    mark: Any
    hint: str | None


def explain(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    """The mistake behind a parser's error."""
    problem, context = error.problem or "", error.context or ""
    stopped = error.problem_mark or error.context_mark
    lines = text.splitlines()
    if stopped is None:
        return Mistake(f"not valid YAML: {problem}", None, None)
    opened = error.context_mark or stopped
    line = lines[stopped.line] if stopped.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip()) + 1]:
        return Mistake("a tab stands before the text", stopped, "indent with spaces: YAML does not allow tabs")
    if "quoted scalar" in context and "end of stream" in problem:
        return Mistake("the quote that opens here is never closed", opened, "close it, or leave both quotes out")
    if "expected ',' or" in problem:
        opening, closing = _CLOSING["sequence" if "sequence" in context else "mapping"]
        return Mistake(
            f"the {opening} of line {opened.line + 1} is not closed by {closing}, or a comma is missing",
            stopped if stopped.line == opened.line else opened,
            f"separate by commas, and close with {closing}",
        )
    if "could not find expected ':'" in problem:
        return Mistake("this key has no colon", opened, "write `key: value`, with a space after the colon")
    if "did not find expected key" in problem:
        return Mistake(
            f"this fits neither the mapping of line {opened.line + 1} nor one around it",
            stopped,
            "begin the keys of one mapping in the same column; quote a value whole or not at all",
        )
    if "mapping values" in problem:
        before = lines[max(0, stopped.line - 1) : stopped.line + 1]
        if any(_GLUED_DASH.match(one) for one in before):
            hint = "write a space after the dash of a list's item"
        else:
            hint = "quote a value that holds ': ', and begin the keys of one mapping in the same column"
        return Mistake("a second colon, or a key in another column than those beside it", stopped, hint)
    if "cannot start any token" in problem:
        begins = line[stopped.column : stopped.column + 1]
        return Mistake(f"a value cannot begin with {begins!r}", stopped, "quote it")
    return Mistake(f"not valid YAML: {' '.join(part for part in (context, problem) if part)}", stopped, None)
