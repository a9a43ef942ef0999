"""Freshness: how it is written, and which of those that are said holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import SAXPY

from kaas.call import Call
from kaas.errors import CallerError
from kaas.freshness import ALWAYS, MAX_AGE_SECONDS, PINNED, Freshness
from kaas.manifest import Manifest

ACTION = """\
kaas: 1
name: mixed
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  p: {io: in, dtype: float32, shape: [n], freshness: pinned}
  s: {io: inout, dtype: float32, shape: [n]}
  w: {io: const, dtype: float32, shape: [n]}
  m: {io: const, dtype: float32, shape: [n], from: s3://data/m}
  z: {io: out, dtype: float32, shape: [n]}
graph: [{fill: {buffer: z, value: 0}}]
freshness: max_age=60
"""
GIVEN = {"x": "s3://data/x", "p": "s3://data/p", "s": "s3://data/s", "w": "s3://data/w", "z": "inline"}
SPLIT = {**GIVEN, "s": {"from": "s3://data/s", "to": "s3://data/s2"}}
MINUTE = Freshness("max_age", 60)


def parse(arguments: dict[str, Any], text: str = ACTION) -> Call:
    return Call.parse(Manifest.parse(text), arguments, activation_id="f00")


@pytest.mark.parametrize(
    ("text", "freshness"),
    [
        ("always", ALWAYS),
        ("pinned", PINNED),
        ("max_age=30", Freshness("max_age", 30)),
        ("max_age=0.25", Freshness("max_age", 0.25)),
        ("max_age=.5", Freshness("max_age", 0.5)),
        ("max_age=31536000", Freshness("max_age", MAX_AGE_SECONDS)),
    ],
)
def test_forms(text: str, freshness: Freshness) -> None:
    assert Freshness.parse(text) == freshness
    assert Freshness.parse(str(freshness)) == freshness


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("", "one of: always, pinned, max_age=SECONDS"),
        ("Pinned", "did you mean 'pinned'"),
        ("max_age", "max_age=SECONDS"),
        ("max_age=", "over 0 and at most 31536000"),
        ("max_age=0", "over 0 and at most 31536000"),
        ("max_age=0.0", "over 0 and at most 31536000"),
        ("max_age=-1", "over 0"),
        ("max_age=nan", "over 0"),
        ("max_age=inf", "over 0"),
        ("max_age=1e3", "over 0"),
        ("max_age=31536001", "over 0"),
        ("max_age=99999999999999999999999", "over 0"),
        ("max_age=3\uff10", "over 0"),
        ("max_age=1 ", "over 0"),
        (None, "it is 'always'"),
        (30, "it is 'always'"),
        (True, "it is 'always'"),
        (["pinned"], "it is 'always'"),
    ],
)
def test_refusals(value: object, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Freshness.parse(value)


@given(st.text(max_size=20) | st.text(alphabet="0123456789.+-e", max_size=30).map("max_age={}".format))
def test_what_is_read_reads_back(text: str) -> None:
    try:
        freshness = Freshness.parse(text)
    except ValueError:
        return
    assert freshness.kind == "max_age"
    assert 0 < freshness.seconds <= MAX_AGE_SECONDS
    assert Freshness.parse(text) == freshness


@pytest.mark.parametrize(
    ("said", "x", "p", "s"),
    [
        ({}, MINUTE, PINNED, MINUTE),
        ({"freshness": {}}, MINUTE, PINNED, MINUTE),
        ({"freshness": "always"}, ALWAYS, ALWAYS, ALWAYS),
        ({"freshness": "pinned"}, PINNED, PINNED, PINNED),
        ({"freshness": {"x": "pinned"}}, PINNED, PINNED, MINUTE),
        ({"freshness": {"p": "max_age=1", "s": "always"}}, MINUTE, Freshness("max_age", 1), ALWAYS),
        ({"freshness": {"w": "pinned", "m": "pinned"}}, MINUTE, PINNED, MINUTE),
    ],
)
def test_the_nearest_holds(said: dict[str, Any], x: Freshness, p: Freshness, s: Freshness) -> None:
    call = parse({**SPLIT, **said})
    assert call.freshness == {"x": x, "p": p, "s": s, "w": PINNED, "m": PINNED}


def test_without_any_it_is_always() -> None:
    assert parse({"x": "s3://data/x", "y": [1], "z": "inline"}, SAXPY).freshness == {"x": ALWAYS}


def test_values_in_the_call_have_none_and_may_be_named() -> None:
    call = parse({**SPLIT, "x": [1.0], "freshness": {"x": "pinned"}})
    assert "x" not in call.freshness


@pytest.mark.parametrize("said", [{}, {"freshness": "pinned"}, {"freshness": {"s": "always"}}])
def test_in_place_is_always_looked_up(said: dict[str, Any]) -> None:
    assert parse({**GIVEN, **said}).freshness["s"] == ALWAYS


@pytest.mark.parametrize(
    ("said", "where", "part", "hint"),
    [
        ("fresh", "", "'fresh' is no freshness", "one of"),
        (None, "", "null is no freshness", "'always'"),
        (30, "", "30 is no freshness", "max_age=SECONDS"),
        ({"x": "max_age=0"}, ".x", "is no freshness", "over 0"),
        ({"x": None}, ".x", "null is no freshness", "'always'"),
        ({"z": "pinned"}, ".z", "'z' is no input", "inputs: x, p, s, w, m"),
        ({"xx": "pinned"}, ".xx", "'xx' is no input", "'x'"),
        ({"w": "always"}, ".w", "'w' is const, so it is pinned, never always", None),
        ({"m": "max_age=1"}, ".m", "'m' is const", None),
        ({"s": "pinned"}, ".s", "changed in place, which is always done to the newest version", '"to"'),
        ({"q" * 5000: "pinned"}, "." + "q" * 80, "is no input", None),
    ],
)
def test_what_a_call_cannot_say(said: object, where: str, part: str, hint: str | None) -> None:
    with pytest.raises(CallerError) as caught:
        parse({**GIVEN, "freshness": said})
    assert (caught.value.code, caught.value.where) == ("argument_invalid", f"arguments.freshness{where}")
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_an_action_that_pins_what_a_call_changes_in_place() -> None:
    text = ACTION.replace(
        "s: {io: inout, dtype: float32, shape: [n]}", "s: {io: inout, dtype: float32, shape: [n], freshness: pinned}"
    )
    assert parse(SPLIT, text).freshness["s"] == PINNED
    with pytest.raises(CallerError, match="the action says pinned") as caught:
        parse(GIVEN, text)
    assert (caught.value.code, caught.value.where) == ("argument_invalid", "arguments.s")
