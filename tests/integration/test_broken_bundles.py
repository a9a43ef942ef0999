"""tests/broken-bundles: actions that are broken as newcomers break them.

Beside each stands what is said of it, whole (`explained.txt`: commands and what they print), and a `mended.patch` that
does what the explanation asks for, after which the same commands succeed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from front_process import Reply
from kaas_command import kaas
from pool_process import PoolProcess

from kaas.client import digest_of
from kaas.errors import ERRORS, KaasError
from kaas_cli.main import main
from kaas_cli.values import parse_values
from kaas_pool.compiler import nvrtc

BROKEN = Path(__file__).parents[1] / "broken-bundles"
NAMES = sorted(path.name for path in BROKEN.iterdir())

#: What `kaas check` alone finds, as the pool runs such an action without harm to anybody.
RUNS_ALL_THE_SAME = {"const-written", "output-unwritten"}

Captured = pytest.CaptureFixture[str]


def has_nvrtc() -> bool:
    try:
        nvrtc.load()
    except KaasError:
        return False
    return True


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    """A copy of the bundle as its author has it."""
    ignored = shutil.ignore_patterns("explained.txt", "mended.patch")
    return Path(shutil.copytree(BROKEN / name, tmp_path / name, ignore=ignored))


def explained(name: str) -> str:
    return (BROKEN / name / "explained.txt").read_text()


def commands(name: str) -> list[str]:
    return [line for line in explained(name).splitlines() if line.startswith("$ ")]


def say(command: str, capsys: Captured) -> tuple[int, str]:
    """Run one command here: its exit status, and its output without what changes from run to run."""
    _, program, *words = shlex.split(command)
    assert program == "kaas"
    words += ["--device", "emulated"]
    if words[0] == "check":
        capsys.readouterr()
        status = main(words)
        captured = capsys.readouterr()
        out, err = captured.out, captured.err
    else:
        # A fault ends the process that it happens in.
        done = kaas(*words, cwd=Path.cwd())
        status, out, err = done.returncode, done.stdout, done.stderr
    lines = [line for line in (out + err).splitlines() if not line.startswith("... ")]
    return status, re.sub(r"0x[0-9a-f]+", "0x...", "".join(f"{line}\n" for line in lines))


@pytest.mark.skipif(not has_nvrtc(), reason="NVRTC is not installed, and its words stand in the explanations")
@pytest.mark.parametrize("name", NAMES)
def test_what_is_said(name: str, folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    said = [(command, *say(command, capsys)) for command in commands(name)]
    assert "".join(f"{command}\n{text}" for command, _, text in said) == explained(name)
    assert any(status != 0 for _, status, _ in said)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_mends_it(name: str, folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    # A ceiling, for git would look for a repository around, and then leave out what is not in it.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    patch = BROKEN / name / "mended.patch"
    subprocess.run(["git", "apply", str(patch)], cwd=folder, env=environment, check=True)
    for command in dict.fromkeys([*commands(name), "$ kaas check ."]):
        status, text = say(command, capsys)
        assert status == 0, text
        assert ": error: " not in text
        assert ": warning: " not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_pool_says_the_same(name: str, folder: Path, tmp_path: Path, gated_pool: PoolProcess) -> None:
    data = Path(shutil.make_archive(str(tmp_path / "zip"), "zip", folder)).read_bytes()
    client = gated_pool.client()
    digest = digest_of(data)
    reply = client.request("PUT", f"/v1/bundles/{digest}", data)
    runs = [command for command in commands(name) if command.startswith("$ kaas run")]
    if name in RUNS_ALL_THE_SAME:
        assert reply.status == 200
        return
    if runs:
        assert reply.status == 200
        arguments = parse_values([word for word in shlex.split(runs[0]) if "=" in word])
        if name == "swap-shapes":  # Its x is changed in place, which needs a place.
            arguments["x"] = {"from": arguments["x"], "to": "inline"}
        reply = client.invoke(digest, {**arguments, "z": "inline"})
    assert_explained(name, reply)


def assert_explained(name: str, reply: Reply) -> None:
    """The pool's error stands in the explanation: its place, its code, and its words, where they are not a tool's."""
    error = reply.body["error"]
    text = explained(name)
    assert ERRORS[error["code"]].blame in ("author", "caller")
    assert error.get("where", "").partition(" ")[2] in text
    rule = error["code"].replace("_", "-").replace("compile-error", "compile")
    assert f"[{rule}]" in text or "$ kaas run" in text
    if error["code"] not in ("compile_error", "source_missing"):
        assert re.sub(r"0x[0-9a-f]+", "0x...", error["message"]) in text
        assert error.get("hint")
