"""Bubblewrap: the wall around executors and compilers where the kernel has no Landlock.

The spawner prefixes the child's command with `command(...)`; the child then finds `KAAS_SANDBOX=bubblewrap` in its
environment and adds its own limits and system-call filter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache

from kaas_pool.sandbox.landlock import Access, Rule

MARK = ("KAAS_SANDBOX", "bubblewrap")

_NAMESPACES = ("--unshare-user-try", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")


@cache
def executable() -> str | None:
    """The path of a bubblewrap that works here (many containers forbid its namespaces), else None."""
    found = shutil.which("bwrap")
    if found is None:
        return None
    probe = [found, *_NAMESPACES, "--ro-bind", "/", "/", "--", "/bin/true"]
    try:
        worked = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found if worked.returncode == 0 else None


def inside() -> bool:
    """Whether this process was started by `command`."""
    return os.environ.get(MARK[0]) == MARK[1]


def command(rules: Iterable[Rule]) -> list[str]:
    """What goes before a child's own command line; the rules' paths become its whole file system.

    Raises FileNotFoundError when bubblewrap does not work here.
    """
    found = executable()
    if found is None:
        raise FileNotFoundError("bubblewrap is not installed, or not allowed to make namespaces here")
    words = [found, *_NAMESPACES, "--die-with-parent", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
    # Parents first: a bind mounted over an earlier one below it would hide that one.
    for rule in sorted(rules, key=lambda rule: rule.path.parts):
        if rule.path.is_relative_to("/proc") or not rule.path.exists():
            continue
        if rule.path.is_relative_to("/dev"):
            if rule.access is Access.DEVICE:
                words += ["--dev-bind", str(rule.path), str(rule.path)]
            continue
        bind = "--bind" if rule.access is Access.WRITE else "--ro-bind"
        words += [bind, str(rule.path), str(rule.path)]
    return [*words, "--"]
