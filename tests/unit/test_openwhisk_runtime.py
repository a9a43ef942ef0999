"""The kind `kaas:1` as OpenWhisk gets it: its entry in the runtimes manifest and its image."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from image_files import HADOLINT, ROOT, copied, lock_entries, needed

RUNTIME = ROOT / "runtime" / "openwhisk"
DOCKERFILES = [RUNTIME / "Dockerfile", ROOT / "invoker-plugin" / "Dockerfile"]
#: The fields that OpenWhisk's manifest knows; it refuses none, and forgets others in silence.
FIELDS = {"kind", "default", "deprecated", "requireMain", "image", "attached", "stemCells", "sentinelledLogs"}


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
    locked = lock_entries(ROOT / "requirements.lock")
    taken = lock_entries(RUNTIME / "requirements.txt")
    assert {name: locked[name] for name in taken} == taken, "copy the entries of requirements.lock"
    assert taken.keys() == needed(["proxy"])


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["action", "invoker"])
def test_what_a_dockerfile_copies_is_there(dockerfile: Path) -> None:
    sources = copied(dockerfile)
    assert sources
    for source in sources:
        # The plugin's jar is there after a build.
        assert "/target/" in source or (ROOT / source).exists(), source


def test_the_action_image_is_not_roots() -> None:
    text = DOCKERFILES[0].read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert text.index("USER ") < text.index("ENTRYPOINT ")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["action", "invoker"])
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = subprocess.run([HADOLINT, str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
