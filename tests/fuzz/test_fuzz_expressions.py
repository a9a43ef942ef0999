"""Expressions: Python's and NumPy's meaning, and an error wherever those give none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from expression_cases import DAMAGED, GRAMMATICAL, NAMES, TYPED, NoValueError, by_python
from hunt import hunt
from properties import VALUE, check_error, check_expression

from kaas.dtypes import TypedScalar
from kaas.errors import KaasError
from kaas.expressions import Expression


def _same(ours: object, theirs: object) -> bool:
    if isinstance(ours, complex) and isinstance(theirs, complex):
        return _same(ours.real, theirs.real) and _same(ours.imag, theirs.imag)
    if isinstance(ours, float) and isinstance(theirs, float):
        return (math.isnan(ours) and math.isnan(theirs)) or (ours, math.copysign(1, ours)) == (
            theirs,
            math.copysign(1, theirs),
        )
    return type(ours) is type(theirs) and ours == theirs


def _by_numpy(dtype: str, value: int | float) -> object:
    """The value as NumPy stores it in one element; NoValueError where KaaS refuses to lose the value."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return value != 0
    if kind in "iu":
        limits = np.iinfo(dtype)
        if not (math.isfinite(value) and value == int(value) and limits.min <= int(value) <= limits.max):
            raise NoValueError(dtype)
        return np.dtype(dtype).type(int(value)).item()
    with np.errstate(over="ignore"):
        stored = np.array(float(value)).astype(dtype).item()
    if math.isfinite(value) and not np.isfinite(stored):
        raise NoValueError(dtype)
    return stored


def check_against_python(text: str) -> str:
    """Ours and Python's agree, in both directions."""
    try:
        expression = Expression.parse(text)
    except KaasError as error:
        check_error(error)
        if "always" not in error.message and "too large" not in error.message:
            return error.code  # What expressions leave out of Python.
        with pytest.raises((NoValueError, SyntaxError)):
            by_python(text)
        return "no value"
    stored: object = NoValueError
    try:
        dtype, theirs = by_python(text)
        stored = theirs if dtype is None else _by_numpy(dtype, theirs)
    except NoValueError:
        pass
    try:
        ours = expression.evaluate(NAMES)
    except KaasError as error:
        assert error.code in ("expression_range", "name_unknown")
        assert stored is NoValueError, (text, stored)
        return check_error(error)
    assert _same(ours.value if isinstance(ours, TypedScalar) else ours, stored), (text, ours, stored)
    return VALUE


KNOWN = ["-2 ** 2", "2 ** -n ** 0", "1 - -1 - 1", "10 // 3 // 2 % 2", "min(nan, 1)", "0 * inf", "-0.0", "5 % -inf"]


def test_good_ones_mean_what_python_says() -> None:
    hunt(
        "expression",
        GRAMMATICAL,
        check_against_python,
        short=300,
        share=0.03,
        known=KNOWN,
        outcomes=[VALUE, "no value"],
    )


def test_conversions_store_what_numpy_stores() -> None:
    hunt("conversion", TYPED, check_against_python, short=200, share=0.02, outcomes=[VALUE, "expression_range"])


def test_what_a_damaged_one_means_python_says_too() -> None:
    outcomes = [VALUE, "expression_invalid"]
    hunt("damaged expression", DAMAGED, check_against_python, short=200, share=0.02, outcomes=outcomes)


def test_any_text() -> None:
    hunt("text of an expression", DAMAGED, check_expression, short=50, share=0.01, outcomes=["expression_invalid"])
