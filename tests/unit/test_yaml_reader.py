"""The YAML reader: core-schema values with lines, and bounds that hold."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import plain

from kaas._yaml import MAX_BYTES, read
from kaas.errors import AuthorError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("n", "n"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-5", -5),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1e999", "1e999"),
        ("-" + "9" * 400, "-" + "9" * 400),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("'1'", "1"),
        ('"a\\nb"', "a\nb"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("[a, 1, {b: c}]", ["a", 1, {"b": "c"}]),
        ("{1: a, true: b, null: c}", {"1": "a", "true": "b", "null": "c"}),
        ("a: &x [1, 2]\nb: *x\n", {"a": [1, 2], "b": [1, 2]}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert plain(read(text, "kaas.yaml")) == value
    assert plain(read(text.encode(), "kaas.yaml")) == value


def test_lines() -> None:
    root = read("a: 1\nb:\n  c: |\n    text\n\n  d:\n    - 1\n    - 2\n", "kaas.yaml")
    assert root.value["a"].line == 1
    block = root.value["b"].value["c"]
    assert (block.line, block.value_line, block.is_block) == (3, 3, True)
    assert root.value["b"].value["d"].line == 6
    assert [item.line for item in root.value["b"].value["d"].value] == [7, 8]


_WIDE = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


#: 4,000 values, and over three million characters of them.
_LONG = f"a: &a {'x' * 1000}\nb: &b [{', '.join(['*a'] * 1000)}]\nc: [*b, *b]\n"


def test_texts_of_sources_may_be_used_many_times() -> None:
    text = f"a: &a |\n  {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
    assert len(read(text, "kaas.yaml").value["b"].value) == 1000


@pytest.mark.parametrize(
    ("text", "part", "where"),
    [
        ("", "empty", "kaas.yaml:1"),
        ("# nothing\n", "empty", "kaas.yaml:1"),
        ("a: 1\nb: 2\na: 3\n", "'a' stands twice in one mapping, first in line 1", "kaas.yaml:3"),
        ("a: 1\n---\nb: 2\n", "second document", "kaas.yaml:2"),
        ("a: !!python/object:os.system {}\n", "tags", "kaas.yaml:1"),
        ("a: !x 1\n", "tags", "kaas.yaml:1"),
        ("a: &x {}\nb:\n  <<: *x\n", "merge keys", "kaas.yaml:3"),
        ("a: &x [*x]\n", "inside what it names", "kaas.yaml:1"),
        ("a: *x\n", "names no anchor", "kaas.yaml:1"),
        ("? [a]\n: b\n", "a key must be text", "kaas.yaml:1"),
        ("a: &x b\n*x : 1\n", "a key must be text", "kaas.yaml:2"),
        ("[" * 100_000, "deeper than 32", "kaas.yaml:1"),
        ("- " * 100_000, "deeper than 32", "kaas.yaml:1"),
        (_WIDE, "more than 100000 values", "kaas.yaml:5"),
        ("[" + "1," * 200_000 + "]", "more than 100000 values", "kaas.yaml:1"),
        (f"a: &a {'x' * 1000}\nb: [{', '.join(['*a'] * 3000)}]\n", "more than 2097152 characters", "kaas.yaml:2"),
        (_LONG, "more than 2097152 characters, aliases written out", "kaas.yaml:3"),
        ("a" * (MAX_BYTES + 1), "at most 1048576", "kaas.yaml"),
        ("a: \x00", "not valid YAML", "kaas.yaml"),
        ("a: \ud800", "not UTF-8", "kaas.yaml"),
    ],
)
def test_refusals(text: str, part: str, where: str) -> None:
    with pytest.raises(AuthorError) as caught:
        read(text, "kaas.yaml")
    assert caught.value.code == "manifest_invalid"
    assert part in caught.value.message
    assert caught.value.where == where


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(AuthorError, match="not UTF-8"):
        read(b"\xff\xfea", "kaas.yaml")


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("a:\n\tb: 1\n", "2:1", "a tab stands before the text", "indent with spaces"),
        ("a: 'b\nc: 1\n", "1:4", "the quote that opens here is never closed", "close it"),
        ("a: [1\n", "1:4", "the [ of line 1 is not closed by ], or a comma is missing", "close with ]"),
        ("a: [1, 2}\n", "1:9", "the [ of line 1 is not closed", "separate by commas"),
        ("a: {b: 1\nc: 2\n", "1:4", "the { of line 1 is not closed by }", "close with }"),
        ("a: 1\nb [2]\nc: 3\n", "2:1", "this key has no colon", "write `key: value`"),
        ("a:\n  b: 1\n c: 1\n", "3:2", "this fits neither the mapping of line 1 nor one around it", "same column"),
        ('a: "b" c\n', "1:8", "this fits neither the mapping of line 1", "quote a value whole"),
        ("a: b: c\n", "1:5", "a second colon", "quote a value that holds ': '"),
        ("a:\n  -b: c\n    d: e\n", "3:6", "a second colon", "a space after the dash"),
        ("a: @b\n", "1:4", "a value cannot begin with '@'", "quote it"),
        ("a: *b\n", "1", "the alias *b names no anchor", "quote a text that begins with *"),
        ("a: 1\na: 2\n", "2", "'a' stands twice", "remove one of them"),
    ],
)
def test_slips_are_told_where_they_were_made(text: str, where: str, message: str, hint: str) -> None:
    with pytest.raises(AuthorError) as caught:
        read(text, "kaas.yaml")
    error = caught.value
    assert (error.where, message in error.message, hint in str(error.hint)) == (f"kaas.yaml:{where}", True, True), error


@given(st.text(alphabet="ab1:-[]{}&*!|>'\"#,? \n\t%@`", max_size=80) | st.text(max_size=40) | st.binary(max_size=40))
def test_anything_is_read_or_refused(text: str | bytes) -> None:
    try:
        read(text, "kaas.yaml")
    except AuthorError as error:
        assert error.code == "manifest_invalid"
