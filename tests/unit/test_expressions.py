"""Expressions: Python's meaning, exact integers, and nothing that hurts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaas.dtypes import TypedScalar
from kaas.errors import AuthorError, CallerError, KaasError
from kaas.expressions import HIGH, LOW, Expression

NAMES = {"n": 1000, "m": 3, "d": 4.0, "k": 0}


def evaluate(text: str, names: dict[str, Any] = NAMES) -> Any:
    return Expression.parse(text, "kaas.yaml:3 let.x").evaluate(names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("2 ** 3 ** 2", 512),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("7 / 2", 3.5),
        ("--3", 3),
        ("+n", 1000),
        ("0x10", 16),
        (".5 + 1.", 1.5),
        ("1e3", 1000.0),
        ("n // 2 + n % 7", 506),
        ("min(n, m, 2)", 2),
        ("max(n, m)", 1000),
        ("ceil_div(n, 256)", 4),
        ("ceil_div(-7, 2)", -3),
        ("sqrt(d)", 2.0),
        ("log2(8)", 3.0),
        ("n > m", 1),
        ("(n == 3) * 5 + (m == 3) * 7", 7),
        ("1 + 1 == 2", 1),
        ("9223372036854775807 + 1", 1 << 63),
        ("2 ** 64 - 1", None),
        ("0 ** 0", 1),
        ("1 ** 99999999999", 1),
        ("(0 - 1) ** 99999999999", -1),
    ],
)
def test_meaning(text: str, value: Any) -> None:
    if value is None:
        with pytest.raises(AuthorError, match="64-bit"):
            evaluate(text)
        return
    result = evaluate(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "part", "hint"),
    [
        ("", "an expression is expected", None),
        ("1 +", "ends where a value is expected", None),
        ("1 2", "'2' is not expected", None),
        ("2n", "neither a number nor a name", "write 2 * n"),
        ("a < b < c", "chained", "multiply"),
        ("n.shape", "'.' is not part", "symbols"),
        ("x[0]", "'[' is not part", "do not depend on data"),
        ("n ^ 2", "'^' is not part", "**"),
        ("n = 2", "'=' is not part", "=="),
        ("sqr(n)", "no function 'sqr'", "sqrt"),
        ("min(n)", "takes 2 to 16 values", None),
        ("ceil_div(n", "closing parenthesis is missing", "quote"),
        ("min", "is a function", "min(...)"),
        ("int32(n) + 1", "not around the whole", "outermost"),
        ("1 + int32(n)", "not around the whole", "outermost"),
        ("int32(n, m)", "takes one value", None),
        ("007", "leading zero", None),
        ("n // 0", "always divides by zero", None),
        ("n % (2 - 2)", "always divides by zero", None),
        ("ceil_div(n, 0.0)", "always divides by zero", None),
        ("1 / 0", "always divides by zero", None),
        ("9**9**9**9", "64-bit", None),
        ("1e999", "too large", None),
        ("99999999999999999999999", "too large", None),
        ("(" * 101 + "1" + ")" * 101, "nests deeper", None),
        ("-" * 200 + "1", "nests deeper", None),
        ("+".join("n" * 200), "nests deeper", None),
        ("1" * 1001, "characters long", None),
        ("lambda: 0", "':' is not part", None),
        ("n and m", "'and' is not expected", None),
        ("é", "not part of an expression", None),
        ("٣", "not part of an expression", None),
    ],
)
def test_what_does_not_parse(text: str, part: str, hint: str | None) -> None:
    with pytest.raises(AuthorError) as caught:
        Expression.parse(text, "kaas.yaml:3 let.x")
    assert caught.value.code == "expression_invalid"
    assert caught.value.where == "kaas.yaml:3 let.x"
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("n // k", "divides by zero (k = 0, n = 1000)"),
        ("n % k", "divides by zero"),
        ("n / k", "divides by zero"),
        ("ceil_div(n, k)", "divides by zero"),
        ("k ** (0 - m)", "divides by zero"),
        ("n ** n", "64-bit"),
        ("n ** 7", "64-bit"),
        ("sqrt(0 - n)", "square root of a negative"),
        ("log2(k)", "logarithm"),
        ("(0 - d) ** 0.5", "fractional power"),
        ("1e300 * n * 1e300", "overflows a float"),
        ("1e200 ** m", "overflows a float"),
        ("int8(n)", "cannot become int8: 1000 is outside int8 (-128 to 127)"),
        ("uint32(0 - n)", "outside uint32"),
        ("int32(d / 3)", "not a whole number"),
        ("int32(log2(n))", "cannot become int32: 9.965784284662087 is not a whole number"),
        ("float16(n * n)", "too large for float16"),
    ],
)
def test_what_leaves_the_range(text: str, part: str) -> None:
    with pytest.raises(CallerError) as caught:
        evaluate(text)
    assert caught.value.code == "expression_range"
    assert part in caught.value.message
    assert text in caught.value.message
    assert ("`/`, log2 and sqrt" if "whole number" in part else "min and max") in (caught.value.hint or "")


def test_a_missing_name_is_named() -> None:
    with pytest.raises(AuthorError, match="needs 'q'") as caught:
        evaluate("n + q")
    assert caught.value.code == "name_unknown"


def test_conversions() -> None:
    assert evaluate("int32(n)") == TypedScalar("int32", 1000)
    assert evaluate("float32(1 / 10)") == TypedScalar("float32", 0.10000000149011612)
    assert evaluate("bool(n > 3)") == TypedScalar("bool", True)
    assert evaluate("int64(d)") == TypedScalar("int64", 4)
    assert evaluate("uint64(2 ** 63)") == TypedScalar("uint64", 1 << 63)
    assert evaluate("complex64(m)") == TypedScalar("complex64", 3 + 0j)


def test_whole_numbers() -> None:
    assert Expression.parse("n / 2").integer(NAMES) == 500
    with pytest.raises(CallerError, match=r"gives 333\.3"):
        Expression.parse("n / m").integer(NAMES)
    with pytest.raises(CallerError, match="gives -1; it must be at least 0"):
        Expression.parse("0 - 1").integer(NAMES)
    with pytest.raises(CallerError, match="at most 10"):
        Expression.parse("n").integer(NAMES, most=10)
    with pytest.raises(CallerError, match="not a whole number"):
        Expression.parse("x").integer({"x": math.nan})


def test_infinities_of_parameters_pass_through() -> None:
    assert evaluate("x + 1", {"x": math.inf}) == math.inf
    assert math.isnan(evaluate("x - x", {"x": math.inf}))


def test_what_is_known_without_evaluating() -> None:
    expression = Expression.parse("ceil_div(n, 2 * m)")
    assert expression.names == {"n", "m"}
    assert expression.constant is None
    assert Expression.parse("2 * 3").constant == 6
    assert Expression.parse(" n ").is_name
    assert not Expression.parse("n + 0").is_name
    assert Expression.parse("2*n") == Expression.parse("2 * n")
    assert Expression.parse("2*n") != Expression.parse("n*2")
    assert hash(Expression.parse("2*n")) == hash(Expression.parse("2 * n"))


# Random trees, evaluated by Python itself on the same text.

_LEAVES = st.one_of(
    st.integers(0, 50).map(str),
    st.integers(0, 1 << 40).map(str),
    st.floats(0, 1e6, allow_subnormal=False).map(repr),
    st.sampled_from(["n", "m", "d", "k"]),
)


def _grow(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!="])
    return st.one_of(
        st.builds("({} {} {})".format, parts, binary, parts),
        st.builds("{} {} {}".format, parts, st.sampled_from(["+", "-", "*", "/", "//", "%"]), parts),
        st.builds("-{}".format, parts),
        st.builds("+{}".format, parts),
        st.builds("{} ** {}".format, parts, st.integers(0, 4)),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max", "ceil_div"]), parts, parts),
        st.builds("{}({})".format, st.sampled_from(["sqrt", "log2"]), parts),
    )


_PYTHON = {
    "__builtins__": {},
    "min": min,
    "max": max,
    "ceil_div": lambda a, b: -(-a // b),
    "sqrt": math.sqrt,
    "log2": math.log2,
}


@given(st.recursive(_LEAVES, _grow, max_leaves=12))
@example("-2 ** 2")
@example("2 ** -n ** 0")
@example("1 - -1 - 1")
@example("10 // 3 // 2 % 2")
def test_agrees_with_python(text: str) -> None:
    try:
        ours = evaluate(text)
    except KaasError as error:
        assert error.code in ("expression_range", "expression_invalid")
        return
    theirs = eval(text, dict(_PYTHON), NAMES)
    assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    assert LOW <= ours <= HIGH or isinstance(ours, float)


@given(st.text(alphabet="nmdk0123456789.+-*/%<>=!(), einthoursqf", max_size=60) | st.text(max_size=30))
def test_any_text_gives_a_value_or_an_error(text: str) -> None:
    try:
        evaluate(text)
    except KaasError as error:
        assert error.code in ("expression_range", "expression_invalid", "name_unknown")
