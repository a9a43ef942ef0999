"""The folder that the compose file works in, made by its script."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from image_files import ROOT

SCRIPT = ROOT / "gpu-pool" / "compose-init.sh"
_NOBODY = 65534


@contextmanager
def empty_home() -> Iterator[Path]:
    """An empty folder of a user who is not root, since the script refuses root."""
    with tempfile.TemporaryDirectory(prefix="kaas-compose-") as folder:
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        yield Path(folder)


def initialise(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a user who is not root, who may not be able to read this checkout."""
    someone: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    command = ["bash", "-s", "--", str(home), *words]
    return subprocess.run(
        command, input=SCRIPT.read_text(), cwd="/", capture_output=True, text=True, check=False, **someone
    )


def variables(home: Path) -> dict[str, str]:
    """What the script wrote into `env`."""
    return dict(line.split("=", 1) for line in (home / "env").read_text().splitlines())
