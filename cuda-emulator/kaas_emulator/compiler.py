"""The host's C++ compiler: which one, how it is run."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kaas_emulator.errors import EmulatorError

_OLDEST = 11


@functools.lru_cache(maxsize=1)
def compiler() -> str:
    """The path of g++; raises EmulatorError where there is none of at least version 11."""
    name = os.environ.get("KAAS_EMULATOR_CXX", "g++")
    path = shutil.which(name)
    if path is None:
        raise EmulatorError(
            f"the emulated device needs the C++ compiler {name}, which is not installed: "
            "`apt-get install g++` on Debian and Ubuntu, `dnf install gcc-c++` on Fedora"
        )
    text = run([path, "-dumpfullversion"], Path.cwd()).stdout.strip()
    found = re.match(r"\d+", text)
    if found is None or int(found.group()) < _OLDEST:
        raise EmulatorError(f"the emulated device needs g++ {_OLDEST} or newer; {path} is version {text or 'unknown'}")
    return path


@functools.lru_cache(maxsize=1)
def version() -> str:
    """The first line of what the compiler says about itself."""
    return run([compiler(), "--version"], Path.cwd()).stdout.partition("\n")[0]


@functools.lru_cache(maxsize=1)
def instruction_set() -> str:
    """The macros by which the compiler describes this machine's processor: what -march=native comes to."""
    done = run([compiler(), "-march=native", "-E", "-dM", "-x", "c++", "/dev/null"], Path.cwd())
    lines = (line for line in done.stdout.splitlines() if re.match(r"#define __[A-Z0-9_]+__ 1$", line))
    return "\n".join(sorted(lines))


def run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs a compiler command in ``directory`` with plain English messages and temporary files there."""
    environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(directory)}
    for name in ("CPATH", "CPLUS_INCLUDE_PATH", "C_INCLUDE_PATH", "GCC_COLORS", "DEPENDENCIES_OUTPUT"):
        environment.pop(name, None)
    return subprocess.run(
        list(command),
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
