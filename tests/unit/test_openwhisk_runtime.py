"""The kind `kaas:1` as OpenWhisk gets it: its entry in the runtimes manifest and its image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "runtime" / "openwhisk"
DOCKERFILES = [RUNTIME / "Dockerfile", ROOT / "invoker-plugin" / "Dockerfile"]
#: The fields that OpenWhisk's manifest knows; it refuses none, and forgets others in silence.
FIELDS = {"kind", "default", "deprecated", "requireMain", "image", "attached", "stemCells", "sentinelledLogs"}


def _entries(path: Path) -> dict[str, str]:
    """A lock's entries by canonical name: requirement and hashes, without comments."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    entries = re.split(r"\n(?=\S)", "\n".join(lines).strip())
    return {canonicalize_name(entry.split("==")[0]): entry for entry in entries}


def test_the_entry_of_the_manifest() -> None:
    (family,) = json.loads((RUNTIME / "runtimes.json").read_text())["runtimes"].items()
    name, (entry,) = family
    assert name == "kaas"
    assert entry["kind"] == "kaas:1"
    assert entry.keys() <= FIELDS
    assert entry["deprecated"] is False, "ansible pulls images by this field, which has to be there"
    assert entry["attached"], "a bundle of over 16 KB has to be an attachment"
    assert "stemCells" not in entry, "a kernel action has nothing to warm up"
    image = f"{entry['image']['prefix']}/{entry['image']['name']}:{entry['image']['tag']}"
    assert f"docker build -f runtime/openwhisk/Dockerfile -t {image} ." in DOCKERFILES[0].read_text()


def test_the_images_packages_are_the_locked_ones_and_all_that_the_proxy_needs() -> None:
    locked = _entries(ROOT / "requirements.lock")
    taken = _entries(RUNTIME / "requirements.txt")
    assert {name: locked[name] for name in taken} == taken, "copy the entries of requirements.lock"

    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["proxy"]]
    needed: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name not in needed and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            needed.add(name)
            wanted += metadata.requires(name) or []
    assert taken.keys() == needed


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["action", "invoker"])
def test_what_a_dockerfile_copies_is_there(dockerfile: Path) -> None:
    sources = re.findall(r"^COPY (?!--from)(\S+) ", dockerfile.read_text(), re.MULTILINE)
    assert sources
    for source in sources:
        # The plugin's jar is there after a build.
        assert "/target/" in source or (ROOT / source).exists(), source


def test_the_action_image_is_not_roots() -> None:
    text = DOCKERFILES[0].read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert text.index("USER ") < text.index("ENTRYPOINT ")


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint on PATH")
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["action", "invoker"])
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = subprocess.run(["hadolint", str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
