"""The arguments of a call, before any object is looked at."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_cases import FULL, SAXPY

from kaas.call import Call, InlineOutput
from kaas.dtypes import TypedScalar
from kaas.errors import CallerError
from kaas.freshness import ALWAYS, PINNED
from kaas.manifest import Manifest
from kaas.references import InlineValue, Reference

MANIFEST = Manifest.parse(SAXPY)
EVERYTHING = Manifest.parse(FULL)
KEYS = {"endpoint": "http://127.0.0.1:9000", "access_key": "k", "secret_key": "s"}
GOOD = {"x": "s3://data/x.npy", "y": [1, 2], "z": "s3://out/z.npy"}


def parse(arguments: dict[str, Any], manifest: Manifest = MANIFEST, prefix: str | None = None) -> Call:
    return Call.parse(manifest, arguments, activation_id="f00", outputs_prefix=prefix)


def ref(text: str) -> Reference:
    return Reference.parse(text, "")


def test_a_call() -> None:
    call = parse({**GOOD, "a": 2})
    assert call == Call(
        params={"a": TypedScalar("float32", 2.0)},
        reads={"x": ref("s3://data/x.npy"), "y": InlineValue([1, 2])},
        writes={"z": ref("s3://out/z.npy")},
        unknown=(),
        freshness={"x": ALWAYS},
    )
    assert call.objects == {"s3://data/x.npy": ref("s3://data/x.npy")}


def test_objects_are_whole_and_named_once() -> None:
    call = parse({"x": "s3://data/k?offset=0&size=8", "y": "s3://data/k?offset=8&size=8", "z": "inline"}, MANIFEST)
    assert call.objects == {"s3://data/k": ref("s3://data/k")}


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("inline", InlineOutput()),
        ("base64", InlineOutput(as_base64=True)),
        ("s3://out/z.bin", ref("s3://out/z.bin")),
    ],
)
def test_places_for_outputs(value: str, target: object) -> None:
    assert parse({**GOOD, "z": value}).writes == {"z": target}


@pytest.mark.parametrize(
    ("prefix", "argument", "target"),
    [
        (None, "s3://out/results", "s3://out/results/f00/z.npy"),
        (None, "s3://out/results/", "s3://out/results/f00/z.npy"),
        (None, "s3://out", "s3://out/f00/z.npy"),
        ("s3://default/p", "s3://out/results", "s3://default/p/f00/z.npy"),
        ("file:///tmp/results", None, "file:///tmp/results/f00/z.npy"),
    ],
)
def test_outputs_by_default(prefix: str | None, argument: str | None, target: str) -> None:
    arguments = {"x": 1, "y": 1, **({"outputs": argument} if argument else {})}
    assert parse(arguments, prefix=prefix).writes == {"z": ref(target)}


def test_defaults_and_values_of_parameters() -> None:
    base = {"x": 1, "w": 1, "s": "s3://data/s", "outputs": "s3://out"}
    call = parse(base, EVERYTHING)
    assert call.params["c"] == TypedScalar("complex64", 1 - 1j)
    call = parse({**base, "a": 0.1, "c": [0, 2], "flag": False, "worst": "-inf"}, EVERYTHING)
    assert call.params["a"] == TypedScalar("float32", 0.10000000149011612)
    assert call.params["c"] == TypedScalar("complex64", 2j)
    assert call.params["flag"] == TypedScalar("bool", False)
    assert call.params["worst"] == TypedScalar("float64", float("-inf"))


def test_inout() -> None:
    base = {"x": 1, "w": 1, "outputs": "s3://out"}
    call = parse({**base, "s": "s3://data/s"}, EVERYTHING)
    assert call.reads["s"] == call.writes["s"] == ref("s3://data/s")
    call = parse({**base, "s": {"from": [1.0], "to": "inline"}}, EVERYTHING)
    assert (call.reads["s"], call.writes["s"]) == (InlineValue([1.0]), InlineOutput())
    call = parse({**base, "s": {"from": "s3://data/s?offset=4"}}, EVERYTHING)
    assert call.writes["s"] == ref("s3://out/f00/s.npy")


def test_what_is_not_the_actions_is_set_aside() -> None:
    call = parse(
        {**GOOD, "extra": 1, "payload": {}, "__ow_method": "get", "error": 1, "kaas": {"outputs": {}}, "_x": 1}
    )
    assert call.unknown == ("extra", "payload")
    call = parse({"x": 1, "w": 1, "s": "s3://data/s", "outputs": "s3://out", "t": "s3://old/t"}, EVERYTHING)
    assert call.unknown == ("t",)


def test_defaults_of_reserved_arguments_may_be_said() -> None:
    call = parse({**GOOD, "ack": "durable", "freshness": "always", "rename": {}, "store": None})
    assert call.unknown == ()
    assert call.freshness == {"x": ALWAYS}


def test_what_the_call_says_of_the_acknowledgement_holds_before_the_action() -> None:
    eager = Manifest.parse(SAXPY.replace("kaas: 1\n", "kaas: 1\nack: device\n"))
    assert (parse(GOOD).ack, parse(GOOD, eager).ack) == ("durable", "device")
    assert parse({**GOOD, "ack": "device"}).ack == "device"
    assert parse({**GOOD, "ack": "durable"}, eager).ack == "durable"
    x = str(GOOD["x"])
    over = {**GOOD, "z": x}
    with pytest.raises(CallerError, match="the action says ack: device"):
        parse(over, eager)
    assert parse({**over, "ack": "durable"}, eager).writes == {"z": ref(x)}


def test_versions_of_an_earlier_result_are_matched_by_reference() -> None:
    outputs = {
        "stored": {"ref": "s3://data/x", "etag": "e", "version": "v"},
        "promised": {"ref": "s3://data/y", "version": "v"},
        "etag": {"ref": "s3://data/z", "etag": 5, "version": "v"},
        "version": {"ref": "s3://data/w", "version": None},
        "ref": {"ref": "nowhere", "version": "v"},
    }
    call = parse({**GOOD, "kaas": {"outputs": outputs}})
    assert (call.versions, call.promised) == ({"s3://data/x": "e"}, {"s3://data/y": "v"})


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


S = {"x": 1, "w": 1, "outputs": "s3://out"}


@pytest.mark.parametrize(
    ("manifest", "arguments", "code", "where", "part", "hint"),
    [
        ("saxpy", {"y": 1, "z": "inline"}, "input_missing", "x", "the input 'x' is not given", "as argument 'x'"),
        ("saxpy", {"X": 1, "y": 1, "z": "inline"}, "input_missing", "x", "not given", "also has 'X'; was 'x' meant?"),
        ("saxpy", {"image": 1, "z": "inline"}, "input_missing", "x", "not given", "also has 'image', which the action"),
        ("saxpy", {"image": 1, **KEYS, "z": "inline"}, "input_missing", "x", "not given", "in which they make"),
        ("saxpy", {**KEYS, "z": "inline"}, "input_missing", "x", "not given", "give a reference as argument 'x'"),
        ("saxpy", {"Records": [], "z": "inline"}, "input_missing", "x", "not given", "`events: {input: x}`"),
        ("saxpy", {"x": 1, "y": 1, "Z": "inline"}, "output_unbound", "z", "where the output 'z'", "was 'z' meant?"),
        (
            "saxpy",
            {"x": 1, "y": 1, "z": [1], "rename": {"z": "x"}},
            "output_unbound",
            "z",
            "where the output 'z'",
            "'z' was taken as 'x' by rename",
        ),
        ("saxpy", {**GOOD, "x": "[1, 2"}, "reference_invalid", "x", "'[1, 2' is not a ref", "all brackets and quotes"),
        ("saxpy", {**GOOD, "a": "abc"}, "argument_invalid", "a", "'abc' is not a number", "'abc' came as a text"),
        ("saxpy", {**GOOD, "a": "1e400"}, "argument_invalid", "a", "'1e400' is not a number", "came as a text"),
        ("saxpy", {**GOOD, "a": "2"}, "argument_invalid", "a", "'2' is not a number", "not quoted"),
        ("saxpy", {**GOOD, "a": None}, "argument_invalid", "a", "null is not a number", None),
        ("saxpy", {**GOOD, "a": 1e39}, "argument_invalid", "a", "too large for float32", None),
        ("saxpy", {**GOOD, "a": [1, 2]}, "argument_invalid", "a", "[1, 2] is not a number", None),
        ("saxpy", {**GOOD, "a": 10**400}, "argument_invalid", "a", "1329 bits is too large for float32", None),
        ("saxpy", {**GOOD, "a": True}, "argument_invalid", "a", "true is not a number", None),
        ("saxpy", {**GOOD, "a": {}}, "argument_invalid", "a", "{} is not a number", None),
        (
            "saxpy",
            {**GOOD, "a": nested(100_000)},
            "argument_invalid",
            "a",
            "nested too deep to show is not a number",
            None,
        ),
        (
            "saxpy",
            {**GOOD, "x": {"q": nested(100_000)}},
            "argument_invalid",
            "x",
            "nested too deep to show is no input",
            None,
        ),
        ("saxpy", {**GOOD, "ack": nested(100_000)}, "argument_invalid", "ack", "nested too deep", "durable"),
        ("full", {**S, "iters": 1e400}, "argument_invalid", "iters", "inf is not a whole number", None),
        ("full", {**S, "iters": math.nan}, "argument_invalid", "iters", "nan is not a whole number", None),
        ("full", {**S, "iters": "nan"}, "argument_invalid", "iters", "'nan' is not a whole number", "came as a text"),
        ("full", {**S, "iters": 2.5}, "argument_invalid", "iters", "2.5 is not a whole number", None),
        ("full", {**S, "iters": 1 << 31}, "argument_invalid", "iters", "outside int32", None),
        ("full", {**S, "iters": -(10**400)}, "argument_invalid", "iters", "1329 bits is outside int32", None),
        ("full", {**S, "flag": 1}, "argument_invalid", "flag", "1 is not true or false", None),
        ("full", {**S, "c": [1, None]}, "argument_invalid", "c", "null is not a number", None),
        ("full", {**S, "c": [10**400, 0]}, "argument_invalid", "c", "too large for complex64", None),
        ("saxpy", {**GOOD, "x": None}, "argument_invalid", "x", "null is no input", "s3://"),
        ("saxpy", {**GOOD, "x": {"ref": "s3://a/b"}}, "argument_invalid", "x", "is no input", "base64"),
        ("saxpy", {**GOOD, "x": "x.npy"}, "reference_invalid", "x", "'x.npy' is not a reference", "s3://"),
        ("saxpy", {"x": 1, "y": 1}, "output_unbound", "z", "nothing says where", "'outputs'"),
        ("saxpy", {**GOOD, "z": 5}, "argument_invalid", "z", "no place for an output", "inline"),
        ("saxpy", {**GOOD, "z": "inlin"}, "argument_invalid", "z", "no place for an output", "inline"),
        ("saxpy", {**GOOD, "z": "s3://out/z?offset=0"}, "reference_invalid", "z", "without a range", None),
        ("saxpy", {**GOOD, "z": "s3://out/z?versionId=1"}, "reference_invalid", "z", "without a range", None),
        ("saxpy", {**GOOD, "z": "s3://out/z.safetensors"}, "reference_invalid", "z", "read only", ".npy"),
        ("saxpy", {**GOOD, "z": "s3://out/z.safetensors#z"}, "reference_invalid", "z", "read only", ".npy"),
        ("saxpy", {**GOOD, "x": "s3://mm/x.safetensors"}, "reference_invalid", "x", "many tensors", "#weight"),
        ("full", {**S, "s": "s3://mm/s.safetensors#s"}, "argument_invalid", "s", "changed in place", '"to"'),
        (
            "saxpy",
            {"x": 1, "y": 1, "outputs": "s3://oo/x.safetensors#y"},
            "reference_invalid",
            "outputs",
            "read only",
            None,
        ),
        ("saxpy", {"x": 1, "y": 1, "outputs": 5}, "reference_invalid", "outputs", "no prefix", "s3://bucket/results"),
        ("saxpy", {"x": 1, "y": 1, "outputs": "s3://a?b"}, "reference_invalid", "outputs", "no prefix", "s3://bucket"),
        ("saxpy", {"x": 1, "y": 1, "outputs": "out"}, "reference_invalid", "outputs", "no prefix", "s3://bucket"),
        ("saxpy", {**GOOD, "ack": "devise"}, "argument_invalid", "ack", "'devise' is no ack", "'device'"),
        ("saxpy", {**GOOD, "ack": None}, "argument_invalid", "ack", "null is no ack", "durable"),
        ("full", {**S, "s": "s3://dd/s", "ack": "device"}, "argument_invalid", "s", "the call says ack", '"durable"'),
        (
            "saxpy",
            {**GOOD, "x": "s3://dd/x?offset=0&size=4", "z": "s3://dd/x", "ack": "device"},
            "argument_invalid",
            "z",
            "'z' goes to s3://dd/x, which the call also reads",
            "another object",
        ),
        ("saxpy", {**GOOD, "store": {}}, "not_supported_yet", "store", "'store'", "leave it out"),
        ("full", {**S, "s": "s3://data/s?offset=1"}, "argument_invalid", "s", "changed in place", '"to"'),
        ("full", {**S, "s": "s3://data/s?versionId=1"}, "argument_invalid", "s", "changed in place", '"to"'),
        ("full", {**S, "s": [1]}, "argument_invalid", "s", "[1] cannot be changed in place", '"to"'),
        ("full", {**S, "s": {"to": "inline"}}, "argument_invalid", "s", "no value of an inout", '"from"'),
        ("full", {**S, "s": {"from": 1, "too": "inline"}}, "argument_invalid", "s", "no value of an inout", '"from"'),
        ("full", {**S, "s": {"from": "s", "to": "inline"}}, "reference_invalid", "s.from", "not a reference", None),
        ("full", {**S, "s": "s3://out/s", "z": "s3://out/s"}, "argument_invalid", "z", "'s' and 'z' both go", None),
        ("full", {"x": 1, "outputs": "s3://out"}, "input_missing", "w", "the const input 'w'", "reference"),
    ],
)
def test_refusals(manifest: str, arguments: dict[str, Any], code: str, where: str, part: str, hint: str | None) -> None:
    with pytest.raises(CallerError) as caught:
        parse(arguments, EVERYTHING if manifest == "full" else MANIFEST)
    assert (caught.value.code, caught.value.where) == (code, f"arguments.{where}")
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_a_parameter_without_default_is_required() -> None:
    manifest = Manifest.parse(SAXPY.replace("{type: float32, default: 1.0}", "{type: float32}"))
    with pytest.raises(CallerError, match="the float32 parameter 'a' is not given") as caught:
        parse(GOOD, manifest)
    assert caught.value.code == "input_missing"


def test_many_unknown_arguments_are_told_in_short() -> None:
    with pytest.raises(CallerError) as caught:
        parse({"y": 1, "z": "inline", **{f"q{number}": 1 for number in range(100_000)}})
    assert caught.value.code == "input_missing"
    assert len(caught.value.hint or "") < 400


def test_a_const_fixed_by_the_action_cannot_be_given() -> None:
    manifest = Manifest.parse(SAXPY.replace("y: {io: in, ", "y: {io: const, from: y.npy,"))
    assert "y" not in parse({"x": 1, "z": "inline"}, manifest).reads
    with pytest.raises(CallerError, match=r"fixed by the action to its file 'y\.npy'") as caught:
        parse({**GOOD}, manifest)
    assert caught.value.code == "argument_invalid"


def test_a_const_bound_to_an_object_by_the_action() -> None:
    manifest = Manifest.parse(SAXPY.replace("y: {io: in, ", "y: {io: const, from: s3://data/y.npy?versionId=7,"))
    call = parse({"x": 1, "z": "inline"}, manifest)
    assert call.reads["y"] == ref("s3://data/y.npy?versionId=7")
    assert call.objects == {"s3://data/y.npy?versionId=7": ref("s3://data/y.npy?versionId=7")}
    assert call.freshness == {"y": PINNED}
    assert call.where("y") == "kaas.yaml:8 buffers.y.from"
    with pytest.raises(CallerError, match=r"fixed by the action to s3://data/y\.npy\?versionId=7") as caught:
        parse({**GOOD}, manifest)
    assert (caught.value.code, caught.value.where) == ("argument_invalid", "arguments.y")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("s3://data/k"),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.sampled_from(["from", "to", "base64"]), parts),
    max_leaves=6,
)


_ARGUMENTS = [*EVERYTHING.buffers, *EVERYTHING.params, "outputs", "ack", "rename", "freshness", "image", "q"]


@given(st.dictionaries(st.sampled_from(_ARGUMENTS), _JSON))
def test_any_arguments_are_read_or_refused(arguments: dict[str, Any]) -> None:
    try:
        parse({"x": 1, "w": 1, "s": "s3://data/s", "outputs": "s3://out", **arguments}, EVERYTHING)
    except CallerError as error:
        assert (error.where or "").startswith("arguments.")
