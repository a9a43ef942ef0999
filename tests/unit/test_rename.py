"""Renaming arguments, by the manifest and by the call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import SAXPY

from kaas._rename import merged, renamed
from kaas.binding import bind
from kaas.call import Call, own_names
from kaas.dtypes import TypedScalar
from kaas.errors import CallerError
from kaas.manifest import Manifest
from kaas.references import InlineValue, Reference


def parse(arguments: dict[str, Any], rename: str | None = None, text: str = SAXPY) -> Call:
    manifest = Manifest.parse(text if rename is None else f"{text}rename: {rename}\n")
    return Call.parse(manifest, arguments, activation_id="f00")


def value(call: Call, name: str) -> Any:
    found = call.reads[name]
    assert isinstance(found, InlineValue)
    return found.value


@pytest.mark.parametrize("by", ["manifest", "call"])
def test_a_previous_results_names(by: str) -> None:
    result = {"image": [1], "factor": 2, "y": [2], "z": "inline"}
    said = {"image": "x", "factor": "a"}
    if by == "manifest":
        call = parse(result, "{image: x, factor: a}")
    else:
        call = parse({**result, "rename": said})
    assert value(call, "x") == [1]
    assert call.params["a"] == TypedScalar("float32", 2.0)
    assert call.unknown == ()
    assert (call.where("x"), call.where("a"), call.where("y")) == ("arguments.image", "arguments.factor", "arguments.y")


def test_a_renamed_argument_wins_and_its_old_name_is_gone() -> None:
    call = parse({"x": [1], "image": [2], "y": [3], "z": "inline"}, "{image: x}")
    assert value(call, "x") == [2]
    assert call.unknown == ()
    # What was an output of this action under the same name becomes its input, and does not name the place of the next.
    call = parse({"z": "s3://out/z.npy", "y": [3], "outputs": "s3://out"}, "{z: x}")
    assert call.reads["x"] == Reference("s3", "out", "z.npy")
    assert call.writes["z"] == Reference("s3", "out", "f00/z.npy")


def test_names_are_exchanged_at_once() -> None:
    call = parse({"x": [1], "y": [2], "z": "inline"}, "{x: y, y: x}")
    assert (value(call, "x"), value(call, "y")) == ([2], [1])


def test_an_absent_name_is_no_error() -> None:
    assert value(parse({"x": [1], "y": [2], "z": "inline"}, "{image: x}"), "x") == [1]
    assert value(parse({"x": [1], "y": [2], "z": "inline", "rename": {}}, "{image: x}"), "x") == [1]


@pytest.mark.parametrize(
    ("said", "x", "y"),
    [
        ({"picture": "x"}, [2], [4]),
        ({"image": "y"}, [3], [1]),
        ({"picture": "y"}, [1], [2]),
    ],
)
def test_the_calls_map_is_merged_over_the_manifests(said: dict[str, str], x: list[int], y: list[int]) -> None:
    arguments = {"image": [1], "picture": [2], "x": [3], "y": [4], "z": "inline"}
    call = parse({**arguments, "rename": said}, "{image: x}")
    assert (value(call, "x"), value(call, "y")) == (x, y)


@pytest.mark.parametrize(
    ("said", "where", "part", "hint"),
    [
        ("x", "", "'x' is no map of names", '{"image": "x"}'),
        (None, "", "null is no map", None),
        ([["a", "x"]], "", "is no map", None),
        ({"image": "xx"}, ".image", "'xx' is no buffer or parameter", "'x'"),
        ({"x": "image"}, ".x", "'image' is no buffer or parameter", "stands first: {'image': 'x'}"),
        ({"image": 5}, ".image", "5 is no buffer or parameter", "{incoming: x}"),
        ({"image": ["x"]}, ".image", "is no buffer or parameter", None),
        ({"image": "x", "picture": "x"}, ".picture", "'image' and 'picture' both become 'x'", "only one"),
        ({"kaas": "x"}, ".kaas", "means something else", None),
        ({"outputs": "x"}, ".outputs", "means something else", None),
        ({"_x": "x"}, "._x", "means something else", None),
        ({"": "x"}, ".", "1 to 256 characters", None),
        ({"q" * 257: "x"}, "." + "q" * 80, "1 to 256 characters", None),
        ({f"q{number}": "x" for number in range(257)}, "", "257 names; at most 256", None),
    ],
)
def test_refusals(said: object, where: str, part: str, hint: str | None) -> None:
    with pytest.raises(CallerError) as caught:
        parse({"x": [1], "y": [2], "z": "inline", "rename": said})
    assert (caught.value.code, caught.value.where) == ("argument_invalid", f"arguments.rename{where}")
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_what_the_action_binds_itself_is_no_target() -> None:
    text = SAXPY.replace("y: {io: in, ", "y: {io: const, from: s3://data/y,")
    with pytest.raises(CallerError, match="'y' is never given by a call"):
        parse({"x": [1], "z": "inline", "rename": {"other": "y"}}, text=text)


def test_errors_name_the_argument_that_was_given() -> None:
    for arguments, where in (
        ({"image": None, "y": [1]}, "arguments.image"),
        ({"image": [1], "y": [1], "factor": "2"}, "arguments.factor"),
        ({"image": ["a"], "y": [1]}, "arguments.image"),
        ({"image": [[1]], "y": [1]}, "arguments.image"),
        ({"image": "s3://data/x", "y": [1]}, "arguments.image"),
    ):
        manifest = Manifest.parse(f"{SAXPY}rename: {{image: x, factor: a}}\n")
        with pytest.raises(CallerError) as caught:
            bind(manifest, Call.parse(manifest, {**arguments, "z": "inline"}, activation_id="f00"), {})
        assert caught.value.where == where


def test_a_missing_input_tells_of_renaming() -> None:
    with pytest.raises(CallerError) as caught:
        parse({"image": [1], "y": [1], "z": "inline"})
    assert '"rename": {"image": "x"}' in (caught.value.hint or "")


def test_only_what_fits_is_proposed_for_renaming() -> None:
    keys = {"endpoint": "http://127.0.0.1:9000", "secret_key": "s3cr3t"}
    text = SAXPY.replace(", default: 1.0", "")
    assert text != SAXPY
    for said, rename in (
        ({"size": 3, "image": "s3://data/x.npy", "y": [1], "a": 1}, '"rename": {"image": "x"}'),
        ({"x": [1], "y": [1], "image": "s3://data/x.npy", "size": 3}, '"rename": {"size": "a"}'),
    ):
        with pytest.raises(CallerError) as caught:
            parse({**keys, **said, "z": "inline"}, text=text)
        assert caught.value.code == "input_missing"
        assert rename in (caught.value.hint or "")
        assert "secret_key" not in (caught.value.hint or "")


_NAMES = st.sampled_from("abcd")


@given(st.dictionaries(_NAMES, st.integers()), st.dictionaries(_NAMES, _NAMES), st.dictionaries(_NAMES, _NAMES))
def test_renaming_loses_and_invents_nothing(
    arguments: dict[str, int], first: dict[str, str], second: dict[str, str]
) -> None:
    both = merged(first, second)
    assert {name: both[name] for name in second} == second
    assert {name for name, target in both.items() if name not in second} <= first.keys()
    for incoming, target in both.items():
        if incoming not in second:
            assert target not in second.values()
    result = renamed(arguments, both)
    assert set(result.values()) <= set(arguments.values())
    for incoming, target in both.items():
        if incoming in arguments and list(both.values()).count(target) == 1:
            assert result[target] == arguments[incoming]
    for name in arguments.keys() - both.keys() - set(both.values()):
        assert result[name] == arguments[name]


def test_own_names_are_what_a_call_is_read_under() -> None:
    manifest = Manifest.parse(f"{SAXPY}rename: {{x: y, y: x}}\n")
    assert own_names(manifest, {"x": 1, "y": 2, "b": 3, "rename": {"b": "a"}}) == {"y": 1, "x": 2, "a": 3}
    with pytest.raises(CallerError, match="'w' is no buffer or parameter"):
        own_names(manifest, {"rename": {"b": "w"}})
