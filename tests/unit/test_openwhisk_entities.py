"""Names, parameters, limits, kinds, actions and packages of the local OpenWhisk API, as requests make them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from kaas_local.openwhisk.entities import Action, Package, Stamp
from kaas_local.openwhisk.kinds import KERNEL, NODEJS, PYTHON, Kinds
from kaas_local.openwhisk.limits import MAX_CODE_BYTES, MAX_PARAMETERS_BYTES, Limits
from kaas_local.openwhisk.names import Name, check_activation_id, check_namespace, check_segment, parse_component
from kaas_local.openwhisk.parameters import Parameters
from kaas_local.openwhisk.refusal import Refusal

NAME = Name("guest", None, "a")
CODE = {"kind": "python:3", "code": "x"}


def put(body: dict[str, Any], old: Action | None = None, number: int = 1) -> Action:
    return Action.put(old, NAME, body, Kinds(), Stamp(number, str(number)))


def refusal(work: Any, *args: Any, **kwargs: Any) -> tuple[int, str]:
    with pytest.raises(Refusal) as refused:
        work(*args, **kwargs)
    return refused.value.status, refused.value.text


@pytest.mark.parametrize("text", ["a", "_", "9", "a b", "a@b.c&d-e", "a-", "x" * 256])
def test_a_name_that_is_allowed(text: str) -> None:
    assert check_segment(text) == text


@pytest.mark.parametrize("text", ["", " a", "a ", "-a", ".a", "a/b", "a:b", "ü", "a\n", "a*"])
def test_a_name_that_is_not(text: str) -> None:
    assert refusal(check_segment, text) == (400, "The name of the entity contains illegal characters.")


def test_a_long_name_is_refused_with_its_length() -> None:
    assert refusal(check_segment, "x" * 257) == (400, "Name segement longer than allowed: 257 > 256.")
    assert refusal(check_namespace, "x" * 257, "guest")[1] == "Namespace longer than allowed: 257 > 256."


def test_a_namespace_of_a_path() -> None:
    assert check_namespace("_", "guest") == "guest"
    assert check_namespace("other", "guest") == "other"
    assert refusal(check_namespace, "a*", "guest") == (400, "The namespace contains illegal characters.")


def test_an_activation_id() -> None:
    assert check_activation_id("0123456789abcdef" * 2)
    assert refusal(check_activation_id, "abc") == (400, "Activation id length is 3 but must be 32.")
    assert refusal(check_activation_id, "X" * 32) == (400, "The activation id is not valid.")


def test_a_component_of_a_sequence() -> None:
    assert parse_component("/_/a", "guest") == Name("guest", None, "a")
    assert parse_component("/other/p/a", "guest") == Name("other", "p", "a")
    assert parse_component("a", "guest") == Name("guest", None, "a"), "what clients send unqualified"
    assert refusal(parse_component, 3, "guest")[0] == 400
    for text in ("/a", "/a/b/c/d", "", "/_/a*"):
        assert refusal(parse_component, text, "guest")[1].startswith("The request content was malformed:\n")


def test_parameters_keep_their_order_and_the_last_of_a_key() -> None:
    found = Parameters.read(
        [{"key": "a", "value": 1, "init": True}, {"key": "b", "value": None}, {"key": "a", "value": [2]}], "parameters"
    )
    assert found.to_json() == [{"key": "a", "value": [2]}, {"key": "b", "value": None}]


@pytest.mark.parametrize("given", [{}, "x", [1], [{"key": "a"}], [{"value": 1}], [{"key": 1, "value": 1}]])
def test_malformed_parameters(given: Any) -> None:
    assert refusal(Parameters.read, given, "parameters") == (
        400,
        "The request content was malformed:\nparameters malformed!",
    )


def test_parameters_have_a_limit() -> None:
    most = MAX_PARAMETERS_BYTES - 3
    assert Parameters.read([{"key": "a", "value": "x" * most}], "parameters").values
    assert refusal(Parameters.read, [{"key": "a", "value": "x" * (most + 1)}], "annotations") == (
        413,
        "annotations larger than allowed: 1048577 > 1048576 bytes.",
    )


def test_parameters_over_others_and_as_environment() -> None:
    base = Parameters({"a": 1, "b": {"c": 2}, "n": None, "s": "text"}, frozenset("abns"))
    assert dict(base.environment()) == {"a": "1", "b": '{"c":2}', "n": "", "s": "text"}
    merged = Parameters({"a": 3, "d": 4}, frozenset("d")).over(base)
    assert merged.values == {"a": 3, "b": {"c": 2}, "n": None, "s": "text", "d": 4}
    assert merged.init == frozenset("bnsd"), "a key goes with whoever has the last word"


@pytest.mark.parametrize("value", [True, 1, -0.5, "x", [], {}, "false"])
def test_what_counts_as_yes(value: Any) -> None:
    assert Parameters({"a": value}).is_truthy("a")


@pytest.mark.parametrize("value", [False, 0, 0.0, "", None])
def test_what_counts_as_no(value: Any) -> None:
    assert not Parameters({"a": value}).is_truthy("a", absent=True)
    assert Parameters().is_truthy("a", absent=True)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"memory": 1024}, "memory size 1024 MB exceeds allowed threshold of 512 MB"),
        ({"memory": 64}, "memory size 64 MB below allowed threshold of 128 MB"),
        ({"timeout": 300_001}, "duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds"),
        ({"timeout": 99}, "duration 99 milliseconds below allowed threshold of 100 milliseconds"),
        ({"logs": 11}, "log size 11 MB exceeds allowed threshold of 10 MB"),
        ({"concurrency": 2}, "concurrency 2 exceeds allowed threshold of 1"),
        ({"concurrency": 0}, "concurrency 0 below allowed threshold of 1"),
    ],
)
def test_limits_out_of_range(given: dict[str, int], text: str) -> None:
    assert refusal(put, {"exec": CODE, "limits": given}) == (400, text)


def test_limits() -> None:
    assert put({"exec": CODE}).limits == Limits(60_000, 256, 10, 1)
    old = put({"exec": CODE, "limits": {"timeout": 100, "logs": 0}})
    assert put({"limits": {"memory": 512}}, old).limits == Limits(100, 512, 0, 1)
    assert put({"exec": {"kind": "kaas:1", "code": "x"}, "limits": {"concurrency": 64}}).limits.concurrency == 64
    for wrong in ({"memory": "x"}, {"memory": 1.5}, {"memory": True}, [1]):
        assert refusal(put, {"exec": CODE, "limits": wrong})[0] == 400


def test_kinds() -> None:
    kinds = Kinds()
    assert kinds.resolve(" Python:DEFAULT ") == "python:3"
    assert [kinds.resolve(f"{family}:default") for family in ("kaas", "nodejs")] == ["kaas:1", "nodejs:20"]
    status, text = refusal(kinds.resolve, "cobol:1")
    assert status == 400
    assert "'cobol:1' is not supported by this platform. Valid values are: 'kaas:1', 'python:3'" in text
    assert refusal(kinds.resolve, "blackbox")[0] == 501
    for kind in (NODEJS, "nodejs:default"):
        assert "needs Node.js 20" in refusal(Kinds((KERNEL, PYTHON)).resolve, kind)[1]
    assert set(Kinds((KERNEL, PYTHON)).to_json()) == {"kaas", "python"}


def test_a_new_action() -> None:
    zipped = base64.b64encode(b"PK" * 99).decode()
    action = put({"exec": {"kind": "kaas:default", "code": zipped}, "namespace": "_", "name": "a"})
    assert action.to_json() == {
        "namespace": "guest",
        "name": "a",
        "version": "0.0.1",
        "publish": False,
        "annotations": [{"key": "provide-api-key", "value": False}, {"key": "exec", "value": "kaas:1"}],
        "updated": 1,
        "exec": {"kind": "kaas:1", "binary": True, "code": zipped},
        "parameters": [],
        "limits": {"timeout": 60_000, "memory": 256, "logs": 10, "concurrency": 1},
    }
    assert "code" not in action.without_code().to_json()["exec"]
    listed = action.to_list()
    assert listed["exec"] == {"binary": True}
    assert "parameters" not in listed
    assert Action.from_json(action.without_code().to_json(), "1", zipped) == action


@pytest.mark.parametrize(
    ("code", "binary"), [("def main(): pass", False), ("abc", False), ("abcd", True), ("abc=", True)]
)
def test_binary_is_what_looks_like_base64(code: str, binary: bool) -> None:
    assert put({"exec": {"kind": "python:3", "code": code}}).code.binary is binary


def test_an_update_keeps_what_it_does_not_name() -> None:
    old = put(
        {
            "exec": {**CODE, "main": "m"},
            "parameters": [{"key": "a", "value": 1}],
            "annotations": [
                {"key": "n", "value": 1},
                {"key": "o", "value": 2},
                {"key": "provide-api-key", "value": True},
            ],
            "publish": True,
        }
    )
    new = put({"annotations": [{"key": "n", "value": 3}], "delAnnotations": ["o"]}, old, 2)
    assert new.code == old.code
    assert new.parameters == old.parameters
    assert new.annotations.values == {"n": 3, "provide-api-key": True, "exec": "python:3"}
    assert (new.version, new.publish, new.stamp.revision) == ("0.0.2", True, "2")
    assert put({"parameters": []}, old).parameters == Parameters()
    dropped = put({"delAnnotations": ["provide-api-key"]}, old)
    assert "provide-api-key" not in dropped.annotations.values, "only a new action gets it unasked"


def test_versions() -> None:
    assert put({"exec": CODE, "version": "1.2"}).version == "1.2.0"
    assert put({}, put({"exec": CODE, "version": "3.9.9"})).version == "3.9.10"
    for wrong in ("", "0.0.0", "1.2.3.4", "1.x", 3, "-1.0.0"):
        assert refusal(put, {"exec": CODE, "version": wrong})[0] == 400


def test_a_sequence_takes_its_parameters_from_its_components() -> None:
    action = put(
        {
            "exec": {"kind": "sequence", "components": ["/_/x", "/guest/p/y"]},
            "parameters": [{"key": "lost", "value": 1}],
        }
    )
    assert action.to_json()["exec"] == {"kind": "sequence", "components": ["/guest/x", "/guest/p/y"]}
    assert action.parameters.values == {"_actions": ["/guest/x", "/guest/p/y"]}
    assert put({"exec": CODE}, action).parameters == Parameters(), "and no other kind keeps them"
    assert Action.from_json(action.to_json(), "1", None) == action


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "exec undefined"),
        ({"exec": []}, 400, "JSON object expected"),
        ({"exec": {}}, 400, "'kind' must be a string"),
        ({"exec": {"kind": "python:3"}}, 400, "'code' must be a string"),
        ({"exec": {"kind": "python:3", "code": 3}}, 400, "'code' must be a string"),
        ({"exec": {**CODE, "main": 3}}, 400, "'main' be a string"),
        ({"exec": {"kind": "sequence"}}, 400, "'components' must be defined"),
        ({"exec": {"kind": "sequence", "components": "x"}}, 400, "'components' must be an array"),
        ({"exec": CODE, "publish": 1}, 400, "'publish' must be a boolean"),
        ({"exec": CODE, "delAnnotations": "x"}, 400, "delAnnotations"),
        ({"exec": CODE, "annotations": [{"key": "conductor", "value": True}]}, 501, "Conductor actions"),
        ({"exec": CODE, "annotations": [{"key": "web-export", "value": True}]}, 501, "Web actions (`--web`) are"),
        ({"exec": {"kind": "python:3", "code": "x" * (MAX_CODE_BYTES + 1)}}, 413, "exec larger than allowed: 50331649"),
    ],
)
def test_what_is_no_action(body: dict[str, Any], status: int, text: str) -> None:
    found = refusal(put, body)
    assert found[0] == status
    assert text in found[1]


def test_packages() -> None:
    name = Name("guest", None, "p")
    package = Package.put(None, name, {"parameters": [{"key": "a", "value": 1}]}, Stamp(1, "1"))
    assert package.to_json() == {
        "namespace": "guest",
        "name": "p",
        "version": "0.0.1",
        "publish": False,
        "annotations": [],
        "updated": 1,
        "parameters": [{"key": "a", "value": 1}],
        "binding": {},
    }
    assert package.to_list()["binding"] is False
    assert Package.from_json(package.to_json(), "1") == package
    changed = Package.put(package, name, {"annotations": [{"key": "b", "value": 2}]}, Stamp(2, "2"))
    assert (changed.version, changed.parameters) == ("0.0.2", package.parameters)
    assert Package.put(None, name, {"binding": {}}, Stamp(1, "1")) == Package.put(None, name, {}, Stamp(1, "1"))
    bound = {"binding": {"namespace": "_", "name": "q"}}
    assert refusal(Package.put, None, name, bound, Stamp(1, "1"))[0] == 501
