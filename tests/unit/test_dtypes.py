"""Element types and single values, against NumPy."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.dtypes import DTYPES, TypedScalar, convert, find_dtype, parse_scalar, shorten
from kaas.errors import AuthorError


@pytest.mark.parametrize("name", DTYPES)
def test_sizes_and_ranges_are_numpys(name: str) -> None:
    ours, theirs = DTYPES[name], np.dtype(name)
    assert ours.itemsize == theirs.itemsize
    assert ours.kind == theirs.kind
    if theirs.kind in "iu":
        assert (ours.low, ours.high) == (np.iinfo(theirs).min, np.iinfo(theirs).max)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("float", "float32"),
        ("double", "float64"),
        ("f4", "float32"),
        ("Float32", "float32"),
        ("flaot32", "float32"),
        ("bfloat16", "uint16"),
        ("nonsense", "one of bool"),
        (32, "one of bool"),
        (["float32"], "one of bool"),
    ],
)
def test_unknown_types_are_explained(name: object, hint: str) -> None:
    with pytest.raises(AuthorError) as caught:
        find_dtype(name, "kaas.yaml:4 buffers.x.dtype")
    assert caught.value.code == "manifest_invalid"
    assert hint in (caught.value.hint or "")


@given(st.sampled_from([name for name in DTYPES if DTYPES[name].kind == "f"]), st.floats())
def test_floats_round_as_numpy_does(name: str, value: float) -> None:
    with np.errstate(over="ignore"):
        expected = np.dtype(name).type(value)
    try:
        scalar = convert(DTYPES[name], value)
    except ValueError:
        assert np.isinf(expected)
        assert math.isfinite(value)
        return
    assert np.array_equal(scalar.value, expected, equal_nan=True)
    if not math.isnan(value):
        assert scalar.data == expected.tobytes()


@given(st.sampled_from([name for name in DTYPES if DTYPES[name].kind in "iu"]), st.integers(-(1 << 65), 1 << 65))
def test_integers_are_exact_or_refused(name: str, value: int) -> None:
    dtype = DTYPES[name]
    if dtype.low <= value <= dtype.high:
        assert convert(dtype, value).data == np.dtype(name).type(value).tobytes()
    else:
        with pytest.raises(ValueError, match="outside"):
            convert(dtype, value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("float32", "nan", math.nan),
        ("float32", "-Inf", -math.inf),
        ("float32", 1, 1.0),
        ("int32", 2.0, 2),
        ("bool", True, True),
        ("complex64", [1, "inf"], complex(1, math.inf)),
        ("complex128", 2, 2 + 0j),
    ],
)
def test_values_of_calls(name: str, value: object, expected: Any) -> None:
    scalar = parse_scalar(DTYPES[name], value)
    assert np.array_equal(scalar.value, expected, equal_nan=True)
    again = TypedScalar.from_json(json.loads(json.dumps(scalar.to_json(), allow_nan=False)))
    assert again.dtype == scalar.dtype
    assert again.data == scalar.data


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("float32", "1.0", "'1.0' is not a number"),
        ("float32", True, "true is not a number"),
        ("float32", None, "null is not a number"),
        ("float32", 1e39, "too large for float32"),
        pytest.param("float32", 10**400, "too large for float32", id="large"),
        ("int32", 2.5, "2.5 is not a whole number"),
        ("int32", "nan", "'nan' is not a whole number"),
        ("int32", math.nan, "nan is not a whole number"),
        ("int32", True, "true is not a whole number"),
        pytest.param("int8", 10**5000, "a number of 16610 bits is outside int8", id="huge"),
        ("bool", 1, "1 is not true or false"),
        ("complex64", [1, 2, 3], "a list of 3"),
        ("complex64", ["x", 2], "'x' is not a number"),
    ],
)
def test_wrong_values_say_why(name: str, value: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_scalar(DTYPES[name], value)
    assert reason in str(caught.value)


@given(st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists, max_leaves=20))
def test_values_in_messages_are_short(value: object) -> None:
    assert len(shorten(value)) < 100
