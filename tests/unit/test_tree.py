"""The repository as a whole: small files, locks that fit, no trace of one machine, clean imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAXIMUM_LINES = 600
CODE = {".py", ".cpp", ".cc", ".h", ".hpp", ".cu", ".cuh", ".sh", ".scala"}
LOCKS = ["requirements.lock", "requirements-build.lock"]
#: A path or a host that is true on one machine or one network alone.
TRACES = re.compile(
    rf"(?<![\w.~-]){re.escape(str(ROOT))}/"
    r"|/(Users|root)/\.?[a-z]"
    r"|\b(pypi\.org|pythonhosted\.org|registry\.npmjs\.org|repo1?\.maven|crates\.io|proxy\.golang\.org|deb\.debian\.org)\b"
)
PACKAGES = {
    path.parent.name for path in ROOT.glob("*/kaas*/__init__.py") if path.parent.parent.name not in {"tests", "docs"}
}


def files() -> list[Path]:
    """What is in the repository, or would be at the next commit."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def test_no_source_file_is_too_long() -> None:
    sizes = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for path in files()
        if path.suffix in CODE and path.relative_to(ROOT).parts[0] != "tests"
    }
    assert sizes
    assert {path: lines for path, lines in sizes.items() if lines > MAXIMUM_LINES} == {}


def test_nothing_tells_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        if path != Path(__file__)
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if TRACES.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_locks_are_what_pyproject_asks_for() -> None:
    asked = tomli.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        "requirements.lock": asked["project"]["dependencies"]
        + [one for extra in asked["project"]["optional-dependencies"].values() for one in extra],
        "requirements-build.lock": asked["dependency-groups"]["pycuda-build"],
    }
    for lock, requirements in wanted.items():
        locked: dict[str, list[str]] = {}
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
            locked.setdefault(canonicalize_name(name), []).append(version)
        for requirement in map(Requirement, requirements):
            if requirement.name != "kaas":
                versions = locked.get(canonicalize_name(requirement.name))
                assert versions, f"{requirement} is not in {lock}: make lock"
                assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: make lock"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_without_a_warning(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {package}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
