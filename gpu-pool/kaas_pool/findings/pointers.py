"""What a kernel's own text proves about its pointers: never written through, or never read through. Pure.

Only the plainest text proves anything: every occurrence of the parameter in the body is an element, `x[...]`, that is
assigned to, or used as a value in a way that cannot change it. An address taken, an alias, a call that may take a
reference, or a macro that knows the name prove nothing, and the pointer counts as read and written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from kaas_pool.compiler.signatures import KernelSignature
from kaas_pool.compiler.tokens import Token, groups, tokens

#: Whether a kernel may write, and may read, through its pointers, by position; those that are not in it: both.
Pointers = Mapping[int, tuple[bool, bool]]

_NEITHER_KNOWN = (True, True)

#: Before a whole argument in parentheses: what surely takes a value and no reference.
_BY_VALUE = re.compile(
    r"if|while|switch|return|float|double|int|unsigned|size_t"
    r"|(?:fabs|sqrt|rsqrt|exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|sin|cos|tan|tanh|erf|floor|ceil|round|rint"
    r"|trunc|fma|fmax|fmin|fmod)f?|max|min|abs|isnan|isinf"
    r"|__(?:exp|log|pow|sin|cos|fdivide)f|__(?:saturatef|popc|clz|ffs|float2half|half2float|float2int_rn|int2float_rn)"
)

#: What may stand before an element that is used as a value.
_BEFORE_VALUE = frozenset(("return", *"(,=+-*/%<>?:!|^~["))
_OPERATORS = frozenset("+-*/%|^&")


def read_pointers(text: str, signature: KernelSignature, first_line: int = 1) -> Pointers:
    """What is proven about the parameters of a kernel in the file `text`, whose first line has that number."""
    body = _body(list(tokens(text)), signature, first_line)
    if body is None:
        return {}
    found: dict[int, tuple[bool, bool]] = {}
    for at, parameter in enumerate(signature.parameters):
        if parameter.is_pointer and not parameter.is_const_pointee and parameter.name is not None:
            if re.search(rf"^[ \t]*#[ \t]*define\b.*(?:\\\n.*)*\b{re.escape(parameter.name)}\b", text, re.MULTILINE):
                continue
            use = _use(body, parameter.name)
            if use != _NEITHER_KNOWN:
                found[at] = use
    return found


def _body(source: list[Token], signature: KernelSignature, first_line: int) -> list[Token] | None:
    name = signature.name.rpartition("::")[2]
    for index, token in enumerate(source):
        if token.text != name or token.line + first_line - 1 != signature.line or not _is(source, index + 1, "("):
            continue
        start = groups(source, index + 1)
        if _is(source, start, "{"):
            return source[start : groups(source, start)]
    return None


def _use(body: Sequence[Token], name: str) -> tuple[bool, bool]:
    """Whether the pointer may be written, and may be read."""
    written = read = False
    for index, token in enumerate(body):
        # `p.x`, `p->x` and `space::x` are others' words.
        if token.text != name or body[index - 1].text in (".", "->", "::"):
            continue
        if not _is(body, index + 1, "["):
            return _NEITHER_KNOWN
        end = _after(body, index + 1)
        kind = _kind(body, index, end)
        if kind is None:
            return _NEITHER_KNOWN
        written |= "w" in kind
        read |= "r" in kind
    return (written, read) if written or read else _NEITHER_KNOWN


def _after(body: Sequence[Token], start: int) -> int:
    """The index after `[...]`, further subscripts and members."""
    end = groups(body, start)
    while end < len(body):
        if body[end].text == "[":
            end = groups(body, end)
        elif body[end].text == "." and end + 1 < len(body) and body[end + 1].is_word:
            end += 2
        else:
            break
    return end


def _kind(body: Sequence[Token], start: int, end: int) -> str | None:
    """How the element at `start` to `end` is used: `w`, `r`, `rw`; None if it cannot be told."""
    before = body[start - 1].text
    first, second, third = (body[at].text if at < len(body) else "" for at in (end, end + 1, end + 2))
    if first == "=" and second != "=":
        return "w" if before in (";", "{", "}", ")", "=", "else", ":", ",") else None
    if (first in _OPERATORS and second == "=") or (first == second and first in "<>" and third == "="):
        return "rw"
    if first == second and first in ("+", "-"):
        return "rw"
    if before not in _BEFORE_VALUE or (before in ("+", "-") and body[start - 2].text == before):
        return None
    if _is_bound(body, start) or not _is_by_value(body, start, end):
        return None
    return "r"


def _is_bound(body: Sequence[Token], start: int) -> bool:
    """Whether the statement binds a reference: `float &v = x[i]`."""
    index = start - 1
    while index > 0 and body[index].text not in (";", "{", "}"):
        if body[index].text == "&" and body[index + 1].is_word and body[index + 2].text in ("=", "{", "("):
            return True
        index -= 1
    return body[index].text == "{" and index == start - 1


def _is_by_value(body: Sequence[Token], start: int, end: int) -> bool:
    """Whether an element that is the whole of an argument goes to what takes values."""
    if body[start - 1].text not in ("(", ",") or not (end < len(body) and body[end].text in (")", ",")):
        return True
    depth, index = 0, start - 1
    while index > 0:
        text = body[index].text
        depth += text in (")", "]", "}")
        if text in ("(", "[", "{"):
            if depth == 0:
                return text == "(" and _BY_VALUE.fullmatch(body[index - 1].text) is not None
            depth -= 1
        index -= 1
    return False


def _is(source: Sequence[Token], index: int, text: str) -> bool:
    return index < len(source) and source[index].text == text
