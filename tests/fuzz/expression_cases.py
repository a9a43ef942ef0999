"""Texts of expressions, and what Python itself makes of them: an oracle that shares no code with kaas.expressions."""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

Number = int | float


class NoValueError(Exception):
    """The expression has no value."""


NAMES: Mapping[str, Number] = {
    "n": 1000,
    "m": 3,
    "d": 4.0,
    "k": 0,
    "big": (1 << 63) - 1,
    "neg": -(1 << 63),
    "tiny": 5e-324,
    "huge": 1.5e308,
    "inf": math.inf,
    "nan": math.nan,
    "flag": 1,
    "e": 2,
    "log2n": 10,
}

_LEAVES = st.one_of(
    st.integers(0, 70).map(str),
    st.integers(0, 1 << 65).map(str),
    st.integers(0, 1 << 70).map(hex),
    st.sampled_from(["9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616"]),
    st.floats(0, allow_infinity=False).map(repr),
    st.sampled_from(["1.", ".5", "1e3", "1E+2", "0.0", "1e308", "1e-320", "0X1f", "1e999"]),
    st.sampled_from(sorted(NAMES)),
)
_BINARY = ["+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!="]
_SPACE = st.sampled_from(["", " ", "  ", "\t", "\n"])


def _grow(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}{}{}{}{}".format, parts, _SPACE, st.sampled_from(_BINARY), _SPACE, parts),
        st.builds("({}{}{})".format, parts, st.sampled_from(_BINARY), parts),
        st.builds("{}{}".format, st.sampled_from(["-", "+", "- ", "--"]), parts),
        st.builds("({})".format, parts),
        st.builds("{}**{}".format, parts, st.integers(-3, 66)),
        st.builds("ceil_div({},{})".format, parts, parts),
        st.builds("{}({})".format, st.sampled_from(["sqrt", "log2"]), parts),
        st.builds(
            "{}({})".format, st.sampled_from(["min", "max"]), st.lists(parts, min_size=2, max_size=4).map(",".join)
        ),
    )


#: Mostly good expressions.
GRAMMATICAL = st.recursive(_LEAVES, _grow, max_leaves=14)
TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
TYPED = st.builds("{}({})".format, st.sampled_from(TYPES), GRAMMATICAL)

#: The same with a few characters changed.
_WORDS = [
    *_BINARY,
    "(",
    ")",
    ",",
    ".",
    "0",
    "1",
    "00",
    "1_0",
    "n",
    "min(",
    "int32(",
    "sqrt",
    " ",
    "\n",
    "\u00a0",
    "e",
    "x",
]


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    text = draw(GRAMMATICAL | TYPED)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(_WORDS) | st.just("")) + text[at + draw(st.integers(0, 2)) :]
    return text


DAMAGED = _damaged() | st.text(max_size=40)

_OPERATORS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def by_python(text: str, names: Mapping[str, Number] = NAMES) -> tuple[str | None, Number]:
    """The outermost conversion and the value below it, by Python's parser and operators.

    Raises NoValueError where a part leaves 64 bits, overflows, divides by zero or is not real, and SyntaxError where
    Python cannot read the text or the text uses what expressions leave out.
    """
    # A name may be one of Python's keywords.
    text = re.sub(rf"\b({'|'.join(keyword.kwlist)})\b", r"_\1", text)
    tree = ast.parse(f"({' '.join(text.split())})", mode="eval").body
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in TYPES:
        if len(tree.args) != 1:
            raise SyntaxError("a conversion of several values")
        return tree.func.id, _value(tree.args[0], names)
    return None, _value(tree, names)


def _value(node: ast.expr, names: Mapping[str, Number]) -> Number:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _within(node.value)
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise NoValueError(node.id)
        return names[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        operand = _value(node.operand, names)
        return _within(-operand, operand) if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp):
        return _operation(node.op, _value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = _value(node.left, names), _value(node.comparators[0], names)
        return int(_OPERATORS[type(node.ops[0])](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, [_value(one, names) for one in node.args])
    raise SyntaxError(ast.dump(node))


def _operation(sign: ast.operator, left: Number, right: Number) -> Number:
    if isinstance(sign, ast.Pow):
        # Python would compute the digits of 9**9**9 for days.
        if isinstance(left, int) and isinstance(right, int) and right > 64 and abs(left) > 1:
            raise NoValueError("too large")
        return _guarded(operator.pow, left, right)
    return _guarded(_OPERATORS[type(sign)], left, right)


def _call(name: str, values: list[Number]) -> Number:
    if name in ("min", "max"):
        if not 2 <= len(values) <= 16:
            raise SyntaxError(name)
        return min(values) if name == "min" else max(values)
    if name == "ceil_div":
        left, right = values
        return _guarded(lambda a, b: -(-a // b), left, right)
    if name in ("sqrt", "log2") and len(values) == 1:
        try:
            return math.sqrt(values[0]) if name == "sqrt" else math.log2(values[0])
        except ValueError as error:
            raise NoValueError(name) from error
    raise SyntaxError(name)


def _guarded(function: Callable[[Any, Any], Any], left: Number, right: Number) -> Number:
    try:
        return _within(function(left, right), left, right)
    except (ZeroDivisionError, OverflowError) as error:
        raise NoValueError(str(error)) from error


def _within(value: Any, *operands: Number) -> Number:
    if isinstance(value, complex):
        raise NoValueError("complex")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise NoValueError("over 64 bits")
    if isinstance(value, float) and not math.isfinite(value) and all(map(math.isfinite, operands)):
        raise NoValueError("overflow")
    number: Number = value
    return number
