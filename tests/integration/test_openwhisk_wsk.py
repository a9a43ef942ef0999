"""The real `wsk` against the local API: what it prints, how it exits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kaas_command import clean_environment
from local_stack import running_stack
from openwhisk_clients import ROOT, wsk_binary
from openwhisk_process import KEYS, OpenWhiskProcess

pytestmark = pytest.mark.timeout(1200)

HELLO = """\
def main(args):
    print("hello", args.get("name"))
    return {"greeting": "Hello " + args.get("name", "you")}
"""


class Wsk:
    """The command, with settings of its own."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self._binary = binary
        self.directory = directory
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("WHISK_", "WSK_"))}
        self._environment = {**kept, "WSK_CONFIG_FILE": str(directory / "wskprops")}

    def __call__(self, *words: str, status: int = 0) -> str:
        """Run `wsk WORDS`; what it says on both streams."""
        done = subprocess.run(
            [self._binary, *words],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, f"wsk {' '.join(words)} -> {done.returncode}\n{said}"
        return said

    def json(self, *words: str, status: int = 0) -> Any:
        """Run `wsk WORDS`; the JSON it prints, after its first line where that is none."""
        said = self(*words, status=status)
        return json.loads(said if said.startswith(("{", "[")) else said.partition("\n")[2])


@pytest.fixture(scope="module")
def wsk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wsk]:
    """`wsk`, set up for an API of the tests' own."""
    binary = wsk_binary(request.config.getoption("--slow"))
    with OpenWhiskProcess(tmp_path_factory.mktemp("openwhisk")) as api:
        command = Wsk(binary, tmp_path_factory.mktemp("wsk"))
        said = command("property", "set", "--apihost", api.url, "--auth", KEYS["guest"])
        assert f"ok: whisk API host set to {api.url}" in said, "the catalogue of its messages is there"
        (command.directory / "hello.py").write_text(HELLO)
        command("action", "create", "hello", "hello.py")
        yield command


#: READMEs, and what their lines of `wsk` must print.
READMES = [
    ("README.md", ["ok: updated action saxpy", "ok: updated action both", '"largest": 9', "guest/saxpy:0.0.1"]),
    pytest.param(
        "examples/cells/README.md",
        ["ok: updated action count-cells", '"cells": 35', "guest/blur:0.0.1", '"misses":0'],
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "examples/heat/README.md",
        ["ok: updated action solve-heat", "ok: updated action cg", '"hottest": ', '"rounds": '],
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("readme", "texts"), READMES)
def test_the_lines_of_a_readme(request: pytest.FixtureRequest, tmp_path: Path, readme: str, texts: list[str]) -> None:
    binary = wsk_binary(request.config.getoption("--slow"))
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL)
    script = "".join(block for block in blocks if "wsk " in block).replace("/tmp/", f"{tmp_path}/")
    for name, words in {"kaas": " -m kaas_cli", "python": ""}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (tmp_path / name).chmod(0o700)
    with running_stack(tmp_path / "state"):
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=ROOT,
            env=clean_environment(
                {
                    "KAAS_STATE_DIR": str(tmp_path / "state"),
                    "PATH": f"{tmp_path}:{binary.parent}:{os.environ['PATH']}",
                    "WSK_CONFIG_FILE": str(tmp_path / "wskprops"),
                }
            ),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for text in texts:
        assert text in done.stdout, done.stdout


def test_properties(wsk: Wsk) -> None:
    said = wsk("property", "get", "--all")
    for line in (r"whisk namespace\s+guest", r"whisk API version\s+v1", r"whisk API build\s+local"):
        assert re.search(line, said), said
    assert wsk("namespace", "list") == "namespaces\nguest\n"


def test_actions(wsk: Wsk) -> None:
    assert wsk("action", "create", "a", "hello.py", "-p", "name", "Bob", "-a", "note", "1") == "ok: created action a\n"
    assert "Unable to create action 'a': resource already exists (code " in wsk(
        "action", "create", "a", "hello.py", status=153
    )
    assert wsk("action", "update", "a", "-t", "1000", "-m", "128") == "ok: updated action a\n"
    shown = wsk.json("action", "get", "a")
    assert shown["exec"] == {"kind": "python:3", "binary": False}
    assert (shown["version"], shown["limits"]["timeout"], shown["limits"]["memory"]) == ("0.0.2", 1000, 128)
    assert shown["parameters"] == [{"key": "name", "value": "Bob"}]
    assert {"key": "note", "value": 1} in shown["annotations"]
    assert "displaying field limits" in wsk("action", "get", "a", "limits")
    assert "ok: saved action code to" in wsk("action", "get", "a", "--save-as", "saved.py")
    assert (wsk.directory / "saved.py").read_text() == HELLO
    assert re.search(r"/guest/a +private python:3\n", wsk("action", "list"))
    wsk("action", "update", "a", "--del-annotation", "note")
    assert {"key": "note", "value": 1} not in wsk.json("action", "get", "a")["annotations"]
    assert wsk("action", "create", "copy", "a", "--copy") == "ok: created action copy\n"
    assert wsk.json("action", "invoke", "copy", "-r") == {"greeting": "Hello Bob"}
    assert wsk("action", "delete", "a") == "ok: deleted action a\n"
    assert "The requested resource does not exist." in wsk("action", "get", "a", status=148)
    assert "does not exist" in wsk("action", "delete", "a", status=148)


