"""What runs the actions of each kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kaas_local.openwhisk.containers import launchers
from kaas_local.openwhisk.containers.answers import GONE_IN_INIT, GONE_IN_RUN
from kaas_local.openwhisk.kinds import KERNEL, NODEJS, PYTHON

_NODE_MAJOR = 20
_NODE_SECONDS = 10

_LAUNCHERS = Path(launchers.__file__).parent


@dataclass(frozen=True)
class Program:
    """How a kind's process is started, and what is special about it."""

    #: Gets the descriptor it is spoken to over in place of `{}`.
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    #: Calls at a time in one process.
    calls: int = 1
    #: Whether a zip's files are laid out for it, and its memory is the action's.
    is_code: bool = True
    #: What becomes of an activation whose process ends.
    gone_in_init: str = GONE_IN_INIT
    gone_in_run: str = GONE_IN_RUN
    #: What is said on stderr when it ends during `/init`.
    last_words: str | None = None


def find_node() -> Path | None:
    """Node.js 20 or newer, if it is on PATH."""
    found = shutil.which("node")
    if found is None:
        return None
    try:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=_NODE_SECONDS, check=True)
        major = int(told.stdout.strip().removeprefix("v").partition(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Path(found) if major >= _NODE_MAJOR else None


def programs(proxy_environment: Mapping[str, str], node: Path | None) -> dict[str, Program]:
    """By kind; the action proxy gets `proxy_environment` on top."""
    # A CPU action sees nothing of this process's environment, which may hold the user's keys.
    plain = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    if "TZ" in os.environ:
        plain["TZ"] = os.environ["TZ"]
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    found = {
        KERNEL: Program(
            (sys.executable, "-m", "kaas_proxy", "--bind", "fd://{}"),
            {**plain, **path, **proxy_environment},
            calls=64,  # As many as the proxy takes; OpenWhisk would start as many containers.
            is_code=False,
        ),
        PYTHON: Program(
            (sys.executable, "-I", "-X", "utf8", str(_LAUNCHERS / "python.py"), "{}"),
            plain,
            gone_in_init="Cannot start action. Check logs for details.",
            gone_in_run="command exited",
            last_words="Command exited abruptly during initialization.",
        ),
    }
    if node is not None:
        found[NODEJS] = Program((str(node), str(_LAUNCHERS / "nodejs.cjs"), "{}"), plain)
    return found
