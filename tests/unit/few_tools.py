"""A PATH of a few tools, to see what a script says on a machine that lacks the others."""

from __future__ import annotations

import subprocess
from pathlib import Path


def few_tools(folder: Path, *tools: str) -> Path:
    """Make `folder` have these commands of this machine; `name=script` is one of the test's own."""
    folder.mkdir()
    for tool in tools:
        name, _, script = tool.partition("=")
        if script:
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        else:
            found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True)
            (folder / name).symlink_to(found.stdout.strip())
    return folder
