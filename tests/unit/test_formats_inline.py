"""Arrays inside calls and results, against NumPy."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.dtypes import DTYPES
from kaas.errors import CallerError
from kaas.formats import FORMATS, format_of, inline

WHERE = "arguments.x"

_SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(st.integers(0, 1 << 32), st.sampled_from(list(DTYPES)), _SHAPES)
def test_what_goes_out_comes_in_again(seed: int, name: str, shape: tuple[int, ...]) -> None:
    dtype, count = DTYPES[name], int(np.prod(shape, dtype=int))
    array = np.random.default_rng(seed).integers(0, 256, count * dtype.itemsize, np.uint8)
    if name == "bool":
        array = array % 2
    content = array.tobytes()
    value = inline.encode(content, dtype, shape)
    text = json.dumps(value, allow_nan=False)
    again = inline.decode(json.loads(text), dtype, WHERE)
    assert again == (content, shape)


@given(st.sampled_from(["int8", "uint64", "float32", "float64", "bool"]), _SHAPES)
def test_lists_are_numpys_lists(name: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(name)
    value = inline.encode(array.tobytes(), DTYPES[name], shape)
    if array.size or len(shape) == 1:
        assert value == array.tolist()
    else:
        assert value["shape"] == list(shape)


def test_what_is_not_finite_takes_the_base64_form() -> None:
    array = np.array([1, np.nan], "f4")
    value = inline.encode(array.tobytes(), DTYPES["float32"], (2,))
    assert value == {"base64": base64.b64encode(array.tobytes()).decode(), "dtype": "float32", "shape": [2]}
    asked = inline.encode(bytes(4), DTYPES["int32"], (), as_base64=True)
    assert asked == {"base64": "AAAAAA==", "dtype": "int32", "shape": []}


@pytest.mark.parametrize(
    ("name", "value", "shape", "numbers"),
    [
        ("float32", 1.5, (), [1.5]),
        ("float32", "inf", (), [np.inf]),
        ("float32", [1, "nan"], (2,), [1, np.nan]),
        ("int32", [1.0, 2], (2,), [1, 2]),
        ("bool", [True, False], (2,), [True, False]),
        ("complex64", [1, 2], (), [1 + 2j]),
        ("complex64", [[1, 2], [3, 4]], (2,), [1 + 2j, 3 + 4j]),
        ("complex64", [[1, 2], 3], (2,), [1 + 2j, 3]),
        ("complex64", 3, (), [3]),
        ("float32", [[], []], (2, 0), []),
        ("float32", {"base64": "AACAPw=="}, None, [1.0]),
        ("float32", {"base64": "AACAPw==", "shape": [1, 1], "dtype": "float32"}, (1, 1), [1.0]),
    ],
)
def test_inputs(name: str, value: Any, shape: tuple[int, ...] | None, numbers: list[Any]) -> None:
    array = inline.decode(value, DTYPES[name], WHERE)
    assert array.shape == shape
    assert np.array_equal(np.frombuffer(array.data, name), np.array(numbers, name), equal_nan=name != "bool")


@pytest.mark.parametrize(
    ("name", "value", "code", "part"),
    [
        ("float32", [[1, 2], [3]], "shape_mismatch", "ragged"),
        ("float32", [[1], 2], "shape_mismatch", "ragged"),
        ("float32", [1, [2]], "argument_invalid", "[2] is not a number"),
        ("float32", [1, "x"], "argument_invalid", "'x' is not a number"),
        ("float32", [1e39], "argument_invalid", "too large for float32"),
        ("float32", [1e39, 10**400], "argument_invalid", "too large for float32"),
        ("int8", [1, 200], "argument_invalid", "200 is outside int8"),
        ("int8", [-200], "argument_invalid", "-200 is outside int8"),
        ("int8", [1.5], "argument_invalid", "1.5 is not a whole number"),
        ("int8", [True], "argument_invalid", "true is not a whole number"),
        ("bool", [1], "argument_invalid", "1 is not true or false"),
        ("float32", [None], "argument_invalid", "null is not a number"),
        ("complex64", [["x", 2]], "argument_invalid", "'x' is not a number"),
        ("float64", [0.0] * 8193, "inline_too_large", "65544 bytes"),
        ("float32", {"base64": "AAA"}, "argument_invalid", "not base64"),
        ("float32", {"base64": "ä"}, "argument_invalid", "not base64"),
        ("float32", {"base64": 5}, "argument_invalid", "base64 is 5"),
        ("float32", {"base64": "A" * 90_000}, "inline_too_large", "90000 characters"),
        ("float32", {"base64": base64.b64encode(bytes(65537)).decode()}, "inline_too_large", "65537 bytes"),
        ("float32", {"base64": "", "dtype": "int32"}, "dtype_mismatch", "'int32', the buffer float32"),
        ("float32", [[1, 2], [3, "a"]], "argument_invalid", "'a' is not a number, at [1][1] of the list"),
        ("uint8", [1, 300, -1], "argument_invalid", "300 is outside uint8 (0 to 255), at [1] of the list"),
        ("float32", "a", "argument_invalid", "'a' is not a number"),
        ("float32", {"base64": "", "shape": [-1]}, "argument_invalid", "[-1] is no shape"),
        ("float32", {"base64": "", "shape": 3}, "argument_invalid", "3 is no shape"),
        ("float32", {"base64": "", "shape": [1]}, "size_mismatch", "needs 4"),
        ("float32", {"base64": "", "shap": [1]}, "argument_invalid", "'shap' is no field"),
    ],
)
def test_refusals(name: str, value: Any, code: str, part: str) -> None:
    with pytest.raises(CallerError) as caught:
        inline.decode(value, DTYPES[name], WHERE)
    assert caught.value.code == code
    assert part in caught.value.message
    assert caught.value.where == WHERE


def test_deep_nesting_is_refused_without_recursion() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(CallerError, match="deeper than 32"):
        inline.decode(value, DTYPES["float32"], WHERE)


@given(
    st.sampled_from(list(DTYPES)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["base64", "shape", "x"]), parts),
        max_leaves=10,
    ),
)
def test_any_json_is_decoded_or_refused(name: str, value: Any) -> None:
    if isinstance(value, dict) and "base64" not in value:
        value["base64"] = ""
    try:
        array = inline.decode(value, DTYPES[name], WHERE)
    except CallerError as error:
        assert error.where == WHERE
    else:
        assert array.shape is None or int(np.prod(array.shape)) * DTYPES[name].itemsize == len(array.data)


def test_the_key_chooses_the_format() -> None:
    assert set(FORMATS) == {"npy", "npz", "raw"}
    assert format_of("a/x.npy").NAME == "npy"
    assert format_of("a/x.NPY").NAME == "npy"
    assert format_of("a.npy/x").NAME == "raw"
    assert format_of("x").NAME == "raw"
    layout = format_of("x.bin").read_layout(b"", 12, "x", WHERE)
    assert layout == (None, None, 0, 12)
    assert format_of("x.bin").make_header(DTYPES["int8"], (3,)) == b""