def test_invocations(wsk: Wsk) -> None:
    assert wsk.json("action", "invoke", "hello", "-r", "-p", "name", "Al") == {"greeting": "Hello Al"}
    said = wsk("action", "invoke", "hello", "-b")
    activation_id = re.search(r"ok: invoked /_/hello with id ([0-9a-f]{32})\n", said)
    assert activation_id is not None
    record = json.loads(said.partition("\n")[2])
    assert record["response"] == {
        "result": {"greeting": "Hello you"},
        "status": "success",
        "success": True,
        "size": record["response"]["size"],
    }
    assert re.fullmatch(r"ok: invoked /_/hello with id [0-9a-f]{32}\n", wsk("action", "invoke", "hello"))
    assert "ok: invoked /guest/hello" in wsk("action", "invoke", "/guest/hello")
    assert "not authorized to access 'other/hello'" in wsk("action", "invoke", "/other/hello", status=147)
    (wsk.directory / "parameters.json").write_text('{"name": "File"}')
    assert wsk.json("action", "invoke", "hello", "-r", "-P", "parameters.json") == {"greeting": "Hello File"}


def test_failures(wsk: Wsk) -> None:
    (wsk.directory / "fails.py").write_text("def main(args): return {'error': {'why': 'asked to'}}")
    wsk("action", "create", "fails", "fails.py")
    said = wsk("action", "invoke", "fails", "-b", status=246)
    assert '"application error"' in said
    assert '"why": "asked to"' in wsk("action", "invoke", "fails", "-r", status=246)
    assert "error: Unable to invoke action 'nobody'" in wsk("action", "invoke", "nobody", status=148)
    (wsk.directory / "big.json").write_text(json.dumps({"x": "y" * (1 << 20)}))
    assert "Request larger than allowed" in wsk("action", "invoke", "hello", "-P", "big.json", status=157)


def test_activations(wsk: Wsk) -> None:
    wsk("action", "update", "logs", "hello.py")
    wsk("action", "invoke", "logs", "-b", "-p", "name", "Log")
    listed = wsk("activation", "list", "logs")
    assert listed.splitlines()[0].split() == [
        *("Datetime", "Activation", "ID", "Kind", "Start", "Duration", "Status", "Entity"),
    ]
    found = re.search(r"([0-9a-f]{32}) python:3 cold +\d+m?s +success guest/logs:0.0.1", listed)
    assert found is not None, listed
    activation_id = found[1]
    assert f"ok: got activation {activation_id}" in wsk("activation", "get", activation_id)
    assert wsk.json("activation", "result", activation_id) == {"greeting": "Hello Log"}
    assert re.fullmatch(r"\S{30} +stdout: hello Log\n", wsk("activation", "logs", activation_id))
    assert wsk("activation", "logs", "--strip", activation_id) == "hello Log\n"
    assert f"ok: got activation {activation_id}" in wsk("activation", "get", "--last")
    assert len(wsk("activation", "list", "--limit", "1", "--full").split("activationId")) == 2
    assert "length is 3 but must be 32" in wsk("activation", "get", "123", status=144)
    assert "does not exist" in wsk("activation", "get", "0" * 32, status=148)


def test_polling(wsk: Wsk) -> None:
    wsk("action", "invoke", "hello", "-b", "-p", "name", "Polled")
    said = wsk("activation", "poll", "hello", "--exit", "3", "--since-minutes", "5")
    assert "Activation: 'hello'" in said
    assert "stdout: hello Polled" in said


def test_packages(wsk: Wsk) -> None:
    assert wsk("package", "create", "p", "-p", "name", "Pat") == "ok: created package p\n"
    assert wsk("action", "create", "p/x", "hello.py") == "ok: created action p/x\n"
    assert wsk.json("action", "invoke", "p/x", "-r") == {"greeting": "Hello Pat"}
    assert [one["name"] for one in wsk.json("package", "get", "p")["actions"]] == ["x"]
    assert "/guest/p/x" in wsk("action", "list", "p")
    assert "/guest/p " in wsk("package", "list")
    assert wsk("package", "update", "p", "-p", "name", "Pit") == "ok: updated package p\n"
    assert wsk.json("action", "invoke", "p/x", "-r") == {"greeting": "Hello Pit"}
    assert "Package not empty (contains 1 entity)" in wsk("package", "delete", "p", status=153)
    wsk("action", "delete", "p/x")
    assert wsk("package", "delete", "p") == "ok: deleted package p\n"
    assert "HTTP method not allowed" in wsk("package", "refresh", status=149)


