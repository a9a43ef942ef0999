"""What the environment of a Knative Service may say, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kaas.archive import MAX_BYTES
from kaas.client import bearer, digest_of
from kaas.errors import CallerError, PlatformError
from kaas.manifest import Manifest
from kaas_proxy.__main__ import port
from kaas_proxy.bound import check_bound
from kaas_proxy.settings import Bundled, Known, Settings, Stored

SAXPY = Path(__file__).parents[2] / "examples" / "saxpy"
DIGEST = f"sha256:{'0' * 64}"
BASE = {"KAAS_POOL_URL": "http://pool:7233", "KAAS_ACTION": DIGEST}


def refusal(**variables: str) -> CallerError:
    with pytest.raises(CallerError) as caught:
        Settings.read({**BASE, **variables})
    return caught.value


def test_what_holds_where_nothing_is_said() -> None:
    settings = Settings.read(BASE)
    assert settings == Settings("http://pool:7233", None, Known(DIGEST), {}, None, 60_000, None)
    assert settings.source("my action") == "/kaas/my%20action"
    assert Settings.read({**BASE, "K_SERVICE": "saxpy"}).source("my action") == "/kaas/saxpy"


def test_a_bundle_in_the_image(tmp_path: Path) -> None:
    action = Settings.read({**BASE, "KAAS_ACTION": str(SAXPY)}).action
    assert isinstance(action, Bundled)
    assert action.bundle.manifest.name == "saxpy"
    packed = tmp_path / "saxpy.zip"
    packed.write_bytes(action.content)
    variables = {**BASE, "KAAS_ACTION": str(packed), "KAAS_ACTION_DIGEST": digest_of(action.content)}
    again = Settings.read(variables).action
    assert isinstance(again, Bundled)
    assert again.content == action.content


def test_a_bundle_in_the_store() -> None:
    variables = {**BASE, "KAAS_ACTION": "s3://data/saxpy.zip?versionId=7", "KAAS_ACTION_DIGEST": DIGEST}
    action = Settings.read(variables).action
    assert isinstance(action, Stored)
    assert (str(action.reference), action.digest) == ("s3://data/saxpy.zip?versionId=7", DIGEST)


@pytest.mark.parametrize(
    ("variables", "code", "where"),
    [
        ({"KAAS_POOL_URL": ""}, "argument_invalid", "KAAS_POOL_URL"),
        ({"KAAS_POOL_URL": " \n"}, "argument_invalid", "KAAS_POOL_URL"),
        ({"KAAS_ACTION": ""}, "argument_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION": "file:///action"}, "reference_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION": "/dev/zero"}, "argument_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION": "sha256:1"}, "request_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION": "https://host/x.zip"}, "reference_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION": "s3://data/x.zip?size=1"}, "reference_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION": "/missing/x.zip"}, "argument_invalid", "KAAS_ACTION"),
        ({"KAAS_ACTION_DIGEST": "sha256:1"}, "request_invalid", "KAAS_ACTION_DIGEST"),
        ({"KAAS_ACTION_DIGEST": f"sha256:{'1' * 64}"}, "argument_invalid", "KAAS_ACTION_DIGEST"),
        ({"KAAS_ACTION": str(SAXPY), "KAAS_ACTION_DIGEST": DIGEST}, "argument_invalid", "KAAS_ACTION_DIGEST"),
        ({"KAAS_ARGUMENTS": "[]"}, "argument_invalid", "KAAS_ARGUMENTS"),
        ({"KAAS_ARGUMENTS": "a=2"}, "argument_invalid", "KAAS_ARGUMENTS"),
        ({"KAAS_WATCHED": "uploads"}, "reference_invalid", "KAAS_WATCHED"),
        ({"KAAS_WATCHED": "s3://uploads/?a=b"}, "reference_invalid", "KAAS_WATCHED"),
        ({"KAAS_ARGUMENTS": '{"a": 1, "a": 2}'}, "argument_invalid", "KAAS_ARGUMENTS"),
        ({"KAAS_ARGUMENTS": '{"a": 1e999}'}, "argument_invalid", "KAAS_ARGUMENTS"),
        ({"KAAS_WATCHED": "file:///uploads/"}, "reference_invalid", "KAAS_WATCHED"),
        ({"KAAS_WATCHED": "s3://"}, "reference_invalid", "KAAS_WATCHED"),
        ({"KAAS_BUDGET_MS": "0"}, "argument_invalid", "KAAS_BUDGET_MS"),
        ({"KAAS_BUDGET_MS": "1e3"}, "argument_invalid", "KAAS_BUDGET_MS"),
        ({"KAAS_BUDGET_MS": "3600001"}, "argument_invalid", "KAAS_BUDGET_MS"),
    ],
)
def test_what_cannot_be_meant(variables: dict[str, str], code: str, where: str) -> None:
    error = refusal(**variables)
    assert (error.code, error.where) == (code, where)


def test_an_action_that_nobody_names() -> None:
    error = refusal(KAAS_ACTION="")
    with pytest.raises(CallerError) as caught:
        Settings.read({"KAAS_POOL_URL": "http://pool:7233"})
    assert str(caught.value) == str(error)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    error = refusal(KAAS_ACTION=str(tmp_path / "pipe"))
    assert (error.where, "it is no file" in error.message) == ("KAAS_ACTION", True)


@pytest.mark.parametrize("token", ["s3cr3t\r\nKaaS-Tenant: bob", "s3cr3tü", "s3cr3t €", "\n"])
def test_a_token_that_no_header_can_carry_is_not_shown(token: str) -> None:
    with pytest.raises(CallerError) as caught:
        Settings.read({**BASE, "KAAS_TOKEN": token}).connect()
    assert caught.value.code == "unauthenticated"
    assert "s3cr3t" not in str(caught.value)


def test_a_token_from_a_file_with_a_line_end() -> None:
    assert bearer("s3cr3t\n") == bearer(" s3cr3t ") == "Bearer s3cr3t"
    assert bearer("alice's token") == "Bearer alice's token"


@pytest.mark.parametrize(
    "url", ["http://user:s3cr3t@pool:7233", "http://pool:7233/?a=b", "http://pool:7233#a", "http://po ol", "http:///x"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(PlatformError) as caught:
        Settings.read({**BASE, "KAAS_POOL_URL": url}).connect()
    assert caught.value.code == "pool_unreachable"
    assert "s3cr3t" not in str(caught.value)


EVERYTHING = Manifest.parse("""
kaas: 1
name: everything
events: {input: x}
rename: {image: x, w: v, v: w}
params:
  a: {type: float32}
  b: {type: bool}
  c: {type: complex64}
  d: {type: int32, default: 1}
