"""The platforms' own clients, unmodified: `wsk` and `func`, built from their sources, and the npm package `openwhisk`.

They are made once and kept in the cache folder. Only `--slow` runs make them: that takes minutes, and a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPM = Path(__file__).with_name("npm")

_BUILD_SECONDS = 900
_ASK_SECONDS = 60


def cache_directory() -> Path:
    """Where what outlives a checkout is kept."""
    if chosen := os.environ.get("KAAS_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kaas"


def wsk_binary(may_build: bool) -> Path:
    """The path of `wsk`; skips the test where there is none."""
    for built in cache_directory().glob("wsk-*/wsk"):
        return built
    if not may_build:
        pytest.skip("wsk is not built yet: scripts/build-wsk.sh does it, or a run with --slow")
    if shutil.which("go") is None or shutil.which("git") is None:
        pytest.skip("wsk is built from its sources, and there is no Go or no git here")
    source = os.environ.get("WSK_SOURCE", "https://github.com/apache/openwhisk-cli")
    text = made("wsk", [str(ROOT / "scripts" / "build-wsk.sh")], asks=["git", "ls-remote", source, "HEAD"])
    return Path(text.splitlines()[-1])


def func_binary(may_build: bool) -> Path:
    """The path of Knative's `func`; skips the test where there is none."""
    for built in cache_directory().glob("func-*/func"):
        return built
    if not may_build:
        pytest.skip("func is not built yet: scripts/build-func.sh does it, or a run with --slow")
    if shutil.which("go") is None or shutil.which("git") is None:
        pytest.skip("func is built from its sources, and there is no Go or no git here")
    source = os.environ.get("FUNC_SOURCE", "https://github.com/knative/func")
    text = made("func", [str(ROOT / "scripts" / "build-func.sh")], asks=["git", "ls-remote", source, "HEAD"])
    return Path(text.splitlines()[-1])


def npm_modules(may_install: bool) -> Path:
    """The folder with the npm package and what it needs; skips the test where there is none."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node.js with npm here")
    folder = cache_directory() / "npm-openwhisk"
    lock = folder / "package-lock.json"
    if lock.exists() and lock.read_bytes() == (NPM / "package-lock.json").read_bytes():
        return folder
    if not may_install:
        pytest.skip("the npm package openwhisk is not installed yet: a run with --slow does it")
    shutil.rmtree(folder, ignore_errors=True)
    draft = folder.with_suffix(f".{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(NPM / name, draft)
        command = ["npm", "ci", "--no-audit", "--no-fund", f"--prefix={draft}"]
        made("the npm package openwhisk", command, asks=["npm", "view", "openwhisk", "version"])
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def made(what: str, command: list[str], asks: list[str]) -> str:
    """Run a command; its output. If it fails, so does the test, unless `asks` finds nobody on the network either."""
    done = _run(command, _BUILD_SECONDS)
    if done.returncode == 0:
        return done.stdout
    reason = f"{what} could not be made: {_last_words(done)}"
    asked = _run(asks, _ASK_SECONDS)
    if asked.returncode != 0:
        pytest.skip(f"{reason}; nor does `{' '.join(asks)}` get an answer: {_last_words(asked)}")
    pytest.fail(reason)


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not done after {seconds} s")


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or "no word why").splitlines()[-1]
