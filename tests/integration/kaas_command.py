"""The `kaas` command as a user runs it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_HIDDEN = ("KAAS_", "AWS_")


def kaas(
    *words: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `kaas WORDS` and wait for its end; the caller's own KaaS and AWS variables are not seen."""
    done = subprocess.run(
        command(*words),
        cwd=cwd,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=110,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def command(*words: str | Path) -> list[str]:
    """The command line of `kaas WORDS`."""
    return [sys.executable, "-m", "kaas_cli", *map(str, words)]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without KaaS's and AWS's variables (the cache's place excepted), and `extra`."""
    kept = {
        name: value for name, value in os.environ.items() if name == "KAAS_CACHE_DIR" or not name.startswith(_HIDDEN)
    }
    return {**kept, **(extra or {})}
