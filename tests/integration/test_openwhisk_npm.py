"""The real npm client `openwhisk` against the local API."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from openwhisk_clients import NPM, npm_modules
from openwhisk_process import KEYS, OpenWhiskProcess

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of each step of npm/session.cjs."""
    folder = npm_modules(request.config.getoption("--slow"))
    with OpenWhiskProcess(tmp_path_factory.mktemp("openwhisk")) as api:
        done = subprocess.run(
            ["node", str(NPM / "session.cjs"), api.url, KEYS["guest"]],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_actions(session: dict[str, Any]) -> None:
    assert session["create"]["exec"]["kind"] == "python:3"
    assert session["create"]["version"] == "0.0.1"
    assert session["again"]["failed"] == 409
    assert session["again"]["error"]["error"] == "resource already exists"
    assert session["update"]["version"] == "0.0.2"
    assert session["get"]["parameters"] == [{"key": "name", "value": "Bob"}]
    assert session["get"]["limits"]["timeout"] == 2000
    assert session["get"]["exec"]["code"].startswith("def main")
    assert "code" not in session["getWithoutCode"]["exec"]
    assert [one["name"] for one in session["list"]] == ["n"]
    assert session["delete"]["name"] == "n"
    assert session["missing"]["failed"] == 404
    assert session["stranger"]["failed"] == 401


def test_invocations(session: dict[str, Any]) -> None:
    assert len(session["invoke"]["activationId"]) == 32
    assert session["blocking"]["response"]["result"] == {"greeting": "Hello Bob"}
    assert session["result"] == {"greeting": "Hello Al"}
    assert session["failing"]["failed"] == 502
    assert session["failing"]["error"]["response"]["result"] == {"error": "mine"}
    assert session["failingResult"]["error"]["response"]["result"] == {"error": "mine"}
    assert session["sequence"]["exec"]["components"] == ["/guest/n", "/guest/n"]
    assert session["sequenceResult"] == {"greeting": "Hello Bob"}


def test_activations(session: dict[str, Any]) -> None:
    activation = session["activation"]
    assert activation["activationId"] == session["blocking"]["activationId"]
    assert activation["logs"] == session["logs"]["logs"]
    assert activation["logs"][0].endswith("stdout: hello")
    assert session["activationResult"] == activation["response"]
    assert [one["name"] for one in session["activations"]] == ["n", "n"]
    assert session["activations"][0]["statusCode"] == 0


def test_packages_and_the_rest(session: dict[str, Any]) -> None:
    assert session["inPackageResult"] == {"greeting": "Hello Pat"}
    assert [one["name"] for one in session["package"]["actions"]] == ["n"]
    assert [one["name"] for one in session["packageList"]] == ["p"]
    assert session["packageDelete"]["failed"] == 409
    assert session["namespaces"] == ["guest"]
    assert session["trigger"]["failed"] == 501
