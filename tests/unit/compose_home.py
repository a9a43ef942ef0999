"""The folder that the compose file works in, made by its script."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
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


def initialise(
    home: Path, *words: str, cwd: Path = Path("/"), environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """Run the script as a user who is not root, who may not be able to read this checkout."""
    someone: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(
        ["bash", "-s", "--", str(home), *words],
        input=SCRIPT.read_text(),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        **someone,
    )


def variables(home: Path) -> dict[str, str]:
    """What the script wrote into `env`."""
    lines = shlex.split((home / "env").read_text())
    return dict(line.split("=", 1) for line in lines)
