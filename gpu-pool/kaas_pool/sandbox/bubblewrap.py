"""Bubblewrap: the wall around executors and compilers where the kernel has no Landlock.

The spawner puts `prefix(...)` before the child's command and `MARK` into its environment; the child then adds its own
limits and system-call filter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from kaas_pool.sandbox import landlock
from kaas_pool.sandbox.landlock import Access, Rule
from kaas_pool.sandbox.policy import interpreter

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


def prefix(rules: Iterable[Rule]) -> tuple[str, ...]:
    """What goes before a child's own command; the rules' paths and this Python become its whole file system.

    Nothing where the child confines itself by Landlock, or where bubblewrap does not work. With it, `MARK` has to be
    in the child's environment.
    """
    found = executable() if landlock.version() == 0 else None
    if found is None:
        return ()
    return tuple(command(found, [*rules, *interpreter()]))


def command(found: str, rules: Iterable[Rule]) -> list[str]:
    """The command line of the bubblewrap at `found` that makes `rules` hold."""
    words = [found, *_NAMESPACES, "--die-with-parent", "--cap-drop", "ALL", "--dev", "/dev"]
    # A distribution with all under /usr has these as links, and programs name their loader by them.
    links = [path for path in map(Path, ("/lib", "/lib64", "/bin")) if path.is_symlink()]
    for link in links:
        words += ["--symlink", str(link.readlink()), str(link)]
    # Parents first: a bind mounted over an earlier one below it would hide that one.
    for rule in sorted(rules, key=lambda rule: rule.path.parts):
        if rule.path in links or not rule.path.exists():
            continue
        if rule.path.is_relative_to("/proc"):
            # Of the new process namespace: no other process is in it. A compiler has none: its environment is there.
            words += ["--proc", "/proc"] if "--proc" not in words else []
            continue
        if rule.path.is_relative_to("/dev"):
            if rule.access is Access.DEVICE:
                words += ["--dev-bind", str(rule.path), str(rule.path)]
            continue
        bind = "--bind" if rule.access is Access.WRITE else "--ro-bind"
        words += [bind, str(rule.path), str(rule.path)]
    return [*words, "--"]