def test_what_another_has_published(wsk: Wsk) -> None:
    other = ("--auth", KEYS["other"])
    wsk("package", "create", "open", "-p", "name", "Pat")
    wsk("action", "create", "open/x", "hello.py")
    invoke = ("action", "invoke", "/guest/open/x", "-r", *other)
    assert "not authorized to access 'guest/open/x'" in wsk(*invoke, status=147)
    assert wsk("package", "update", "open", "--shared", "yes") == "ok: updated package open\n"
    assert wsk.json(*invoke) == {"greeting": "Hello Pat"}
    listed = [line for line in wsk("package", "list", "/guest", *other).splitlines() if line.startswith("/")]
    assert [line.split() for line in listed] == [["/guest/open", "shared"]]
    assert "/guest/open/x" in wsk("action", "list", "/guest/open", *other)
    wsk("action", "create", "mine", "--sequence", "/guest/open/x", *other)
    assert wsk.json("action", "invoke", "mine", "-r", *other) == {"greeting": "Hello Pat"}
    assert "not authorized" in wsk("action", "delete", "/guest/open/x", *other, status=147)


def test_sequences(wsk: Wsk) -> None:
    (wsk.directory / "loud.py").write_text("def main(args): return {'greeting': args['greeting'].upper()}")
    wsk("action", "create", "loud", "loud.py")
    assert wsk("action", "create", "s", "--sequence", "hello,/_/loud") == "ok: created action s\n"
    assert wsk.json("action", "invoke", "s", "-r", "-p", "name", "Bob") == {"greeting": "HELLO BOB"}
    record = wsk.json("action", "invoke", "s", "-b")
    for component in record["logs"]:
        assert wsk.json("activation", "get", component)["cause"] == record["activationId"]
    assert "sequence" in wsk("action", "list")
    assert "Sequence component does not exist." in wsk("action", "create", "t", "--sequence", "nobody", status=144)
    assert "may not refer to itself" in wsk("action", "update", "s", "--sequence", "hello,s", status=144)


def test_lists_of_everything(wsk: Wsk) -> None:
    for words in (("list",), ("namespace", "get")):
        said = wsk(*words)
        assert "/guest/hello" in said
        for heading in ("packages", "actions", "triggers", "rules"):
            assert f"{heading}\n" in said
    assert wsk("trigger", "list") == "triggers\n"
    assert wsk("rule", "list") == "rules\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("trigger", "create", "t"), 245),
        (("rule", "create", "r", "t", "hello"), 245),
        (("package", "bind", "/guest/p", "b"), 245),
        (("action", "create", "d", "--docker", "some/image"), 245),
        (("api", "list"), 1),
    ],
)
def test_what_is_left_out_says_so(wsk: Wsk, words: tuple[str, ...], status: int) -> None:
    assert "not part of KaaS's local OpenWhisk API" in wsk(*words, status=status)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("action", "create", "x", "hello.py", "--kind", "cobol:1"), 144, "'cobol:1' is not supported"),
        (("action", "create", "x", "hello.py", "-m", "1024"), 144, "memory size 1024 MB exceeds allowed threshold"),
        (
            ("action", "create", "x", "hello.py", "-t", "300001"),
            144,
            "exceeds allowed threshold of 300000 milliseconds",
        ),
        (("action", "create", "x", "hello.py", "-c", "2"), 144, "concurrency 2 exceeds allowed threshold of 1"),
        (("action", "create", "no*", "hello.py"), 144, "illegal characters"),
        (("action", "create", "q/x", "hello.py"), 148, "does not exist"),
        (("action", "list", "--limit", "201"), 144, "'201' is not in the range of 0 to 200"),
        (("action", "list", "--auth", "nobody:key"), 145, "The supplied authentication is invalid"),
    ],
)
def test_bad_input(wsk: Wsk, words: tuple[str, ...], status: int, text: str) -> None:
    assert text in wsk(*words, status=status)


def test_a_bundle_that_is_none_is_taken_and_explained_when_it_runs(wsk: Wsk) -> None:
    (wsk.directory / "none.zip").write_bytes(b"this is no zip at all")
    assert "ok: created action k" in wsk("action", "create", "k", "none.zip", "--kind", "kaas:1")
    shown = wsk.json("action", "get", "k")
    assert shown["exec"] == {"kind": "kaas:1", "binary": True}
    error = wsk.json("action", "invoke", "k", "-r", status=246)["error"]
    assert error["code"] == "manifest_invalid"
    assert "this is no zip at all" in error["message"]
