"""Expressions of the manifest: arithmetic over symbols, parameters and loop indices, without eval.

Grammar, loosest first: one comparison (`< <= > >= == !=`, giving 1 or 0), `+ -`, `* / // %`, unary `+ -`, `**`;
parentheses; the functions of `FUNCTIONS`; and, outermost only, a conversion named after an element type, `int32(n)`.
The meaning is Python's. Whole numbers are exact from -2**63 to 2**64 - 1; leaving that range, dividing by zero and
a float that overflows are errors.

An expression is turned into nested closures once; evaluating it again costs a few calls.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping

from kaas.dtypes import DTYPES, FOREIGN_NAMES, Number, TypedScalar, convert
from kaas.errors import AuthorError, CallerError
from kaas.suggest import advise

Names = Mapping[str, Number]
_Run = Callable[[Names], Number]

LOW = -(1 << 63)
HIGH = (1 << 64) - 1

MAX_TEXT = 1000
#: Bounds the recursion of the parser and of the closures, well inside Python's default of 1,000 frames.
MAX_DEPTH = 100

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<operator>\*\*|//|<=|>=|==|!=|[-+*/%<>(),]))"
)

_HINTS = {
    "^": "powers are written **",
    "&": "there are no logical operators; a comparison gives 1 or 0",
    "|": "there are no logical operators; a comparison gives 1 or 0",
    "!": "there are no logical operators; a comparison gives 1 or 0",
    "=": "equality is written ==",
    "[": "an expression cannot look into a buffer: launch dimensions do not depend on data",
    ".": "an expression knows no attributes; dimensions are symbols of a shape",
    "?": "there is no conditional; min and max often serve",
    "'": "an expression has no text in it",
    '"': "an expression has no text in it",
}


class _RangeError(ArithmeticError):
    """A result outside what expressions hold; the message completes the sentence "EXPRESSION ..."."""


def _checked(result: Number, *operands: Number) -> Number:
    if result.__class__ is int:
        if LOW <= result <= HIGH:
            return result
        raise _RangeError("leaves the range of 64-bit whole numbers")
    if result - result == 0:
        return result
    if all(operand - operand == 0 for operand in operands):
        raise _RangeError("overflows a float")
    return result


def _arithmetic(function: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    def run(a: Number, b: Number) -> Number:
        return _checked(function(a, b), a, b)

    return run


def _power(a: Number, b: Number) -> Number:
    # Checked before it is computed: 9**9**9 has 370 million digits.
    if isinstance(a, int) and isinstance(b, int) and b > 64 and not -1 <= a <= 1:
        raise _RangeError("leaves the range of 64-bit whole numbers")
    try:
        result = a**b
    except OverflowError:
        raise _RangeError("overflows a float") from None
    if isinstance(result, complex):
        raise _RangeError("takes a fractional power of a negative number")
    return _checked(result, a, b)


def _ceil_div(a: Number, b: Number) -> Number:
    return _checked(-(-a // b), a, b)


def _square_root(a: Number) -> Number:
    if a < 0:
        raise _RangeError("takes the square root of a negative number")
    return math.sqrt(a)


def _log2(a: Number) -> Number:
    if a <= 0:
        raise _RangeError("takes the logarithm of a number that is not positive")
    return math.log2(a)


def _negate(a: Number) -> Number:
    return _checked(-a, a)


def _comparison(function: Callable[[Number, Number], bool]) -> Callable[[Number, Number], Number]:
    return lambda a, b: int(function(a, b))


#: operator -> (binding power, function); the power of unary signs lies between `*` and `**`.
_BINARY: Mapping[str, tuple[int, Callable[[Number, Number], Number]]] = {
    "<": (10, _comparison(operator.lt)),
    "<=": (10, _comparison(operator.le)),
    ">": (10, _comparison(operator.gt)),
    ">=": (10, _comparison(operator.ge)),
    "==": (10, _comparison(operator.eq)),
    "!=": (10, _comparison(operator.ne)),
    "+": (20, _arithmetic(operator.add)),
    "-": (20, _arithmetic(operator.sub)),
    "*": (30, _arithmetic(operator.mul)),
    "/": (30, _arithmetic(operator.truediv)),
    "//": (30, _arithmetic(operator.floordiv)),
    "%": (30, _arithmetic(operator.mod)),
    "**": (50, _power),
}
_COMPARISON_POWER = 10
_SIGN_POWER = 40
_POWER_POWER = 50

#: function -> (least arguments, most arguments, implementation)
FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Number]]] = {
    "min": (2, 16, min),
    "max": (2, 16, max),
    "ceil_div": (2, 2, _ceil_div),
    "sqrt": (1, 1, _square_root),
    "log2": (1, 1, _log2),
}


_BOUNDED = "give other arguments, or keep the expression in bounds with min and max"
_WHOLE = "give values for which it is one, or round: `//` and ceil_div do, `/`, log2 and sqrt may give fractions"

_DIVISIONS = frozenset({_BINARY["/"][1], _BINARY["//"][1], _BINARY["%"][1], _ceil_div})


class _Node:
    """A parsed part: how to evaluate it, how deep its closures nest, and its value if that never changes."""

    __slots__ = ("constant", "depth", "run")

    def __init__(self, run: _Run, depth: int, constant: Number | None = None) -> None:
        self.run = run
        self.depth = depth
        self.constant = constant


class Expression:
    """One parsed expression.

    `text` is what the author wrote, `names` what it needs to be evaluated, `dtype` the element type its outermost
    conversion gives it (None without one). Equal expressions differ at most in spaces.
    """

    __slots__ = ("_canonical", "_node", "_run", "dtype", "names", "text", "where")

    def __init__(
        self, text: str, where: str, names: frozenset[str], node: _Node, canonical: str, dtype: str | None
    ) -> None:
        self.text = text
        self.where = where
        self.names = names
        self.dtype = dtype
        self._node = node
        self._run = node.run
        self._canonical = canonical

    @staticmethod
    def parse(text: str | int | float, where: str = "expression") -> Expression:
        """Parse `text`; raises `expression_invalid`. `where` goes into this and every later error."""
        return _Parser(text if isinstance(text, str) else repr(text), where).expression()

    def typed(self, dtype: str) -> Expression:
        """The same expression with its value converted to `dtype`."""
        return Expression(self.text, self.where, self.names, self._node, self._canonical, dtype)

    @property
    def constant(self) -> Number | None:
        """The unconverted value, if the expression names nothing."""
        return self._node.constant

    @property
    def is_name(self) -> bool:
        """Whether the expression is a bare name."""
        return self._canonical in self.names

    def evaluate(self, names: Names) -> Number | TypedScalar:
        """The value under `names`: a number, or a TypedScalar where there is a conversion.

        Raises `expression_range`, or `name_unknown` if a name is missing.
        """
        value = self.number(names)
        if self.dtype is None:
            return value
        try:
            return convert(DTYPES[self.dtype], value)
        except ValueError as reason:
            raise self._range_error(f"cannot become {self.dtype}: {reason}", names) from None

    def number(self, names: Names) -> Number:
        """The value under `names` before any conversion; raises as `evaluate`."""
        try:
            return self._run(names)
        except KeyError as missing:
            raise AuthorError(
                "name_unknown", f"{self.text!r} needs {missing.args[0]!r}, which has no value", where=self.where
            ) from None
        except ZeroDivisionError:
            raise self._range_error("divides by zero", names) from None
        except _RangeError as reason:
            raise self._range_error(str(reason), names) from None
        except (TypeError, OverflowError, ValueError):
            raise self._range_error("has no numeric value", names) from None

    def integer(self, names: Names, *, least: int = 0, most: int = (1 << 63) - 1) -> int:
        """The value as a whole number from `least` to `most`; raises as `evaluate`."""
        value = self.number(names)
        if isinstance(value, float):
            if not value.is_integer():
                raise self._range_error(f"gives {value}, which is not a whole number", names)
            value = int(value)
        if not least <= value <= most:
            bound = f"at least {least}" if value < least else f"at most {most}"
            raise self._range_error(f"gives {value}; it must be {bound}", names)
        return int(value)

    def _range_error(self, reason: str, names: Names) -> CallerError:
        values = ", ".join(f"{name} = {names[name]}" for name in sorted(self.names) if name in names)
        return CallerError(
            "expression_range",
            f"{self.text!r} {reason}" + (f" ({values})" if values else ""),
            where=self.where,
            hint=_WHOLE if "not a whole number" in reason else _BOUNDED,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self._canonical == other._canonical and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self._canonical, self.dtype))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


class _Parser:
    """A Pratt parser over a word list; one per text."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.names: set[str] = set()
        self.position = 0
        self.tokens = self._tokenize()

    def expression(self) -> Expression:
        """Parse the whole text."""
        dtype = None
        if self.tokens[0][1] in DTYPES and self.tokens[1][1] == "(":
            dtype = self.tokens[0][1]
            self.position = 2
            node = self._parse(0, 1)
            self._expect_close(dtype)
            if self._peek()[0] != "end":
                raise self._error(*self._outermost(dtype))
        else:
            node = self._parse(0, 1)
        kind, word = self._peek()
        if kind != "end":
            hint = "a call needs its closing parenthesis" if word == "," else None
            if kind in ("name", "number"):
                hint = f"an operator is missing before {word}, or a comma if the two are items of a list"
            raise self._error(f"{word!r} is not expected here", hint)
        inner = self.tokens[2:-2] if dtype else self.tokens[:-1]
        canonical = " ".join(word for _, word in inner)
        return Expression(self.text, self.where, frozenset(self.names), node, canonical, dtype)

    def _tokenize(self) -> list[tuple[str, str]]:
        text = self.text
        if len(text) > MAX_TEXT:
            raise self._error(f"it is {len(text)} characters long; at most {MAX_TEXT} are allowed")
        tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                sign = text[position:].lstrip()[0]
                raise self._error(f"{sign!r} is not part of an expression", _HINTS.get(sign))
            kind = str(found.lastgroup)
            if kind == "name" and tokens and tokens[-1][0] == "number" and found.start(kind) == position:
                factor, name = tokens[-1][1], found[kind]
                raise self._error(f"{factor}{name} is neither a number nor a name", f"write {factor} * {name}")
            tokens.append((kind, found[kind]))
            position = found.end()
        if not tokens:
            raise self._error("an expression is expected")
        tokens.append(("end", "the end"))
        return tokens

    def _error(self, message: str, hint: str | None = None) -> AuthorError:
        shown = self.text if len(self.text) <= 80 else f"{self.text[:77]}..."
        return AuthorError("expression_invalid", f"{shown!r}: {message}", where=self.where, hint=hint)

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.position]

    def _next(self) -> tuple[str, str]:
        word = self.tokens[self.position]
        self.position += 1
        return word

    def _expect_close(self, call: str) -> None:
        kind, word = self._peek()
        if word == ")":
            self.position += 1
        elif kind == "end":
            raise self._error(
                "a closing parenthesis is missing",
                "unquoted in a YAML list, a comma ends the item: quote the whole expression"
                if call in FUNCTIONS
                else None,
            )
        elif word == "," and call in DTYPES:
            raise self._error(f"{call}() takes one value")
        else:
            raise self._error(f"{word!r} is not expected here")

    def _parse(self, least_power: int, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise self._error(f"it nests deeper than {MAX_DEPTH}")
        left = self._prefix(depth)
        while True:
            kind, sign = self._peek()
            if kind != "operator" or sign not in _BINARY:
                return left
            power, function = _BINARY[sign]
            if power < least_power:
                return left
            self.position += 1
            right = self._parse(power if power == _POWER_POWER else power + 1, depth + 1)
            if power == _COMPARISON_POWER and _BINARY.get(self._peek()[1], (0,))[0] == power:
                raise self._error("comparisons cannot be chained", "use parentheses, or multiply two comparisons")
            left = self._combine(function, [left, right])

    def _prefix(self, depth: int) -> _Node:
        kind, word = self._next()
        if kind == "number":
            return self._literal(word)
        if kind == "name":
            if self._peek()[1] == "(":
                return self._call(word, depth)
            if word in FUNCTIONS or word in DTYPES:
                raise self._error(f"{word} is a function", f"write {word}(...)")
            self.names.add(word)
            return _Node(operator.itemgetter(word), 1)
        if word in ("-", "+"):
            operand = self._parse(_SIGN_POWER, depth + 1)
            return self._combine(_negate, [operand]) if word == "-" else operand
        if word == "(":
            inner = self._parse(0, depth + 1)
            self._expect_close("")
            return inner
        if kind == "end":
            raise self._error("it ends where a value is expected")
        raise self._error(f"{word!r} stands where a value is expected")

    def _literal(self, word: str) -> _Node:
        if word[:2] in ("0x", "0X"):
            value: Number = int(word, 16)
        elif word.isdigit():
            if word[0] == "0" and len(word) > 1:
                raise self._error(f"{word} has a leading zero")
            value = int(word)
        else:
            value = float(word)
        try:
            _checked(value, 0)
        except _RangeError:
            raise self._error(f"{word} is too large") from None
        return _Node(lambda _: value, 1, value)

    def _call(self, name: str, depth: int) -> _Node:
        if name in DTYPES:
            raise self._error(*self._outermost(name))
        if name not in FUNCTIONS:
            meant = FOREIGN_NAMES.get(name)
            hint = f"did you mean {meant!r}?" if meant else advise(name, [*FUNCTIONS, *DTYPES], "functions")
            raise self._error(f"there is no function {name!r}", hint)
        self.position += 1
        arguments: list[_Node] = []
        if self._peek()[1] != ")":
            arguments.append(self._parse(0, depth + 1))
            while self._peek()[1] == ",":
                self.position += 1
                arguments.append(self._parse(0, depth + 1))
        self._expect_close(name)
        least, most, function = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise self._error(f"{name}() takes {wanted} values, not {len(arguments)}")
        return self._combine(function, arguments)

    def _outermost(self, dtype: str) -> tuple[str, str]:
        return f"{dtype}() is not around the whole expression", f"write {dtype}(...) once, outermost"

    def _combine(self, function: Callable[..., Number], parts: list[_Node]) -> _Node:
        depth = 1 + max(part.depth for part in parts)
        if depth > MAX_DEPTH:
            raise self._error(f"it nests deeper than {MAX_DEPTH}")
        if all(part.constant is not None for part in parts):
            try:
                value = function(*(part.constant for part in parts))
            except ZeroDivisionError:
                raise self._error("it always divides by zero") from None
            except _RangeError as reason:
                raise self._error(f"it always {reason}") from None
            return _Node(lambda _: value, 1, value)
        if function in _DIVISIONS and parts[1].constant == 0:
            raise self._error("it always divides by zero")
        runs = [part.run for part in parts]
        if len(runs) == 1:
            (one,) = runs
            return _Node(lambda names: function(one(names)), depth)
        if len(runs) == 2:
            first, second = runs
            return _Node(lambda names: function(first(names), second(names)), depth)
        return _Node(lambda names: function(*[run(names) for run in runs]), depth)
