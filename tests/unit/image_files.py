"""Reading Dockerfiles and the lists of packages that go into images."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

#: The linter of Dockerfiles that the lock has.
HADOLINT = Path(sys.executable).with_name("hadolint")


def lock_entries(path: Path) -> dict[str, str]:
    """A lock's entries by canonical name: requirement and hashes, without comments; several versions as one text."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", "\n".join(lines).strip()):
        name = canonicalize_name(entry.split("==")[0])
        found[name] = f"{found[name]}\n{entry}" if name in found else entry
    return found


def needed(extras: Iterable[str], pythons: Iterable[str] = ("",)) -> set[str]:
    """What the project needs with these extras, by canonical name, under each of these versions of Python.

    An empty version is the one that runs.
    """
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    for python in pythons:
        version = {"python_version": python, "python_full_version": f"{python}.0"} if python else {}
        wanted = [
            *project["dependencies"],
            *(one for extra in extras for one in project["optional-dependencies"][extra]),
        ]
        seen: set[str] = set()
        while wanted:
            requirement = Requirement(wanted.pop())
            name = canonicalize_name(requirement.name)
            marker = requirement.marker
            if name in seen or (marker is not None and not marker.evaluate({"extra": "", **version})):
                continue
            seen.add(name)
            try:
                wanted += metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                # Another Python's alone, such as the back-ports for 3.10: they need nothing.
                assert python
        found |= seen
    return found


def copied(dockerfile: Path) -> list[str]:
    """What a Dockerfile copies from the build's context."""
    found = []
    for arguments in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE):
        found += arguments.split()[:-1]
    return found