buffers:
  x: {io: in, dtype: float32, shape: [n]}
  v: {io: const, dtype: float32, shape: [n]}
  w: {io: inout, dtype: float32, shape: [n]}
  t: {io: temp, dtype: float32, shape: [n]}
  z: {io: out, dtype: float32, shape: [n]}
graph:
  - copy: {from: x, to: z}
""")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"a": 2, "b": True, "c": [1, 2], "outputs": "s3://results/x"},
        {"image": "s3://data/x.npy", "w": "s3://data/v.npy"},
        {"picture": [1, 2], "rename": {"picture": "x"}},
        {"v": {"from": "s3://data/x.npy", "to": "inline"}, "z": "base64", "freshness": "pinned", "ack": "device"},
        {"endpoint": "http://store", "access_key": "k", "_note": 1, "kaas": {}},
        {"outputs": "s3://uploads/out"},
    ],
)
def test_arguments_that_calls_can_have(arguments: dict[str, Any]) -> None:
    check_bound(EVERYTHING, arguments, "s3://uploads/in/")


@pytest.mark.parametrize(
    ("arguments", "code", "where"),
    [
        ({"a": "text"}, "argument_invalid", "KAAS_ARGUMENTS a"),
        ({"d": 1.5}, "argument_invalid", "KAAS_ARGUMENTS d"),
        ({"dd": 1}, "argument_invalid", "KAAS_ARGUMENTS dd"),
        ({"t": [1]}, "argument_invalid", "KAAS_ARGUMENTS t"),
        ({"z": "nowhere"}, "argument_invalid", "KAAS_ARGUMENTS z"),
        ({"outputs": "nowhere"}, "reference_invalid", "KAAS_ARGUMENTS outputs"),
        ({"image": "https://host/x"}, "reference_invalid", "KAAS_ARGUMENTS x"),
        ({"rename": {"x": "nothing"}}, "argument_invalid", "KAAS_ARGUMENTS rename.x"),
        ({"ack": "later"}, "argument_invalid", "KAAS_ARGUMENTS ack"),
        ({"freshness": "sometimes"}, "argument_invalid", "KAAS_ARGUMENTS freshness"),
        ({"store": "other"}, "not_supported_yet", "KAAS_ARGUMENTS store"),
        ({"outputs": "s3://uploads/in/out"}, "argument_invalid", "KAAS_ARGUMENTS outputs"),
        ({"z": "s3://uploads//in/z.npy"}, "argument_invalid", "KAAS_ARGUMENTS z"),
    ],
)
def test_arguments_that_no_call_can_have(arguments: dict[str, Any], code: str, where: str) -> None:
    with pytest.raises(CallerError) as caught:
        check_bound(EVERYTHING, arguments, "s3://uploads/in/")
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize(("text", "found"), [("", 8080), ("1", 1), (" 65535\n", 65535)])
def test_a_port(text: str, found: int) -> None:
    assert port({"PORT": text}) == found


@pytest.mark.parametrize("text", ["0", "-1", "65536", "abc", "80.0", "٣", "9" * 5000])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        port({"PORT": text})
    assert caught.value.where == "PORT"


def test_a_bundle_over_the_limit_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.zip"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refusal(KAAS_ACTION=str(large)).code == "bundle_too_large"


def test_a_broken_bundle(tmp_path: Path) -> None:
    manifest = tmp_path / "kaas.yaml"
    manifest.write_text("kaas: 1\nname: x\ngrpah: []\n")
    error = refusal(KAAS_ACTION=str(manifest))
    assert (error.code, error.where) == ("unknown_key", "kaas.yaml:3 grpah")
    assert refusal(KAAS_ACTION=str(tmp_path / "none")).code == "argument_invalid"
    (tmp_path / "empty").mkdir()
    assert refusal(KAAS_ACTION=str(tmp_path / "empty")).code == "manifest_missing"


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("s3://uploads", "s3://uploads/"),
        ("s3://uploads/", "s3://uploads/"),
        ("s3://uploads/photos/", "s3://uploads/photos/"),
        ("s3://uploads/photos/a", "s3://uploads/photos/a"),
    ],
)
def test_a_watched_prefix(text: str, prefix: str) -> None:
    assert Settings.read({**BASE, "KAAS_WATCHED": text}).watched == prefix
