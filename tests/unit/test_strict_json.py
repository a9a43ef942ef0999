"""JSON that means one thing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.strict_json import MAX_DEPTH, parse

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{}x", "Extra data"),
        (b"[NaN]", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"[1e999]", "'1e999' is larger than any float"),
        (b"[-1E+309]", "larger than any float"),
        (b"1" * 400 + b".5", "larger than any float"),
        (b"1" * 5000, "4300 digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is given twice in one object"),
        (b"[" * 100_000, f"over {MAX_DEPTH} levels deep"),
        (b"[" * 976 + b"]" * 976, f"over {MAX_DEPTH} levels deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), f"over {MAX_DEPTH} levels deep"),
    ],
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(body)
    assert reason in str(caught.value)


def test_what_only_looks_large_is_taken() -> None:
    assert parse(b'["1e999", 1e308, 1e-999, 1E+100]') == ["1e999", 1e308, 0.0, 1e100]
    assert parse(b"[" + b"7" * 400 + b"]") == [int("7" * 400)]
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
