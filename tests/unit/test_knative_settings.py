"""What the environment of a Knative Service may say, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaas.archive import MAX_BYTES
from kaas.client import digest_of
from kaas.errors import CallerError
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
        ({"KAAS_WATCHED": "s3://"}, "reference_invalid", "KAAS_WATCHED"),
        ({"KAAS_BUDGET_MS": "0"}, "argument_invalid", "KAAS_BUDGET_MS"),
        ({"KAAS_BUDGET_MS": "1e3"}, "argument_invalid", "KAAS_BUDGET_MS"),
        ({"KAAS_BUDGET_MS": "3600001"}, "argument_invalid", "KAAS_BUDGET_MS"),
    ],
)
def test_what_cannot_be_meant(variables: dict[str, str], code: str, where: str) -> None:
    error = refusal(**variables)
    assert (error.code, error.where) == (code, where)


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
